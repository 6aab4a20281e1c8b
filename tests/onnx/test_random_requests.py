"""One user and many candidates: the random graphs of the other tests, with inputs and columns of inputs declared at
random to be the users', against `onnx.reference` in float64 on copies of the users' features. The users of a call are in
random order; each candidate must score as it does alone with its user, bit for bit.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_random_requests MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import Arrays, Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, Refused, difference, evaluate, run_seeds
from tests.onnx.mixed_columns import MixedColumns
from tests.onnx.test_attention import Spelled
from tests.onnx.test_columns import Columns
from tests.onnx.test_lanes import Lanes
from tests.onnx.test_random_bags import RandomBag
from tests.onnx.test_random_rankers import Ranker, row_axis
from tests.onnx.test_recurrent import Layer
from tests.onnx.test_side_by_side import ranker as streams
from tests.onnx.test_uniform import Mixed

SEEDS = 64
ROWS, USERS = 40, 5


class Mask(Spec):
    """Of which the first column is set: where nothing is, what is added to all scores rounds them."""

    def make(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        mask = super().make(rows, rng)
        mask[:, 0] = True
        return mask


def attention(seed: int) -> Builder:
    built = Spelled(seed)
    built.inputs["mask"] = Mask((6,), np.bool_)
    built.output(built.attention(merged=seed % 2 == 1))
    return built


def bag(seed: int) -> Builder:
    built = RandomBag(seed)
    built.build()
    return built


def columns(seed: int) -> Builder:
    built = Columns(seed)
    built.finish()
    if not built.outputs:
        built.output(built.node("Neg", "in_1"))
    return built


def ranker(seed: int) -> Builder:
    built = Ranker(seed)
    built.finish()
    return built


MAKERS: list[Callable[[int], Builder]] = [
    ranker,
    streams,
    columns,
    Mixed,
    streams,
    ranker,
    lambda seed: MixedColumns(seed // 11),
    lambda seed: Lanes(seed, False),
    attention,
    bag,
    Layer,
]


class Declared:
    """A graph, and what of it is the users'."""

    def __init__(self, built: Builder, seed: int) -> None:
        self.built, self.rng = built, np.random.default_rng([seed, 31])
        self.whole: list[str] = []
        self.columns: dict[str, np.ndarray] = {}
        mine = [name for name, spec in built.inputs.items() if spec.rows]
        mine = [name for name in mine if not set(name) & set(",*?[]@#: '") and name.isascii()]
        for name in mine:
            width = built.inputs[name].dims[-1] if built.inputs[name].dims else 1
            kind = self.rng.random()
            if kind < 0.35:
                self.whole.append(name)
            elif kind < 0.85 and width > 1:
                chosen = np.flatnonzero(self.rng.random(width) < self.rng.choice([0.2, 0.5, 0.8]))
                if self.rng.random() < 0.5:  # in one piece
                    chosen = np.arange(len(chosen)) + self.rng.integers(0, width - len(chosen) + 1)
                if 0 < len(chosen) < width:
                    self.columns[name] = chosen
        if mine and len(self.whole) == len(mine) == sum(s.rows for s in built.inputs.values()):
            self.whole.pop()  # something must be the candidates'

    def words(self) -> str:
        pieces = {name: ",".join(map(str, chosen)) for name, chosen in self.columns.items()}
        return ",".join([*self.whole, *(f"{n}[{':,' * self.axes(n)}{p}]" for n, p in pieces.items())])

    def axes(self, name: str) -> int:
        """Before the last one."""
        return len(self.built.inputs[name].dims)


