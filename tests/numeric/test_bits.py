"""In the default configuration a row's scores are the same bits whatever stands beside it: the
number of rows, the row's position, the height of the tile, and the number of threads do not matter.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Fixture, Programs, check_same_bits, isas, manifest, names

# Under sanitizers, which slow each run of a program, a sample will do: bits are a matter of the
# release build.
ALL = manifest()[:: 8 if os.environ.get("MTLC_SANITIZED") else 1]
ROWS = 200
TILES = (16, 32, 48, 64, 128)
COUNTS = (1, 2, 3, 5, 6, 7, 12, 15, 16, 17, 31, 63, 64, 65, 129, 199)


def made_up(fixture: Fixture) -> dict[str, np.ndarray]:
    """Rows of standard normal features; of ids, ones that the fixture has."""
    draws = np.random.default_rng(5)
    return {
        name: draws.standard_normal((ROWS, *value.shape[1:]), dtype=np.float32)
        if value.dtype == np.float32
        else value[draws.integers(len(value), size=ROWS)]
        for name, value in fixture.load("in").items()
    }


def rows_of(arrays: dict[str, np.ndarray], rows: slice | np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(value[rows]) for name, value in arrays.items()}


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_a_row_has_the_same_bits_everywhere(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs = made_up(fixture)
    want = programs.score(plan, inputs)
    assert all(np.unique(value, axis=0).shape[0] > 1 for value in want.values()), (
        "all rows score alike"
    )

    for tile in TILES:
        got = programs.score(plan, inputs, "--tile-rows", str(tile))
        check_same_bits(got, want, f"{fixture.model}, tiles of {tile}")
    for count in COUNTS:
        got = programs.score(plan, rows_of(inputs, slice(count)))
        check_same_bits(got, rows_of(want, slice(count)), f"{fixture.model}, {count} rows")
    for start, stop in ((1, 2), (17, 50), (63, 66), (150, 200)):
        got = programs.score(plan, rows_of(inputs, slice(start, stop)))
        check_same_bits(
            got, rows_of(want, slice(start, stop)), f"{fixture.model}, rows {start}..{stop}"
        )
    order = np.random.default_rng(6).permutation(ROWS)
    got = programs.score(plan, rows_of(inputs, order))
    check_same_bits(got, rows_of(want, order), f"{fixture.model}, shuffled")


@pytest.mark.parametrize("fixture", ALL[::3], ids=names(ALL[::3]))
def test_and_with_any_number_of_threads(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs = made_up(fixture)
    want = programs.score(plan, inputs)
    for threads in (2, 3, 4):
        options = ("--threads", str(threads), "--rows-per-thread", "1")
        for count in (2, 17, 65, ROWS):
            got = programs.score(plan, rows_of(inputs, slice(count)), *options)
            check_same_bits(
                got, rows_of(want, slice(count)), f"{fixture.model}, {count} rows, {threads} threads"
            )
        got = programs.score(plan, inputs, *options, "--tile-rows", "16")
        check_same_bits(got, want, f"{fixture.model}, tiles of 16, {threads} threads")


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("fixture", ALL[:4], ids=names(ALL[:4]))
def test_and_with_each_instruction_set(
    programs: Programs, fixture: Fixture, isa: str, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs = made_up(fixture)
    options = ("--provider", "native", "--isa", isa)
    want = programs.score(plan, inputs, *options)
    for tile in TILES:
        got = programs.score(plan, inputs, *options, "--tile-rows", str(tile))
        check_same_bits(got, want, f"{fixture.model}, {isa}, tiles of {tile}")
    for count in COUNTS:
        got = programs.score(plan, rows_of(inputs, slice(count)), *options)
        check_same_bits(got, rows_of(want, slice(count)), f"{fixture.model}, {isa}, {count} rows")


@pytest.mark.parametrize("fixture", ALL[:4], ids=names(ALL[:4]))
def test_equal_calls_of_onednn_give_equal_bits(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs = made_up(fixture)
    want = programs.score(plan, inputs, "--provider", "onednn")
    check_same_bits(programs.score(plan, inputs, "--provider", "onednn"), want, fixture.model)
