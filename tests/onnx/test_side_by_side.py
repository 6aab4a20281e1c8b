"""Random rankers made of what the passes merge, against `onnx.reference` in float64: streams of unequal widths, layers
and experts that only some tasks use, packed parameters of which a part is dead, gates and layers that are outputs,
cross-stitch units with masks, residual chains, element-wise tails of different kinds, scales, masks and orders of
columns, mixtures and running sums between slices and concatenations. The number of steps must not depend on the order
in which independent nodes were written. By hand, for more of them:

    python -m tests.onnx.test_side_by_side MTLC MTLRUN FIRST COUNT
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import Programs
from tests.onnx.builder import Spec
from tests.onnx.differential import Compiled, run_seeds
from tests.onnx.test_gates import SPELLINGS, Gates

ROWS = (1, 2, 63, 65, 200)
SEEDS = 24
WIDTHS = (1, 3, 8, 16)


class Streams(Gates):
    """Values (B, width) that later parts read; every part picks some and adds some."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.streams: list[tuple[str, int]] = [(self.x, 6)]
        if self.chance():
            self.streams.append((self.input(Spec((8,))), 8))

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, *choices: object) -> object:
        return choices[self.number(0, len(choices) - 1)]

    def stream(self) -> tuple[str, int]:
        """One of the last, mostly."""
        far = min(len(self.streams), 8 if self.chance() else 3)
        return self.streams[-self.number(1, far)]

    def weights(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) / np.sqrt(shape[-2] if len(shape) > 1 else 1))

    def activate(self, x: str, kind: int) -> str:
        if kind < 3:
            return (x, self.node("Relu", x), self.node("Tanh", x))[kind] if kind else x
        if kind == 3:
            return self.node("Sigmoid", x)
        return self.node("LeakyRelu", x, alpha=0.1 * (kind - 3))

    def linear(self, x: str, width: int, out: int, kind: int) -> str:
        w, bias = self.weights(width, out), self.number(0, 2)
        if bias == 0:
            y = self.node("MatMul", x, w)
        elif bias == 1:
            y = self.node("Gemm", x, w, self.weights(out))
        else:
            y = self.node("Add", self.node("MatMul", x, w), self.weights(out))
        return self.activate(y, kind)

    def column_of(self, x: str, e: int) -> str:
        return self.column(x, e)

    def slice(self, x: str, first: int, end: int) -> str:
        return self.node("Slice", x, self.ints(first), self.ints(end), self.ints(1))

    # Each of these is one part of a ranker.

    def branch(self) -> None:
        """Layers on one stream, of one width or of several."""
        x, width = self.stream()
        out, kind = int(self.pick(*WIDTHS)), self.number(0, 5)
        for _ in range(self.number(2, 5)):
            if self.chance() and self.chance():
                out, kind = int(self.pick(*WIDTHS)), self.number(0, 5)
            self.streams.append((self.linear(x, width, out, kind), out))

    def deeper(self) -> None:
        """One more layer on some of the last streams: those of one width become a batch."""
        out, kind = int(self.pick(*WIDTHS)), self.number(0, 5)
        for x, width in [self.stream() for _ in range(self.number(1, 5))]:
            out = out if self.rng.random() < 0.8 else int(self.pick(*WIDTHS))
            self.streams.append((self.linear(x, width, out, kind), out))

    def packed(self) -> None:
        """Experts in parameters (E, K, N), one or two layers of them; some have no reader."""
        x, width = self.stream()
        count, out = self.number(2, 5), int(self.pick(*WIDTHS))
        h = self.unsqueeze(x, 0)
        for _ in range(self.number(1, 2)):
            h = self.node("MatMul", h, self.weights(count, width, out))
            if self.chance():
                h = self.node("Add", h, self.weights(count, 1, out))
            h, width = self.activate(h, self.number(0, 4)), out
        for e in range(count):
            if self.rng.random() < 0.6:
                self.streams.append((self.node("Gather", h, self.const(e, np.int64), axis=0), out))

    def alike(self) -> list[str]:
        """Streams of one width, each once; [] where there are fewer than two."""
        width = self.stream()[1]
        found = [x for x, own in dict.fromkeys(self.streams) if own == width and width > 1]
        self.rng.shuffle(found)
        self.width = width
        return found[: self.number(2, 5)] if len(found) > 1 else []

    def gates(self) -> None:
        """Gates of one to three tasks over some of the same experts."""
        experts = self.alike()
        own = [experts[: self.number(2, len(experts))] if self.chance() else experts for _ in range(3)] if experts else []
        joined = self.chance() and bool(experts)
        logits = self.linear(*self.stream(), 3 * len(experts), 0) if joined else ""
        for task, chosen in enumerate(own[: self.number(1, 3)]):
            if joined and len(chosen) == len(experts):
                gate = self.slice(logits, task * len(experts), (task + 1) * len(experts))
            else:
                gate = self.linear(*self.stream(), len(chosen), 0)
            gate = self.node("Softmax", gate, axis=1) if self.rng.random() < 0.8 else self.node("Sigmoid", gate)
            mixed = SPELLINGS[self.number(0, len(SPELLINGS) - 1)](self, gate, [str(e) for e in self.rng.permutation(chosen)])
            self.streams.append((mixed, self.width))
            if self.rng.random() < 0.2:
                self.streams.append((gate, len(chosen)))
            if self.rng.random() < 0.1:
                self.output(gate)

    def stitch(self) -> None:
        """A cross-stitch unit; some coefficients are masked."""
        towers = self.alike()
        if not towers:
            return
        alpha = self.rng.standard_normal((len(towers), len(towers))).astype(np.float32)
        alpha *= self.rng.random(alpha.shape) < 0.8
        stitched = self.node("MatMul", self.const(alpha), self.stack(towers, 1))
        for t in range(len(towers)):
            self.streams.append((self.node("Gather", stitched, self.const(t, np.int64), axis=1), self.width))

    def running(self) -> None:
        """Sums or products over tasks, of which some partial results have readers; or a tree of them."""
        terms = self.alike()
        op = "Mul" if self.chance() and self.chance() else "Add"
        terms = [self.node("Tanh", x) for x in terms] if op == "Mul" else terms
        last = terms[0] if terms else ""
        for x in terms[1:]:
            last = self.node(op, last, x) if self.chance() else self.node(op, x, last)
            if self.chance():
                self.streams.append((last, self.width))
        if terms:
            self.streams.append((last, self.width))

    def columns(self) -> None:
        """Single columns of layers, added or multiplied up."""
        x, width = self.stream()
        z = [self.linear(x, width, 1, 3) for _ in range(self.number(2, 4))]
        if self.chance():
            both = self.linear(x, width, 3, 3)
            z = [self.slice(both, t, t + 1) for t in range(3)]
        total = z[0]
        for p in z[1:]:
            total = self.node("Mul" if self.chance() else "Add", total, p)
            self.streams.append((total, 1))

    def tails(self) -> None:
        """An element-wise function of each of some streams."""
        kind = self.number(0, 7)
        for x, width in dict.fromkeys(self.stream() for _ in range(self.number(1, 4))):
            kind = kind if self.rng.random() < 0.7 else self.number(0, 7)
            self.streams.append((self.tail(x, width, kind), width))

    def tail(self, x: str, width: int, kind: int) -> str:
        vector = self.rng.uniform(0.5, 1.5, (width,) if self.chance() else (1, width)) * self.pick(-1, 1)
        if kind < 3:
            return self.node(("Abs", "Softplus", "Neg")[kind], x)
        if kind == 3:
            return self.node("Mul", x, self.const(vector * (self.rng.random(width) < 0.7)))
        if kind == 4:
            return self.node("Div", self.node("Sub", x, self.const(vector)), self.const(np.abs(vector)))
        if kind == 5:
            return self.node("Gather", x, self.const(self.rng.permutation(width), np.int64), axis=1)
        if kind == 6:
            return self.node("Sub", self.const(float(vector.flat[0])), x)
        return self.node("Mul", x, self.node("Tanh", x))

    def windows(self) -> None:
        """A part of a stream, and some streams side by side."""
        x, width = self.stream()
        if width > 1:
            first = self.number(0, width - 1)
            end = self.number(first + 1, width)
            self.streams.append((self.slice(x, first, end), end - first))
        parts = [self.stream() for _ in range(self.number(2, 3))]
        self.streams.append((self.node("Concat", *(x for x, _ in parts), axis=1), sum(w for _, w in parts)))

    def normal(self) -> None:
        x, width = self.stream()
        self.streams.append((self.node("Softmax", x, axis=1), width))

    def finish(self) -> None:
        """Towers of different depth on some of the streams, and outputs in the middle; the rest is dead."""
        for _ in range(self.number(1, 4)):
            x, width = self.stream()
            for _ in range(self.number(0, 3)):
                x, width = self.linear(x, width, 8, self.number(1, 2)), 8
            self.output(self.linear(x, width, self.number(1, 2), int(self.pick(0, 3))))
        made = [stream for stream, _ in self.streams if stream not in self.inputs]
        for x in self.rng.permutation(made)[: self.number(0, 2)] if made else []:
            self.output(str(x))
        self.outputs[:] = dict.fromkeys(self.outputs)


