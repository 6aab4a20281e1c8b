"""Padded sequences whose padding is not computed, from ONNX to scores against `onnx.reference` in float64: blocks of a
Transformer over (B, L, K), masked as keys and in the mean. As a program, MTLC MTLRUN FIRST COUNT, it tries more seeds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, run_seeds

HEADS = 2


class Encoder(Builder):
    """Ids or a mask say which of the L positions of x are padding; pre- or post-norm blocks, mean or sum, a mask that is
    computed early or late."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        super().__init__(int(self.one_of(17, 20)))
        self.length, self.width = int(self.rng.integers(8, 14)), HEADS * int(self.rng.integers(16, 20))
        self.x = self.input(Spec((self.length, self.width)), "x")
        self.by_ids = self.chance(0.5)
        kind = Spec((self.length,), np.int64, 0, 3) if self.by_ids else Spec((self.length,), np.bool_)
        self.marks = self.input(kind, "marks")
        self.fill = float(self.one_of(-1e9, -np.inf, np.finfo(np.float32).min))
        u = self.node("Add", self.x, self.const(self.rng.standard_normal((self.length, self.width))))
        for _ in range(int(self.rng.integers(1, 3))):
            u = self.block(u)
        self.output(self.pooled(u))
        if self.chance(0.2):
            self.output(self.node("Tanh", self.node("Gather", self.x, self.ints(0), axis=1)))

    def one_of(self, *ways: object) -> object:
        return ways[int(self.rng.integers(len(ways)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def keeps(self) -> str:
        """bool (B, L), written anew wherever it is needed."""
        if not self.by_ids:
            return self.marks
        return self.node("Not", self.node("Equal", self.marks, self.const(0, np.int64)))

    def layer(self, x: str, columns: int, rows: int) -> str:
        weights = self.const(self.rng.standard_normal((rows, columns)) * rows**-0.5)
        return self.node("Add", self.node("MatMul", x, weights), self.const(self.rng.standard_normal(columns)))

    def heads(self, x: str) -> str:
        x = self.node("Reshape", x, self.ints(-1, self.length, HEADS, self.width // HEADS))
        return self.node("Transpose", x, perm=(0, 2, 1, 3))

    def attention(self, u: str) -> str:
        q, k, v = (self.heads(self.layer(u, self.width, self.width)) for _ in range(3))
        scores = self.node("MatMul", q, self.node("Transpose", k, perm=(0, 1, 3, 2)))
        scores = self.node("Mul", scores, self.const((self.width // HEADS) ** -0.5))
        scores = self.masked(scores, self.node("Reshape", self.keeps(), self.ints(-1, 1, 1, self.length)))
        y = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        y = self.node("Reshape", self.node("Transpose", y, perm=(0, 2, 1, 3)), self.ints(-1, self.length, self.width))
        return self.layer(y, self.width, self.width)

    def masked(self, scores: str, keys: str) -> str:
        fill, way = self.const(self.fill), self.one_of("over", "add", "add padding", "times")
        if way == "over":
            return self.node("Where", keys, scores, fill)
        if way == "times" and self.fill > -np.inf:
            numbers = self.node("Cast", self.node("Not", keys), to=1)
            return self.node("Add", scores, self.node("Mul", numbers, fill))
        if way == "add":
            return self.node("Add", scores, self.node("Where", keys, self.const(0.0), fill))
        return self.node("Add", self.node("Where", self.node("Not", keys), fill, self.const(0.0)), scores)

    def norm(self, u: str) -> str:
        scale, bias = self.rng.standard_normal((2, self.width))
        return self.node("LayerNormalization", u, self.const(scale), self.const(bias), axis=-1)

    def feed(self, u: str) -> str:
        act = self.one_of("Relu", "Tanh", "Sigmoid")
        return self.layer(self.node(act, self.layer(u, 2 * self.width, self.width)), self.width, 2 * self.width)

    def block(self, u: str) -> str:
        if self.chance(0.5):
            u = self.node("Add", u, self.attention(self.norm(u)))
            return self.node("Add", u, self.feed(self.norm(u)))
        u = self.norm(self.node("Add", u, self.attention(u)))
        return self.norm(self.node("Add", self.feed(u), u))

    def pooled(self, u: str) -> str:
        numbers = self.node("Unsqueeze", self.node("Cast", self.keeps(), to=1), self.ints(2))
        total = self.node("ReduceSum", self.node("Mul", u, numbers), self.ints(1), keepdims=0)
        if self.chance(0.5):
            return total
        count = self.node("ReduceSum", numbers, self.ints(1), keepdims=0)
        return self.node("Div", total, self.node("Max", count, self.const(1.0)))

    def make(self, rows: int, seed: int) -> dict[str, np.ndarray]:
        """Sequences of random lengths, padding behind or before them, with holes, or of padding alone."""
        rng = np.random.default_rng(seed)
        places = np.arange(self.length)
        length, kind = rng.integers(0, self.length + 1, (rows, 1)), rng.integers(0, 4, (rows, 1))
        keeps = np.where(kind == 1, places >= length, places < length)
        keeps &= (kind != 2) | (rng.random((rows, self.length)) < 0.6)
        marks = keeps * rng.integers(1, 9, (rows, self.length)) if self.by_ids else keeps
        return {"x": rng.standard_normal((rows, self.length, self.width)).astype(np.float32), "marks": marks}


def check(programs: Programs, seed: int, folder: Path) -> list[dict]:
    encoder = Encoder(seed)
    compiled = Compiled(programs, encoder.model(), folder)
    for rows in (1, 5, 33):
        compiled.check(encoder.make(rows, seed + rows))
    compiled.check(encoder.make(17, seed), "--provider", "onednn")
    return json.loads(programs.ok(programs.mtlrun, "info", compiled.plan, "--json"))["steps"]


@pytest.mark.parametrize("seed", range(16))
def test_padding_is_left_out(programs: Programs, tmp_path: Path, seed: int) -> None:
    steps = check(programs, seed, tmp_path)
    spans = [step["op"] for step in steps if "span" in step]
    assert {"attention", "linear", "layer_norm", "mix"} <= set(spans), spans
    assert not {step["op"] for step in steps if "span" not in step} & {"attention", "linear", "layer_norm"}


def run(programs: Programs, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(programs, seed, Path(folder))


if __name__ == "__main__":
    run_seeds(run, "encoders")
