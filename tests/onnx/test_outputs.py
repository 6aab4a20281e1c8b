"""`--outputs`: the plan of some of a model's outputs does the work of a model that has these alone, and scores like it
in `onnx.reference` in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.harness import Fixture, Programs, Work, check_close, check_same_work, manifest, names, work_of
from tests.hostile.support import check_holds, check_refused
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import difference, evaluate, promoted

X, EXPERT, TOWER = 24, 16, 8
TASKS = ("ctr", "cvr", "order")


def layer(b: Builder, x: str, name: str, width: int, wide: int, act: str | None = "Relu") -> str:
    """Weights by name alone, so that a task has the same ones whichever tasks stand beside it."""
    draws = np.random.default_rng(sum(name.encode()))
    w, c = draws.standard_normal((width, wide)) / np.sqrt(width), draws.standard_normal(wide) / 4
    y = b.node("Gemm", x, b.const(w), b.const(c))
    return b.node(act, y) if act else y


def mixture(b: Builder, x: str, name: str, experts: list[str]) -> str:
    gate = b.node("Softmax", layer(b, x, f"gate {name}", X, len(experts), None), axis=1)
    stack = b.node("Concat", *(b.node("Unsqueeze", e, b.ints(1)) for e in experts), axis=1)
    return b.node("ReduceSum", b.node("Mul", b.node("Unsqueeze", gate, b.ints(2)), stack), b.ints(1), keepdims=0)


def heads(b: Builder, mixed: dict[str, str]) -> Builder:
    for task, h in mixed.items():
        h = layer(b, h, f"tower {task}", EXPERT, TOWER)
        b.nodes.append(helper.make_node("Sigmoid", [layer(b, h, f"head {task}", TOWER, 1, None)], [task]))
        b.output(task)
    return b


def mmoe(tasks: tuple[str, ...]) -> Builder:
    b = Builder(17)
    x = b.input(Spec((X,)), "x")
    experts = [layer(b, x, f"expert {i}", X, EXPERT) for i in range(4)]
    return heads(b, {task: mixture(b, x, task, experts) for task in tasks})


def ple(tasks: tuple[str, ...]) -> Builder:
    """One level: two shared experts and two of each task."""
    b = Builder(17)
    x = b.input(Spec((X,)), "x")
    shared = [layer(b, x, f"shared {i}", X, EXPERT) for i in range(2)]
    own = {task: [layer(b, x, f"{task} {i}", X, EXPERT) for i in range(2)] for task in tasks}
    return heads(b, {task: mixture(b, x, task, own[task] + shared) for task in tasks})


def work(programs: Programs, plan: Path) -> Work:
    """Without the order in which experts stand: importing goes from the outputs, so it follows the first task."""
    info = programs.info(plan)
    for step in info["steps"]:
        if step["op"] == "mix":
            step["attrs"] = sorted(step["attrs"])
    return work_of(info)


@pytest.mark.parametrize("tasks", [("ctr",), ("cvr",), ("order",), ("ctr", "order"), TASKS])
@pytest.mark.parametrize("ranker", [mmoe, ple])
def test_the_others_cost_nothing(programs: Programs, tmp_path: Path, ranker, tasks: tuple[str, ...]) -> None:
    whole, alone = ranker(TASKS), ranker(tasks)
    (tmp_path / "whole.onnx").write_bytes(whole.model().SerializeToString())
    (tmp_path / "alone.onnx").write_bytes(alone.model().SerializeToString())
    plan = programs.compile(tmp_path / "whole.onnx", tmp_path / "plan", "--outputs", ",".join(reversed(tasks)))
    other = programs.compile(tmp_path / "alone.onnx", tmp_path / "other")
    check_same_work({"alone": work(programs, other), "chosen": work(programs, plan)}, ranker.__name__)
    assert [o["name"] for o in programs.info(plan)["outputs"]] == list(tasks)  # the model's order
    inputs = whole.make(70)
    got, want = programs.score(plan, inputs), evaluate(promoted(whole.model()), inputs)
    assert sorted(got) == sorted(tasks)
    for task in tasks:
        assert difference(got[task], want[task]) == "", task


def test_what_private_experts_cost_is_gone(programs: Programs, tmp_path: Path) -> None:
    """Not only equal to another compilation: the products of one task, counted by hand."""
    (tmp_path / "m.onnx").write_bytes(ple(TASKS).model().SerializeToString())
    plan = programs.compile(tmp_path / "m.onnx", tmp_path / "plan", "--outputs", "c?r")
    one = 2 * (X * (4 * EXPERT + 4) + 4 * EXPERT + EXPERT * TOWER + TOWER)  # two private experts, two shared
    steps = programs.info(plan)["steps"]
    products = sum(step["flops_per_row"] for step in steps if step["op"] in ("linear", "mix"))
    assert [o["name"] for o in programs.info(plan)["outputs"]] == ["ctr", "cvr"]
    two = 2 * one - 2 * X * 2 * EXPERT  # the shared ones once
    assert two <= products <= 1.15 * two  # biases, activations, softmax


RANKERS = [f for f in manifest() if len(f.outputs) > 1 and f.name.startswith(("mmoe", "ple", "trained", "zoo"))]


@pytest.mark.parametrize("fixture", RANKERS, ids=names(RANKERS))
def test_exported_rankers(programs: Programs, tmp_path: Path, fixture: Fixture) -> None:
    """Against the same file whose graph was cut before it was compiled, and against the scores it was exported with."""
    name = fixture.outputs[-1]
    model = onnx.load(fixture.path)
    del model.graph.output[:-1]
    assert [o.name for o in model.graph.output] == [name]
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString())
    cut = programs.compile(tmp_path / "cut.onnx", tmp_path / "cut", *fixture.options)
    plan = programs.compile(fixture.path, tmp_path / "plan", *fixture.options, "--outputs", name)
    assert work(programs, plan).flops == work(programs, cut).flops
    got = programs.score(plan, fixture.load("in"))
    assert list(got) == [name]
    check_close(got, {name: fixture.load("f64")[name]}, fixture.model)


def two_inputs() -> Builder:
    b = Builder(17)
    x, z = b.input(Spec((3,)), "x"), b.input(Spec((3,)), "z")
    for name, value in (("a", x), ("b", z)):
        b.nodes.append(helper.make_node("Sigmoid", [value], [name]))
        b.output(name)
    return b


def test_inputs_stay_in_the_signature(programs: Programs, tmp_path: Path) -> None:
    """A service feeds the same tensors, whichever scores it asks for; one that nothing reads may hold anything."""
    b = two_inputs()
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    plan = programs.compile(tmp_path / "m.onnx", tmp_path / "plan", "--outputs", "b")
    assert [i["name"] for i in programs.info(plan)["inputs"]] == ["x", "z"]
    inputs = b.make(5)
    inputs["x"][:] = np.nan
    got = programs.score(plan, inputs)
    assert list(got) == ["b"]
    assert difference(got["b"], 1 / (1 + np.exp(-inputs["z"].astype(np.float64)))) == ""


def test_the_evaluator_takes_outputs_too(programs: Programs, tmp_path: Path) -> None:
    b = two_inputs()
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    np.savez(tmp_path / "in.npz", **b.make(5))
    files = ("--evaluate", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    programs.ok(programs.mtlc, tmp_path / "m.onnx", *files, "--outputs", "a")
    with np.load(tmp_path / "out.npz") as got:
        assert got.files == ["a"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("c", "--outputs c: the model has no such output, but 'a', 'b'"),
        ("a,A", "--outputs A: the model has no such output"),
        ("b*c", "--outputs b*c: the model has no such output"),
        ("a,,b", "--outputs a,,b: expected NAME,..."),
        ("", "--outputs : expected NAME,..."),
        ("a,", "--outputs a,: expected NAME,..."),
        (",".join("a" * 1025), "more than 1024 --outputs"),
    ],
)
def test_wrong_names_are_errors(programs: Programs, tmp_path: Path, option: str, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(two_inputs().model().SerializeToString())
    done = programs.run(programs.mtlc, tmp_path / "m.onnx", "-o", tmp_path / "plan", f"--outputs={option}")
    check_refused(done, message)
    check_holds(tmp_path, "m.onnx")


def test_a_param_that_is_left_out_is_an_error(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    x = b.input(Spec((3,)), "x")
    for name, factor in (("a", "alpha"), ("b", "beta")):
        b.nodes.append(helper.make_node("Mul", [x, b.const(2.0, name=factor)], [name]))
        b.output(name)
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    options = ("-o", tmp_path / "plan", "--param", "alpha")
    programs.ok(programs.mtlc, tmp_path / "m.onnx", *options, "--outputs", "a")
    done = programs.run(programs.mtlc, tmp_path / "m.onnx", *options, "--outputs", "b")
    check_refused(done, "--param alpha: no output depends on it")
