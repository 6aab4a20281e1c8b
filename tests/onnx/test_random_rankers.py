"""Random multi-task rankers in many idioms, from ONNX to scores, against `onnx.reference` in float64.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_random_rankers MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

import onnx
from onnx import TensorProto
from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, Refused, run_seeds

SEEDS = 100
ROWS = (1, 2, 17, 64, 65)
NEWEST = onnx.defs.onnx_opset_version()
ODD_NAMES = ["scores/ctr:0", "a b", "é", "%x", "x.y[0]", "-1", "{}", "out,put", "#", "日本", "'q'", "a" * 200]


class Ranker(Builder):
    """Values are (name, width) pairs of shape (B, width) unless said otherwise."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        super().__init__(int(self.rng.choice([11, 12, 13, 15, 17, 18, 20, 21, NEWEST])))
        self.half = self.chance(0.08)
        self.float = np.float16 if self.half else np.float32
        self.dim = str(self.rng.choice(["B", "batch_size", "N", "batch.1"]))
        self.shared: dict[int, str] = {}  # gates and the like, by width, for duplicates
        self.dense: str = ""

    # --- small change -------------------------------------------------------------------------------------------------

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *choices: object) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def data(self, *shape: int, scale: float | None = None) -> np.ndarray:
        fan = shape[0] if len(shape) < 3 else shape[-2]
        return (self.rng.standard_normal(shape) * (scale or 1 / np.sqrt(max(1, fan)))).astype(self.float)

    def floats(self, array: object) -> str:
        """An initialiser or a Constant node."""
        array = np.asarray(array, self.float)
        if self.chance(0.8):
            return self.const(array, self.float)
        return self.node("Constant", value=onnx.numpy_helper.from_array(array))

    def maybe(self, array: object) -> str | None:
        return self.floats(array) if self.chance(0.7) else None

    def reduce(self, op: str, x: str, axes: tuple[int, ...], keepdims: int) -> str:
        if self.opset >= (13 if op == "ReduceSum" else 18):
            return self.node(op, x, self.ints(*axes), keepdims=keepdims)
        return self.node(op, x, axes=axes, keepdims=keepdims)

    def squeeze(self, x: str, *axes: int) -> str:
        return self.node("Squeeze", x, self.ints(*axes)) if self.opset >= 13 else self.node("Squeeze", x, axes=axes)

    def unsqueeze(self, x: str, *axes: int) -> str:
        return self.node("Unsqueeze", x, self.ints(*axes)) if self.opset >= 13 else self.node("Unsqueeze", x, axes=axes)

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        return self.node("Slice", x, self.ints(start), self.ints(end), self.ints(axis))

    def split(self, x: str, sizes: list[int], axis: int) -> list[str]:
        names = [self.fresh("part") for _ in sizes]
        if self.opset >= 13:
            self.node("Split", x, self.ints(*sizes), outs=names, axis=axis)
        else:
            self.node("Split", x, outs=names, axis=axis, split=sizes)
        return names

    def rows_of(self, x: str) -> str:
        """The number of candidates, [B], in the ways of exporters."""
        shape = self.node("Shape", x)
        match self.number(0, 2):
            case 0:
                return self.slice(shape, 0, 0, 1)
            case 1:
                return self.unsqueeze(self.node("Gather", shape, self.const(0, np.int64), axis=0), 0)
            case _:
                return self.node("Gather", shape, self.ints(0), axis=0)

    def reshape(self, x: str, *dims: int) -> str:
        """To (B, *dims)."""
        match self.number(0, 3):
            case 0:
                return self.node("Reshape", x, self.ints(-1, *dims))
            case 1:
                return self.node("Reshape", x, self.ints(0, *dims[:-1], -1))
            case 2:
                return self.node("Reshape", x, self.node("Concat", self.rows_of(x), self.ints(*dims), axis=0))
            case _:
                return self.node("Reshape", x, self.node("Concat", self.rows_of(self.dense), self.ints(*dims), axis=0))

    def activation(self, x: str) -> str:
        ops = [
            "Relu",
            "Sigmoid",
            "Tanh",
            "LeakyRelu",
            "Elu",
            "Softplus",
            "HardSigmoid",
            "Selu",
            "PRelu",
            "silu",
            "gelu",
            "clip",
            "",
        ]
        op = str(self.rng.choice(ops, p=[0.4, *[0.05] * 12]))
        if op == "silu":
            return self.node("Mul", *self.shuffled(x, self.node("Sigmoid", x)))
        if op == "gelu":
            erf = self.node("Erf", self.node("Div", x, self.floats(np.sqrt(2))))
            half = self.node("Mul", x, self.floats(0.5))
            return self.node("Mul", half, self.node("Add", erf, self.floats(1)))
        if op == "clip":
            return self.node("Clip", x, self.floats(-0.5), self.floats(1) if self.chance(0.5) else None)
        if op == "PRelu":
            return self.node("PRelu", x, self.floats([0.2]))
        return self.node(op, x) if op else x

    def shuffled(self, a: str, b: str) -> tuple[str, str]:
        return (a, b) if self.chance(0.5) else (b, a)

    # --- layers -------------------------------------------------------------------------------------------------------

    def product(self, x: str, width: int, out: int) -> str:
        """x w + b with the constants on either side."""
        weight, bias = self.data(width, out), self.data(out, scale=0.2)
        match self.number(0, 6):
            case 0:
                return self.node("Gemm", x, self.floats(weight.T), self.floats(bias), transB=1)
            case 1:
                return self.node(
                    "Gemm",
                    x,
                    self.floats(weight),
                    self.floats(self.pick(bias, bias[None], bias[:1])),
                    alpha=float(self.pick(1.0, 0.5)),
                    beta=float(self.pick(1.0, 2.0)),
                )
            case 2:
                turned = self.node("Transpose", self.floats(weight.T), perm=(1, 0))
                return self.node("Add", *self.shuffled(self.node("MatMul", x, turned), self.floats(bias)))
            case 3:  # (W x')' with x' (width, B)
                turned = self.node("Transpose", x, perm=(1, 0))
                left = self.node("MatMul", self.floats(weight.T), turned)
                left = self.node("Add", left, self.floats(bias[:, None])) if self.chance(0.7) else left
                return self.node("Transpose", left, perm=(1, 0))
            case 4:
                turned = self.node("Transpose", x, perm=(1, 0))
                return self.node("Gemm", turned, self.floats(weight), self.floats(bias), transA=1)
            case 5:
                if self.opset >= 12:
                    y = self.node("Einsum", x, self.floats(weight.T), equation="bi,oi->bo")
                    return self.node("Sub", y, self.floats(bias))
                return self.node("MatMul", x, self.floats(weight))
            case _:
                return self.node("Add", *self.shuffled(self.floats(bias), self.node("MatMul", x, self.floats(weight))))

    def norm(self, x: str, width: int) -> str:
        scale, bias = self.rng.uniform(-1.5, 1.5, width), self.rng.standard_normal(width)
        if self.chance(0.6):
            mean, variance = self.rng.standard_normal(width) / 2, self.rng.uniform(0.3, 2, width)
            return self.node("BatchNormalization", x, *map(self.floats, (scale, bias, mean, variance)), epsilon=1e-3)
        if self.opset >= 17 and self.chance(0.6):
            return self.node(
                "LayerNormalization",
                x,
                self.floats(scale),
                self.floats(bias) if self.chance(0.7) else None,
                axis=int(self.pick(-1, 1)),
                epsilon=1e-2,
            )
        centred = self.node("Sub", x, self.reduce("ReduceMean", x, (-1,), 1))
        variance = self.reduce("ReduceMean", self.node("Mul", centred, centred), (1,), 1)
        y = self.node("Div", centred, self.node("Sqrt", self.node("Add", variance, self.floats(1e-2))))
        return self.node("Add", self.node("Mul", y, self.floats(scale)), self.floats(bias))

    def layer(self, x: str, width: int, out: int) -> str:
        y = self.product(x, width, out)
        before, after = self.chance(0.15), self.chance(0.15)
        y = self.norm(y, out) if before else y
        y = self.activation(y)
        y = self.norm(y, out) if after else y
        if self.chance(0.1):
            y = self.node("Dropout", y)
        if width == out and self.chance(0.3):
            y = self.node("Add", *self.shuffled(x, y))
        return self.node("Identity", y) if self.chance(0.05) else y

    def mlp(self, x: str, width: int, out: int, depth: int) -> str:
        for _ in range(depth - 1):
            hidden = int(self.pick(3, 8, 16, 17, out))
            x, width = self.layer(x, width, hidden), hidden
        return self.layer(x, width, out)

    def siamese(self, x: str, width: int) -> str:
        """One layer on two views of the candidates, stacked along their axis; (B, width)."""
        other = self.node("Tanh", x)
        both = self.node("Concat", x, other, axis=0) if self.chance(0.6) else self.node("Tile", x, self.ints(2, 1))
        y = self.layer(both, width, width)
        if self.chance(0.1):
            self.output(y)
        stacked = self.node("Reshape", y, self.ints(2, -1, width))
        match self.number(0, 3):
            case 0:
                return self.reduce("ReduceMean", stacked, (0,), 0)
            case 1:
                first, second = self.split(stacked, [1, 1], 0)
                return self.node("Mul", self.squeeze(first, 0), self.squeeze(second, 0))
            case 2:
                return self.node("Gather", stacked, self.const(1, np.int64), axis=0)
            case _:
                return self.reduce("ReduceMax", self.node("Transpose", stacked, perm=(1, 0, 2)), (1,), 0)

    def attention(self, x: str, width: int) -> str:
        """Among the experts: (B, count, width)."""
        query, key = (self.node("MatMul", x, self.floats(self.data(width, 4))) for _ in range(2))
        scores = self.node("MatMul", query, self.node("Transpose", key, perm=(0, 2, 1)))
        scores = self.node("Mul", scores, self.floats(0.5)) if self.chance(0.5) else scores
        exps = self.node("Exp", self.node("Sub", scores, self.reduce("ReduceMax", scores, (-1,), 1)))
        weights = self.node("Div", exps, self.reduce("ReduceSum", exps, (2,), 1))
        return self.node("Add", *self.shuffled(x, self.node("MatMul", weights, x)))

    # --- inputs -------------------------------------------------------------------------------------------------------

    def features(self) -> tuple[str, int]:
        parts: list[tuple[str, int]] = []
        for index in range(self.number(1, 3)):
            width = int(self.pick(1, 3, 8, 19))
            odd = self.chance(0.15)
            name = f"{self.pick(*ODD_NAMES)}{index}" if odd else self.fresh("dense")
            parts.append((self.input(Spec((width,), self.float), name), width))
        self.dense = parts[0][0]
        if self.chance(0.3):
            parts.append(self.lookup())
        if self.chance(0.2):
            parts.append(self.flags())
        if self.chance(0.2):
            parts.append(self.user())
        self.rng.shuffle(parts)
        parts = [(str(name), int(width)) for name, width in parts]
        width = sum(width for _, width in parts)
        if len(parts) == 1:
            return parts[0]
        return self.node("Concat", *(name for name, _ in parts), axis=int(self.pick(1, -1))), width

    def lookup(self) -> tuple[str, int]:
        """Embeddings of one or several ids."""
        ids, width, fields = self.number(2, 40), self.number(1, 9), self.number(1, 3)
        dtype = self.pick(np.int64, np.int32)
        table = self.floats(self.data(ids, width, scale=1.0))
        shape = () if fields == 1 and self.chance(0.5) else (fields,)
        name = self.input(Spec(shape, dtype, 0, ids))
        rows = self.node("Gather", table, name)
        if not shape:
            return rows, width
        match self.number(0, 2):
            case 0:
                return self.reshape(rows, fields * width), fields * width
            case 1:
                return self.reduce(str(self.pick("ReduceSum", "ReduceMean", "ReduceMax")), rows, (1,), 0), width
            case _:  # a masked mean
                mask = self.node(
                    "Cast",
                    self.node("Not", self.node("Equal", name, self.const(0, dtype))),
                    to=TensorProto.FLOAT16 if self.half else TensorProto.FLOAT,
                )
                total = self.reduce("ReduceSum", self.node("Mul", rows, self.unsqueeze(mask, 2)), (1,), 0)
                count = self.reduce("ReduceSum", mask, (1,), 1)
                return self.node("Div", total, self.node("Clip", count, self.floats(1))), width

    def flags(self) -> tuple[str, int]:
        width = self.number(1, 4)
        flag = self.input(Spec((width,), np.bool_))
        if self.chance(0.5):
            return self.node("Cast", flag, to=TensorProto.FLOAT16 if self.half else TensorProto.FLOAT), width
        return self.node("Where", flag, self.floats(self.data(width)), self.floats(-1)), width

    def user(self) -> tuple[str, int]:
        """The same for all candidates: (1, width), repeated by Expand or Tile."""
        width = self.number(1, 6)
        name = self.input(Spec((1, width), self.float, rows=False))
        name = self.layer(name, width, width) if self.chance(0.5) else name
        if self.chance(0.5):
            return self.node("Tile", name, self.node("Concat", self.rows_of(self.dense), self.ints(1), axis=0)), width
        return self.node("Expand", name, self.node("Concat", self.rows_of(self.dense), self.ints(width), axis=0)), width

    # --- experts and gates --------------------------------------------------------------------------------------------

    def experts(self, x: str, width: int, count: int, out: int) -> str:
        """(B, count, out)."""
        match self.number(0, 4):
            case 0:
                each = [self.unsqueeze(self.mlp(x, width, out, 2), 1) for _ in range(count)]
                return self.node("Concat", *each, axis=int(self.pick(1, -2)))
            case 1:  # stacked last
                each = [self.unsqueeze(self.mlp(x, width, out, 1), int(self.pick(2, -1))) for _ in range(count)]
                return self.node("Transpose", self.node("Concat", *each, axis=2), perm=(0, 2, 1))
            case 2:  # stacked first
                each = [self.unsqueeze(self.mlp(x, width, out, 1), 0) for _ in range(count)]
                return self.node("Transpose", self.node("Concat", *each, axis=0), perm=(1, 0, 2))
            case 3:  # one three-dimensional parameter
                weights, bias = self.floats(self.data(count, width, out)), self.floats(self.data(count, 1, out))
                y = self.activation(self.node("Add", self.node("MatMul", self.unsqueeze(x, 0), weights), bias))
                return self.node("Transpose", y, perm=(1, 0, 2))
            case _:  # one wide product
                return self.reshape(self.layer(x, width, count * out), count, out)

    def gate(self, x: str, width: int, count: int) -> str:
        """(B, count)."""
        if count in self.shared and self.chance(0.15):
            return self.shared[count]
        logits = self.mlp(x, width, count, 2) if self.chance(0.2) else self.product(x, width, count)
        if self.chance(0.1):
            logits = self.node("Div", logits, self.floats(0.7))
        if self.chance(0.1):
            mask = self.node("Greater", self.floats(self.data(count)), self.floats(-0.3))
            logits = self.node("Where", mask, logits, self.floats(-1e4))
        if self.opset >= 13 or self.chance(0.5):
            gate = self.node("Softmax", logits, axis=1 if self.opset < 13 else int(self.pick(1, -1)))
        else:
            exps = self.node("Exp", self.node("Sub", logits, self.reduce("ReduceMax", logits, (1,), 1)))
            gate = self.node("Div", exps, self.reduce("ReduceSum", exps, (1,), 1))
        self.shared[count] = gate
        return gate

    def mix(self, gate: str, experts: str, count: int, out: int) -> str:
        """(B, out)."""
        match self.number(0, 6):
            case 0:
                return self.reduce(
                    "ReduceSum", self.node("Mul", *self.shuffled(experts, self.unsqueeze(gate, 2))), (1,), 0
                )
            case 1:
                return self.squeeze(self.node("MatMul", self.unsqueeze(gate, 1), experts), 1)
            case 2 if self.opset >= 12:
                return self.node(
                    "Einsum", gate, experts, equation=str(self.pick("be,beh->bh", "ij,ijk->ik", "...e,...eh->...h"))
                )
            case 3:
                turned = self.node("Transpose", experts, perm=(0, 2, 1))
                return self.squeeze(self.node("MatMul", turned, self.unsqueeze(gate, -1)), -1)
            case 4:  # a chain over the experts
                total = ""
                columns = (
                    self.split(gate, [1] * count, 1)
                    if self.chance(0.5)
                    else [self.slice(gate, 1, e, e + 1) for e in range(count)]
                )
                for index, column in enumerate(columns):
                    expert = self.node("Gather", experts, self.const(index, np.int64), axis=1)
                    term = self.node("Mul", *self.shuffled(column, expert))
                    total = self.node("Add", total, term) if total else term
                return total
            case 5:
                weighted = self.node("Mul", self.node("Transpose", experts, perm=(0, 2, 1)), self.unsqueeze(gate, 1))
                return self.reduce("ReduceSum", weighted, (-1,), 0)
            case _:
                expanded = self.node(
                    "Expand",
                    self.unsqueeze(gate, -1),
                    self.node("Concat", self.rows_of(gate), self.ints(count, out), axis=0),
                )
                return self.reduce("ReduceSum", self.node("Mul", expanded, experts), (1,), 0)

    def all_gates(self, x: str, width: int, experts: str, tasks: int, count: int, out: int) -> list[str]:
        """All tasks in one product."""
        logits = self.reshape(self.product(x, width, tasks * count), tasks, count)
        if self.opset >= 13:
            gates = self.node("Softmax", logits, axis=int(self.pick(2, -1)))
        else:
            exps = self.node("Exp", logits)
            gates = self.node("Div", exps, self.reduce("ReduceSum", exps, (2,), 1))
        mixed = self.node("MatMul", gates, experts)
        match self.number(0, 2):
            case 0:
                return [self.node("Gather", mixed, self.const(t, np.int64), axis=1) for t in range(tasks)]
            case 1:
                return [self.squeeze(part, 1) for part in self.split(mixed, [1] * tasks, 1)]
            case _:
                flat = self.node("Flatten", mixed, axis=1)
                return self.split(flat, [out] * tasks, int(self.pick(1, -1)))

    def level(self, streams: list[str], width: int, tasks: int, out: int) -> list[str]:
        """One PLE level: own experts and shared ones."""
        own, common = self.number(1, 2), self.number(1, 3)
        shared = self.experts(streams[-1], width, common, out)
        mine = [self.experts(streams[t], width, own, out) for t in range(tasks)]
        results = []
        for task in range(tasks):
            both = self.node("Concat", mine[task], shared, axis=1)
            results.append(self.mix(self.gate(streams[task], width, own + common), both, own + common, out))
        everything = self.node("Concat", *mine, shared, axis=1)
        count = tasks * own + common
        return [*results, self.mix(self.gate(streams[-1], width, count), everything, count, out)]

    def towers(self) -> list[tuple[str, int]]:
        x, width = self.features()
        tasks, count, out = self.number(1, 4), self.number(1, 5), int(self.pick(4, 8, 16, 33))
        if self.chance(0.3):
            x, width = self.mlp(x, width, out, 1), out
        if self.chance(0.12):
            x = self.siamese(x, width)
        kind = self.number(0, 4)
        if kind == 0:
            return [(self.mlp(x, width, out, 2), out) for _ in range(tasks)]
        if kind == 1:
            streams = [x] * (tasks + 1)
            for _ in range(self.number(1, 2)):
                streams, width = self.level(streams, width, tasks, out), out
            return [(stream, out) for stream in streams[:-1]]
        experts = self.experts(x, width, count, out)
        experts = self.attention(experts, out) if self.chance(0.1) else experts
        if kind == 2:
            return [(name, out) for name in self.all_gates(x, width, experts, tasks, count, out)]
        return [(self.mix(self.gate(x, width, count), experts, count, out), out) for _ in range(tasks)]

    # --- heads and outputs --------------------------------------------------------------------------------------------

    def head(self, x: str, width: int) -> str:
        x = self.mlp(x, width, 6, self.number(1, 2))
        match self.number(0, 5):
            case 0:
                return self.node("Softmax", self.product(x, 6, 3), axis=1)
            case 1:
                return self.product(x, 6, 1)
            case 2:
                return self.squeeze(
                    self.node("Sigmoid", self.product(x, 6, 1)), self.pick(1, -1) if self.opset >= 13 else 1
                )
            case 3:
                return self.node("Reshape", self.node("Sigmoid", self.product(x, 6, 1)), self.ints(-1))
            case 4:
                return self.node("Clip", self.product(x, 6, 2), self.floats(0), None)
            case _:
                return self.node("Sigmoid", self.product(x, 6, 1))

    def across(self, x: str) -> str:
        """Mixes candidates: (B, ...) stays first."""
        match self.number(0, 3):
            case 0:
                return self.node("Sub", x, self.reduce("ReduceMean", x, (0,), 1))
            case 1 if self.opset >= 13:
                return self.node("Softmax", x, axis=0)
            case 2:
                return self.node("Div", x, self.node("Add", self.floats(1), self.reduce("ReduceL2", x, (0,), 1)))
            case _:
                return self.node("Add", x, self.node("Gather", x, self.ints(0), axis=0))

    def finish(self) -> None:
        scores = [self.head(*tower) for tower in self.towers()]
        if len(scores) > 1 and self.chance(0.2):
            scores.append(self.node("Mul", scores[0], scores[0]))
        if self.chance(0.1):
            scores.append(self.across(scores[0]))
        values = [name for node in self.nodes for name in node.output]
        floats = [
            name
            for name in values
            if name.split("_")[0]
            in ("relu", "add", "mul", "matmul", "gemm", "softmax", "sigmoid", "transpose", "concat", "reducesum")
        ]
        for _ in range(self.number(0, 2)):  # intermediates, with other readers and in any shape
            if floats:
                scores.append(str(self.rng.choice(floats)))
        if self.chance(0.1):
            scores.append(self.dense)
        if self.chance(0.1):
            scores.append(self.node("Identity", self.dense))
        if self.chance(0.1):
            scores.append(self.const(self.data(2, 3), self.float))
        if self.chance(0.1):
            scores.append(self.node("Identity", scores[0]))
        if self.chance(0.1):
            scores.append(self.node("Neg", self.node("Neg", scores[0])))
        if self.chance(0.1):
            scores.append(self.node("Shape", scores[0]))
        if self.chance(0.15):
            self.input(Spec((3,), self.pick(np.float32, np.int64)))  # read by nobody
        for name in dict.fromkeys(scores):
            self.output(name)
        if self.chance(0.2):
            odd = f"{self.pick(*ODD_NAMES)}"
            self.node("Identity", scores[0], outs=[odd])
            self.output(odd)

    def ranker(self) -> onnx.ModelProto:
        self.finish()
        model = self.model()
        if self.chance(0.3):  # names of nodes are optional
            for node in model.graph.node:
                node.ClearField("name")
        return model