PARTS = [
    Streams.branch,
    Streams.branch,
    Streams.deeper,
    Streams.deeper,
    Streams.packed,
    Streams.gates,
    Streams.gates,
    Streams.stitch,
    Streams.running,
    Streams.columns,
    Streams.tails,
    Streams.tails,
    Streams.windows,
    Streams.normal,
]


def ranker(seed: int) -> Streams:
    m = Streams(seed)
    m.branch()
    for _ in range(m.number(2, 8)):
        PARTS[m.number(0, len(PARTS) - 1)](m)
    m.finish()
    return m


def reordered(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same nodes in another topological order."""
    rng, other = random.Random(seed), onnx.ModelProto()
    other.CopyFrom(model)
    waiting = list(model.graph.node)
    made = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    del other.graph.node[:]
    while waiting:
        ready = [i for i, node in enumerate(waiting) if made.issuperset(filter(None, node.input))]
        node = waiting.pop(rng.choice(ready))
        made.update(node.output)
        other.graph.node.append(node)
    return other


def steps_of(programs: Programs, compiled: Compiled) -> list[str]:
    return sorted(step["op"] for step in programs.info(compiled.plan)["steps"])


def run(programs: Programs, seed: int, rows: tuple[int, ...]) -> None:
    m = ranker(seed)
    model = m.model()
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, model, Path(folder))
        for count in rows:
            compiled.check(m.make(count))
        steps = steps_of(programs, compiled)
        again = steps_of(programs, Compiled(programs, reordered(model, seed), Path(folder)))
        assert steps == again, "other steps for another order of the nodes"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_structure(seed: int, programs: Programs) -> None:
    run(programs, seed, ROWS)


@pytest.mark.parametrize("outputs", [False, True])
def test_layers_that_stay_apart_say_why(outputs: bool, programs: Programs, tmp_path: Path) -> None:
    """Of one shape, on parts of inputs that are not neighbours, or with results that are all outputs."""
    m = Gates(0)
    joined = [m.node("Softmax", m.dense(8), axis=1) for _ in range(2)]
    parts = joined if outputs else [m.input(Spec((8,))) for _ in range(2)]
    heads = [m.dense(3, part, 8) for part in parts]
    for head in heads:
        m.output(head if outputs else m.node("Softmax", head, axis=1))
    path = tmp_path / "model.onnx"
    onnx.save(m.model(), path)
    explained = programs.ok(programs.mtlc, path, "-o", tmp_path / "plan.bin", "--explain")
    why = "their results are outputs" if outputs else "would have to be copied"
    for head in heads:
        (line,) = (line for line in explained.splitlines() if line.startswith(f"note: {head} (Gemm)"))
        assert "stays apart from the layers of its shape" in line and why in line


@pytest.mark.parametrize("mean", [3, 1000, 1e5])
@pytest.mark.parametrize("spelling", ["subtraction", "addition", "batch norm"])
def test_inputs_far_from_zero(spelling: str, mean: float, programs: Programs, tmp_path: Path) -> None:
    """Their normalisation must not become a bias of the next layer where digits would cancel there."""
    m = Gates(0)
    m.inputs[m.x] = Spec((6,), np.float32, mean - 2, mean + 2)
    means, deviations = np.full(6, mean), np.full(6, 2.0)
    if spelling == "subtraction":
        h = m.node("Div", m.node("Sub", m.x, m.const(means)), m.const(deviations))
    elif spelling == "addition":
        h = m.node("Add", m.node("Mul", m.x, m.const(1 / deviations)), m.const(-means / deviations))
    else:
        ones, zeros = m.const(np.ones(6)), m.const(np.zeros(6))
        h = m.node("BatchNormalization", m.x, ones, zeros, m.const(means), m.const(deviations**2))
    m.output(m.dense(4, h))
    compiled = Compiled(programs, m.model(), tmp_path)
    compiled.check(m.make(64))
    assert (steps_of(programs, compiled) == ["linear"]) == (mean == 3)


if __name__ == "__main__":
    run_seeds(lambda programs, seed: run(programs, seed, (2, ROWS[seed % len(ROWS)])), "rankers")
