"""How a ranker was exported must not show in the plan: the same idiom gives the same steps and
FLOPs whichever exporter and opset it came through, and so do all idioms of one ranker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import (
    ONE_FORM,
    Fixture,
    Programs,
    check_same_work,
    manifest,
    work_of,
)

BY_FUNCTION: dict[str, list[Fixture]] = {}
for _fixture in manifest():
    if not _fixture.options:  # frozen batches are another contract
        _groups = [group for group, names in ONE_FORM.items() if _fixture.name in names]
        _idiom = _groups[0] if _groups else f"{_fixture.data.removesuffix('.npz')} {_fixture.idiom}"
        BY_FUNCTION.setdefault(_idiom, []).append(_fixture)
SEVERAL = {name: fixtures for name, fixtures in BY_FUNCTION.items() if len(fixtures) > 1}


def test_there_is_something_to_compare() -> None:
    assert max(len(fixtures) for fixtures in SEVERAL.values()) >= 30
    grouped = [name for names in ONE_FORM.values() for name in names]
    assert len(grouped) == len(set(grouped))


@pytest.mark.parametrize("name", SEVERAL)
def test_ways_to_write_one_ranker_give_the_same_steps(
    programs: Programs, name: str, tmp_path: Path
) -> None:
    work = {}
    for fixture in SEVERAL[name]:
        plan = programs.compile(fixture.path, tmp_path / "plan.bin")
        work[fixture.model] = work_of(programs.info(plan))
    check_same_work(work, name)