def run(programs: Programs, seed: int) -> str:
    """Makes, compiles, scores and compares one; returns "" or the message of a refusal that is right."""
    ranker = Ranker(seed)
    model = ranker.ranker()
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = Compiled(programs, model, Path(folder))
        except Refused as refused:
            return refused.message
        info = programs.info(compiled.plan)
        together: dict[str, np.ndarray] = {}
        more = {1: ("--provider", "onednn"), 2: ("--isa", "generic")}.get(seed % 4)
        if more is not None:
            compiled.check(ranker.make(17), *more)
        for rows in ROWS if seed % 4 == 0 else (2, 65):
            inputs = ranker.make(rows)
            together = compiled.check(inputs, *(("--tile-rows", "16") if rows % 2 else ()))
        if not info["whole_batch"]:
            compare_alone(ranker, compiled, info, inputs, together)
    return ""


def compare_alone(
    ranker: Ranker, compiled: Compiled, info: dict, inputs: dict[str, np.ndarray], together: dict[str, np.ndarray]
) -> None:
    """A candidate alone has the bits that it has among the others."""
    rows = len(inputs[ranker.dense])
    axes = {info["name"]: row_axis(info) for info in info["outputs"]}
    for row in (0, rows // 2, rows - 1):
        one = {name: array[row : row + 1] if ranker.inputs[name].rows else array for name, array in inputs.items()}
        for name, got in compiled.score(one).items():
            if axes[name] is not None:
                want = np.take(together[name], [row], axes[name])
                assert got.tobytes() == want.tobytes(), f"{name} of row {row} has other bits alone"


def row_axis(tensor: dict) -> int | None:
    """The axis that has one element for each candidate."""
    axes = [axis for axis, extent in enumerate(tensor["shape"]) if extent == "B"]
    return axes[0] if axes else None


@pytest.mark.parametrize("seed", range(SEEDS))
def test_ranker(seed: int, programs: Programs) -> None:
    assert run(programs, seed) == ""


if __name__ == "__main__":
    run_seeds(run, "rankers")
