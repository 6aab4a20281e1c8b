"""`mtlrun score --only`, `mtlrun bench --only` (mtl_session_want): the outputs that are asked for have the bits that they have among
all of them, and cost what a plan of these alone costs."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Fixture, Programs, isas, manifest, names
from tests.hostile.support import check_refused
from tests.numeric.test_bits import made_up, rows_of
from tests.onnx.test_outputs import TASKS, mmoe, ple

MORE = [fixture for fixture in manifest() if len(fixture.outputs) > 1]
ALL = MORE[:: 8 if os.environ.get("MTLC_SANITIZED") else 1]
CHOICES = 7
OPTIONS = (
    (),
    ("--tile-rows", "16"),
    ("--threads", "3", "--rows-per-thread", "1"),
    ("--tile-rows", "16", "--threads", "2", "--rows-per-thread", "1"),
)


def choices(outputs: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All, or one of each size and some at random."""
    every = [c for n in range(1, len(outputs)) for c in itertools.combinations(outputs, n)]
    order = np.random.default_rng(len(outputs)).permutation(len(every))
    return every if len(every) <= CHOICES else [every[i] for i in order[:CHOICES]]


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_what_is_asked_for_has_the_same_bits(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs = made_up(fixture)
    rows, every = (1, 65, 200), [*isas(), "onednn"]
    for i, kernels in enumerate(every):
        how = ("--provider", "onednn") if kernels == "onednn" else ("--isa", kernels)
        count = rows[i % len(rows)] if kernels == "onednn" else 200
        want = programs.score(plan, rows_of(inputs, slice(count)), *how)
        for j, chosen in enumerate(choices(fixture.outputs)[i % 2 :: 2] or [fixture.outputs[:1]]):
            some = count if kernels == "onednn" else rows[j % len(rows)]
            options = () if kernels == "onednn" else OPTIONS[(i + j) % len(OPTIONS)]
            got = programs.score(
                plan, rows_of(inputs, slice(some)), "--only", ",".join(chosen), *how, *options
            )
            assert sorted(got) == sorted(chosen)
            for name in chosen:
                assert got[name].tobytes() == want[name][:some].tobytes(), (
                    f"{name} of {chosen}, {kernels}, {some} rows, {' '.join(options)}"
                )


def bench(programs: Programs, plan: Path, *options: str) -> dict:
    text = programs.ok(
        programs.mtlrun, "bench", plan, "--rows", "8", "--seconds", "0.01", "--json", *options
    )
    return json.loads(text)


@pytest.mark.parametrize("tasks", [c for n in (1, 2) for c in itertools.combinations(TASKS, n)])
@pytest.mark.parametrize("ranker", [mmoe, ple])
def test_the_others_cost_nothing(
    programs: Programs, tmp_path: Path, ranker, tasks: tuple[str, ...]
) -> None:
    """What a plan of these outputs alone costs, but for gates that share a panel of 16 columns with the others'."""
    (tmp_path / "model.onnx").write_bytes(ranker(TASKS).model().SerializeToString())
    only = ",".join(tasks)
    whole = programs.compile(tmp_path / "model.onnx", tmp_path / "whole")
    alone = programs.compile(tmp_path / "model.onnx", tmp_path / "alone", "--outputs", only)
    chosen, least = bench(programs, whole, "--only", only), bench(programs, alone)
    everything = bench(programs, whole)
    assert chosen["only"] == only and everything["only"] is None
    assert everything["flops_per_row"] == everything["all_flops_per_row"]
    assert chosen["all_flops_per_row"] == everything["all_flops_per_row"]
    slack = 16 * 2 * 25  # a panel of gates
    assert least["flops_per_row"] <= chosen["flops_per_row"] <= least["flops_per_row"] + slack
    assert chosen["flops_per_row"] < everything["flops_per_row"]


def test_profile_tells_what_is_left(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(ple(TASKS).model().SerializeToString())
    plan = programs.compile(tmp_path / "model.onnx", tmp_path / "plan")

    def steps(*options: str) -> list[dict]:
        profile = bench(programs, plan, "--profile", *options)
        assert profile["only"] == (options[1] if options else None)
        return profile["profiles"][0]["steps"]

    of_all, of_one = steps(), steps("--only", "cvr")
    assert [s["op"] for s in of_one] == [s["op"] for s in of_all]
    assert sum(s["flops"] for s in of_one) < 0.7 * sum(s["flops"] for s in of_all)
    assert sum(s["flops"] == 0 for s in of_one) >= 2  # the other heads
    assert all(one["flops"] <= every["flops"] for one, every in zip(of_one, of_all))


@pytest.mark.parametrize("command", ["score", "bench"])
def test_unknown_outputs_are_refused(programs: Programs, tmp_path: Path, command: str) -> None:
    built = mmoe(TASKS)
    (tmp_path / "model.onnx").write_bytes(built.model().SerializeToString())
    plan = programs.compile(tmp_path / "model.onnx", tmp_path / "plan")
    np.savez(tmp_path / "in.npz", **built.make(3))
    given = ("--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz")
    for only, named in (("ctr,nothing", "nothing"), ("", ""), ("ctr,", ""), ("c?", "c?")):
        done = programs.run(
            programs.mtlrun, command, plan, "--only", only, *(given if command == "score" else ())
        )
        check_refused(done, f"--only {named}: the plan has no such output, but 'ctr', 'cvr', 'order'")
        assert not (tmp_path / "out.npz").exists()
    if command == "score":
        programs.ok(programs.mtlrun, "score", plan, "--only", "c*r", *given)
        with np.load(tmp_path / "out.npz") as got:
            assert sorted(got) == ["ctr", "cvr"]
