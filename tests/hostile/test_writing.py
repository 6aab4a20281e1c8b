"""Plans and scores that cannot be written: one line, exit status 1, and the folder as it was."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from tests.harness import FIXTURES, Programs
from tests.hostile.support import WIDTH, check_holds, check_refused, model, save

MODEL = FIXTURES / "trained_mmoe_ts17.onnx"


def small_files() -> None:
    """In the child: no file may grow beyond 8 KiB. The signal for it stays at its default, which
    kills."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_plan_larger_than_the_limit(programs: Programs, tmp_path: Path) -> None:
    done = programs.run(programs.mtlc, MODEL, "-o", tmp_path / "plan.bin", preexec_fn=small_files)
    check_refused(done, "plan.bin")
    check_holds(tmp_path)


def test_the_old_plan_survives(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(model(), tmp_path), tmp_path / "plan.bin")
    old = plan.read_bytes()
    done = programs.run(programs.mtlc, MODEL, "-o", plan, preexec_fn=small_files)
    check_refused(done, "plan.bin")
    assert plan.read_bytes() == old
    check_holds(tmp_path, "model.onnx", "plan.bin")


def test_scores_larger_than_the_limit(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(model(), tmp_path), tmp_path / "plan.bin")
    np.savez(
        tmp_path / "in.npz", x=np.random.default_rng(1).random((10_000, WIDTH), dtype=np.float32)
    )
    done = programs.run(
        programs.mtlrun,
        "score",
        plan,
        "--inputs",
        tmp_path / "in.npz",
        "--outputs",
        tmp_path / "out.npz",
        preexec_fn=small_files,
    )
    check_refused(done, "out.npz")
    check_holds(tmp_path, "in.npz", "model.onnx", "plan.bin")


@pytest.mark.parametrize("output", ["missing/plan.bin", "model.onnx/plan.bin"])
def test_no_such_folder(programs: Programs, tmp_path: Path, output: str) -> None:
    path = save(model(), tmp_path)
    check_refused(programs.run(programs.mtlc, path, "-o", tmp_path / output), output)
    check_holds(tmp_path, "model.onnx")


def test_output_is_a_folder(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "plan.bin").mkdir()
    check_refused(
        programs.run(programs.mtlc, save(model(), tmp_path), "-o", tmp_path / "plan.bin"),
        "plan.bin",
    )
    check_holds(tmp_path, "model.onnx", "plan.bin")
    check_holds(tmp_path / "plan.bin")


def test_scores_into_no_folder(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(model(), tmp_path), tmp_path / "plan.bin")
    np.savez(tmp_path / "in.npz", x=np.ones((2, WIDTH), dtype=np.float32))
    output = tmp_path / "missing" / "out.npz"
    done = programs.run(
        programs.mtlrun, "score", plan, "--inputs", tmp_path / "in.npz", "--outputs", output
    )
    check_refused(done, "out.npz")
    check_holds(tmp_path, "in.npz", "model.onnx", "plan.bin")
