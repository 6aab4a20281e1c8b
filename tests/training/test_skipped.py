"""Says why the training tests are not there."""

from __future__ import annotations

import pytest

from tests.training.conftest import MISSING


@pytest.mark.skipif(
    bool(MISSING), reason=f"training needs {', '.join(MISSING)} (requirements-train.txt)"
)
def test_what_training_needs_is_there() -> None:
    assert not MISSING
