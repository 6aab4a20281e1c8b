"""These suites read data with PyTorch and pandas; where they are missing, say so and skip."""

from __future__ import annotations

import importlib.util

import pytest

NEEDED = ("torch", "pandas", "scipy", "tqdm", "sklearn")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def pytest_ignore_collect(collection_path, config):
    """Test files import what is missing: they cannot even be collected. `test_needs.py` says so."""
    return (
        (collection_path.suffix == ".py" and collection_path.name != "test_needs.py")
        if MISSING
        else None
    )


@pytest.fixture(autouse=True)
def one_thread():
    """Products so small that threads would only wait for each other."""
    if not MISSING:
        import torch

        torch.set_num_threads(1)
