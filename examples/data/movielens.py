"""MovieLens-1M: a million ratings of 4,000 films by 6,000 people.

    world = read("ml-1m")

The folder holds (Latin-1, fields separated by "::", no header):

    ratings.dat   UserID::MovieID::Rating::Timestamp     rating 1 .. 5, time in seconds
    users.dat     UserID::Gender::Age::Occupation::Zip-code
    movies.dat    MovieID::Title (Year)::Genre|Genre|...

F. Maxwell Harper, Joseph A. Konstan: "The MovieLens Datasets: History and Context", ACM TiiS 2015.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from examples.data import World
from examples.data.tables import (
    DataError,
    bags,
    find,
    history,
    open_binary,
    split_by_time,
    split_of,
)
from examples.data.vocabulary import Counts, Vocabulary
from examples.zoo.features import Bag, Dense, Id, Schema
from examples.zoo.features import Sequence as Behaviour
from examples.zoo.tasks import Task

Array = np.ndarray

GENRES = 6  # the most that a film has
YEAR = re.compile(r"\((\d{4})\)\s*$")
TASKS = {
    "at_least_3": Task("at_least_3"),
    "at_least_4": Task("at_least_4", after="at_least_3"),
    "at_least_5": Task("at_least_5", after="at_least_4"),
    "rating": Task("rating", "regression"),
    "stars": Task("stars", "multiclass", 5),
}


def _lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of a file whose cells are separated by "::"."""
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            cells = line.decode("latin-1").rstrip("\r\n").split("::")
            if len(cells) != len(columns):
                raise DataError(
                    f"{path}: line {number}: expected {len(columns)} cells separated by '::', "
                    f"found {len(cells)}"
                )
            yield number, cells


