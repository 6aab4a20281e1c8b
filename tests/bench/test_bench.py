"""What `./dev bench` makes of its measurements; and that its binding of libmtlrt is right."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from bench import machine, measure, mtlrt, picture, report
from bench.measure import Budget, Roofline, Timing
from bench.models import MODELS
from bench.runtimes import OURS, RUNTIMES
from tests.harness import Programs, manifest

NAMES = list(RUNTIMES)


class Clock:
    """Nanoseconds that pass only when a call says so."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def call(self, took: list[int]) -> tuple[list[int], object]:
        """A call that takes these times in turn, and the batches it was given."""
        seen: list[int] = []

        def run(i: int) -> None:
            self.now += took[len(seen) % len(took)]
            seen.append(i)

        return seen, run


def cell(model: str, rows: int, ours: float, *peers: float, threads: int = 1) -> report.Cell:
    timings = [Timing(t, t * 0.9, (t, t), 9) for t in (ours, *peers)]
    counted = MODELS[model].counted
    times = dict(zip(NAMES, timings))
    return report.Cell(model, rows, threads, times, OURS, counted, 1e-7, ours * 0.8)


def test_a_burst_is_the_median_of_its_calls_after_the_warm_up() -> None:
    clock = Clock()
    seen, run = clock.call([9_000_000, 10_000, 30_000, 5_000_000, 20_000, 10_000])
    turns = measure.Turns(run, batches=4)
    budget = Budget(burst=0.005, warm_up=0.001)
    assert turns.burst(budget, clock) == 30.0  # of 10, 30 and 5,000 us; 9,000 was the warm-up
    assert seen == [0, 1, 2, 3]
    turns.burst(budget, clock)
    assert seen[4] == 0  # and so on where it stopped


def test_a_cell_is_the_median_of_bursts_taken_in_turns() -> None:
    clock, order = Clock(), []
    speeds = {"a": iter([1, 1, 9, 1, 2] * 100), "b": iter([4] * 500)}

    def runner(name: str) -> object:
        def run(_: int) -> None:
            order.append(name)
            clock.now += next(speeds[name]) * 1000

        return run

    budget = Budget(burst=0, warm_up=0, most_rounds=4, least_rounds=2, cell=1.0, settle=0.5)
    slept: list[float] = []
    times = measure.interleave({n: runner(n) for n in "ab"}, 8, budget, clock, slept.append)
    # A warm-up and two calls each; b begins every second round.
    assert order == list("aaabbbbbbaaaaaabbbbbbaaa")
    assert times["b"] == Timing(4.0, 4.0, (4.0, 4.0), 4)
    assert times["a"] == Timing(3.25, 1.0, (1.375, 5.0), 4)  # bursts of 5, 1.5, 5 and 1
    assert times["a"].fastest() == Timing(1.0, 1.0, (1.375, 5.0), 4)
    assert slept == [0.5] * 8


def test_rounds_end_with_the_budget_but_not_before_the_least() -> None:
    clock = Clock()
    _, run = clock.call([1_000_000_000])
    times = measure.interleave({"a": run}, 2, Budget(most_rounds=20, least_rounds=3, cell=5), clock)
    assert times["a"].bursts == 3


def test_geometric_mean() -> None:
    assert measure.geometric_mean([1, 4]) == pytest.approx(2)
    assert math.isnan(measure.geometric_mean([]))


def test_differences_are_found_between_any_two_runtimes() -> None:
    def scores(value: float) -> dict[str, np.ndarray]:
        return {"y": np.float32([[0.5], [value]])}

    three = {"a": scores(0.25), "b": scores(0.25), "c": scores(0.5)}
    assert measure.largest_difference(three) == 0.25
    assert measure.largest_difference({"a": scores(0.25)}) == 0
    assert measure.largest_difference({"a": scores(0.25), "b": scores(np.nan)}) == math.inf


