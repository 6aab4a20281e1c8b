"""From the fields of a candidate to the vector that a ranker reads.

A schema lists the fields, and each is one input tensor, the candidates first:

    Dense      float32 (B, W)   numbers; optionally made to have mean 0 and deviation 1
    Id         int64 (B,)       one of `size` values: the user, the item, the hour
    HashedId   int64 (B,)       any number that is not negative, put into one of `buckets` by its
                                remainder: new values need no new model
    Bag        int64 (B, L)     a set of ids, the categories of an item; 0 is padding
    Sequence   int64 (B, L)     ids in the order of time, what a user bought; 0 is padding

Every field but Dense has a table of vectors of one width K, and the front end sets them side by
side, with the means of the sequences:

    x = [table_1[id], ..., pooled bag, ..., pooled sequence, ..., numbers]        (B, D)

in the order of the schema. Pooling leaves padding out, whatever stands in row 0 of a table, and
nothing but padding gives zeros:

    sum    s = sum over l of m_l v_l             m_l = 1 for an id, 0 for padding; v_l (B, K)
    mean   s / max(sum over l of m_l, 1)
    max    the largest v_l in each column where m_l = 1

What a field means to a ranker that asks for more than a vector is its role: "region" is the cause
of a shift between markets, "dependent" marks dense features that the shift affects, "item" is the
candidate item's id. A sequence of items has the role "item" as well: it shares the item's table, so
that the candidate and the past can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROLES = ("", "region", "dependent", "item")
MODES = ("sum", "mean", "max")
MASKED = -1e9  # a score or value that no real one reaches; finite, for -inf - -inf is no number


@dataclass(frozen=True)
class Dense:
    name: str
    width: int
    normalise: bool = False
    role: str = ""


@dataclass(frozen=True)
class Id:
    name: str
    size: int
    role: str = ""


@dataclass(frozen=True)
class HashedId:
    name: str
    buckets: int
    role: str = ""

    @property
    def size(self) -> int:
        return self.buckets


@dataclass(frozen=True)
class Bag:
    name: str
    size: int
    length: int
    mode: str = "mean"
    role: str = ""


@dataclass(frozen=True)
class Sequence:
    name: str
    size: int
    length: int
    role: str = ""


Field = Dense | Id | HashedId | Bag | Sequence
Schema = tuple[Field, ...]


def check(schema: Iterable[Field]) -> None:
    """ValueError for what no front end can be made of."""
    names: set[str] = set()
    for field in schema:
        if field.name in names:
            raise ValueError(f"two fields are called {field.name}")
        names.add(field.name)
        if field.role not in ROLES:
            raise ValueError(f"field {field.name}: role {field.role!r} is none of {ROLES}")
        if isinstance(field, Bag) and field.mode not in MODES:
            raise ValueError(f"bag {field.name}: mode {field.mode!r} is none of {', '.join(MODES)}")
        sizes = [field.width] if isinstance(field, Dense) else [field.size]
        sizes += [field.length] if isinstance(field, Bag | Sequence) else []
        if min(sizes) < 1:
            raise ValueError(f"field {field.name}: a size of {min(sizes)}")


def by_role(schema: Schema, role: str) -> list[int]:
    """Where in the schema the fields of a role stand."""
    return [i for i, field in enumerate(schema) if field.role == role]


def made_up(schema: Schema, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of so many rows by field name, to trace and to test with: standard normal numbers,
    ids spread over their tables, bags and sequences of every length from none to full."""
    draws = torch.Generator().manual_seed(seed)
    inputs: dict[str, Tensor] = {}
    for field in schema:
        if isinstance(field, Dense):
            inputs[field.name] = torch.randn(rows, field.width, generator=draws)
        elif isinstance(field, Bag | Sequence):
            ids = torch.randint(1, max(field.size, 2), (rows, field.length), generator=draws)
            ids = ids.clamp(max=field.size - 1)
            lengths = torch.randint(field.length + 1, (rows, 1), generator=draws)
            inputs[field.name] = ids * (torch.arange(field.length) < lengths)
        else:
            size = 50 * field.size if isinstance(field, HashedId) else field.size
            inputs[field.name] = torch.randint(size, (rows,), generator=draws)
    return inputs


