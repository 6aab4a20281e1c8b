"""AliExpress: searches in several countries; which of the products shown were clicked and bought.

    world = read("AliExpress_NL")                                  one country
    world = read({"NL": "AliExpress_NL", "ES": "AliExpress_ES"})   several, told apart by a region

A folder holds train.csv and test.csv, as the dataset is commonly passed on: a header line, then

    search_id (optional), categorical_1 .. categorical_16, numerical_1 .. numerical_63, click,
    conversion

The original split is one of time. Categories come as small numbers already.

Pengcheng Li et al.: "Improving Multi-Scenario Learning to Rank in E-commerce by Exploiting Task
Relationships in the Label Space", CIKM 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from examples.data import World
from examples.data.tables import (
    BIT,
    CODE,
    FLOAT,
    DataError,
    chunks,
    find,
    header,
    share_of,
    split_of,
)
from examples.data.vocabulary import Counts, Vocabulary
from examples.zoo.features import Dense, Id, Schema
from examples.zoo.tasks import Task

Array = np.ndarray

TASKS = (Task("click"), Task("conversion", after="click"))
LABELS = [task.name for task in TASKS]


def _columns(path: Path) -> tuple[list[str], list[str], bool]:
    """Names of the categorical and of the numerical columns in order; is there a search_id?"""
    names = header(path, LABELS)
    categorical, numerical = (
        sorted((n for n in names if n.startswith(stem)), key=lambda n: (len(n), n))
        for stem in ("categorical_", "numerical_")
    )
    if not categorical or not numerical:
        raise DataError(f"{path}: line 1: no columns categorical_1, ... and numerical_1, ...")
    return categorical, numerical, "search_id" in names


def _read(path: Path, columns: tuple[list[str], list[str], bool], share: float) -> pd.DataFrame:
    """The rows of a share of the searches; rows with an order and no click are an error."""
    categorical, numerical, searches = columns
    kinds = dict.fromkeys(categorical, CODE) | dict.fromkeys(numerical, FLOAT)
    kinds |= dict.fromkeys(LABELS, BIT) | ({"search_id": CODE} if searches else {})
    parts = []
    for first, frame in chunks(path, kinds):
        wrong = np.flatnonzero((frame["conversion"] > frame["click"]).to_numpy())
        if len(wrong):
            raise DataError(f"{path}: line {first + wrong[0]}: a conversion without a click")
        ids = frame["search_id"] if searches else np.arange(first, first + len(frame))
        frame = frame if share >= 1 else frame[share_of(ids) < share]
        # Tens of millions of rows: half the bytes for what models get as float32 anyway.
        parts.append(frame.astype(dict.fromkeys(numerical, np.float32)))
    if not parts or not sum(map(len, parts)):
        raise DataError(f"{path}: no rows")
    return pd.concat(parts, ignore_index=True)


def read(
    folders: str | Path | Mapping[str, str | Path],
    share: float = 1.0,
    dependent: Sequence[str] = (),
    at_least: int = 2,
    valid: float = 0.1,
) -> World:
    """train.csv, of which a share `valid` of the searches (or of the rows, without search_id) is
    kept to validate with, and test.csv. `share` takes only so many of the searches: the files have
    gigabytes, and a World is in memory.

    Fields: the categorical columns (ids; seen less than `at_least` times in training: unknown),
    numerical (dense), and, of several folders, region (id, role "region"; the countries in the
    order given) and dependent (dense, role "dependent"), the numerical columns named so. A missing
    number counts as 0. Groups are searches.
    """
    countries = folders if isinstance(folders, Mapping) else {"": folders}
    shared: tuple[list[str], list[str], bool] | None = None
    tables: dict[str, list[pd.DataFrame]] = {"train.csv": [], "test.csv": []}
    for name, parts in tables.items():
        for region, folder in enumerate(countries.values()):
            path = find(folder, name)
            columns = _columns(path)
            if shared not in (None, columns):
                raise DataError(f"{path}: line 1: other columns than those of the files before it")
            shared = columns
            parts.append(_read(path, columns, share).assign(region=region))
    assert shared is not None
    categorical, numerical, searches = shared
    for name in dependent:
        if name not in numerical:
            raise ValueError(f"dependent: no numerical column {name!r}")
    train, test = (pd.concat(parts, ignore_index=True) for parts in tables.values())
    kept, vocabularies = _vocabularies(train, categorical, searches, valid, at_least)
    plain = [name for name in numerical if name not in dependent]
    schema: Schema = tuple(Id(name, v.size) for name, v in vocabularies.items())
    schema += (Dense("numerical", len(plain), normalise=True),) if plain else ()
    if dependent:
        schema += (Dense("dependent", len(dependent), normalise=True, role="dependent"),)
    if len(countries) > 1:
        schema += (Id("region", len(countries), role="region"),)
    splits = []
    for table, rows in ((train, kept), (train, ~kept), (test, np.ones(len(test), bool))):
        inputs = {name: v.rows(table[name]) for name, v in vocabularies.items()}
        inputs["numerical"] = table[plain].fillna(0).to_numpy(np.float32)
        inputs["dependent"] = table[list(dependent)].fillna(0).to_numpy(np.float32)
        inputs["region"] = table["region"].to_numpy()
        labels = table[LABELS].to_numpy(np.float32)
        groups = _groups(table) if searches else None
        index = np.flatnonzero(rows)
        if groups is not None:
            index = index[np.argsort(groups[index], kind="stable")]
        splits.append(split_of(schema, inputs, labels, groups, index))
    name = "aliexpress" + "".join(f"-{country.lower()}" for country in countries if country)
    return World(name, schema, TASKS, *splits, vocabularies=vocabularies)


def _groups(table: pd.DataFrame) -> Array:
    """(B,) int64: searches of two countries may have one number."""
    return table.groupby(["region", "search_id"], sort=True).ngroup().to_numpy()


def _vocabularies(
    train: pd.DataFrame, categorical: list[str], searches: bool, valid: float, at_least: int
) -> tuple[Array, dict[str, Vocabulary]]:
    """Which rows are to train on, (N,) bool, and the vocabularies that these make."""
    if not 0 <= valid < 1:
        raise ValueError(f"valid {valid}: expected a share below 1")
    ids = train["search_id"] if searches else np.arange(len(train))
    kept = share_of(ids, salt=1) >= valid
    found = {
        name: Counts().add(train[name].to_numpy()[kept]).vocabulary(at_least)
        for name in categorical
    }
    return kept, found
