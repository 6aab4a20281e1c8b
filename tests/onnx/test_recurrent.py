"""GRU, LSTM and RNN against cells written by hand in float64: directions, layouts, both places of the reset gate, states before
the first step in every spelling, all outputs, short and long sequences; and what a layer costs in steps.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_recurrent MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from onnx import TensorProto, helper
from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Arrays, Compiled, run_seeds
from tests.onnx.recurrent import layer

SEEDS = 60
ROWS = (1, 3, 70)
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
DIRECTIONS = ["forward", "reverse", "bidirectional"]


class Layer(Builder):
    """One recurrent node of x (B, L, I), with the transposes of either layout around it."""

    def __init__(self, seed: int, op: str | None = None, **fixed: object) -> None:
        rng = self.rng = np.random.default_rng([seed, 17])
        super().__init__(int(rng.choice([11, 14, 17, 20, 22])))
        pick = {
            "op": str(rng.choice(["GRU", "GRU", "GRU", "LSTM", "RNN"])),
            "direction": str(rng.choice(DIRECTIONS)),
            "reset_after": bool(rng.integers(2)),
            "steps": int(rng.choice([1, 2, 3, 5, 12])),
            "width": int(rng.integers(1, 20)),
            "hidden": int(rng.choice([1, 3, 8, 16, 17, 33])),
            "bias": bool(rng.integers(4)),
            "state": str(rng.choice(["none", "zeros", "expand", "input"])),
            "acts": bool(rng.integers(4) == 0),
            "layout": bool(rng.integers(2)) and self.opset >= 14,
        }
        pick.update(fixed, **({"op": op} if op else {}))
        self.pick, self.given = pick, {}
        self.build()

    def number(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) / np.sqrt(max(shape[-1], 1))).astype(np.float32)

    def state(self, name: str, ways: int) -> str | None:
        """(D, B, H), or (B, D, H) with layout 1."""
        p, kind = self.pick, self.pick["state"]
        hidden, first = p["hidden"], p["layout"]
        if kind == "none":
            return None
        if kind == "input":
            flat = self.input(Spec((ways, hidden)), name)
            return flat if first else self.node("Transpose", flat, perm=[1, 0, 2])
        batch = self.node("Gather", self.node("Shape", "x"), self.const([0], np.int64), axis=0)
        extents = [self.ints(ways), batch, self.ints(hidden)]
        shape = self.node("Concat", *([extents[1], extents[0], extents[2]] if first else extents), axis=0)
        if kind == "zeros":
            return self.node("ConstantOfShape", shape)
        numbers = self.number(ways, hidden)
        self.given[name] = numbers
        return self.node("Expand", self.const(numbers[None] if first else numbers[:, None]), shape)

    def build(self) -> None:
        p = self.pick
        ways, gates = 2 if p["direction"] == "bidirectional" else 1, GATES[p["op"]]
        x = self.input(Spec((p["steps"], p["width"])), "x")
        self.w, self.r = self.number(ways, gates * p["hidden"], p["width"]), self.number(ways, gates * p["hidden"], p["hidden"])
        self.b = self.number(ways, 2 * gates * p["hidden"]) if p["bias"] else None
        each = {"GRU": 2, "LSTM": 3, "RNN": 1}[p["op"]]
        bounded = ["Sigmoid", "Tanh"] + ["Relu"] * (p["op"] == "RNN")  # gates of any size make numbers of any size
        self.acts = [str(self.rng.choice(bounded)) for _ in range(each * ways)] if p["acts"] else None
        operands = [x if p["layout"] else self.node("Transpose", x, perm=[1, 0, 2]), self.const(self.w), self.const(self.r)]
        operands += [self.const(self.b) if p["bias"] else None, None, self.state("h", ways)]
        if p["op"] == "LSTM":
            operands.append(self.state("c", ways))
        extra = {"linear_before_reset": int(p["reset_after"])} if p["op"] == "GRU" else {}
        extra |= {"activations": self.acts} if self.acts else {}
        extra |= {"layout": 1} if p["layout"] else {}
        while operands[-1] is None:
            operands.pop()
        outputs = ["y", "last", "memory"][: 3 if p["op"] == "LSTM" else 2]
        names = [f"{name}_raw" for name in outputs]
        self.node(p["op"], *operands, outs=names, direction=p["direction"], hidden_size=p["hidden"], **extra)
        for name, raw in zip(outputs, names):
            perm = [0, 1, 2, 3] if p["layout"] else [2, 0, 1, 3] if name == "y" else [1, 0, 2]
            perm = perm if name == "y" or not p["layout"] else [0, 1, 2]
            self.nodes.append(helper.make_node("Transpose", [raw], [name], perm=perm))
            self.output(name)

    def reference(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """y (B, L, D, H), last and memory (B, D, H)."""
        p, x = self.pick, inputs["x"].astype(np.float64)
        states = {}
        for name in ("h", "c"):
            if name in inputs:
                states[name] = inputs[name].astype(np.float64).transpose(1, 0, 2)
            elif name in self.given:
                numbers = self.given[name].astype(np.float64)
                states[name] = np.repeat(numbers[:, None], len(x), axis=1)
        wide = [None if a is None else a.astype(np.float64) for a in (self.w, self.r, self.b)]
        y, h, c = layer(p["op"], x.transpose(1, 0, 2), *wide, direction=p["direction"], reset_after=p["reset_after"],
                        acts=self.acts, **states)  # fmt: skip
        results = {"y": y.transpose(2, 0, 1, 3), "last": h.transpose(1, 0, 2), "memory": c.transpose(1, 0, 2)}
        return {name: results[name] for name in self.outputs}


def check(programs: Programs, built: Layer) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, built.model(), Path(folder))
        for rows in ROWS:
            inputs = {name: spec.make(rows, built.rng) for name, spec in built.inputs.items()}
            compiled.check(inputs, reference=built.reference)
        return compiled


def run(programs: Programs, seed: int) -> None:
    check(programs, Layer(seed))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_layers(programs: Programs, seed: int) -> None:
    run(programs, seed)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 50])
def test_gru_of_pytorch(programs: Programs, steps: int, direction: str) -> None:
    built = Layer(steps, "GRU", steps=steps, direction=direction, reset_after=True, bias=True, acts=False, hidden=20)
    check(programs, built)


def kinds(programs: Programs, built: Builder) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, built.model(), Path(folder))
        return Counter(step["op"] for step in programs.info(compiled.plan)["steps"])


@pytest.mark.parametrize("state", ["none", "zeros"])
def test_a_layer_is_a_product_and_a_recurrence(programs: Programs, state: str) -> None:
    built = Layer(1, "GRU", steps=3, direction="forward", reset_after=True, bias=True, acts=False, state=state,
                  layout=False)  # fmt: skip
    found = kinds(programs, built)
    assert found["linear"] == 1 and found["gru"] == 1
    assert set(found) <= {"linear", "gru", "copy", "slice", "transpose", "store"}


def test_each_direction_is_a_product_and_a_recurrence(programs: Programs) -> None:
    built = Layer(2, "GRU", steps=3, direction="bidirectional", reset_after=True, bias=True, acts=False, state="none")
    found = kinds(programs, built)
    assert found["linear"] == 2 and found["gru"] == 2


def refuse(programs: Programs, built: Builder, *words: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(built.model().SerializeToString())
        done = programs.run(programs.mtlc, path, "-o", Path(folder) / "plan.bin")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def node_of(built: Layer, op: str):
    return next(node for node in built.nodes if node.op_type == op)


def test_refusals(programs: Programs) -> None:
    def gru(**fixed: object) -> Layer:
        return Layer(3, "GRU", steps=4, direction="forward", state="none", acts=False, bias=True, layout=False, hidden=8, **fixed)

    built = gru()
    node_of(built, "GRU").input.append(built.input(Spec((), np.int32, 4, 5), "lengths"))
    refuse(programs, built, "input 4 (sequence_lens) is not the constant 4")
    built = gru()
    node_of(built, "GRU").attribute.append(helper.make_attribute("clip", 1.0))
    refuse(programs, built, "clip is not supported")
    built = gru()
    node_of(built, "GRU").attribute.append(helper.make_attribute("activations", ["Sigmoid", "Affine"]))
    refuse(programs, built, "activation 1 is none of Sigmoid, Tanh, Relu")
    built = gru()
    node_of(built, "GRU").attribute.append(helper.make_attribute("activations", ["Sigmoid"]))
    refuse(programs, built, "1 activations, expected 2")
    built = gru(width=3)
    node_of(built, "GRU").input[1] = built.const(np.zeros((1, 24, 4)))
    refuse(programs, built, "input 1 (W) is [1, 24, 4], expected [1, 24, 3]")
    built = gru()
    node_of(built, "GRU").input[3] = built.const(np.zeros((1, 24)))
    refuse(programs, built, "input 3 (B) is [1, 24], expected [1, 48]")
    refuse(programs, Layer(3, "LSTM", steps=600, hidden=1, width=1, state="none", acts=False), "600 steps to unroll")
    built = Layer(3, "LSTM", steps=2, direction="forward", state="none", acts=False, bias=True, layout=False, hidden=2)
    node_of(built, "LSTM").input.extend(["", "", "", built.const(np.zeros((1, 6)))])
    refuse(programs, built, "peepholes")


def test_whole_lengths_say_nothing(programs: Programs) -> None:
    built = Layer(4, "GRU", steps=4, direction="forward", state="none", acts=False, bias=True, layout=False)
    batch = built.node("Gather", built.node("Shape", "x"), built.ints(0), axis=0)
    four = helper.make_tensor("value", TensorProto.INT32, [1], [4])
    lengths = built.node("ConstantOfShape", batch, value=four)
    node_of(built, "GRU").input.append(lengths)
    order = [node for node in built.nodes if node.op_type in ("Shape", "Gather", "ConstantOfShape")]
    built.nodes = order + [node for node in built.nodes if node not in order]
    check(programs, built)


if __name__ == "__main__":
    run_seeds(run, "layers")
