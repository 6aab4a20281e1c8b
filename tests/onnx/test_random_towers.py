"""`--emit-towers` on random towers that meet at random, and on the random graphs of the other tests with inputs and columns
declared at random to be the users': the three plans one after the other score like `onnx.reference` in float64, or it is
said why the graph is not cut.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_random_towers MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Arrays, Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, Refused, run_seeds
from tests.onnx.test_random_requests import MAKERS, ROWS, USERS, Call, Declared, check, reference
from tests.onnx.test_random_rankers import row_axis

SEEDS = 80
WIDTHS = (1, 3, 4, 6)
NOT_CUT = ("nothing is worth storing", "no output depends on an input that")


class Towers(Builder):
    """Values of the user, of the item and of both, each (B, width), made from one another."""

    def __init__(self, seed: int) -> None:
        super().__init__([13, 17, 20][seed % 3])
        self.rng = np.random.default_rng([seed, 47])
        self.width: dict[str, int] = {}
        self.sides: list[list[str]] = []
        for side in ("u", "x"):
            names = [self.new_input(f"{side}{i}") for i in range(self.rng.integers(1, 4))]
            self.sides.append([self.look_up(n) if self.inputs[n].dtype is np.int64 else n for n in names])
        for values in self.sides:
            for _ in range(self.rng.integers(2, 7)):
                values.append(self.step(values))
        mixed = [self.meet() for _ in range(self.rng.integers(1, 4))]
        for _ in range(self.rng.integers(1, 5)):
            mixed.append(self.meet() if self.rng.random() < 0.3 else self.step(mixed))
        outputs = {mixed[-1], *(mixed[i] for i in self.rng.integers(0, len(mixed), 2))}
        if self.rng.random() < 0.4:
            outputs.add(self.sides[self.rng.integers(2)][-1])
        for value in sorted(outputs - set(self.inputs)):
            self.output(value)

    def new_input(self, name: str) -> str:
        if self.rng.random() < 0.3:
            return self.input(Spec((), np.int64, 0, 20), name)
        self.width[name] = int(self.rng.choice(WIDTHS))
        return self.input(Spec((self.width[name],)), name)

    def look_up(self, ids: str) -> str:
        width = int(self.rng.choice(WIDTHS))
        return self.of(width, self.node("Gather", self.const(self.rng.standard_normal((20, width))), ids))

    def of(self, width: int, value: str) -> str:
        self.width[value] = width
        return value

    def pick(self, values: list[str]) -> str:
        return values[-1] if self.rng.random() < 0.6 else str(self.rng.choice(values))

    def layer(self, x: str) -> str:
        k, n = self.width[x], int(self.rng.choice(WIDTHS))
        w, b = self.rng.standard_normal((k, n)) / np.sqrt(k), self.rng.standard_normal(n) / 4
        y = self.of(n, self.node("Gemm", x, self.const(w), self.const(b)))
        act = str(self.rng.choice(["Relu", "Tanh", "Sigmoid", "Elu", ""]))
        return self.of(n, self.node(act, y)) if act else y

    def concat(self, *values: str) -> str:
        return self.of(sum(self.width[v] for v in values), self.node("Concat", *values, axis=1))

    def step(self, values: list[str]) -> str:
        """One more value of the same side."""
        x = self.pick(values)
        width = self.width[x]
        match int(self.rng.integers(8)):
            case 0 | 1 | 2:
                return self.layer(x)
            case 3:
                return self.of(width, self.node(str(self.rng.choice(["Tanh", "Neg", "Sigmoid"])), x))
            case 4:
                return self.of(width, self.node("Mul", x, self.const(self.rng.standard_normal(width))))
            case 5:
                return self.of(width, self.node("Softmax", x, axis=1))
            case 6:
                begin = int(self.rng.integers(width))
                part = self.node("Slice", x, self.ints(begin), self.ints(width), self.ints(1))
                return self.of(width - begin, part)
            case _:
                return self.concat(x, *self.rng.choice(values, self.rng.integers(1, 3)))

    def meet(self) -> str:
        u, x = (self.pick(values) for values in self.sides)
        if self.rng.random() < 0.4:
            return self.layer(self.concat(*self.rng.permutation([u, x])))
        n = max(self.width[u], self.width[x])
        u, x = (v if self.width[v] == n else self.widen(v, n) for v in (u, x))
        if self.rng.random() < 0.5:
            return self.of(n, self.node(str(self.rng.choice(["Mul", "Add", "Sub"])), u, x))
        row, column = self.node("Unsqueeze", u, self.ints(1)), self.node("Unsqueeze", x, self.ints(2))
        return self.of(1, self.node("Squeeze", self.node("MatMul", row, column), self.ints(2)))

    def widen(self, value: str, n: int) -> str:
        """Copies, which are not worth storing."""
        copies = self.concat(*[value] * -(-n // self.width[value]))
        return self.of(n, self.node("Slice", copies, self.ints(0), self.ints(n), self.ints(1)))


class OfUser(Declared):
    """What begins with u."""

    def __init__(self, built: Builder, seed: int) -> None:
        self.built, self.rng = built, np.random.default_rng([seed, 31])
        self.whole, self.columns = [name for name in built.inputs if name.startswith("u")], {}


def make(seed: int) -> Declared:
    if seed % 2 == 0:
        return OfUser(Towers(seed), seed)
    return Declared(MAKERS[seed // 2 % len(MAKERS)](seed), seed)


def score(programs: Programs, prefix: Path, call: Call, rows: np.ndarray) -> Arrays:
    """Each part on what it takes: users once, items once, then the pairs."""
    inputs, user = call.once(rows)
    made: dict[str, np.ndarray] = {"whose candidate": user}
    for part in ("user", "item"):
        plan = prefix.with_suffix(f".{part}.plan")
        names = [entry["name"] for entry in programs.info(plan)["inputs"]]
        made |= programs.score(plan, {name: inputs[name] for name in names}) if names else {}
    return programs.score(prefix.with_suffix(".score.plan"), made, "--users", "whose candidate")


def signature(user: dict, item: dict) -> list[dict]:
    """As one plan has it, with U in front of what is the users'."""
    of_user = [e | {"shape": ["U" if d == "B" else d for d in e["shape"]]} for e in user["inputs"]]
    return of_user + item["inputs"]


