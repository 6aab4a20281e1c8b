"""Vocabularies: from the ids of a dataset to the rows of an embedding table.

Row 0 is kept for what is unknown: ids that training did not show (or showed too rarely), and
missing ones. In bags and sequences row 0 is padding, and unknown ids are left out. The other rows,
1 .. size - 1, are the ids seen in training, the most frequent first.

    vocabulary = Counts().add(column).vocabulary(at_least=5)
    rows = vocabulary.rows(column)                 # int64, for the tensor of an Id field
    save({"user": vocabulary}, "vocabularies.json")    # or .npz: serving needs the same rows
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from examples.data.tables import DataError

Array = np.ndarray
VERSION = 1


class Vocabulary:
    """Raw ids, int64 or str, in the order of their rows. Immutable."""

    def __init__(self, values: Array) -> None:
        """`values`: distinct; int64, or strings of any length."""
        kind = np.asarray(values)
        self.values = kind.astype(np.int64) if kind.dtype.kind in "iu" else kind.astype(str)
        keys = self.values if self.values.dtype.kind == "i" else self.values.astype(object)
        self._index = pd.Index(keys)
        if not self._index.is_unique:
            raise ValueError("a vocabulary has an id twice")

    @property
    def size(self) -> int:
        """Rows of the table, the one for unknown ids included."""
        return len(self.values) + 1

    def rows(self, ids: Array | pd.Series) -> Array:
        """(N,) raw ids of the vocabulary's kind to (N,) int64; 0 for those it does not hold."""
        return (self._index.get_indexer(pd.Index(np.asarray(ids))) + 1).astype(np.int64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and np.array_equal(self.values, other.values)

    __hash__ = None


class Counts:
    """How often ids occur, over as many parts of a column as there are."""

    def __init__(self) -> None:
        self._counts: pd.Series | None = None

    def add(self, ids: Array | pd.Series) -> Counts:
        """(N,) int64 or str, of one kind in all calls; missing values (NaN, None) do not count."""
        return self._add(pd.Series(np.asarray(ids)).dropna().value_counts())

    def add_counted(self, ids: Array, times: Array) -> Counts:
        """Different ids (N,), and how often each occurs (N,) int64; 0 is not at all."""
        return self._add(pd.Series(times, index=ids)[lambda counts: counts > 0])

    def _add(self, found: pd.Series) -> Counts:
        if self._counts is None:
            self._counts = found
        else:
            self._counts = self._counts.add(found, fill_value=0).astype(np.int64)
        return self

    def vocabulary(self, at_least: int = 1, at_most: int | None = None) -> Vocabulary:
        """Ids that occurred `at_least` times, the `at_most` most frequent of them. Equally frequent
        ones stand in order of their ids, so the same data give the same rows."""
        if self._counts is None:
            return Vocabulary(np.empty(0, np.int64))
        kept = self._counts[self._counts >= at_least].sort_index()
        kept = kept.sort_values(ascending=False, kind="stable").head(at_most or len(kept))
        values = kept.index.to_numpy()
        return Vocabulary(values if values.dtype.kind in "iu" else values.astype(str))


def save(vocabularies: Mapping[str, Vocabulary], path: str | Path) -> None:
    """Writes them by field name: .json, which anything reads, or .npz, smaller and faster."""
    path = Path(path)
    if path.suffix == ".npz":
        np.savez_compressed(path, **{name: v.values for name, v in vocabularies.items()})
    elif path.suffix == ".json":
        fields = {name: v.values.tolist() for name, v in vocabularies.items()}
        path.write_text(json.dumps({"version": VERSION, "fields": fields}) + "\n")
    else:
        raise ValueError(f"{path}: vocabularies are saved as .json or .npz")


def load(path: str | Path) -> dict[str, Vocabulary]:
    """What `save` wrote. DataError where the file is something else."""
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                fields = {name: arrays[name] for name in arrays.files}
        else:
            stored = json.loads(path.read_text())
            if not isinstance(stored, dict) or stored.get("version") != VERSION:
                raise DataError(f"{path}: not vocabularies of version {VERSION}")
            fields = {name: _values(path, name, ids) for name, ids in stored["fields"].items()}
        return {name: Vocabulary(values) for name, values in fields.items()}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except DataError:
        raise
    except (ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no vocabularies: {str(error).splitlines()[0]}") from error


def _values(path: Path, name: str, ids: object) -> Array:
    """A field's ids, all numbers or all strings; JSON has no kind for a list without any."""
    if isinstance(ids, list):
        if all(type(i) is int for i in ids):
            return np.array(ids, np.int64)
        if all(isinstance(i, str) for i in ids):
            return np.array(ids, str)
    raise DataError(f"{path}: field {name}: expected a list of whole numbers or of strings")
