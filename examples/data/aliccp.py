r"""Ali-CCP: 84 million impressions of Taobao with clicks and purchases; the set of ESMM.

    world = read("ali-ccp", share=0.01)

The folder holds, for each PART of train and test (comma-separated, no header):

    sample_skeleton_PART.csv    sample id, click, purchase, common feature index,
                                number of features, features
    common_features_PART.csv    common feature index, number of features, features

Features are "field\x02id\x03value" with \x01 between them. The common features are the user's and
his history; many impressions name the same ones. The original split is one of time.

Xiao Ma et al.: "Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click
Conversion Rate", SIGIR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from examples.data import World
from examples.data.tables import (
    DataError,
    bags,
    find,
    open_binary,
    share_of,
    split_of,
)
from examples.data.vocabulary import Counts, Vocabulary
from examples.zoo.features import Bag, Dense, Id, Schema
from examples.zoo.tasks import Task

Array = np.ndarray

TASKS = (Task("click"), Task("purchase", after="click"))
USER_IDS = ("101", "121", "122", "124", "125", "126", "127", "128", "129")
USER_BAGS = ("109_14", "110_14", "127_14", "150_14")  # categories, shops, brands, intentions
ITEM_IDS = ("205", "206", "207", "216", "301")  # item, category, shop, brand; scene
ITEM_BAGS = ("210",)
CROSSED = ("508", "509", "702", "853")  # ids of user-item combinations, with a value each
FIELDS = {
    "common_features": (*USER_IDS, *USER_BAGS),
    "sample_skeleton": (*ITEM_IDS, *CROSSED, *ITEM_BAGS),
}
BAGS = (*USER_BAGS, *ITEM_BAGS)

Features = dict[str, list[tuple[int, float]]]  # (id, value) by field


@dataclass
class Side:
    """Features of one file, by field: ids and values one after the other, and how many a row."""

    fields: tuple[str, ...]
    ids: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in (self.ids, self.values, self.counts):
            part.update({name: [] for name in self.fields})

    def add(self, features: Features) -> None:
        for name in self.fields:
            found = features.get(name, ())
            self.ids[name] += [i for i, _ in found]
            self.values[name] += [v for _, v in found]
            self.counts[name].append(len(found))


def _lines(path: Path, cells: int) -> Iterator[tuple[int, list[str]]]:
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                found = line.decode("ascii").rstrip("\r\n").split(",")
            except UnicodeDecodeError:
                raise DataError(f"{path}: line {number}: no ASCII text") from None
            if len(found) != cells:
                raise DataError(
                    f"{path}: line {number}: expected {cells} columns, found {len(found)}"
                )
            yield number, found


def _features(path: Path, line: int, count: str, text: str, wanted: set[str]) -> Features:
    """The features of the wanted fields."""
    parts = text.split("\x01") if text else []
    if count != str(len(parts)):
        raise DataError(
            f"{path}: line {line}, column number of features: "
            f"expected {len(parts)}, as many as follow, found {count!r}"
        )
    found: Features = {}
    for number, part in enumerate(parts, start=1):
        name, _, rest = part.partition("\x02")
        if name not in wanted:
            continue
        identity, _, value = rest.partition("\x03")
        try:
            pair = (int(identity), float(value))
            if not (0 <= pair[0] < 2**63 and math.isfinite(pair[1])):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{path}: line {line}, feature {number}: "
                f"expected field\\x02id\\x03value, found {part!r}"
            ) from None
        found.setdefault(name, []).append(pair)
    return found


def _bit(path: Path, line: int, column: str, cell: str) -> int:
    if cell not in ("0", "1"):
        raise DataError(f"{path}: line {line}, column {column}: expected 0 or 1, found {cell!r}")
    return int(cell)


@dataclass
class Part:
    """train or test: impressions, their users, and which user each impression has."""

    items: Side
    users: Side
    labels: Array  # (B, 2)
    user: Array  # (B,) the row of `users`
    impossible: int  # purchases without a click, left out


def _skeleton(path: Path, share: float) -> tuple[Side, list[tuple[int, int]], list[str], int]:
    """Impressions of a share of the common feature indices: features, labels, indices."""
    side = Side(FIELDS["sample_skeleton"])
    wanted = set(side.fields)
    labels: list[tuple[int, int]] = []
    indices: list[str] = []
    kept: dict[str, bool] = {}
    impossible = 0
    for line, (_, click, purchase, index, count, text) in _lines(path, 6):
        chosen = kept.get(index)
        if chosen is None:
            chosen = kept[index] = share >= 1 or bool(share_of(np.array([index]))[0] < share)
        if not chosen:
            continue
        label = _bit(path, line, "click", click), _bit(path, line, "purchase", purchase)
        if label == (0, 1):
            impossible += 1
            continue
        side.add(_features(path, line, count, text, wanted))
        labels.append(label)
        indices.append(index)
    if not labels:
        raise DataError(f"{path}: no rows")
    return side, labels, indices, impossible


def _part(folder: str | Path, part: str, share: float) -> Part:
    skeleton = find(folder, f"sample_skeleton_{part}.csv")
    items, labels, indices, impossible = _skeleton(skeleton, share)
    needed = dict.fromkeys(indices)
    path = find(folder, f"common_features_{part}.csv")
    users = Side(FIELDS["common_features"])
    wanted = set(users.fields)
    rows: dict[str, int] = {}
    for line, (index, count, text) in _lines(path, 3):
        if index not in needed:
            continue
        if index in rows:
            raise DataError(f"{path}: line {line}: common feature index {index} again")
        rows[index] = len(rows)
        users.add(_features(path, line, count, text, wanted))
    for index in indices:
        if index not in rows:
            raise DataError(f"{skeleton}: common feature index {index} is not in {path.name}")
    user = np.array([rows[index] for index in indices], np.int64)
    return Part(items, users, np.array(labels, np.float32), user, impossible)


def _encode(side: Side, vocabularies: dict[str, Vocabulary], length: int) -> dict[str, Array]:
    """Rows (N,) of single ids, (N, length) of bags; the crossed values (N,) as "FIELD value"."""
    inputs: dict[str, Array] = {}
    for name in side.fields:
        rows = vocabularies[name].rows(np.array(side.ids[name], np.int64))
        counts = np.array(side.counts[name])
        ends = counts.cumsum()
        if name in BAGS:
            inputs[name] = bags(np.split(rows, ends[:-1]), length)
            continue
        some = counts > 0  # of several ids the first
        first = (ends - counts)[some]
        inputs[name] = np.zeros(len(counts), np.int64)
        inputs[name][some] = rows[first]
        if name in CROSSED:
            values = np.zeros(len(counts))
            values[some] = np.array(side.values[name])[first]
            inputs[f"{name} value"] = values
    return inputs


def read(
    folder: str | Path, share: float = 1.0, length: int = 20, at_least: int = 2, valid: float = 0.1
) -> World:
    """The train files, of which a share `valid` of the common feature indices is kept to validate
    with, and the test files. `share` takes only so many of those indices, with all their
    impressions: the files have 40 GB, and a World is in memory. Files are read line by line.

    Fields, by their numbers in the data: ids (USER_IDS, ITEM_IDS, CROSSED), bags of up to `length`
    ids (USER_BAGS, ITEM_BAGS; the first of longer ones), crossed (dense, the CROSSED values). Ids
    seen less than `at_least` times in training are unknown, a missing one too. Groups are common
    feature indices. Impressions with a purchase but no click, which cannot be, are left out and
    counted in `notes`.
    """
    if not 0 <= valid < 1 or not 0 < share <= 1:
        raise ValueError(f"valid {valid}, share {share}: expected shares, valid below 1")
    train, test = (_part(folder, part, share) for part in ("train", "test"))
    held = share_of(np.arange(len(train.users.counts[USER_IDS[0]])), salt=1) < valid
    kept = ~held[train.user]
    vocabularies = _vocabularies(train, held, at_least)
    schema: Schema = (
        *(
            Id(name, v.size, role="item" if name == "205" else "")
            for name, v in vocabularies.items()
            if name not in BAGS
        ),
        *(Bag(name, vocabularies[name].size, length) for name in BAGS),
        Dense("crossed", len(CROSSED), normalise=True),
    )
    splits = []
    for part, rows in ((train, kept), (train, ~kept), (test, np.ones(len(test.user), bool))):
        users = _encode(part.users, vocabularies, length)
        inputs = _encode(part.items, vocabularies, length)
        inputs["crossed"] = np.stack([inputs[f"{name} value"] for name in CROSSED], 1)
        index = np.flatnonzero(rows)
        index = index[np.argsort(part.user[index], kind="stable")]
        inputs |= {name: column[part.user] for name, column in users.items()}
        splits.append(split_of(schema, inputs, part.labels, part.user, index))
    notes = tuple(
        f"{name}: {part.impossible} impressions with a purchase but no click left out"
        for name, part in (("train", train), ("test", test))
        if part.impossible
    )
    return World("ali-ccp", schema, TASKS, *splits, vocabularies=vocabularies, notes=notes)


def _vocabularies(train: Part, held: Array, at_least: int) -> dict[str, Vocabulary]:
    """Of the users and impressions that are trained on; a user's ids count once an impression."""
    impressions = np.bincount(train.user[~held[train.user]], minlength=len(held))
    found: dict[str, Vocabulary] = {}
    for side, weight in (
        (train.users, impressions),
        (train.items, (~held[train.user]).astype(np.int64)),
    ):
        for name in side.fields:
            times = np.repeat(weight, side.counts[name])
            ids, place = np.unique(np.array(side.ids[name], np.int64), return_inverse=True)
            total = np.bincount(place, weights=times, minlength=len(ids)).astype(np.int64)
            found[name] = Counts().add_counted(ids, total).vocabulary(at_least)
    return found
