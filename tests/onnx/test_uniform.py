"""What need not be computed for each candidate: values that the exporter expanded to the batch, and what is computed from a
looked-up row alone. Random graphs of both against `onnx.reference` in float64, and what they leave to be done.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_uniform MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from onnx import TensorProto, helper
from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, run_seeds

SEEDS = 60
ROWS = (1, 2, 63, 130)


class Mixed(Builder):
    """x (B, W), ids (B); values (B, ...) that are the same for all candidates, come from a table's row, or from x."""

    def __init__(self, seed: int) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng([seed, 23])
        self.x = self.input(Spec((8,)), "x")
        self.regions = int(self.rng.integers(1, 12))
        self.ids = self.input(Spec(() if self.rng.integers(2) else (1,), np.int64, 0, self.regions), "ids")
        self.batch = self.node("Slice", self.node("Shape", self.x), self.ints(0), self.ints(1), self.ints(0))
        self.uniform = [(self.expanded(2, 8), (2, 8)), (self.expanded(8), (8,))]
        self.values = [(self.x, (8,)), *self.uniform, *[self.looked_up() for _ in range(2)]]
        for _ in range(int(self.rng.integers(6, 16))):
            self.grow()
        for name, _ in self.values[-4:]:
            self.output(self.node("Identity", name))

    def pick(self, choices: list):
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def expanded(self, *shape: int) -> str:
        """A constant, or zeros or ones, for every candidate."""
        target = self.node("Concat", self.batch, self.ints(*shape), axis=0)
        if self.rng.integers(4) == 0:
            number = helper.make_tensor("value", TensorProto.FLOAT, [1], [float(self.rng.integers(2))])
            return self.node("ConstantOfShape", target, value=number)
        return self.node("Expand", self.const(self.rng.standard_normal((1, *shape))), target)

    def looked_up(self) -> tuple[str, tuple[int, ...]]:
        table = self.const(self.rng.standard_normal((self.regions, 8)))
        row = self.node("Gather", table, self.ids, axis=0)
        return self.node("Reshape", row, self.ints(-1, 8)), (8,)

    def dense(self, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        product = self.node("MatMul", name, self.const(self.number(shape[-1], 8)))
        return self.node("Relu", self.node("Add", product, self.const(self.number(8)))), (*shape[:-1], 8)

    def grow(self) -> None:
        name, shape = self.pick(self.values)
        kind = self.rng.integers(7)
        if kind <= 1:
            made = self.dense(name, shape)
        elif kind == 2:
            made = self.node(self.pick(["Tanh", "Sigmoid", "Neg"]), name), shape
        elif kind == 3:
            made = self.node("Softmax", name, axis=len(shape)), shape
        elif kind == 4 and len(shape) == 2:  # attention of what there is over itself, heads beside the batch
            heads = self.node("Reshape", name, self.ints(-1, shape[0], 2, 4))
            flat = self.node("Reshape", self.node("Transpose", heads, perm=[0, 2, 1, 3]), self.ints(-1, shape[0], 4))
            turned = self.node("Transpose", flat, perm=[0, 2, 1])
            scores = self.node("Softmax", self.node("MatMul", flat, turned), axis=2)
            apart = self.node("Reshape", self.node("MatMul", scores, flat), self.ints(-1, 2, shape[0], 4))
            made = self.node("Reshape", self.node("Transpose", apart, perm=[0, 2, 1, 3]), self.ints(-1, *shape)), shape
        elif kind == 5 and len(shape) == 2:
            made = self.node("ReduceMean", name, axes=[1], keepdims=0), shape[1:]
        else:
            other, other_shape = self.pick(self.values)
            if len(other_shape) < len(shape):
                other = self.node("Unsqueeze", other, self.ints(1))
            elif len(other_shape) > len(shape):
                name, shape = self.node("Unsqueeze", name, self.ints(1)), other_shape
            made = self.node(self.pick(["Add", "Mul", "Sub", "Max"]), name, other), shape
        self.values.append(made)


def run(programs: Programs, seed: int) -> None:
    built = Mixed(seed)
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, built.model(), Path(folder))
        for rows in ROWS:
            compiled.check({name: spec.make(rows, built.rng) for name, spec in built.inputs.items()})


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mixed(programs: Programs, seed: int) -> None:
    run(programs, seed)


