"""Gates, cross-stitch units and chains in many spellings, from ONNX to scores, against `onnx.reference` in float64; and
that each became the steps that it is, and no others. Shapes: B rows, E experts, H width of one, T tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled

ROWS = (1, 2, 33)


class Gates(Builder):
    """A model of opset 17 whose dense input is `x`, (B, 6)."""

    def __init__(self, seed: int) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng(seed)
        self.experts, self.width, self.tasks = (int(n) for n in self.rng.integers([1, 2, 1], [7, 20, 5]))
        self.x = self.input(Spec((6,)))

    def data(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape))

    def chance(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def dense(self, out: int, x: str | None = None, width: int = 6) -> str:
        """(B, out)."""
        return self.node("Gemm", x or self.x, self.data(width, out), self.data(out))

    def layers(self, count: int) -> list[str]:
        """`count` times (B, H), none a linear function of another."""
        return [self.node(str(self.rng.choice(["Relu", "Tanh"])), self.dense(self.width)) for _ in range(count)]

    def unsqueeze(self, x: str, axis: int) -> str:
        return self.node("Unsqueeze", x, self.ints(axis))

    def squeeze(self, x: str, axis: int) -> str:
        return self.node("Squeeze", x, self.ints(axis))

    def stack(self, values: list[str], axis: int) -> str:
        return self.node("Concat", *(self.unsqueeze(value, axis) for value in values), axis=axis)

    def mul(self, a: str, b: str) -> str:
        return self.node("Mul", a, b) if self.chance() else self.node("Mul", b, a)

    def add_up(self, terms: list[str]) -> str:
        """In any order and association."""
        terms = [terms[i] for i in self.rng.permutation(len(terms))]
        while len(terms) > 1:
            i = int(self.rng.integers(len(terms) - 1))
            terms[i : i + 2] = [self.node("Add", terms[i], terms[i + 1])]
        return terms[0]

    def sum(self, x: str, axis: int) -> str:
        return self.node("ReduceSum", x, self.ints(axis), keepdims=0)

    def column(self, gate: str, e: int) -> str:
        """(B, 1)."""
        if self.chance():
            return self.node("Slice", gate, self.ints(e), self.ints(e + 1), self.ints(1))
        return self.unsqueeze(self.node("Gather", gate, self.const(e, np.int64), axis=1), 1)

    def chain(self, gate: str, experts: list[str]) -> str:
        return self.add_up([self.mul(self.column(gate, e), expert) for e, expert in enumerate(experts)])


def stacked(m: Gates, gate: str, experts: list[str]) -> str:
    return m.sum(m.mul(m.stack(experts, 1), m.unsqueeze(gate, 2)), 1)


def product(m: Gates, gate: str, experts: list[str]) -> str:
    return m.squeeze(m.node("MatMul", m.unsqueeze(gate, 1), m.stack(experts, 1)), 1)


def last_axis(m: Gates, gate: str, experts: list[str]) -> str:
    return m.squeeze(m.node("MatMul", m.stack(experts, 2), m.unsqueeze(gate, 2)), 2)


def last_axis_summed(m: Gates, gate: str, experts: list[str]) -> str:
    return m.sum(m.mul(m.stack(experts, -1), m.unsqueeze(gate, 1)), -1)


def first_axis(m: Gates, gate: str, experts: list[str]) -> str:
    turned = m.unsqueeze(m.node("Transpose", gate, perm=(1, 0)), 2)
    return m.sum(m.mul(m.stack(experts, 0), turned), 0)


def einsum(m: Gates, gate: str, experts: list[str]) -> str:
    axis = int(m.rng.integers(3))
    equation = ("be,ebh->bh", "be,beh->bh", "be,bhe->bh")[axis]
    return m.node("Einsum", gate, m.stack(experts, axis), equation=equation)


def additions(m: Gates, gate: str, experts: list[str]) -> str:
    return m.chain(gate, experts)


def stacked_terms(m: Gates, gate: str, experts: list[str]) -> str:
    axis = int(m.rng.integers(2))
    terms = [m.mul(m.column(gate, e), expert) for e, expert in enumerate(experts)]
    return m.sum(m.stack(terms, axis), axis)


SPELLINGS = [
    stacked,
    product,
    last_axis,
    last_axis_summed,
    first_axis,
    einsum,
    additions,
    stacked_terms,
]
Spelling = Callable[[Gates, str, list[str]], str]


@dataclass(frozen=True)
class Counts:
    """Of a plan, by operation, or by operation and function where it has one."""

    steps: Counter[str]
    tasks: Counter[str]  # of mixtures: one step may be those of several tasks


def count(m: Gates, programs: Programs, folder: Path) -> Counts:
    """Compiles, compares with the standard, and counts."""
    compiled = Compiled(programs, m.model(), folder)
    for rows in ROWS:
        compiled.check(m.make(rows))
    info = programs.info(compiled.plan)
    assert not info["whole_batch"]
    counts = Counts(Counter(), Counter())
    for step in info["steps"]:
        name = step["op"] if step["function"] in ("", step["op"]) else f"{step['op']} {step['function']}"
        counts.steps[name] += 1
        if step["op"] == "mix":
            _, tasks, width = step["output"]["shape"]
            assert width == step["inputs"][1]["shape"][2]
            assert tasks * step["inputs"][0]["shape"][2] == len(step["attrs"])
            counts.tasks[name] += tasks
    return counts


def steps_of(m: Gates, programs: Programs, folder: Path) -> Counter[str]:
    return count(m, programs, folder).steps


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.__name__)
def test_gate(spelling: Spelling, seed: int, programs: Programs, tmp_path: Path) -> None:
    """One mixture for each task and no softmax but those of gates that are outputs."""
    m = Gates(seed)
    m.experts += 1 if spelling in (additions, stacked_terms) else 0
    experts = m.layers(m.experts)
    shown = 0
    for task in range(m.tasks):
        order = [experts[e] for e in m.rng.permutation(m.experts)]
        gate = m.node("Softmax", m.dense(m.experts), axis=-1 if m.chance() else 1)
        m.output(m.dense(1, spelling(m, gate, order), m.width))
        if m.chance():
            m.output(gate)
            shown += 1
    counts = count(m, programs, tmp_path)
    steps = counts.steps
    assert counts.tasks["mix softmax"] == m.tasks and steps["mix softmax"] == 1 and steps["softmax"] == shown
    assert not {"concat", "matmul", "binary mul", "binary add", "reduce sum", "transpose"} & steps.keys()


@pytest.mark.parametrize("seed", range(4))
def test_gates_of_one_wide_layer(seed: int, programs: Programs, tmp_path: Path) -> None:
    """(B, T, E) from one layer, one softmax: a slice of it for each task."""
    m = Gates(seed)
    experts = m.layers(m.experts)
    logits = m.node("Reshape", m.dense(m.tasks * m.experts), m.ints(-1, m.tasks, m.experts))
    gates = m.node("Softmax", logits, axis=2)
    for task in range(m.tasks):
        gate = m.node("Gather", gates, m.const(task, np.int64), axis=1)
        m.output(SPELLINGS[int(m.rng.integers(6))](m, gate, experts))
    counts = count(m, programs, tmp_path)
    assert counts.tasks["mix softmax"] == m.tasks and not {"softmax", "matmul"} & counts.steps.keys()


@pytest.mark.parametrize("seed", range(4))
def test_joint_router_keeps_its_softmax(seed: int, programs: Programs, tmp_path: Path) -> None:
    """Over all tasks and experts together: the shares of one task do not add up to 1."""
    m = Gates(seed)
    m.tasks, m.experts = m.tasks + 1, m.experts + 1
    experts = m.layers(m.experts)
    joint = m.node("Softmax", m.dense(m.tasks * m.experts), axis=1)
    router = m.node("Reshape", joint, m.ints(-1, m.tasks, m.experts))
    for task in range(m.tasks):
        m.output(SPELLINGS[seed % 6](m, m.node("Gather", router, m.const(task, np.int64), axis=1), experts))
    counts = count(m, programs, tmp_path)
    assert counts.tasks["mix"] == m.tasks and counts.steps["softmax"] == 1 and "mix softmax" not in counts.steps
    model = tmp_path / "again.onnx"
    onnx.save(m.model(), model)
    explained = programs.ok(programs.mtlc, model, "-o", tmp_path / "again.bin", "--explain")
    assert f"note: {joint} (Softmax): stays a step: it does not run over just the experts of one task" in explained


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.__name__)
def test_sigmoid_gate(spelling: Spelling, programs: Programs, tmp_path: Path) -> None:
    m = Gates(SPELLINGS.index(spelling))
    m.experts += 1
    m.output(spelling(m, m.node("Sigmoid", m.dense(m.experts)), m.layers(m.experts)))
    steps = steps_of(m, programs, tmp_path)
    assert steps["mix"] == 1 and not {"matmul", "mix softmax", "binary mul", "transpose"} & steps.keys()


@pytest.mark.parametrize("seed", range(4))
def test_gates_that_weigh_together(seed: int, programs: Programs, tmp_path: Path) -> None:
    """Two gates for each task, in one sum of all terms: two mixtures and an addition."""
    m = Gates(seed)
    own, shared = m.layers(m.experts + 1), m.layers(m.experts + 1)
    terms = []
    for experts in (own, shared):
        gate = m.node("Softmax", m.dense(len(experts)), axis=1)
        terms += [m.mul(m.column(gate, e), expert) for e, expert in enumerate(experts)]
    m.output(m.add_up(terms))
    counts = count(m, programs, tmp_path)
    assert counts.tasks["mix softmax"] == 2 and counts.steps["binary add"] == 1 and "binary mul" not in counts.steps


@pytest.mark.parametrize("spelling", ["product", "einsum", "einsum, last axis", "additions"])
@pytest.mark.parametrize("seed", range(3))
def test_cross_stitch(spelling: str, seed: int, programs: Programs, tmp_path: Path) -> None:
    m = Gates(seed)
    m.tasks += 1
    alpha = m.rng.standard_normal((m.tasks, m.tasks)).astype(np.float32)
    alpha[0, -1] = 0
    towers = m.layers(m.tasks)
    if spelling == "additions":
        mixed = [
            m.add_up([m.mul(h, m.const(alpha[t, j])) for j, h in enumerate(towers)]) for t in range(m.tasks)
        ]
    else:
        if spelling == "product":
            stitched = m.node("MatMul", m.const(alpha), m.stack(towers, 1))
        elif spelling == "einsum":
            stitched = m.node("Einsum", m.const(alpha), m.stack(towers, 1), equation="ij,bjd->bid")
        else:
            stitched = m.node("Einsum", m.const(alpha), m.stack(towers, 2), equation="ij,bdj->bid")
        mixed = [m.node("Gather", stitched, m.const(t, np.int64), axis=1) for t in range(m.tasks)]
    for h in mixed:
        m.output(m.dense(1, m.node("Relu", h), m.width))
    counts = count(m, programs, tmp_path)
    assert counts.tasks["mix"] == m.tasks and counts.steps["mix"] == 1
    assert not {"concat", "matmul", "binary mul", "binary add", "transpose"} & counts.steps.keys()


@pytest.mark.parametrize("seed", range(4))
def test_chains(seed: int, programs: Programs, tmp_path: Path) -> None:
    """ResFlow: running sums of layers and of logits, over T tasks; SEQ: the running product of what comes out."""
    m = Gates(seed)
    m.tasks += 2
    above, width = [m.x] * m.tasks, 6
    for out in (m.width, 5):
        flow: list[str] = []
        for x in above:
            h = m.node("Relu", m.dense(out, x, width))
            flow.append(m.node("Add", h, flow[-1]) if flow else h)
        above, width = flow, out
    logits: list[str] = []
    for x in above:
        z = m.dense(1, x, width)
        logits.append(m.node("Add", logits[-1], z) if logits else z)
    scores = [m.node("Sigmoid", z) for z in logits]
    falling = scores[:1]
    for p in scores[1:]:
        falling.append(m.mul(falling[-1], p))
    for value in (*scores, *falling[1:]):
        m.output(value)
    m.output(m.add_up([m.mul(p, m.const(float(m.rng.normal()))) for p in scores]))
    steps = steps_of(m, programs, tmp_path)
    assert steps["scan sum"] == 3 and steps["scan prod"] == 1
    assert not {"binary add", "binary mul"} & steps.keys()


@pytest.mark.parametrize("seed", range(2))
def test_products_of_two_probabilities(seed: int, programs: Programs, tmp_path: Path) -> None:
    """ESMM: of two towers that have no shape in common one multiplication; of two columns of one value one scan."""
    m = Gates(seed)
    towers = [m.node("Relu", m.dense(width)) for width in (m.width, m.width + 1)]
    ctr, cvr = (m.node("Sigmoid", m.dense(1, h, m.width + t)) for t, h in enumerate(towers))
    both = m.node("Sigmoid", m.dense(2))
    columns = [m.column(both, t) for t in range(2)]
    for value in (ctr, cvr, m.node("Mul", ctr, cvr), *columns, m.node("Mul", *columns)):
        m.output(value)
    steps = steps_of(m, programs, tmp_path)
    assert steps["binary mul"] == 1 and steps["scan prod"] == 1


@pytest.mark.parametrize("seed", range(2))
def test_products_of_heads_that_are_one_layer(seed: int, programs: Programs, tmp_path: Path) -> None:
    """Heads on one value are columns of one layer: one scan."""
    m = Gates(seed)
    h = m.node("Relu", m.dense(m.width))
    ctr, cvr = (m.node("Sigmoid", m.dense(1, h, m.width)) for _ in range(2))
    for value in (ctr, cvr, m.node("Mul", ctr, cvr)):
        m.output(value)
    steps = steps_of(m, programs, tmp_path)
    assert steps["linear sigmoid"] == 1 and steps["scan prod"] == 1 and "binary mul" not in steps
