"""What the tests of requests share: which inputs are the user's, and calls of several users.

A model has inputs of N rows. Compiled with `--request`, what is the user's has one row for each of
U users instead, and a column split makes two inputs of one: NAME.request (U, ..), NAME.row (N, ..).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.harness import Arrays, Programs

# Of the zoo's small rankers and of the planted worlds: what is the same for all candidates of a
# user, and dense fields whose first half is.
OF_USER = ("user", "query", "region", "country", "clicked", "carted", "bought", "ordered", "surface")
HALF = ("dense", "price")


@dataclass(frozen=True)
class Declared:
    """Inputs of the user, and ranges of columns of other inputs, in order."""

    inputs: tuple[str, ...] = ()
    columns: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @staticmethod
    def of(arrays: Arrays, apart: bool = False) -> Declared:
        """A plausible one for these inputs, by their names and shapes. Of one vector of features
        three columns of four, or, `apart`, two ranges with columns of the candidate around them."""
        columns = {
            name: ((0, value.shape[1] // 2),)
            for name, value in arrays.items()
            if name in HALF and value.ndim == 2 and value.shape[1] > 1
        }
        inputs = tuple(name for name in arrays if name in OF_USER)
        if not inputs and not columns:
            columns = {
                name: _ranges(value.shape[1], apart)
                for name, value in arrays.items()
                if value.ndim == 2 and value.dtype == np.float32 and value.shape[1] > 1
            }
        return Declared(inputs, columns)

    def words(self) -> str:
        """For `mtlc --request`."""
        ranges = {
            name: ",".join(f"{start}:{end}" for start, end in of)
            for name, of in self.columns.items()
        }
        return ",".join([*self.inputs, *(f"{name}[:,{text}]" for name, text in ranges.items())])

    def places(self, name: str) -> np.ndarray:
        """The user's columns of an input."""
        return np.concatenate([np.arange(*pair) for pair in self.columns[name]])

    def options(self) -> tuple[str, str]:
        return "--request", self.words()


def _ranges(width: int, apart: bool) -> tuple[tuple[int, int], ...]:
    if apart and width >= 8:
        return ((1, width // 2), (width // 2 + 2, width))
    return ((0, width * 3 // 4),)


@dataclass(frozen=True)
class Call:
    """Candidates and users. `rows` and `users` have all inputs of the model, N and U rows; what is
    not the candidates' or not the users' there is not looked at. `user` (N,) says whose each is."""

    declared: Declared
    rows: Arrays
    users: Arrays
    user: np.ndarray

    def copied(self) -> dict[str, np.ndarray]:
        """For the unsplit plan: the users' features in each of their rows."""
        found = {name: value.copy() for name, value in self.rows.items()}
        for name in self.declared.inputs:
            found[name] = self.users[name][self.user]
        for name in self.declared.columns:
            places = self.declared.places(name)
            found[name][:, places] = self.users[name][self.user][:, places]
        return found

    def once(self) -> dict[str, np.ndarray]:
        """For the plan compiled with `--request`."""
        found = dict(self.rows)
        for name in self.declared.inputs:
            found[name] = self.users[name]
        for name in self.declared.columns:
            places, whole = self.declared.places(name), found.pop(name)
            found[f"{name}.request"] = np.ascontiguousarray(self.users[name][:, places])
            found[f"{name}.row"] = np.delete(whole, places, axis=1)
        return found

    def part(self, rows: slice | np.ndarray) -> Call:
        """Some of the candidates, and of the users only those that they have, in another order."""
        left = self.user[rows]
        kept = np.unique(left)[::-1]
        place = np.full(len(next(iter(self.users.values()))), -1)
        place[kept] = np.arange(len(kept))
        return Call(
            self.declared,
            {name: np.ascontiguousarray(value[rows]) for name, value in self.rows.items()},
            {name: np.ascontiguousarray(value[kept]) for name, value in self.users.items()},
            place[left].astype(self.user.dtype),
        )

    def score(self, programs: Programs, plan: Path, *options: str) -> dict[str, np.ndarray]:
        """By a plan compiled with `--request`. A call with one user says nothing of users."""
        count = len(next(iter(self.users.values())))
        with tempfile.TemporaryDirectory() as folder:
            given, got = Path(folder, "in.npz"), Path(folder, "out.npz")
            index = {} if count == 1 else {"candidates_user": self.user.astype(np.int32)}
            several = () if count == 1 else ("--users", "candidates_user")
            np.savez(given, **self.once(), **index)
            words = ("score", plan, "--inputs", given, "--outputs", got, *several, *options)
            programs.ok(programs.mtlrun, *words)
            with np.load(got) as outputs:
                return dict(outputs)


def drawn(declared: Declared, arrays: Arrays, rows: int, users: int, seed: int = 0) -> Call:
    """Candidates in a random order of `users` users, all of whom have one where rows allow it;
    features are rows of `arrays`."""
    draws = np.random.default_rng(seed)
    user = draws.permutation(np.concatenate([np.arange(users), draws.integers(0, users, rows)])[:rows])
    count = len(next(iter(arrays.values())))

    def some(size: int) -> dict[str, np.ndarray]:
        """Each input's rows by themselves, so that combinations are new."""
        return {name: value[draws.integers(0, count, size)] for name, value in arrays.items()}

    return Call(declared, some(rows), some(users), user)