def pooled(vectors: Tensor, mask: Tensor, mode: str) -> Tensor:
    """vectors (B, L, K), mask (B, L) true where there is something, to (B, K); zeros where there is
    nothing."""
    some = mask.unsqueeze(2).to(vectors.dtype)  # (B, L, 1)
    if mode == "max":
        return (vectors * some + (1 - some) * MASKED).amax(dim=1) * some.amax(dim=1)
    total = (vectors * some).sum(dim=1)
    return total if mode == "sum" else total / some.sum(dim=1).clamp(min=1)


class Standardise(nn.Module):
    """(x - mean) / deviation, (B, W) both, with statistics that `fit` took from data: they are no
    parameters, and the same in training and in serving. Until then mean 0 and deviation 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, x: Tensor) -> None:
        """A column that does not vary is only moved to 0."""
        self.mean.copy_(x.mean(dim=0))
        deviation = x.std(dim=0, unbiased=False)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


class Lookup(nn.Module):
    """ids (B,) to their rows of a table, (B, K); with `buckets`, to those of their remainders."""

    def __init__(self, table: nn.Embedding, buckets: int | None = None) -> None:
        super().__init__()
        self.table, self.buckets = table, buckets

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids if self.buckets is None else ids % self.buckets)


class Pool(nn.Module):
    """ids (B, L), 0 where there is none, to the pooled rows of a table, (B, K)."""

    def __init__(self, table: nn.Embedding, mode: str) -> None:
        super().__init__()
        self.table, self.mode = table, mode

    def forward(self, ids: Tensor) -> Tensor:
        return pooled(self.table(ids), ids != 0, self.mode)


class FrontEnd(nn.Module):
    """One tensor for each field of `schema`, in its order, to x (B, out). `width` is K.

    With `apart`, `tokens` gives the fields apart as well, which needs a projection of the numbers.
    """

    def __init__(self, schema: Schema, width: int, apart: bool = False) -> None:
        super().__init__()
        check(schema)
        self.schema, self.width = tuple(schema), width
        items: dict[int, nn.Embedding] = {}  # by size: the tables that fields of role "item" share
        self.encoders = nn.ModuleList(self._encoder(field, items) for field in self.schema)
        self.projections = nn.ModuleDict(
            {
                str(i): nn.Linear(field.width, width)
                for i, field in enumerate(self.schema)
                if apart and isinstance(field, Dense)
            }
        )
        self.out = sum(field.width if isinstance(field, Dense) else width for field in self.schema)

    def _encoder(self, field: Field, items: dict[int, nn.Embedding]) -> nn.Module:
        if isinstance(field, Dense):
            return Standardise(field.width) if field.normalise else nn.Identity()
        table = items.get(field.size) if field.role == "item" else None
        if table is None:
            table = nn.Embedding(field.size, self.width)
            nn.init.normal_(table.weight, std=self.width**-0.5)  # a row has about unit length
        if field.role == "item":
            items[field.size] = table
        if isinstance(field, Bag | Sequence):
            return Pool(table, field.mode if isinstance(field, Bag) else "mean")
        return Lookup(table, field.buckets if isinstance(field, HashedId) else None)

    def fit(self, inputs: Mapping[str, Tensor]) -> None:
        """Takes the statistics of the dense fields that want it from data, by field name."""
        for field, encoder in zip(self.schema, self.encoders):
            if isinstance(encoder, Standardise):
                encoder.fit(inputs[field.name])

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat([encode(v) for encode, v in zip(self.encoders, inputs)], dim=1)

    def tokens(self, *inputs: Tensor, pooled: bool = True) -> Tensor:
        """The fields apart, (B, F, K): a linear map of the numbers, the vectors of the others.
        Without `pooled`, sequences are left out: who asks reads them by `sequences`."""
        found = []
        for i, (encode, value) in enumerate(zip(self.encoders, inputs)):
            if isinstance(self.schema[i], Sequence) and not pooled:
                continue
            vector = encode(value)
            if isinstance(self.schema[i], Dense):
                vector = self.projections[str(i)](vector)
            found.append(vector)
        return torch.stack(found, dim=1)

    def sequences(self, *inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each behaviour sequence, not pooled: its vectors (B, L, K), and (B, L) true where there
        is an event."""
        return [
            (encode.table(ids), ids != 0)
            for field, encode, ids in zip(self.schema, self.encoders, inputs)
            if isinstance(field, Sequence)
        ]

    def item(self, *inputs: Tensor) -> Tensor | None:
        """The candidate item's vector (B, K); None where the schema names no item."""
        for field, encode, value in zip(self.schema, self.encoders, inputs):
            if field.role == "item" and not isinstance(field, Sequence):
                return encode(value)
        return None
