"""Rankers in the language, with the weights of their PyTorch twins: the scores of PyTorch in float64, and the steps of the
twin's ONNX export. The twins are committed exports; their initialisers are the weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.harness import Programs, check_close, manifest, work_of

RANKERS = Path(__file__).parents[2] / "examples" / "rankers"
TWINS = {
    "mmoe": "trained_mmoe_ts17.onnx",
    "ple": "trained_ple_ts17.onnx",
    "esmm": "zoo-esmm_ts13.onnx",
    "cross_stitch": "zoo-cross_stitch_ts17.onnx",
}


def weights(model: Path) -> dict[str, np.ndarray]:
    tensors = onnx.load(model).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def steps_of(info: dict) -> tuple[list[str], tuple[int, int]]:
    """What a plan computes; experts may stand in another order."""
    work = work_of(info)
    return sorted(re.sub(r"^(mix \w*) \[.*?\]", r"\1", step) for step in work.steps), work.flops


@pytest.mark.parametrize("name", TWINS)
def test_twins_are_one(programs: Programs, name: str, tmp_path: Path) -> None:
    twin = next(fixture for fixture in manifest() if fixture.model == TWINS[name])
    np.savez(tmp_path / "weights.npz", **weights(twin.path))
    plan = programs.compile(
        RANKERS / f"{name}.mtl", tmp_path / "own.bin", "--weights", str(tmp_path / "weights.npz")
    )
    check_close(programs.score(plan, twin.load("in")), twin.load("f64"), name)
    other = programs.compile(twin.path, tmp_path / "twin.bin", *twin.options)
    assert steps_of(programs.info(plan)) == steps_of(programs.info(other))


def test_every_ranker_has_a_twin() -> None:
    assert sorted(path.stem for path in RANKERS.glob("*.mtl")) == sorted(TWINS)


@pytest.mark.parametrize(("name", "most"), [("mmoe", 20), ("ple", 30)])
def test_rankers_are_short(name: str, most: int) -> None:
    lines = (RANKERS / f"{name}.mtl").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= most


def test_blocks_are_changed_without_c(programs: Programs, tmp_path: Path) -> None:
    """A user's `ple_level` in a file of its own, with gates that divide by a temperature."""
    blocks = (Path(__file__).parents[2] / "dsl" / "blocks.mtl").read_text(encoding="utf-8")
    level = re.search(r"^block ple_level.*?^}\n", blocks, re.MULTILINE | re.DOTALL)
    assert level is not None
    changed = level[0].replace("gate(x, own + shared,", "warm_gate(x, own + shared,")
    assert changed != level[0]
    gate = "block warm_gate(x, n, name) {\n    return softmax(linear(x, n, name) / 2, axis=-1)\n}\n"
    (tmp_path / "levels.mtl").write_text(changed + gate, encoding="utf-8")
    text = (RANKERS / "ple.mtl").read_text(encoding="utf-8")
    (tmp_path / "ple.mtl").write_text('use "levels.mtl"\n' + text, encoding="utf-8")

    twin = next(fixture for fixture in manifest() if fixture.model == TWINS["ple"])
    tensors = weights(twin.path)
    np.savez(tmp_path / "w.npz", **tensors)
    own = programs.compile(tmp_path / "ple.mtl", tmp_path / "own.bin", "--weights", str(tmp_path / "w.npz"))
    halved = {k: v / 2 if ".gates." in k else v for k, v in tensors.items()}
    np.savez(tmp_path / "halved.npz", **halved)
    same = programs.compile(
        RANKERS / "ple.mtl", tmp_path / "same.bin", "--weights", str(tmp_path / "halved.npz")
    )
    inputs = twin.load("in")
    check_close(programs.score(own, inputs), programs.score(same, inputs), "temperature")


def test_unused_and_missing_weights_are_told(programs: Programs, tmp_path: Path) -> None:
    twin = next(fixture for fixture in manifest() if fixture.model == TWINS["mmoe"])
    tensors = weights(twin.path)
    np.savez(tmp_path / "more.npz", **tensors, spare=np.zeros(3, np.float32))
    ranker = RANKERS / "mmoe.mtl"
    done = programs.run(programs.mtlc, ranker, "--weights", tmp_path / "more.npz")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"mtlc: {tmp_path}/more.npz: 1 of {len(tensors) + 1} tensors are not read: 'spare'"
    ]
    fewer = {k: v for k, v in tensors.items() if k != "experts.2.0.bias"}
    fewer["towers.0.0.weight"] = fewer["towers.0.0.weight"].T
    np.savez(tmp_path / "fewer.npz", **fewer)
    done = programs.run(programs.mtlc, ranker, "--weights", tmp_path / "fewer.npz")
    assert done.returncode == 1
    assert "there is no weight 'experts.2.0.bias'" in done.stderr
    assert "weight 'towers.0.0.weight' is f32[32, 16], expected f32[16, 32]" in done.stderr


def test_request_inputs(programs: Programs, tmp_path: Path) -> None:
    text = (
        "ranker two\ntasks click\ninput user: id(50) request\ninput x: dense(4)\n"
        'h = concat(embedding(user, 8, "users"), x, axis=1)\n'
        'output click = sigmoid(tower(h, [16, 1], "tower"))\n'
    )
    (tmp_path / "two.mtl").write_text(text, encoding="utf-8")
    plan = programs.compile(tmp_path / "two.mtl", tmp_path / "plan.bin", "--init", "3")
    shapes = {tensor["name"]: tensor["shape"] for tensor in programs.info(plan)["inputs"]}
    assert shapes == {"user": ["U"], "x": ["B", 4]}
    x = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)
    got = programs.score(plan, {"user": np.array([7]), "x": x})
    assert got["click"].shape == (5, 1)
