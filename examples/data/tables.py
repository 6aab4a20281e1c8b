"""Tables of text: read in chunks, with errors that name the place; and what all readers share."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import torch

from examples.data import Split
from examples.zoo.features import Dense, Schema

Array = np.ndarray

CHUNK = 200_000  # rows read at a time
INT, CODE, FLOAT, TEXT, BIT = "whole number", "whole number below 2^53", "number", "text", "0 or 1"
DTYPES = {INT: np.int64, CODE: np.float64, FLOAT: np.float64, TEXT: str, BIT: np.int64}


class DataError(ValueError):
    """Data that are not what they should be; one line that names the file and the place."""


def find(folder: str | Path, name: str) -> Path:
    """folder/name, or the same with .gz."""
    for candidate in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder}: no file {name} (or {name}.gz) in this folder")


def open_binary(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def header(path: Path, needed: Sequence[str]) -> list[str]:
    """The column names in the first line, which must hold the needed ones."""
    with open_binary(path) as stream:
        try:
            line = stream.readline().decode("utf-8-sig")
        except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: line 1: no text: {error}") from error
    names = next(csv.reader([line]), [])
    for name in needed:
        if name not in names:
            raise DataError(f"{path}: line 1: no column {name}")
    return names


def chunks(
    path: Path, kinds: Mapping[str, str], names: Sequence[str] | None = None, rows: int = CHUNK
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Parts of a comma-separated file: (number of the first row's line, the columns of `kinds`).

    `names` are the columns of a file without a header line. An INT, CODE or BIT must be there, a
    CODE may be written as 3.0 and comes as int64; a missing FLOAT is NaN and a missing TEXT is "".
    DataError names line and column of the first bad cell.
    """
    columns = header(path, list(kinds)) if names is None else list(names)
    first = 2 if names is None else 1
    try:
        if _empty(path):
            return
        reader = pd.read_csv(
            path,
            names=columns,
            header=0 if names is None else None,
            usecols=list(kinds),
            dtype={name: DTYPES[kind] for name, kind in kinds.items()},
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name, kind in kinds.items() if kind != TEXT},
            chunksize=rows,
            encoding="utf-8-sig",
            index_col=False,
            skip_blank_lines=False,
            on_bad_lines="error",
        )
        with reader:
            for frame in reader:
                _check(path, frame, kinds)
                codes = {name: np.int64 for name, kind in kinds.items() if kind == CODE}
                yield first, frame[list(kinds)].astype(codes)
                first += len(frame)
    except DataError:
        _locate(path, kinds, columns, names is None)
        raise
    except (ValueError, OSError, EOFError, OverflowError, zlib.error) as error:
        _locate(path, kinds, columns, names is None)
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error


def _empty(path: Path) -> bool:
    with open_binary(path) as stream:
        return not stream.read(1)


def _check(path: Path, frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind == BIT and not frame[name].isin((0, 1)).all():
            raise DataError(f"{path}: column {name}: something else than 0 and 1")
        if kind == CODE and not (frame[name].abs().lt(2**53) & (frame[name] % 1 == 0)).all():
            raise DataError(f"{path}: column {name}: something else than whole numbers")
        if kind == FLOAT and np.isinf(frame[name].to_numpy()).any():
            raise DataError(f"{path}: column {name}: a number that is not finite")
        # read_csv fills short lines with nothing: only text could hide that
        if kind == TEXT and frame[name].isna().any():
            raise DataError(f"{path}: column {name}: a line is too short")


def _fits(cell: str, kind: str) -> bool:
    try:
        if kind in (INT, BIT):
            value = int(cell)
            return -(2**63) <= value < 2**63 and (kind == INT or value in (0, 1))
        if kind == CODE:
            return abs(float(cell)) < 2**53 and float(cell) % 1 == 0
        return kind == TEXT or cell == "" or not math.isinf(float(cell))
    except ValueError:
        return False


def _locate(path: Path, kinds: Mapping[str, str], columns: list[str], has_header: bool) -> None:
    """Raises a DataError for the first line that cannot be read; returns where all can."""

    def lines() -> Iterator[str]:
        with open_binary(path) as stream:
            number = 0
            try:
                for number, line in enumerate(stream, start=1):
                    yield line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: line {number}: no UTF-8 text") from error
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: after line {number}: {error}") from error

    reader = csv.reader(lines())
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}: line {begin}: {error}") from error
        if has_header and begin == 1:
            continue
        if len(cells) != len(columns):
            raise DataError(
                f"{path}: line {begin}: expected {len(columns)} columns, found {len(cells)}"
            )
        for name, kind in kinds.items():
            cell = cells[columns.index(name)]
            if not _fits(cell, kind):
                expected = kind if kind == BIT else f"a {kind}"
                raise DataError(
                    f"{path}: line {begin}, column {name}: expected {expected}, found {cell!r}"
                )