def _whole(path: Path, line: int, column: str, cell: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", cell) or not low <= int(cell) <= high:
        raise DataError(
            f"{path}: line {line}, column {column}: "
            f"expected a whole number from {low} to {high}, found {cell!r}"
        )
    return int(cell)


def _ratings(path: Path) -> Array:
    """(N, 4) int64: user, film, rating, time."""
    columns = ("UserID", "MovieID", "Rating", "Timestamp")
    limits = ((1, 2**62), (1, 2**62), (1, 5), (0, 2**62))
    rows = [
        [_whole(path, line, c, cell, *limit) for c, cell, limit in zip(columns, cells, limits)]
        for line, cells in _lines(path, columns)
    ]
    return np.array(rows, np.int64).reshape(-1, 4)


def _users(path: Path) -> dict[int, list[str]]:
    """Gender, age group, occupation and zip area (its first three characters) by user."""
    columns = ("UserID", "Gender", "Age", "Occupation", "Zip-code")
    found = {}
    for line, (user, gender, age, occupation, code) in _lines(path, columns):
        number = _whole(path, line, "UserID", user, 1, 2**62)
        if gender not in ("F", "M"):
            raise DataError(
                f"{path}: line {line}, column Gender: expected F or M, found {gender!r}"
            )
        if number in found:
            raise DataError(f"{path}: line {line}, column UserID: {number} again")
        found[number] = [gender, age, occupation, code[:3]]
    return found


def _films(path: Path) -> dict[int, tuple[float, list[str]]]:
    """Year (NaN where the title has none) and genres by film."""
    found = {}
    for line, (film, title, genres) in _lines(path, ("MovieID", "Title", "Genres")):
        number = _whole(path, line, "MovieID", film, 1, 2**62)
        if number in found:
            raise DataError(f"{path}: line {line}, column MovieID: {number} again")
        year = YEAR.search(title)
        found[number] = (float(year[1]) if year else float("nan"), genres.split("|"))
    return found


def _labels(ratings: Array, tasks: Sequence[str]) -> Array:
    """(N, T) float32."""
    columns = {
        "at_least_3": ratings >= 3,
        "at_least_4": ratings >= 4,
        "at_least_5": ratings >= 5,
        "rating": ratings,
        "stars": ratings - 1,
    }
    return np.stack([columns[name] for name in tasks], 1).astype(np.float32)


def read(
    folder: str | Path,
    tasks: Sequence[str] = ("at_least_3", "at_least_4", "at_least_5"),
    length: int = 20,
    at_least: int = 5,
    valid: float = 0.1,
    test: float = 0.1,
) -> World:
    """The earliest ratings to train, the next to validate, the latest to test. `tasks`: names out
    of TASKS, an "at_least" with those that it comes after.

    Fields: user, item, gender, age, occupation, zip (ids), genres (bag), year (dense, the mean of
    training where unknown), liked (the user's last `length` films rated 4 or 5 before this rating;
    it shares the films' table). Films and users seen less than `at_least` times in training are
    unknown. Groups are users.
    """
    for name in tasks:
        if name not in TASKS:
            raise ValueError(f"no task {name!r}; there are {', '.join(TASKS)}")
    chosen = tuple(TASKS[name] for name in tasks)
    for task in chosen:
        if task.after is not None and task.after not in tasks:
            raise ValueError(f"task {task.name} needs {task.after}")
    path = find(folder, "ratings.dat")
    ratings = _ratings(path)
    if len(ratings) == 0:
        raise DataError(f"{path}: no rows")
    users = _users(find(folder, "users.dat"))
    films = _films(find(folder, "movies.dat"))
    for line, (user, film) in enumerate(ratings[:, :2].tolist(), start=1):
        if user not in users:
            raise DataError(f"{path}: line {line}, column UserID: {user} is not in users.dat")
        if film not in films:
            raise DataError(f"{path}: line {line}, column MovieID: {film} is not in movies.dat")

    user, film, stars, time = ratings.T
    parts = split_by_time(time, valid, test)
    train = parts[0]
    vocabularies: dict[str, Vocabulary] = {}
    inputs: dict[str, Array] = {}

    def encode(name: str, column: Array, frequent: int = 1) -> None:
        vocabularies[name] = Counts().add(column[train]).vocabulary(frequent)
        inputs[name] = vocabularies[name].rows(column)

    encode("user", user, at_least)
    encode("item", film, at_least)
    profiles = np.array([users[u] for u in user.tolist()])
    for number, name in enumerate(("gender", "age", "occupation", "zip")):
        encode(name, profiles[:, number])
    genres = [films[f][1] for f in film.tolist()]
    seen = sorted(set(train.tolist()))
    vocabularies["genres"] = Counts().add([g for r in seen for g in genres[r]]).vocabulary()
    rows = {g: int(r) for r, g in enumerate(vocabularies["genres"].values.tolist(), start=1)}
    inputs["genres"] = bags([[rows.get(g, 0) for g in each] for each in genres], GENRES)
    year = np.array([films[f][0] for f in film.tolist()])
    known = year[train][~np.isnan(year[train])]
    inputs["year"] = np.where(np.isnan(year), known.mean() if len(known) else 0.0, year)[:, None]
    inputs["liked"] = history(user, time, stars >= 4, inputs["item"], length)

    schema: Schema = (
        Id("user", vocabularies["user"].size),
        Id("item", vocabularies["item"].size, role="item"),
        *(Id(name, vocabularies[name].size) for name in ("gender", "age", "occupation", "zip")),
        Bag("genres", vocabularies["genres"].size, GENRES),
        Dense("year", 1, normalise=True),
        Behaviour("liked", vocabularies["item"].size, length, role="item"),
    )
    labels = _labels(stars, tasks)
    splits = [split_of(schema, inputs, labels, user, _grouped(part, user)) for part in parts]
    return World("movielens-1m", schema, chosen, *splits, vocabularies=vocabularies)


def _grouped(rows: Array, group: Array) -> Array:
    """The rows, those of a group together."""
    return rows[np.argsort(group[rows], kind="stable")]
