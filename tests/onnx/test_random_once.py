"""Random networks of an input that the model has once: whether `mtlc` finds the users there or leaves it, the scores are
the model's, for each user."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from tests.onnx.support import Probe, constant, model, value

SEEDS = 150
SHAPES = ((1, 4), (1, 6), (1, 2, 3), (1, 1, 4), (1, 1), (1, 4, 2))


class Network:
    """Nodes on a value of known shape, in the model with one user."""

    def __init__(self, seed: int) -> None:
        self.draws = np.random.default_rng([7, seed])
        self.nodes: list[NodeProto] = []
        self.constants = [constant("zero", [0], np.int64), constant("one", [1], np.int64), constant("n8", [8], np.int64)]
        self.shape: tuple[int, ...] = SHAPES[self.draws.integers(len(SHAPES))]
        self.first = self.shape
        self.at = "u"

    def add(self, op: str, shape: tuple[int, ...], *more: str, **attributes: object) -> None:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.at, *more], [name], name=name, **attributes))
        self.at, self.shape = name, shape

    def const(self, array: np.ndarray | list[int]) -> str:
        numbers = np.asarray(array)
        kind = np.int64 if np.issubdtype(numbers.dtype, np.integer) else np.float32
        self.constants.append(constant(f"k{len(self.constants)}", numbers, kind))
        return self.constants[-1].name

    def axis(self) -> int:
        return int(self.draws.integers(len(self.shape)))

    def reshape(self) -> None:
        """To any shape of as many elements; sometimes one extent is left open."""
        left, shape = int(np.prod(self.shape)), []
        while left > 1 and len(shape) < 3:
            sizes = [size for size in range(1, left + 1) if left % size == 0]
            shape.append(int(self.draws.choice(sizes)))
            left //= shape[-1]
        shape.append(left)
        if len(shape) < 4 and self.draws.random() < 0.5:
            shape.insert(int(self.draws.integers(len(shape) + 1)), 1)
        said = list(shape)
        if self.draws.random() < 0.3:
            said[int(self.draws.integers(len(said)))] = -1
        self.add("Reshape", tuple(shape), self.const(said))

    def step(self) -> None:
        choice, shape = self.draws.integers(11), self.shape
        if choice <= 1 or len(shape) == 0:
            self.reshape()
        elif choice == 2:
            perm = self.draws.permutation(len(shape)).tolist()
            self.add("Transpose", tuple(shape[axis] for axis in perm), perm=perm)
        elif choice == 3:
            self.add("Softmax", shape, axis=self.axis())
        elif choice == 4:
            axis, keep = self.axis(), int(self.draws.integers(2))
            kept = (*shape[:axis], *([1] if keep else []), *shape[axis + 1 :])
            self.add("ReduceMean", kept, axes=[axis], keepdims=keep)
        elif choice == 5:  # what broadcasts to the value
            wide = [extent if self.draws.random() < 0.5 else 1 for extent in shape][int(self.draws.integers(len(shape))) :]
            self.add("Add", shape, self.const(self.draws.standard_normal(wide)))
        elif choice == 6 and len(shape) >= 2:
            width = int(self.draws.integers(1, 4))
            self.add("MatMul", (*shape[:-1], width), self.const(self.draws.standard_normal((shape[-1], width))))
        elif choice == 7 and 1 in shape:
            ones = [axis for axis, extent in enumerate(shape) if extent == 1]
            some = [int(self.draws.choice(ones))] if self.draws.random() < 0.7 else ones
            rest = tuple(extent for axis, extent in enumerate(shape) if axis not in some)
            self.add("Squeeze", rest, *([self.const(some)] if some != ones else []))
        elif choice == 8 and len(shape) < 4:
            axis = int(self.draws.integers(len(shape) + 1))
            self.add("Unsqueeze", (*shape[:axis], 1, *shape[axis:]), self.const([axis]))
        elif choice == 9:
            axis = self.axis()
            self.add("Concat", (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]), self.at, axis=axis)
        else:
            self.add("Tanh", shape)

    def model(self) -> ModelProto:
        """(1, n) copied to the candidates, beside x (B, 4)."""
        for _ in range(int(self.draws.integers(1, 8))):
            self.step()
        count = int(np.prod(self.shape))
        self.add("Reshape", (1, count), self.const([1, count] if self.draws.random() < 0.5 else [1, -1]))
        nodes = [
            *self.nodes,
            helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Slice", ["s", "zero", "one"], ["B"]),
            helper.make_node("Concat", ["B", "one"], ["shape"], axis=0),
            helper.make_node("Expand", [self.at, "shape"], ["copies"]),
            helper.make_node("Concat", ["copies", "x"], ["y"], axis=1),
        ]  # fmt: skip
        return model(nodes, self.constants, [value("u", *self.first), value("x", "batch", 4)])


FOUND: list[bool] = []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_scores_are_the_models(probe: Probe, seed: int) -> None:
    network = Network(seed)
    graph = network.model()
    draws = np.random.default_rng([8, seed])
    x = draws.standard_normal((7, 4)).astype(np.float32)
    users = draws.standard_normal((3, *network.first[1:])).astype(np.float32)
    user = np.array([0, 1, 2, 1, 1, 0, 2])
    found = " per_user" in probe.text(graph)
    FOUND.append(found)
    for index in range(3):
        mine = users[[index]]
        wanted = ReferenceEvaluator(graph).run(None, {"u": mine, "x": x})[0]
        rows = user == index if found else slice(None)
        got = probe.evaluate(graph, [users[user] if found else mine, x], 7)["y"]
        np.testing.assert_allclose(got[rows], wanted[rows], rtol=1e-5, atol=1e-6)


def test_many_are_found() -> None:
    """Of those before; neither all nor none."""
    if len(FOUND) == SEEDS:
        assert SEEDS // 5 < sum(FOUND) < SEEDS
