"""Random bags: masks by any comparison of the ids, any way to apply them, any reduction and divisor, from ONNX to scores
against `onnx.reference` in float64. As a program, MTLC MTLRUN FIRST COUNT, it tries more seeds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.differential import Compiled, run_seeds
from tests.onnx.test_bags import Bags, N


class RandomBag(Bags):
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        super().__init__(dtype=self.pick(np.int64, np.int32), zero_row=self.chance(0.5))
        self.bound = int(self.rng.integers(-2, N + 2))

    def pick(self, *choices: object) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def condition(self) -> str:
        """bool (B, L)."""
        ids, bound = self.ids, self.i(self.bound)
        if self.chance(0.3):
            ids, bound = self.node("Cast", ids, to=7), self.const(self.bound, np.int64)
        op = self.pick("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
        found = self.node(op, *((ids, bound) if self.chance(0.6) else (bound, ids)))
        for _ in range(int(self.rng.integers(3))):
            found = self.node("Not", found)
        return found

    def as_number(self, mask: str, column: bool) -> str:
        """float (B, L, 1), or (B, L)."""
        if self.chance(0.3):
            found = self.number(self.node("Cast", mask, to=6))
        else:
            found = self.number(mask)
        found = self.unsqueeze(found) if column else found
        if self.chance(0.2):
            found = self.node("Sub", self.const(1.0), self.node("Sub", self.const(1.0), found))
        return found

    def terms(self, mask: str) -> str:
        """(B, L, K)."""
        fill = self.const(self.pick(0.0, -3.5, -1e9, 2.0))
        kind = self.pick("mul", "where", "where turned", "add")
        if kind == "mul":
            return self.node("Mul", *self.rng.permutation([self.rows, self.as_number(mask, True)]).tolist())
        if kind == "add":
            number = self.as_number(mask, True)
            rest = self.node("Mul", self.node("Sub", self.const(1.0), number), fill)
            return self.node("Add", self.node("Mul", self.rows, number), rest)
        branches = (self.rows, fill) if kind == "where" else (fill, self.rows)
        return self.node("Where", self.unsqueeze(mask), *branches)

    def divisor(self, mask: str) -> str:
        """(B, 1)."""
        column = self.chance(0.5)
        count = self.sum(self.as_number(mask, column), 0 if column else 1)
        kind = self.pick("clip", "add", "max", "bare")
        if kind == "clip":
            return self.at_least_one(count)
        if kind == "add":
            return self.node("Add", count, self.const(self.pick(1e-8, 0.25, 1.0)))
        return self.node("Max", count, self.const(self.pick(0.5, 1.0, 2.0))) if kind == "max" else count

    def build(self) -> None:
        mask = self.condition()
        terms = self.terms(mask)
        kind = self.pick("sum", "ReduceMax", "ReduceMean", "mean")
        if kind == "sum":
            self.output(self.sum(terms))
        elif kind == "mean":
            other = mask if self.chance(0.8) else self.condition()
            self.output(self.node("Div", self.sum(terms), self.divisor(other)))
        else:
            self.output(self.reduce(kind, terms))


def run(programs: Programs, seed: int) -> None:
    bag = RandomBag(seed)
    bag.build()
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, bag.model(), Path(folder))
        for rows in (1, 17):
            compiled.check(bag.make(rows, seed))


@pytest.mark.parametrize("seed", range(30))
def test_random_bag(programs: Programs, seed: int) -> None:
    run(programs, seed)


if __name__ == "__main__":
    run_seeds(run, "bags")