def test_the_roofline_is_the_larger_of_arithmetic_and_reading() -> None:
    limits = Roofline(100e9, ((32 << 10, 400e9), (1 << 20, 100e9), (None, 10e9)))
    assert limits.bandwidth(32 << 10) == 400e9
    assert limits.bandwidth((32 << 10) + 1) == 100e9
    assert limits.bandwidth(1 << 30) == 10e9
    assert limits.seconds(100e9, 4096) == 1
    assert limits.seconds(1000, 10_000_000) == pytest.approx(1e-3)
    assert limits.seconds(100e9, 0, threads=2) == 0.5


def test_the_machine_is_measured_by_mtlrun(tmp_path: Path) -> None:
    read = [{"level": "L1", "bytes": 9, "bytes_per_second": 2e11}]
    read.append({"level": "memory", "bytes": 99, "bytes_per_second": 1e10})
    said = {"isa": "avx2", "flops": 5e10, "read": read, "caches": {"L1": 32768}}
    program = tmp_path / "mtlrun"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    program.chmod(0o755)
    found, source = machine.figures(program)
    assert found == Roofline(5e10, ((32768, 2e11), (None, 1e10)))
    assert source == "mtlrun machine (avx2)"


def test_the_environment_is_json() -> None:
    facts = json.loads(json.dumps(machine.environment()))
    assert facts["cpus"] >= facts["cpus_allowed"] >= 1 and facts["cpu"]
    assert machine.Others().cpus() >= 0


def test_the_ratio_is_against_the_faster_peer() -> None:
    one = cell("mmoe", 1, 10.0, 30.0, 20.0)
    assert (one.faster_peer(), one.ratio()) == ("openvino", 2.0)
    assert one.share() == pytest.approx(0.8)
    assert math.isnan(cell("mmoe", 1, 10.0).ratio())


def test_summaries_count_what_is_promised_only() -> None:
    cells = [
        cell("mmoe", 1, 10, 40, 50),
        cell("mmoe", 16, 10, 10, 50),
        cell("mmoe_fields", 1, 10, 1, 1),  # not among the promised
        cell("mmoe", 1, 10, 90, 91, threads=2),
    ]
    one, two = report.summary(cells)
    assert one == {
        "threads": 1,
        "cells": 2,
        "geometric_mean": 2.0,
        "geometric_mean_one_row": 4.0,
        "least_ratio": 1.0,
        "least_ratio_at": "mmoe, 16 rows",
    }
    assert two["geometric_mean"] == 9.0
    assert report.summary([cell("mmoe", 1, 10)]) == []
    assert "least 1.00 (mmoe, 16 rows)" in report.summary_lines([one])[0]
    two_threads = dataclasses.replace(cells[3], alone=Timing(25.0, 25.0, (25.0, 25.0), 9))
    assert report.scaling([*cells, two_threads]) == [("mmoe", 1, 2, 2.5)]


def test_tables_stand_in_columns() -> None:
    rows = report.cell_rows([cell("mmoe", 1024, 1234.5, 2500, 3000)], NAMES)
    head = report.heading(["A", "B", "C"])
    assert rows == [["mmoe", "1024", "1", "1,234", "2,500", "3,000", "2.03", "987.6", "80%"]]
    first, second = report.text_table(head, rows).splitlines()
    assert len(first) == len(second) and first.endswith("reached") and second.endswith("80%")
    lines = report.markdown_table(head, rows).splitlines()
    assert {line.count("|") for line in lines} == {len(head) + 1} and len(lines) == 3


def test_a_cell_is_json() -> None:
    facts = json.loads(json.dumps(cell("esmm", 4, 10, 15, 20).facts(), allow_nan=False))
    assert facts["ratio"] == 1.5 and facts["microseconds"]["openvino"]["median"] == 20
    assert json.loads(json.dumps(cell("esmm", 4, 10).facts(), allow_nan=False))["ratio"] is None


def test_the_picture_is_well_formed_and_has_all_cells() -> None:
    cells = [cell(model, rows, 10, 15, 20 + rows) for model in MODELS for rows in (1, 16, 64)]
    drawn = picture.draw([*cells, cell("mmoe", 1, 5, 6, 7, threads=2)], NAMES)
    assert drawn == picture.draw(cells, NAMES)
    tree = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}polyline")) == len(MODELS) * len(NAMES)
    assert len(tree.findall(f"{space}circle")) == len(cells) * len(NAMES)
    words = {element.text for element in tree.findall(f"{space}text")}
    assert {model.title for model in MODELS.values()} <= words
    _, _, width, height = map(float, tree.get("viewBox").split())
    for circle in tree.findall(f"{space}circle"):
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height


