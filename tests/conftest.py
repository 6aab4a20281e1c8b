"""Makes `tests` and `examples` importable, and finds the programs under test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.harness import Programs  # noqa: E402


@pytest.fixture(scope="session")
def programs() -> Programs:
    """`mtlc` and `mtlrun`: from the environment (MTLC, MTLRUN), else from build/bin. A missing one
    is a failure."""
    found = Programs(
        Path(os.environ.get("MTLC", ROOT / "build" / "bin" / "mtlc")).resolve(),
        Path(os.environ.get("MTLRUN", ROOT / "build" / "bin" / "mtlrun")).resolve(),
    )
    for program in (found.mtlc, found.mtlrun):
        if not os.access(program, os.X_OK):
            pytest.fail(
                f"no program at {program}: run `./dev build`, or set MTLC and MTLRUN", pytrace=False
            )
    return found