def run(programs: Programs, seed: int) -> str:
    declared = make(seed)
    built = declared.built
    if not declared.words():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder, "m")
        try:
            compiled = Compiled(programs, built.model(), Path(folder), "--request", declared.words())
        except Refused as refused:
            return refused.message
        done = programs.run(
            programs.mtlc, Path(folder, "model.onnx"), "--request", declared.words(), "--emit-towers", prefix
        )
        if done.returncode != 0:
            return "" if any(reason in done.stderr for reason in NOT_CUT) else done.stderr
        user, item, last = (programs.info(prefix.with_suffix(f".{p}.plan")) for p in ("user", "item", "score"))
        assert not user["whole_batch"] and not item["whole_batch"]
        rowwise = not last["whole_batch"] and all(row_axis(entry) is not None for entry in last["outputs"])
        call = Call(declared, signature(user, item), ROWS, USERS if rowwise else 1)
        together = score(programs, prefix, call, np.arange(ROWS))
        for u in range(len(call.users)):
            rows = np.flatnonzero(call.user == u)
            axes = {entry["name"]: row_axis(entry) for entry in last["outputs"]}
            got = {n: np.take(a, rows, axes[n]) if rowwise else a for n, a in together.items()}
            check(got, reference(compiled, declared, call.of_one(u)), f"user {u}")
    return ""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_towers(seed: int, programs: Programs) -> None:
    assert run(programs, seed) == ""


if __name__ == "__main__":
    run_seeds(run, "towers")