def whole(path: Path, kinds: Mapping[str, str], names: Sequence[str] | None = None) -> pd.DataFrame:
    """The table in one piece."""
    parts = [frame for _, frame in chunks(path, kinds, names)]
    if not parts:
        return pd.DataFrame(
            {
                name: np.empty(0, np.int64 if kind == CODE else DTYPES[kind])
                for name, kind in kinds.items()
            }
        )
    return pd.concat(parts, ignore_index=True)


def by_id(path: Path, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with its id column as index; an id must not come twice."""
    twice = table[column].duplicated()
    if twice.any():
        line = int(np.flatnonzero(twice.to_numpy())[0]) + 2
        raise DataError(f"{path}: line {line}, column {column}: {table[column][line - 2]} again")
    return table.set_index(column)


def share_of(ids: Array | pd.Series, salt: int = 0) -> Array:
    """A number in [0, 1) for each id that has nothing to do with anything else and is always the
    same: `share_of(ids) < 0.1` is a tenth of the ids, with all their rows."""
    codes = pd.util.hash_array(np.asarray(ids), categorize=True)
    mixed = (codes ^ np.uint64(0x9E3779B97F4A7C15 * (salt + 1) % 2**64)) * np.uint64(
        0xD6E8FEB86659FD93
    )
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def split_by_time(time: Array, valid: float, test: float) -> tuple[Array, Array, Array]:
    """Indices of rows: the earliest, then a share to validate with, then the latest to test with.
    Rows of one time do not come apart by more than the order they have."""
    if min(valid, test) < 0 or valid + test >= 1:
        raise ValueError(f"shares {valid} and {test}: each 0 or more, together less than 1")
    order = np.argsort(time, kind="stable")
    first = len(order) - int(round(len(order) * (valid + test)))
    second = len(order) - int(round(len(order) * test))
    return order[:first], order[first:second], order[second:]


def history(user: Array, time: Array, happened: Array, item: Array, length: int) -> Array:
    """(B, length) int64: the items of the user's last events before each row's time, the oldest
    first, 0 after them. user, time, item (B,) int64, item > 0 for known ones; happened (B,) bool
    says which rows are events."""
    events = np.flatnonzero(happened & (item > 0))
    events = events[np.lexsort((time[events], user[events]))]
    # one number that orders by user, then by time
    times, place = np.unique(time, return_inverse=True)
    users, number = np.unique(user, return_inverse=True)
    key = number * np.int64(len(times)) + place
    before = np.searchsorted(key[events], key, side="left")
    start = np.searchsorted(number[events], number, side="left")
    count = np.minimum(before - start, length)
    at = (before - count)[:, None] + np.arange(length)
    real = np.arange(length) < count[:, None]
    found = np.zeros((len(user), length), np.int64)
    if len(events):
        found = np.where(real, item[events][np.minimum(at, len(events) - 1)], 0)
    return found


def bags(lists: Sequence[Sequence[int] | Array], length: int) -> Array:
    """(B, length) int64 from rows > 0 in lists; those beyond `length` are left out, 0 fills up."""
    out = np.zeros((len(lists), length), np.int64)
    for row, values in enumerate(lists):
        kept = [value for value in values if value > 0][:length]
        out[row, : len(kept)] = kept
    return out


def split_of(
    schema: Schema, inputs: Mapping[str, Array], labels: Array, groups: Array | None, rows: Array
) -> Split:
    """The Split of these rows."""
    return Split(
        {
            f.name: torch.from_numpy(
                np.ascontiguousarray(
                    inputs[f.name][rows], np.float32 if isinstance(f, Dense) else np.int64
                )
            )
            for f in schema
        },
        torch.from_numpy(np.ascontiguousarray(labels[rows], np.float32)),
        None,
        None if groups is None else torch.from_numpy(np.ascontiguousarray(groups[rows], np.int64)),
    )
