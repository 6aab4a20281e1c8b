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

from bench import curves, machine, measure, mtlrt, picture, report, request
from bench.measure import Budget, Roofline, Timing
from bench.models import MODELS, REQUESTS
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
    counted = model in MODELS and MODELS[model].counted
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


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_has_one_user(name: str) -> None:
    """The copies have the user's features in each row, and the plan gets them once."""
    asked = REQUESTS[name]
    copied, other = asked.copied(9, seed=1), asked.copied(9, seed=2)
    once, shared, own = asked.once(copied), set(), set()
    for key, value in copied.items():
        assert len(value) == 9 and not np.array_equal(value, other[key])
        end = dict(asked.columns).get(key)
        if end is not None:
            assert (value[:, :end] == value[0, :end]).all() and (value[:, end:] != value[0, end:]).any()
            assert np.array_equal(once[f"{key}.request"], value[:1, :end])
            assert np.array_equal(once[f"{key}.row"], value[:, end:])
        elif asked.of_user(key):
            assert (value == value[0]).all() and np.array_equal(once[key], value[:1])
            shared.add(key)
        else:
            assert np.array_equal(once[key], value) and (value != value[0]).any()
            own.add(key)
    assert asked.columns or (len(shared) > 3 and len(own) > 3)
    assert all(value.flags.c_contiguous for value in once.values())
    assert name in report.AIMS


def test_candidates_of_all_batches_together_are_limited() -> None:
    assert request.few(256, measure.FULL) == measure.FULL
    assert request.few(4096, measure.FULL).most_rounds < measure.FULL.most_rounds
    assert request.SWEEP[0] == 1 and request.SWEEP[-1] == 4096 and request.CANDIDATES in request.SWEEP


def test_lines_are_fitted_by_relative_deviation() -> None:
    counts = [1, 10, 100, 1000]
    exact = request.Line.of(counts, [50 + 3 * n for n in counts])
    assert exact.offset == pytest.approx(50) and exact.slope == pytest.approx(3)
    assert exact.worst < 1e-9
    off = request.Line.of(counts, [50 + 3 * n for n in counts[:3]] + [2745])  # 10 % below
    assert 40 < off.offset < 60 and 0.02 < off.worst < 0.1


def request_cells() -> list[report.Cell]:
    return [
        cell(model, n, 20 + 2 * n, 60 + 6 * n, 50 + 7 * n) for model in REQUESTS for n in (1, 16, 256)
    ]


def test_curves_are_well_formed_and_have_all_cells_twice() -> None:
    cells = request_cells()
    drawn = curves.draw(cells, NAMES, request.lines(cells))
    tree = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}circle")) == 2 * len(cells) * len(NAMES)
    assert drawn.count("stroke-dasharray") == len(REQUESTS) * len(NAMES)
    words = {element.text for element in tree.findall(f"{space}text")}
    assert {asked.title for asked in REQUESTS.values()} <= words
    _, _, width, height = map(float, tree.get("viewBox").split())
    for circle in tree.findall(f"{space}circle"):
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height


@pytest.mark.parametrize("most", [0.7, 1.0, 3.3, 49.0, 4096.0, 123_456.0])
def test_axes_hold_the_most(most: float) -> None:
    scale, ticks = curves.linear(most)
    assert 0.75 <= scale(most) <= 1 and scale(0) == 0 and ticks[-1] >= most and len(ticks) <= 6
    scale, ticks = curves.logarithmic(0.3, most, 10)
    assert -1e-9 <= scale(0.3) < scale(most) <= 1 + 1e-9
    assert [scale(ticks[0]), scale(ticks[-1])] == pytest.approx([0, 1])


def test_requests_are_written_between_their_marks() -> None:
    cells = request_cells()
    found = {m: {n: dataclasses.asdict(v) for n, v in of.items()} for m, of in request.lines(cells).items()}
    result = {**page_result(), "lines": found}
    titles = {name: runtime.title for name, runtime in RUNTIMES.items()}
    table = report.request_results(result, cells, titles, 256)
    assert "| mmoe | 256 | 1 | 532.0 | 1,596 | 1,842 | 3.00 |" in table and "| 16 |" not in table
    text = report.line_results(result, cells, titles)
    assert "| mmoe | mtlrt | 20.0 | 2.000 | 0% |" in text and "| mmoe | 2.59 |" in text
    docs = Path(__file__).resolve().parents[2] / "docs"
    for name, marks in (("benchmarks.md", report.REQUEST_MARKS), ("request.md", report.LINE_MARKS)):
        assert report.renewed((docs / name).read_text(), "x", marks).count(marks[0]) == 1
    facts = json.loads(json.dumps(report.request_facts(cells[-1]), allow_nan=False))
    assert facts["candidates"] == 256 and "rows" not in facts
    aims = report.aim_lines(cells)
    assert len(aims) == len(REQUESTS) and "3.00 times the faster peer, the aim is 2.5" in aims[0]


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


def page_result() -> dict[str, object]:
    return {
        "quick": False,
        "commit": "abc",
        "runtimes": {name: "1.0" for name in NAMES},
        "environment": {
            "date": "today",
            "cpu": "a CPU",
            "virtual_machine": True,
            "cpus": 2,
            "cpus_allowed": 2,
            "real_time": False,
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


def test_the_page_gets_new_results_between_its_marks() -> None:
    result = page_result()
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
    result["environment"]["real_time"] = True
    third = report.renewed(first, report.results(result, [cell("mmoe", 1, 11, 15, 20)], titles))
    assert "do not rely" not in third and "1.00 CPUs; this one had a CPU to itself" in third
    result["environment"]["others_cpus"] = 1.8
    assert "do not rely" in report.results(result, [], titles)
    here = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    assert report.renewed(here.read_text(), "x").count(report.BEGIN) == 1
