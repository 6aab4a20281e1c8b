"""Slices, concatenations and reshapes along columns, which cost no step where they can: random graphs of them with
layers and element-wise operations around, against `onnx.reference` in float64, and what small graphs cost.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_columns MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, Refused, run_seeds

SEEDS = 60
ROWS = (1, 2, 63, 65, 200)
UNARY = ["Relu", "Sigmoid", "Tanh", "Neg", "Softplus", "Abs"]
BINARY = ["Add", "Sub", "Mul", "Max"]


class Columns(Builder):
    """Values are names with the shape of one candidate; all begin with the axis of the candidates."""

    def __init__(self, seed: int) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng([seed, 5])
        self.values: list[tuple[str, tuple[int, ...]]] = []
        for _ in range(self.number(1, 2)):
            width = self.number(2, 24)
            self.add(self.input(Spec((width,))), (width,))
        width = self.number(1, 6)
        self.request = (self.input(Spec((1, width), rows=False)), width)
        for _ in range(self.number(6, 18)):
            self.grow()

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, choices: list) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def data(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) < 3 else shape[-2])

    def add(self, name: str, shape: tuple[int, ...]) -> None:
        self.values.append((name, shape))

    def value(self, rank: int | None = None) -> tuple[str, tuple[int, ...]]:
        """Late ones more often, so that chains get long."""
        fitting = [value for value in self.values if rank is None or len(value[1]) == rank]
        return fitting[-1 - min(int(self.rng.exponential(2.5)), len(fitting) - 1)]

    def flat(self) -> tuple[str, int]:
        name, (width,) = self.value(1)
        return name, width

    def grow(self) -> None:
        kinds = [self.layer, self.layer, self.slice, self.slice, self.concat, self.concat, self.concat, self.split]
        kinds += [self.unary, self.binary, self.softmax, self.reshape, self.reduce, self.select, self.product]
        kinds += [self.stack, self.norm, self.where, self.transpose, self.grouped]
        self.pick(kinds)()

    def layer(self) -> None:
        name, shape = self.value()
        width = self.number(1, 20)
        y = self.node("MatMul", name, self.const(self.data(shape[-1], width)))
        y = self.node("Add", y, self.const(self.data(width))) if self.chance(0.6) else y
        y = self.node(self.pick(UNARY), y) if self.chance(0.6) else y
        self.add(y, (*shape[:-1], width))

    def grouped(self) -> None:
        name, shape = self.value()
        if len(shape) == 2:
            width = self.number(1, 9)
            w = self.const(self.data(shape[0], shape[1], width))
            self.add(self.node("Einsum", name, w, equation="bgk,gkn->bgn"), (shape[0], width))

    def slice(self) -> None:
        name, shape = self.value()
        axis = self.number(0, len(shape) - 1)
        first = self.number(0, shape[axis] - 1)
        last = self.number(first + 1, shape[axis])
        step = 2 if self.chance(0.08) else 1
        ints = [self.ints(first), self.ints(last), self.ints(axis + 1), self.ints(step)]
        kept = -(-(last - first) // step)
        self.add(self.node("Slice", name, *ints), (*shape[:axis], kept, *shape[axis + 1 :]))

    def split(self) -> None:
        name, width = self.flat()
        if width < 2:
            return
        first = self.number(1, width - 1)
        y = self.node("Split", name, self.ints(first, width - first), axis=1, outs=2)
        self.add(y, (first,))
        self.add(f"{y}.1", (width - first,))

    def select(self) -> None:
        name, shape = self.value()
        if len(shape) > 1:
            at = self.const(np.array(self.number(0, shape[0] - 1)), np.int64)
            self.add(self.node("Gather", name, at, axis=1), shape[1:])

    def concat(self) -> None:
        parts = [self.flat() for _ in range(self.number(1, 4))]
        if self.chance(0.25):
            parts.append(parts[0])
        if self.chance(0.15):
            rows = self.node("Slice", self.node("Shape", parts[0][0]), self.ints(0), self.ints(1))
            shape = self.node("Concat", rows, self.ints(self.request[1]), axis=0)
            parts.append((self.node("Expand", self.request[0], shape), self.request[1]))
        self.add(self.node("Concat", *(name for name, _ in parts), axis=-1), (sum(width for _, width in parts),))

    def stack(self) -> None:
        """Several of one width on an axis of their own, or along the last of two."""
        name, shape = self.value()
        like = [value for value, other in self.values if other == shape]
        parts = [name] + [str(self.pick(like)) for _ in range(self.number(1, 3))]
        if len(shape) == 1:
            parts = [self.node("Unsqueeze", part, self.ints(1)) for part in parts]
            self.add(self.node("Concat", *parts, axis=1), (len(parts), *shape))
        else:
            axis = self.number(1, 2)
            wide = list(shape)
            wide[axis - 1] *= len(parts)
            self.add(self.node("Concat", *parts, axis=axis), tuple(wide))

    def unary(self) -> None:
        name, shape = self.value()
        self.add(self.node(self.pick(UNARY), name), shape)

    def binary(self) -> None:
        name, shape = self.value()
        like = [value for value, other in self.values if other == shape or other == (1,)]
        other = str(self.pick(like)) if self.chance(0.6) else self.const(self.data(shape[-1]))
        if len(shape) > 1 and (other, (1,)) in self.values:
            other = self.node("Unsqueeze", other, self.ints(1))
        self.add(self.node(self.pick(BINARY), name, other), shape)

    def where(self) -> None:
        name, shape = self.value()
        low = self.node("Less", name, self.const(0.2))
        self.add(self.node("Where", low, name, self.const(self.data(shape[-1]))), shape)

    def softmax(self) -> None:
        name, shape = self.value()
        self.add(self.node("Softmax", name, axis=self.number(1, len(shape))), shape)

    def norm(self) -> None:
        name, shape = self.value()
        if shape[-1] > 2:  # of less, the variance may be next to nothing
            scale, bias = self.const(self.data(shape[-1])), self.const(self.data(shape[-1]))
            self.add(self.node("LayerNormalization", name, scale, bias, axis=-1, epsilon=0.1), shape)

    def reduce(self) -> None:
        name, shape = self.value()
        axis, keep = self.number(1, len(shape)), self.chance(0.5)
        kept = (*shape[: axis - 1], 1, *shape[axis:]) if keep or len(shape) == 1 else shape[: axis - 1] + shape[axis:]
        op = self.pick(["ReduceMean", "ReduceMax"])
        self.add(self.node(op, name, axes=[axis], keepdims=int(keep or len(shape) == 1)), kept)

    def reshape(self) -> None:
        name, shape = self.value()
        count = int(np.prod(shape))
        if len(shape) > 1:
            shape = (count,)
        else:
            divisors = [n for n in range(1, count + 1) if count % n == 0]
            first = int(self.pick(divisors))
            shape = (first, count // first)
        y = self.node("Reshape", name, self.ints(-1, *shape))
        if self.chance(0.15):  # there and back: rows that the candidates' axis does not count
            wide = self.node("Reshape", y, self.ints(-1, shape[-1]))
            y = self.node("Reshape", self.node("Neg", wide), self.ints(-1, *shape))
        self.add(y, shape)

    def transpose(self) -> None:
        name, shape = self.value()
        if len(shape) == 2:
            if self.chance(0.3):  # the candidates behind, and in front again
                y = self.node("Tanh", self.node("Transpose", name, perm=[1, 0, 2]))
                self.add(self.node("Transpose", y, perm=[1, 0, 2]), shape)
            else:
                self.add(self.node("Transpose", name, perm=[0, 2, 1]), shape[::-1])

    def product(self) -> None:
        name, shape = self.value()
        fitting = [other for other in self.values if len(other[1]) == 2 and other[1][0] == shape[-1]]
        if fitting:
            other, (_, width) = fitting[self.number(0, len(fitting) - 1)]
            if len(shape) == 1:
                name, shape = self.node("Unsqueeze", name, self.ints(1)), (1, *shape)
            self.add(self.node("MatMul", name, other), (shape[0], width))

    def finish(self) -> None:
        ready = {result for node in self.nodes for result in node.output}
        made = [name for name, _ in self.values if name in ready]
        used = {operand for node in self.nodes for operand in node.input}
        for name in made:
            if name not in used or self.chance(0.1):
                self.output(name)


def run(programs: Programs, seed: int) -> str:
    """Makes, compiles, scores and compares one; returns "" or the message of a refusal."""
    columns = Columns(seed)
    columns.finish()
    if not columns.outputs:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = Compiled(programs, columns.model(), Path(folder))
        except Refused as refused:
            return refused.message
        together: dict[str, np.ndarray] = {}
        for rows in ROWS if seed % 4 == 0 else (1, 65):
            inputs = columns.make(rows)
            together = compiled.check(inputs, *(("--tile-rows", "16") if rows > 64 else ()))
        more = {1: ("--provider", "onednn"), 2: ("--isa", "generic")}.get(seed % 4)
        if more is not None:
            compiled.check(columns.make(17), *more)
        alone = {name: a[3:4] if columns.inputs[name].rows else a for name, a in inputs.items()}
        if len(inputs["in_1"]) > 3:
            for name, got in compiled.score(alone).items():
                assert got.tobytes() == together[name][3:4].tobytes(), f"{name} has other bits alone"
    return ""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_columns(seed: int, programs: Programs) -> None:
    assert run(programs, seed) == ""


def operations(programs: Programs, builder: Builder, folder: Path) -> list[str]:
    compiled = Compiled(programs, builder.model(), folder)
    compiled.check(builder.make(65))
    return [step["op"] for step in programs.info(compiled.plan)["steps"]]


def test_joined_layers_and_split_towers_cost_no_step(programs: Programs, tmp_path: Path) -> None:
    """Layers of different inputs are joined, a wide layer is split into towers, and their scores are joined."""
    rng = np.random.default_rng(1)
    b = Builder(17)
    joined = []
    for width in (3, 5, 8):
        x, w = b.input(Spec((width,))), b.const(rng.standard_normal((width, width + 1)))
        joined.append(b.node("Relu", b.node("MatMul", x, w)))
    wide = b.node("MatMul", b.node("Concat", *joined, axis=1), b.const(rng.standard_normal((19, 12))))
    tower = b.node("Split", b.node("Tanh", wide), b.ints(3, 4, 5), axis=1, outs=3)
    scores = []
    for name, width in ((tower, 3), (f"{tower}.1", 4), (f"{tower}.2", 5)):
        scores.append(b.node("Sigmoid", b.node("MatMul", name, b.const(rng.standard_normal((width, 1))))))
    b.output(b.node("Concat", *scores, axis=1))
    assert operations(programs, b, tmp_path) == ["linear"] * 7


def test_selected_rows_cost_no_step(programs: Programs, tmp_path: Path) -> None:
    """x[:, 1] and x[:, -1], as exporters write them: a gather of one constant index."""
    b = Builder(17)
    x = b.input(Spec((3, 4)))
    h = b.node("Relu", x)
    for index in (1, -1):
        row = b.node("Gather", h, b.const(index, np.int64), axis=1)
        b.output(b.node("Softmax", row, axis=1))
    assert operations(programs, b, tmp_path) == ["unary", "softmax", "softmax"]


if __name__ == "__main__":
    run_seeds(run, "graphs")
