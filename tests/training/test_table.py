"""The table of all rankers: its intervals, its verdicts, and its place in the page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from examples.training import table
from examples.training.runs import Result
from examples.training.table import Cell, Compared, cells, sparse_task, verdict
from examples.zoo.registry import RANKERS


def result(**qualities: float) -> Result:
    tasks = {
        name: {"quality": quality, "positives": 0.5 / (t + 1)}
        for t, (name, quality) in enumerate(qualities.items())
    }
    one = {"nodes": 9, "steps": 3, "difference": 1e-7, "error": "", "equal": True}
    return Result("m", "w", 1, 0, 10, 0.0, 1, 0.5, tasks, 0.0, {"rate": 0.002}, [one, one])


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    draws = np.random.default_rng(0)
    a, b = draws.random(5) + 0.3, draws.random(5)
    got = Compared.of(list(a - b))
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (got.mean - got.half, got.mean + got.half) == pytest.approx((low, high))
    assert math.isnan(Compared.of([0.1]).half)


def test_verdicts() -> None:
    predicted, silent = Cell("m", "w", True), Cell("m", "w", False)
    assert verdict(predicted, Compared(0.02, 0.01)) == "**beats**"
    assert verdict(predicted, Compared(0.02, 0.03)) == "does not"
    assert verdict(predicted, Compared(-0.02, 0.01)) == "does not"
    assert verdict(predicted, Compared(0.02, math.nan)) == "one seed"
    assert verdict(silent, Compared(0.02, 0.01)) == "not predicted"


def test_a_line_compares_seed_by_seed() -> None:
    mine = [result(click=0.7, order=0.9), result(click=0.6, order=0.8)]
    alone = [result(click=0.7, order=0.8), result(click=0.6, order=0.7)]
    assert sparse_task(mine[0]) == "order"
    line = table.row(Cell("m", "w", True), mine, alone)
    assert line[6:8] == ("+0.0500 ± 0.0000", "**beats**")
    assert line[8:11] == ("order", "+0.1000 ± 0.0000", "**beats**")
    assert line[11:] == ("9 to 3, 9 to 3", "1e-07")
    assert len(line) == len(table.HEAD)


def test_every_ranker_has_a_cell_and_every_named_world_too() -> None:
    found = cells((), ())
    assert {cell.model for cell in found} == set(RANKERS)
    for name, entry in RANKERS.items():
        named = [cell.world for cell in found if cell.model == name]
        assert named == list(entry.beats) or (len(named) == 1 and not entry.beats)
    assert cells(("mmoe",), ("conflict",)) == [Cell("mmoe", "conflict", True)]


def test_the_table_is_written_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.START}\nold\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "ROOT", tmp_path)
    monkeypatch.setattr(table, "PAGE", page)
    table.write_page("new\n")
    assert page.read_text() == f"before\n{table.START}\nnew\n{table.END}\nafter\n"
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match="page.md has no place for the table"):
        table.write_page("new\n")
    assert table.START in (Path(table.__file__).parents[2] / "docs" / "training.md").read_text()