class Call:
    """Rows of candidates and of users, drawn apart, and whose each candidate is."""

    def __init__(self, declared: Declared, signature: list[dict], rows: int, users: int) -> None:
        self.declared = declared
        self.signature = {entry["name"]: "U" in entry["shape"] for entry in signature}
        self.rows = declared.built.make(rows, 1)
        self.users = [declared.built.make(1, 2 + u) for u in range(users)]
        self.user = declared.rng.permutation(np.arange(rows) % users).astype(np.int32)

    def copied(self) -> Arrays:
        found = {name: value.copy() for name, value in self.rows.items()}
        for u, features in enumerate(self.users):
            of = self.user == u
            for name in self.declared.whole:
                found[name][of] = features[name]
            for name, columns in self.declared.columns.items():
                # two steps: a mask and a list of columns at once would pair them
                part = found[name][of]
                part[..., columns] = features[name][..., columns]
                found[name][of] = part
        return found

    def of_one(self, u: int) -> Arrays:
        """Copies for the candidates of one user; inputs that have no rows are that user's too."""
        copied, of = self.copied(), self.user == u
        specs = self.declared.built.inputs
        return {n: v[of] if specs[n].rows else self.shared(n, u) for n, v in copied.items()}

    def shared(self, name: str, u: int) -> np.ndarray:
        """An input without rows: one for each user where the plan takes it so."""
        return self.users[u][name] if self.signature.get(name) else self.rows[name]

    def once(self, rows: np.ndarray) -> tuple[Arrays, np.ndarray]:
        """Inputs of the plan for some of the candidates and the users that they have; and whose they are."""
        kept, user = np.unique(self.user[rows], return_inverse=True)
        found: dict[str, np.ndarray] = {}
        for name, value in self.rows.items():
            spec = self.declared.built.inputs[name]
            theirs = np.concatenate([self.users[u][name] for u in kept]) if spec.dims else None
            if spec.rows and theirs is None:
                theirs = np.concatenate([self.users[u][name] for u in kept])
            if name in self.declared.columns:
                columns = self.declared.columns[name]
                found[f"{name}.request"] = theirs[..., columns]
                found[f"{name}.row"] = np.delete(value[rows], columns, axis=-1)
            elif self.signature.get(name):
                found[name] = theirs
            else:
                found[name] = value[rows] if spec.rows else value
        arrays = {n: np.ascontiguousarray(a) for n, a in found.items() if n in self.signature}
        return arrays, user.astype(np.int32)


def score(compiled: Compiled, call: Call, rows: np.ndarray, *options: str) -> Arrays:
    inputs, user = call.once(rows)
    if user.max(initial=0) == 0:
        return compiled.score(inputs, *options)
    return compiled.score(inputs | {"whose candidate": user}, "--users", "whose candidate", *options)


def check(got: Arrays, want: Arrays, where: str) -> None:
    assert sorted(got) == sorted(want)
    wrong = [f"{n}: {text}" for n in want if (text := difference(got[n], want[n]))]
    assert not wrong, f"{where}: " + "; ".join(wrong)


def reference(compiled: Compiled, declared: Declared, inputs: Arrays) -> Arrays:
    """In float64; recurrent layers by their own, which knows more than the standard's."""
    if isinstance(declared.built, Layer):
        return declared.built.reference(inputs)
    return evaluate(compiled.wide, inputs)


def check_users(compiled: Compiled, declared: Declared, info: dict) -> None:
    """Several users in a call: each user's candidates score as in a call of their own, by the reference and bit for bit."""
    call = Call(declared, info["inputs"], ROWS, USERS)
    together = score(compiled, call, np.arange(ROWS))
    axes = {entry["name"]: row_axis(entry) for entry in info["outputs"]}
    for u in range(USERS):
        rows = np.flatnonzero(call.user == u)
        want = reference(compiled, declared, call.of_one(u))
        got = {n: a if axes[n] is None else np.take(a, rows, axes[n]) for n, a in together.items()}
        check(got, want, f"user {u} among {USERS}")
        if u > 1:
            continue
        for some in (rows, rows[:1]):
            alone = score(compiled, call, some)
            for name, axis in axes.items():
                bits = together[name] if axis is None else np.take(together[name], some, axis)
                assert alone[name].tobytes() == bits.tobytes(), f"{name} has other bits alone with its user"


def run(programs: Programs, seed: int) -> str:
    built = MAKERS[seed % len(MAKERS)](seed)
    declared = Declared(built, seed)
    model: onnx.ModelProto = built.model()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--request", declared.words()] if declared.words() else []
        try:
            compiled = Compiled(programs, model, Path(folder), *options)
        except Refused as refused:
            return refused.message
        info = programs.info(compiled.plan)
        one = Call(declared, info["inputs"], 17, 1)
        more = {1: ("--provider", "onednn"), 2: ("--isa", "generic"), 3: ("--tile-rows", "16")}
        got = score(compiled, one, np.arange(17), *more.get(seed % 4, ()))
        check(got, reference(compiled, declared, one.of_one(0)), "one user")
        rowwise = not info["whole_batch"] and all(row_axis(entry) is not None for entry in info["outputs"])
        if rowwise and any("U" in entry["shape"] for entry in info["inputs"]):
            check_users(compiled, declared, info)
    return ""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_request(seed: int, programs: Programs) -> None:
    assert run(programs, seed) == ""


if __name__ == "__main__":
    run_seeds(run, "requests")
