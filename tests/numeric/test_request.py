"""One user and many candidates: plans compiled with `--request` score as the unsplit ones do, and
as `onnx.reference` does in float64; bit for bit the same whatever the number of candidates and users
in a call."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import Fixture, Programs, check_close, check_same_bits, isas, manifest, names
from tests.onnx.differential import evaluate, promoted
from tests.users import Call, Declared, drawn

pytest.importorskip("onnx.reference", reason="this onnx has no reference evaluator")


def one_of_each() -> list[Fixture]:
    """Of fixtures that are one function (they share their data), those of different exporters."""
    found: dict[tuple[str, str], Fixture] = {}
    for fixture in manifest():
        if "--batch-axis0" not in fixture.options:  # its batch is fixed, so nothing has U rows
            found.setdefault((fixture.data, fixture.exporter), fixture)
    return [f for f in found.values() if Declared.of(f.load("in")).words()]


# Under sanitizers, which slow each run of a program, a sample will do.
ALL = one_of_each()[:: 6 if os.environ.get("MTLC_SANITIZED") else 1]
ROWS, USERS = 50, 7


def call_of(fixture: Fixture, rows: int = ROWS, users: int = USERS) -> Call:
    """Of every other fixture with ranges of columns apart."""
    arrays = fixture.load("in")
    apart = ALL.index(fixture) % 2 == 1
    return drawn(Declared.of(arrays, apart), arrays, rows, users)


def compiled(programs: Programs, fixture: Fixture, call: Call, folder: Path) -> Path:
    options = (*fixture.options, *call.declared.options())
    return programs.compile(fixture.path, folder / "request.bin", *options)


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_scores_are_those_of_the_unsplit_plan_and_of_float64(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    call = call_of(fixture)
    plan = compiled(programs, fixture, call, tmp_path)
    whole = programs.compile(fixture.path, tmp_path / "whole.bin", *fixture.options)
    want = evaluate(promoted(onnx.load(fixture.path)), call.copied())
    got = call.score(programs, plan)
    check_close(got, want, fixture.model)
    check_close(got, programs.score(whole, call.copied()), f"{fixture.model}, unsplit")
    assert any(np.ptp(value, axis=0).max() > 1e-4 for value in got.values()), "rows score alike"


@pytest.mark.parametrize("fixture", ALL[::2], ids=names(ALL[::2]))
def test_a_candidate_has_the_same_bits_in_every_call(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    """Alone with its user, among others of its user, among those of several users."""
    call = call_of(fixture)
    plan = compiled(programs, fixture, call, tmp_path)
    want = call.score(programs, plan)

    def check(rows: np.ndarray, *options: str) -> None:
        part = call.part(rows)
        got = part.score(programs, plan, *options)
        where = f"{fixture.model}, rows {rows.tolist()}, {' '.join(options)}"
        check_same_bits(got, {name: value[rows] for name, value in want.items()}, where)

    for row in (0, ROWS - 1):
        check(np.array([row]))
    for user in range(2):
        check(np.flatnonzero(call.user == user))
    check(np.flatnonzero(call.user < 3)[::-1])
    check(np.arange(ROWS), "--tile-rows", "16")
    check(np.arange(ROWS), "--threads", "2", "--rows-per-thread", "1")


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("fixture", ALL[:2] + ALL[-2:], ids=names(ALL[:2] + ALL[-2:]))
def test_and_with_each_instruction_set(
    programs: Programs, fixture: Fixture, isa: str, tmp_path: Path
) -> None:
    call = call_of(fixture)
    plan = compiled(programs, fixture, call, tmp_path)
    want = evaluate(promoted(onnx.load(fixture.path)), call.copied())
    options = ("--provider", "native", "--isa", isa)
    got = call.score(programs, plan, *options)
    check_close(got, want, f"{fixture.model}, {isa}")
    rows = np.flatnonzero(call.user == call.user[0])
    alone = call.part(rows).score(programs, plan, *options)
    check_same_bits(alone, {n: v[rows] for n, v in got.items()}, f"{fixture.model}, {isa}")


@pytest.mark.parametrize("fixture", ALL[:2] + ALL[-2:], ids=names(ALL[:2] + ALL[-2:]))
def test_onednn_scores_requests_too(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    call = call_of(fixture)
    plan = compiled(programs, fixture, call, tmp_path)
    want = evaluate(promoted(onnx.load(fixture.path)), call.copied())
    check_close(call.score(programs, plan, "--provider", "onednn"), want, fixture.model)


@pytest.mark.parametrize("fixture", ALL[:2], ids=names(ALL[:2]))
def test_no_candidates_give_no_scores(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    call = call_of(fixture, users=1)
    plan = compiled(programs, fixture, call, tmp_path)
    none = Call(call.declared, {n: v[:0] for n, v in call.rows.items()}, call.users, call.user[:0])
    assert all(len(value) == 0 for value in none.score(programs, plan).values())
