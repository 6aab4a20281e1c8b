"""Experts whose hidden values are too wide for a core's cache run in parts (passes/split_wide.c): the same numbers, one
product more for each part, and nothing copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled

ROWS = (1, 5, 65)
TOWERS = 1  # one product for both logits


class Experts(Builder):
    """E experts of two layers on x (B, 6), a gate and a logit for each of two tasks, and the score of their sum."""

    def __init__(self, experts: int, hidden: int, *, gate_first: bool = False, bias: bool = True) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng([experts, hidden])
        self.bias = bias
        x = self.input(Spec((6,)), "x")
        gates = [self.gate(x, experts) for _ in range(2)] if gate_first else []
        stack = self.stack(x, 6, experts, hidden)
        gates = gates or [self.gate(x, experts) for _ in range(2)]
        self.streams = [self.node("Squeeze", self.node("MatMul", gate, stack), self.ints(1)) for gate in gates]

    def layer(self, x: str, width: int, out: int, relu: bool = True) -> str:
        w = self.const(self.rng.standard_normal((width, out)) / np.sqrt(width))
        operands = [self.const(self.rng.standard_normal(out))] if self.bias else []
        y = self.node("Gemm", x, w, *operands)
        return self.node("Relu", y) if relu else y

    def gate(self, x: str, experts: int) -> str:
        return self.node("Unsqueeze", self.node("Softmax", self.layer(x, 6, experts, relu=False)), self.ints(1))

    def stack(self, x: str, width: int, experts: int, hidden: int) -> str:
        """(B, experts, 8)"""
        each = [self.layer(self.layer(x, width, hidden), hidden, 8) for _ in range(experts)]
        return self.node("Concat", *[self.node("Unsqueeze", y, self.ints(1)) for y in each], axis=1)

    def second_level(self, experts: int, hidden: int) -> None:
        """Experts on each of the two streams: a batch in front of a batch."""
        stacks = [self.stack(stream, 8, experts, hidden) for stream in self.streams]
        self.streams = [self.node("ReduceMean", stack, axes=[1], keepdims=0) for stack in stacks]

    def finish(self) -> None:
        scores = [self.layer(stream, 8, 1, relu=False) for stream in self.streams]
        self.output(self.node("Sigmoid", self.node("Add", *scores)))


def steps_of(programs: Programs, builder: Builder, folder: Path) -> list[str]:
    builder.finish()
    compiled = Compiled(programs, builder.model(), folder)
    for rows in ROWS:
        compiled.check(builder.make(rows))
    return [step["op"] for step in programs.info(compiled.plan)["steps"]]


@pytest.mark.parametrize(
    ("experts", "hidden", "products"),
    [
        (8, 256, 2),  # 2,048: stays one
        (9, 256, 6),  # three of 768
        (10, 256, 4),  # two of 1,280
        (3, 1000, 3),  # 1,000 columns are no whole panels; the gates are a product of their own
        (2, 4096, 4),  # a part is one expert, wide as it is
        (11, 256, 22),  # a prime number: as many parts
    ],
)
def test_parts(programs: Programs, tmp_path: Path, experts: int, hidden: int, products: int) -> None:
    steps = steps_of(programs, Experts(experts, hidden), tmp_path)
    assert steps.count("linear") == products + TOWERS
    assert set(steps) <= {"linear", "mix", "chain"}


@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gates(programs: Programs, tmp_path: Path, gate_first: bool, bias: bool) -> None:
    steps = steps_of(programs, Experts(12, 256, gate_first=gate_first, bias=bias), tmp_path)
    assert steps[:5] == ["linear", "linear", "linear", "linear", "mix"]


def test_batches(programs: Programs, tmp_path: Path) -> None:
    builder = Experts(4, 16)
    builder.second_level(8, 256)
    steps = steps_of(programs, builder, tmp_path)
    assert steps.count("linear") == 2 + 4 + TOWERS
