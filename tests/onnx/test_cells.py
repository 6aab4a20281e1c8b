"""Recurrent cells that are written out, as GRUCell exports and as people write them, against `onnx.reference` in float64: gates
as parts of one product or of several, either form of the last step, one to three layers cell by cell, states fed back into
what is read, cells that differ a little from a GRU's, gates that others read.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_cells MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, run_seeds

SEEDS = 60
ROWS = (1, 4, 67)
TWISTS = ["none"] * 6 + ["scaled", "reset_before", "other_weights", "shown", "feedback"]


class Cells(Builder):
    """x (B, I) and what layers make of it, through cells that share their weights over the steps."""

    def __init__(self, seed: int, **fixed: object) -> None:
        super().__init__(17)
        rng = self.rng = np.random.default_rng([seed, 29])
        self.pick = {
            "steps": int(rng.integers(1, 6)),
            "layers": int(rng.integers(1, 4)),
            "hidden": int(rng.choice([1, 4, 16, 19])),
            "packed": bool(rng.integers(2)),
            "difference": bool(rng.integers(2)),
            "bias": bool(rng.integers(4)),
            "zeros": bool(rng.integers(3)),
            "layer_by_layer": bool(rng.integers(2)),
            "twist": str(rng.choice(TWISTS)),
        } | fixed
        p = self.pick
        self.x = self.input(Spec((6,)), "x")
        self.one = self.const(1.0)
        self.weights = [self.draw(6 if layer == 0 else p["hidden"]) for layer in range(p["layers"])]
        self.tokens = [self.x] + [self.node("Tanh", self.dense(self.x, self.number(6, 6))) for _ in range(p["steps"] - 1)]
        self.states = [self.first(layer) for layer in range(p["layers"])]
        self.run()

    def number(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def draw(self, width: int) -> dict[str, np.ndarray]:
        h = self.pick["hidden"]
        return {"w": self.number(width, 3 * h), "u": self.number(h, 3 * h), "b": self.number(3 * h), "d": self.number(3 * h)}

    def dense(self, x: str, w: np.ndarray, b: np.ndarray | None = None) -> str:
        if b is not None and self.rng.integers(2):
            return self.node("Gemm", x, self.const(w.T), self.const(b), transB=1)
        product = self.node("MatMul", x, self.const(w))
        return product if b is None else self.either("Add", product, self.const(b))

    def either(self, op: str, a: str, b: str) -> str:
        return self.node(op, a, b) if self.rng.integers(2) else self.node(op, b, a)

    def first(self, layer: int) -> str:
        if not self.pick["zeros"]:
            return self.input(Spec((self.pick["hidden"],)), f"h{layer}")
        batch = self.node("Slice", self.node("Shape", self.x), self.ints(0), self.ints(1), self.ints(0))
        shape = self.node("Concat", batch, self.ints(self.pick["hidden"]), axis=0)
        return self.node("ConstantOfShape", shape) if self.rng.integers(2) else self.node("Expand", self.const(0.0), shape)

    def gates(self, x: str, w: np.ndarray, b: np.ndarray) -> list[str]:
        h, bias = self.pick["hidden"], self.pick["bias"]
        if self.pick["packed"]:
            made = self.node("Split", self.dense(x, w, b if bias else None), self.ints(h, h, h), outs=3, axis=1)
            return [made, f"{made}.1", f"{made}.2"]
        return [self.dense(x, w[:, g * h : (g + 1) * h], b[g * h : (g + 1) * h] if bias else None) for g in range(3)]

    def cell(self, x: str, h: str, weights: dict[str, np.ndarray], last: bool) -> str:
        twist = self.pick["twist"] if last else "none"
        if twist == "other_weights":
            weights = {name: 2 * array for name, array in weights.items()}
        (xr, xz, xn), (hr, hz, hn) = self.gates(x, weights["w"], weights["b"]), self.gates(h, weights["u"], weights["d"])
        r = self.node("Sigmoid", self.either("Add", xr, hr))
        z = self.node("Sigmoid", self.either("Add", xz, hz))
        if twist == "scaled":  # as in DIEN's AUGRU
            z = self.either("Mul", z, self.node("Sigmoid", self.dense(self.x, self.number(6, 1))))
        if twist == "shown":
            self.output(self.node("Identity", z))
        inner = self.either("Mul", r, hn)
        if twist == "reset_before":
            inner = self.dense(self.either("Mul", r, h), weights["u"][:, : self.pick["hidden"]])
        n = self.node("Tanh", self.either("Add", xn, inner))
        if self.pick["difference"]:
            return self.either("Add", self.either("Mul", self.node("Sub", h, n), z), n)
        rest = self.either("Mul", self.node("Sub", self.one, z), n)
        return self.either("Add", rest, self.either("Mul", z, h))

    def run(self) -> None:
        p, read = self.pick, list(self.tokens)
        places = [(layer, step) for step in range(p["steps"]) for layer in range(p["layers"])]
        for layer, step in sorted(places) if p["layer_by_layer"] else places:
            x = read[step]
            if p["twist"] == "feedback" and layer == 0 and step > 0:
                x = self.node("Add", x, self.dense(self.states[-1 if not p["layer_by_layer"] else 0], self.number(p["hidden"], 6)))
            self.states[layer] = self.cell(x, self.states[layer], self.weights[layer], last=step == p["steps"] - 1)
            read[step] = self.states[layer]
        for state in read[:1] + read[-1:] if p["steps"] > 1 else read:
            self.output(self.node("Relu", state))


def run(programs: Programs, seed: int, **fixed: object) -> Counter[str]:
    built = Cells(seed, **fixed)
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, built.model(), Path(folder))
        for rows in ROWS:
            compiled.check({name: spec.make(rows, built.rng) for name, spec in built.inputs.items()})
        return Counter(step["op"] for step in programs.info(compiled.plan)["steps"])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_cells(programs: Programs, seed: int) -> None:
    run(programs, seed)


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("difference", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_layers_of_cells_are_layers(programs: Programs, packed: bool, difference: bool, layers: int, zeros: bool) -> None:
    for seed in range(4):
        found = run(programs, seed, packed=packed, difference=difference, layers=layers, zeros=zeros, twist="none", steps=3)
        assert found["gru"] == layers, found
        assert not set(found) & {"chain", "binary", "unary", "matmul", "expand"} - {"unary"}, found


def test_cells_that_read_their_own_states_stay_apart(programs: Programs) -> None:
    found = run(programs, 1, layers=1, twist="feedback", steps=4, hidden=16)
    assert found["gru"] == 4


def test_other_cells_are_not_taken_for_a_gru(programs: Programs) -> None:
    for twist in ("scaled", "reset_before"):
        found = run(programs, 2, layers=1, twist=twist, steps=3, hidden=16)
        assert found["gru"] == 1 and found["chain"] > 0, found  # the cells before the last


if __name__ == "__main__":
    run_seeds(run, "rankers of cells")
