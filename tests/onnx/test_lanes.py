"""Element-wise functions one after the other, which become one step: random ones against `onnx.reference` in float64, with
the bits that they have as single steps; and what small graphs become.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_lanes MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, run_seeds

SEEDS = 48
ROWS = (1, 2, 17, 63, 65, 200)
UNARY: list[tuple[str, dict[str, object]]] = [
    ("Relu", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Abs", {}),
    ("Neg", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Elu", {"alpha": 0.7}),
    ("Selu", {}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("Gelu", {"approximate": "tanh"}),
]
SHAPES = [(1,), (3,), (8,), (40,), (130,), (700,), (2, 3), (3, 40), (2, 130), (5, 1)]


class Lanes(Builder):
    """`seen`: every value in between is an output as well, so that each function is a step of its own."""

    def __init__(self, seed: int, seen: bool) -> None:
        super().__init__(20)
        self.rng = np.random.default_rng([seed, 9])
        self.shape = SHAPES[seed % len(SHAPES)]
        self.windows = seed % 3 == 2
        self.between: list[str] = []
        extra = [self.full() for _ in range(self.number(0, 3))]
        value = self.full()
        added = False
        for _ in range(self.number(2, 9)):
            # sums of several values in a row are other chains
            value, added = self.step(value, [] if added else extra)
            self.between.append(value)
        if self.windows:
            value = self.node("Concat", value, self.node("Exp", self.full()), axis=-1)
        self.output(value)
        for name in self.between[:-1] if seen else []:
            self.output(name)

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def full(self) -> str:
        """An input, or some columns of one."""
        if not self.windows:
            return self.input(Spec(self.shape, low=-1.5, high=1.5))
        wide = self.input(Spec((*self.shape[:-1], self.shape[-1] + 4), low=-1.5, high=1.5))
        if len(self.shape) > 1:
            return self.node("Slice", wide, self.ints(1), self.ints(1 + self.shape[-1]), self.ints(len(self.shape)))
        return self.node("Split", wide, self.ints(3, self.shape[-1], 1), axis=1, outs=3) + ".1"

    def constant(self) -> str:
        kinds = [(), (1,), self.shape[-1:], self.shape, (1, *self.shape), (*self.shape[:-1], 1)]
        data = self.rng.uniform(0.5, 1.2, kinds[self.number(0, len(kinds) - 1)])
        return self.const(data * (1 if self.number(0, 1) else -1))

    def step(self, value: str, extra: list[str]) -> tuple[str, bool]:
        kind = self.number(0, 9)
        if kind < 3:
            op, attributes = UNARY[self.number(0, len(UNARY) - 1)]
            return self.node(op, value, **attributes), False
        if kind == 3:
            return self.node("Clip", value, self.const(-0.8), self.const(0.9)), False
        if kind == 4:
            return self.node("PRelu", value, self.constant()), False
        if kind == 5:
            return self.node("Div", value, self.constant()), False
        use_extra = bool(extra) and kind > 7
        other = extra[self.number(0, len(extra) - 1)] if use_extra else self.constant()
        op = ["Add", "Sub", "Mul", "Max", "Min"][self.number(0, 4)]
        pair = [value, other] if self.number(0, 1) else [other, value]
        return self.node(op, *pair), use_extra


def steps_of(programs: Programs, compiled: Compiled) -> Counter[str]:
    return Counter(f"{step['op']} {step['function']}".strip() for step in programs.info(compiled.plan)["steps"])


def run(programs: Programs, seed: int) -> Counter[str]:
    """Makes, compiles, scores and compares one; returns its operations."""
    lanes, single = Lanes(seed, False), Lanes(seed, True)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        compiled, apart = Compiled(programs, lanes.model(), Path(one)), Compiled(programs, single.model(), Path(other))
        operations = Counter(step["op"] for step in programs.info(compiled.plan)["steps"])
        assert "chain" not in Counter(step["op"] for step in programs.info(apart.plan)["steps"])
        name = lanes.outputs[0]
        for rows in ROWS if seed % 2 == 0 else (1, 65):
            options = ("--tile-rows", "16") if rows > 64 else ()
            for more in ((), ("--isa", "generic"), ("--isa", "avx2"))[: 3 if rows == 65 else 1]:
                got = compiled.check(lanes.make(rows), *options, *more)[name]
                assert got.tobytes() == apart.score(single.make(rows), *options, *more)[name].tobytes()
        inputs = lanes.make(65)
        alone = compiled.score({key: array[3:4] for key, array in inputs.items()})[name]
        assert alone.tobytes() == compiled.score(inputs)[name][3:4].tobytes()
        compiled.check(lanes.make(17), "--provider", "onednn")
    return operations


@pytest.mark.parametrize("seed", range(SEEDS))
def test_lanes(seed: int, programs: Programs) -> None:
    operations = run(programs, seed)
    if seed % 3 != 2:
        assert operations == {"chain": 1}, operations


def test_norms_and_residuals(programs: Programs, tmp_path: Path) -> None:
    """PReLU, the BatchNorm behind it, which the sum keeps from the next layer, and a residual."""
    rng = np.random.default_rng(1)
    b = Builder(17)
    x = b.input(Spec((24,)))
    for _ in range(2):
        h = b.node("Gemm", x, b.const(rng.standard_normal((24, 24)) / 5), b.const(rng.standard_normal(24)))
        h = b.node("PRelu", h, b.const(rng.uniform(0.1, 0.4, 24)))
        norm = [b.const(rng.uniform(0.5, 1.5, 24)) for _ in range(4)]
        x = b.node("Add", b.node("BatchNormalization", h, *norm), x)
    b.output(x)
    compiled = Compiled(programs, b.model(), tmp_path)
    compiled.check(b.make(65))
    assert steps_of(programs, compiled) == {"linear": 2, "chain prelu, mul, add, add": 2}


def test_candidates_behind(programs: Programs, tmp_path: Path) -> None:
    """(3, B, 5): columns are the same for all candidates, and no tile is one piece of an output."""
    rng = np.random.default_rng(3)
    b = Builder(17)
    x, r = (b.node("Transpose", b.input(Spec((3, 5))), perm=[1, 0, 2]) for _ in range(2))
    y = b.node("Add", b.node("Mul", b.node("PRelu", x, b.const(rng.uniform(0.1, 0.4, 5))), r), b.const(0.5))
    b.output(b.node("Tanh", y))
    b.output(b.node("Relu", b.node("Sub", r, b.const(rng.standard_normal((3, 1, 5))))))
    compiled = Compiled(programs, b.model(), tmp_path)
    for rows in (1, 17, 65):
        compiled.check(b.make(rows), "--tile-rows", "16")
    counts = steps_of(programs, compiled)
    assert counts["chain prelu, mul, add, tanh"] == 1 and counts["binary sub"] == counts["unary relu"] == 1


def test_probabilities_of_running_sums(programs: Programs, tmp_path: Path) -> None:
    """The sigmoid behind a running sum of logits is part of it."""
    rng = np.random.default_rng(2)
    b = Builder(17)
    z = b.node("MatMul", b.input(Spec((8,))), b.const(rng.standard_normal((8, 4))))
    b.output(b.node("Sigmoid", b.node("CumSum", z, b.const(1, np.int64))))
    compiled = Compiled(programs, b.model(), tmp_path)
    compiled.check(b.make(65))
    assert steps_of(programs, compiled) == {"linear": 1, "scan sum": 1}


if __name__ == "__main__":
    run_seeds(run, "graphs")