def test_ticks_begin_at_nothing_and_hold_the_most() -> None:
    for most in (1.0, 1.01, 2.4, 7.0, 31.0, 80.0):
        ticks = picture.ticks(most)
        assert ticks[0] == 0 and ticks[-1] >= most and 2 <= len(ticks) <= 7


def test_inputs_of_one_seed_are_the_same_and_ids_are_in_their_tables() -> None:
    for model in MODELS.values():
        one, again, other = model.inputs(5, 1), model.inputs(5, 1), model.inputs(5, 2)
        for name, value in one.items():
            assert len(value) == 5 and np.array_equal(value, again[name])
            assert not np.array_equal(value, other[name])
    assert MODELS["mmoe_fields"].inputs(1000, 1)["ids"].max() < 100_000


@pytest.mark.skipif("MTLC_SANITIZED" in os.environ, reason="Python is not built with sanitizers")
def test_the_binding_scores_as_mtlrun_does(programs: Programs, tmp_path: Path) -> None:
    library = mtlrt.load(Path(os.environ["MTLC_BUILD"]) / "runtime/libmtlrt.so")
    one = next(fixture for fixture in manifest() if len(fixture.inputs) > 1)
    plan = programs.compile(one.path, tmp_path / "plan.bin", *one.options)
    inputs = one.load("in")
    want = programs.score(plan, inputs)
    session = mtlrt.Session(library, plan)
    rows = one.rows
    outputs = session.new_outputs(rows)
    session.runner(rows, [inputs], outputs)(0)
    for name, value in want.items():
        assert outputs[name].tobytes() == value.tobytes()
    assert session.workspace_bytes() > 0
    session.close()
    with pytest.raises(mtlrt.Failure, match="no-such-plan"):
        mtlrt.Session(library, tmp_path / "no-such-plan.bin")


def test_the_page_gets_new_results_between_its_marks() -> None:
    result = {
        "quick": False,
        "commit": "abc",
        "runtimes": {name: "1.0" for name in NAMES},
        "environment": {
            "date": "today",
            "cpu": "a CPU",
            "virtual_machine": True,
            "cpus_allowed": 2,
            "caches": ["L1 32K"],
            "governor": None,
            "system": "Linux",
            "kernel": "6",
            "load_average": [0.0],
            "others_cpus": 0.0,
        },
        "machine": {"source": "tool", "flops": 1e11, "read": [[1 << 20, 1e11], [None, 1e10]]},
        "call_overhead_microseconds": {name: 1.0 for name in NAMES},
        "summary": report.summary([cell("mmoe", 1, 10, 15, 20)]),
        "loads": [
            {
                "model": "mmoe",
                "runtime": OURS,
                "first_score_ms": 1.25,
                "file_bytes": 5_000_000,
                "rss": 6_000_000,
                "plan_resident": 5_000_000,
                "workspace": 500_000,
            }
        ],
    }
    titles = {name: runtime.title for name, runtime in RUNTIMES.items()}
    page = f"head\n{report.BEGIN}\nold\n{report.END}\nfoot\n"
    first = report.renewed(page, report.results(result, [cell("mmoe", 1, 10, 15, 20)], titles))
    assert first.startswith("head\n") and first.endswith("foot\n") and "old" not in first
    assert "| mmoe | 1 | 1 | 10.0 | 15.0 | 20.0 | 1.50 |" in first
    assert "| 1.2 | 5.0 | 6.0 | 5.5 |" in first
    assert "do not rely" not in first
    result["environment"]["others_cpus"] = 1.0
    second = report.renewed(first, report.results(result, [cell("mmoe", 1, 11, 15, 20)], titles))
    assert "do not rely" in second and "| 10.0 |" not in second
    here = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    assert report.renewed(here.read_text(), "x").count(report.BEGIN) == 1
