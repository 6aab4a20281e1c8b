"""These tests train, so they need what requirements-train.txt names; without it they are skipped."""

from __future__ import annotations

import importlib.util

import pytest

NEEDED = ("torch", "onnxscript", "sklearn", "scipy", "pandas", "matplotlib", "tqdm")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

collect_ignore_glob: list[str] = []
if MISSING:
    collect_ignore_glob = ["test_[!s]*.py"]  # all but test_skipped.py, which says so
else:
    import torch

    torch.set_num_threads(1)

    @pytest.fixture(autouse=True)
    def seeded() -> None:
        torch.manual_seed(0)
