"""Tiles are real: no value of batch size exists, and the workspace is that of one tile whatever the
number of rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.harness import Fixture, Programs, manifest, names

ALL = manifest()
ITEM = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}


def bytes_per_row(tensor: dict) -> int:
    """Most bytes of a tile row: extents are numbers, "B", "4*B", or "4*B + 1"."""
    size = ITEM[tensor["dtype"]]
    for extent in tensor["shape"]:
        numbers = [int(n) for n in re.findall(r"\d+", str(extent))]
        size *= (numbers[0] if numbers else 1) if "+" not in str(extent) else sum(numbers)
    return size


def session(
    programs: Programs, plan: Path, rows: int, *options: str, threads: int = 1
) -> dict:
    return json.loads(
        programs.ok(
            programs.mtlrun,
            "bench",
            plan,
            "--rows",
            str(rows),
            "--threads",
            str(threads),
            "--json",
            *options,
        )
    )


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_every_intermediate_fits_the_tile(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    info = programs.info(programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options))
    assert not info["whole_batch"]
    per_row = info["workspace"]["row_bytes"]
    assert info["steps"], "a plan without steps computes nothing"
    for step in info["steps"]:
        result = step["output"]
        assert result["storage"] in ("row", "output"), (
            f"step {step['index']} writes to {result['storage']}"
        )
        if result["storage"] == "row":
            assert result["offset"] + bytes_per_row(result) <= per_row, (
                f"step {step['index']} leaves its tile"
            )


@pytest.mark.parametrize("fixture", ALL[:6], ids=names(ALL[:6]))
def test_workspace_is_that_of_one_tile(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    few, many = session(programs, plan, 1), session(programs, plan, 10_000)
    assert few["workspace_bytes"] == many["workspace_bytes"]
    workspace = programs.info(plan)["workspace"]
    for tile, threads in ((16, 1), (48, 1), (128, 1), (16, 2), (64, 3)):
        made = session(programs, plan, 64, "--tile-rows", str(tile), threads=threads)
        assert made["tile_rows"] == tile
        formula = workspace["request_bytes"] + threads * tile * workspace["row_bytes"]
        assert made["workspace_bytes"] == formula, (
            "the formula that the compiler prints is not exact"
        )


@pytest.mark.parametrize("fixture", ALL[:6], ids=names(ALL[:6]))
def test_bench_says_what_it_measured(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    words = ("bench", plan, "--rows", "1,64", "--threads", "1,2", "--callers", "2", "--json")
    made = json.loads(programs.ok(programs.mtlrun, *words, "--seconds", "0.1"))
    assert made["callers"] == 2
    results = made["results"]
    cells = [(entry["rows"], entry["threads"]) for entry in results]
    assert cells == [(1, 1), (1, 2), (64, 1), (64, 2)]
    for entry in results:
        assert 0 < entry["median_us"] <= entry["p99_us"]
        assert entry["rows_per_second"] > 0
