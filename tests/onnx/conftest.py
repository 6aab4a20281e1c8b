from __future__ import annotations

from pathlib import Path

import pytest

from tests.onnx.support import Probe, find_probe


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    return Probe(find_probe(), tmp_path)
