"""Random rankers in which what may be the user's and what is the candidate's stand side by side everywhere: columns in
turn, masked and scaled before the layers that read them; fields summed as in factorisation machines, cross layers,
positions of a sequence beside the candidate, and batches of layers on both."""

from __future__ import annotations

import numpy as np

from tests.onnx.builder import Builder, Spec

WIDTHS = (1, 2, 3, 5, 8, 16, 24)


class MixedColumns(Builder):
    """One of each kind of ranker in turn."""

    def __init__(self, seed: int) -> None:
        super().__init__(opset=17)
        self.rng = np.random.default_rng([seed, 77])
        kinds = (self.deep, self.machine, self.cross, self.sequence, self.batch)
        kinds[seed % len(kinds)]()

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, *choices: object) -> object:
        return choices[self.number(0, len(choices) - 1)]

    def numbers(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) / np.sqrt(shape[-2] if len(shape) > 1 else 1))

    def layer(self, x: str, k: int, n: int) -> str:
        y = self.node("MatMul", x, self.numbers(k, n))
        y = self.node("Add", y, self.numbers(n)) if self.number(0, 2) else y
        act = self.pick("", "Relu", "Tanh", "Sigmoid", "LeakyRelu")
        return self.node(act, y) if act else y

    def join(self, parts: list[str], axis: int) -> str:
        """One concatenation, or one of concatenations."""
        if len(parts) > 3 and self.number(0, 1):
            cut = self.number(2, len(parts) - 1)
            parts = [self.node("Concat", *parts[:cut], axis=axis), *parts[cut:]]
        return self.node("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]

    def columns(self, count: int) -> tuple[str, int]:
        widths = [int(self.pick(*WIDTHS)) for _ in range(count)]
        return self.join([self.input(Spec((w,))) for w in widths], 1), sum(widths)

    def functions(self, x: str, shape: tuple[int, ...]) -> str:
        """Some functions of x (B, *shape), one after the other."""
        for _ in range(self.number(0, 4)):
            kind = self.number(0, 6)
            if kind == 0:
                x = self.node("Tanh", x)
            elif kind == 1:
                x = self.node("Mul", x, self.numbers(shape[-1]))
            elif kind == 2:
                x = self.node(str(self.pick("Mul", "Add", "Sub", "Max")), self.input(Spec(shape)), x)
            elif kind == 3:
                x = self.node("Mul", x, self.input(Spec((*(1 for _ in shape),), low=0.5, high=2.0)))
            elif kind == 4:
                positive = self.node("Greater", x, self.const(0.1))
                x = self.node("Where", positive, x, self.node("Mul", x, self.const(0.25)))
            elif kind == 5:
                x = self.node("Add", x, self.const(0.5))
            else:
                x = self.node("Mul", x, self.node("Sigmoid", x))
        return x

    def deep(self) -> None:
        x, width = self.columns(self.number(2, 6))
        if self.number(0, 3) == 0:
            x = self.node("Relu", self.node("Add", x, self.numbers(width)))
            self.output(self.layer(x, width, 4))
        x = self.functions(x, (width,))
        if self.number(0, 4) == 0:
            x = self.node("LayerNormalization", x, self.numbers(width), self.numbers(width))
        sizes = [int(self.pick(1, 7, 16, 16, 40)) for _ in range(self.number(1, 3))]
        for n in sizes:
            self.output(self.layer(self.layer(x, width, n), n, 2))

    def fields(self, d: int) -> tuple[str, int]:
        counts = [self.number(1, 4) for _ in range(self.number(2, 4))]
        return self.join([self.input(Spec((f, d))) for f in counts], 1), sum(counts)

    def machine(self) -> None:
        """Pairs of fields: half of the square of the sum less the sum of squares; other sums; a layer on all."""
        d = int(self.pick(2, 4, 8))
        x, count = self.fields(d)
        x = self.functions(x, (count, d))
        axes = self.ints(1)
        total = self.node("ReduceSum", x, axes, keepdims=0)
        squares = self.node("ReduceSum", self.node("Mul", x, x), axes, keepdims=0)
        pairs = self.node("Sub", self.node("Mul", total, total), squares)
        self.output(self.node("Mul", pairs, self.const(0.5)))
        kind = str(self.pick("ReduceMean", "ReduceMax", "ReduceMin"))
        self.output(self.node(kind, x, axes=list(self.pick((1,), (1, 2), (2,))), keepdims=self.number(0, 1)))
        flat = self.node("Reshape", x, self.ints(-1, count * d))
        self.output(self.layer(flat, count * d, 12))

    def cross(self) -> None:
        x0, width = self.columns(self.number(2, 4))
        x = x0
        for _ in range(2):
            y = self.node("Add", self.node("MatMul", x, self.numbers(width, width)), self.numbers(width))
            x = self.node("Add", self.node("Mul", x0, y), x)
        self.output(self.layer(x, width, 3))

    def sequence(self) -> None:
        """How well each position of a sequence suits the candidate, by a network of both, their difference and product."""
        length, d = self.number(2, 6), int(self.pick(3, 8))
        h, q = self.input(Spec((length, d))), self.input(Spec((1, d)))
        wide = self.node("Expand", q, self.node("Shape", h))
        q, name = (wide, "wide") if self.number(0, 2) else (q, "narrow")
        parts = [wide, h, self.node("Sub", q, h), self.node("Mul", q, h)]
        if name == "wide" and self.number(0, 1):
            parts.append(self.node("Sub", h, q))
        parts = [parts[i] for i in self.rng.permutation(len(parts))[: self.number(2, len(parts))]]
        x = self.node("Concat", *parts, axis=2)
        x = self.layer(x, d * len(parts), int(self.pick(6, 16, 20)))
        self.output(x)
        weights = self.node("Softmax", self.node("ReduceSum", x, self.ints(2), keepdims=1), axis=1)
        self.output(self.node("ReduceSum", self.node("Mul", weights, h), self.ints(1), keepdims=0))

    def batch(self) -> None:
        """Layers side by side, each on columns of its own of both kinds."""
        groups, widths = self.number(2, 4), [int(self.pick(1, 3, 8)) for _ in range(self.number(2, 3))]
        x = self.join([self.input(Spec((groups, w))) for w in widths], 2)
        x = self.functions(x, (groups, sum(widths)))
        x = self.node("Transpose", x, perm=[1, 0, 2])
        y = self.node("MatMul", x, self.numbers(groups, sum(widths), 9))
        y = self.node("Add", y, self.numbers(groups, 1, 9)) if self.number(0, 1) else y
        self.output(self.node("Transpose", self.node("Relu", y), perm=[1, 0, 2]))
