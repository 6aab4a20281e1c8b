"""The zoo's own tests: they need PyTorch, and neither mtlc nor mtlrun."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def repeatable() -> None:
    torch = pytest.importorskip("torch", reason="the zoo's tests need PyTorch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
