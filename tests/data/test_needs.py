from __future__ import annotations

import pytest

from tests.data.conftest import MISSING


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: see requirements-train.txt")
def test_what_the_data_suites_need_is_there() -> None:
    assert not MISSING
