"""How a ranker was exported must not show in the plan: the same idiom gives the same steps and
FLOPs whichever exporter and opset it came through. (That other idioms of a ranker give the same
plan as well is for later passes.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Fixture, Programs, manifest, work_of

BY_FUNCTION: dict[str, list[Fixture]] = {}
for _fixture in manifest():
    if not _fixture.options:  # frozen batches are another contract
        BY_FUNCTION.setdefault(f"{_fixture.data.removesuffix('.npz')} {_fixture.idiom}", []).append(
            _fixture
        )
SEVERAL = {name: fixtures for name, fixtures in BY_FUNCTION.items() if len(fixtures) > 1}


def test_there_is_something_to_compare() -> None:
    assert max(len(fixtures) for fixtures in SEVERAL.values()) >= 9


@pytest.mark.parametrize("name", SEVERAL)
def test_exports_of_one_idiom_give_the_same_steps(
    programs: Programs, name: str, tmp_path: Path
) -> None:
    work = {}
    for fixture in SEVERAL[name]:
        plan = programs.compile(fixture.path, tmp_path / "plan.bin")
        work[fixture.model] = work_of(programs.info(plan))
    first, *others = work
    for other in others:
        assert work[other].steps == work[first].steps, f"{other} and {first} have other steps"
        assert work[other].flops == work[first].flops, f"{other} and {first} have other FLOPs"