def compile_and_check(programs: Programs, built: Builder, *, rows: tuple[int, ...] = ROWS) -> tuple[Counter[str], str]:
    """How many steps of each kind, and what --explain says."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, built.model(), Path(folder))
        rng = np.random.default_rng(3)
        for count in rows:
            compiled.check({name: spec.make(count, rng) for name, spec in built.inputs.items()})
        text = programs.ok(programs.mtlc, Path(folder) / "model.onnx", "-o", compiled.plan, "--explain")
        return Counter(step["op"] for step in programs.info(compiled.plan)["steps"]), text


@pytest.mark.parametrize("shown", [False, True])
def test_attention_of_tasks_over_experts_is_a_constant(programs: Programs, shown: bool) -> None:
    """Task and expert embeddings expanded to the batch, four heads, their mean as weights (STEM-Net as the survey has it)."""
    b, rng = Builder(17), np.random.default_rng(4)
    tasks, experts, width, heads = 3, 4, 16, 4
    x = b.input(Spec((8,)), "x")
    batch = b.node("Slice", b.node("Shape", x), b.ints(0), b.ints(1), b.ints(0))
    moved = []
    for count in (tasks, experts):
        embedding = b.const(rng.standard_normal((1, count, width)))
        wide = b.node("Expand", embedding, b.node("Concat", batch, b.ints(count, width), axis=0))
        dense = b.node("MatMul", wide, b.const(rng.standard_normal((width, width)) / 4))
        dense = b.node("Add", dense, b.const(rng.standard_normal(width)))
        split = b.node("Transpose", b.node("Reshape", dense, b.ints(-1, count, heads, width // heads)), perm=[0, 2, 1, 3])
        moved.append(b.node("Reshape", split, b.ints(-1, count, width // heads)))
    scores = b.node("MatMul", b.node("Mul", moved[0], b.const(0.5)), b.node("Transpose", moved[1], perm=[0, 2, 1]))
    shares = b.node("Reshape", b.node("Softmax", scores, axis=-1), b.ints(-1, heads, tasks, experts))
    weights = b.node("ReduceMean", shares, axes=[1], keepdims=0)  # (B, T, E)
    outs = []
    for _ in range(experts):
        hidden = b.node("Relu", b.node("Gemm", x, b.const(rng.standard_normal((8, 16))), b.const(rng.standard_normal(16))))
        outs.append(b.node("Unsqueeze", hidden, b.ints(1)))
    stack = b.node("Concat", *outs, axis=1)
    for task in range(tasks):
        own = b.node("Unsqueeze", b.node("Gather", weights, b.const(task, np.int64), axis=1), b.ints(2))
        mixed = b.node("ReduceSum", b.node("Mul", stack, own), b.ints(1), keepdims=0)
        b.output(b.node("Sigmoid", b.node("MatMul", mixed, b.const(rng.standard_normal((16, 1))))))
    if shown:
        b.output(weights)
    found, _ = compile_and_check(programs, b)
    assert found["mix"] == 1 and found["linear"] == 4  # experts; heads, each into its output
    assert not set(found) & {"matmul", "softmax", "reduce", "transpose", "binary"}, found
    assert found["expand"] == shown


def masked(regions: int, hidden: int, wide: int) -> Builder:
    b, rng = Builder(17), np.random.default_rng(5)
    d, region = b.input(Spec((wide,)), "d"), b.input(Spec((), np.int64, 0, regions), "region")
    row = b.node("Gather", b.const(rng.standard_normal((regions, 4))), region)
    h = b.node("Relu", b.node("Gemm", row, b.const(rng.standard_normal((4, hidden))), b.const(rng.standard_normal(hidden))))
    m = b.node("Gemm", h, b.const(rng.standard_normal((hidden, wide)) / 4), b.const(rng.standard_normal(wide)))
    b.output(b.node("Mul", b.node("Sigmoid", m), d))
    return b


def test_a_mask_by_region_is_a_table(programs: Programs) -> None:
    found, text = compile_and_check(programs, masked(regions=10, hidden=32, wide=48))
    assert found["gather"] == 1 and "linear" not in found
    assert "computed once for each row of the table, and looked up" in text


def test_a_large_table_is_computed(programs: Programs) -> None:
    found, text = compile_and_check(programs, masked(regions=3000, hidden=8, wide=64), rows=(3,))
    assert found["gather"] == 1 and found["linear"] == 2
    assert "a table of it would be larger than what it saves" in text


def test_an_id_beyond_the_table_is_still_an_error(programs: Programs) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, masked(regions=10, hidden=32, wide=48).model(), Path(folder))
        given = Path(folder) / "in.npz"
        np.savez(given, d=np.zeros((2, 48), np.float32), region=np.array([3, 10]))
        done = programs.run(programs.mtlrun, "score", compiled.plan, "-i", given, "-o", Path(folder) / "out.npz")
        assert done.returncode == 1 and "region" in done.stderr and "10" in done.stderr


if __name__ == "__main__":
    run_seeds(run, "graphs")
