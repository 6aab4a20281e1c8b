"""Which features mean something else elsewhere: distances of a feature's distributions by region.

MD ("SEQ+MD", arXiv 2408.13357) masks region-dependent features, and decides offline which those
are: the ones whose distributions by region are further apart than a threshold. The paper names
neither the distance nor the threshold; here, of every pair of regions, the largest

    ks   Kolmogorov-Smirnov: the largest difference of the two cumulative distributions
    js   Jensen-Shannon divergence in bits of histograms over 20 bins of equally many rows of all

Both are 0 for equal distributions and at most 1, and neither depends on units.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from examples.data import Split, World
from examples.zoo.features import Dense

Array = np.ndarray

BINS = 20
KINDS = ("ks", "js")


def _ks(a: Array, b: Array) -> float:
    """Of two sorted samples."""
    both = np.concatenate([a, b])
    below = [np.searchsorted(x, both, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _entropy(p: Array) -> float:
    some = p[p > 0]
    return float(-(some * np.log2(some)).sum())


def _js(a: Array, b: Array) -> float:
    """Of two histograms that sum to 1."""
    return _entropy((a + b) / 2) - (_entropy(a) + _entropy(b)) / 2


def distances(x: Array, region: Array, kind: str = "ks", at_least: int = 200) -> Array:
    """x (B, D), region (B,) int to (D,): the largest distance between two regions of `at_least`
    rows; of fewer rows it would be luck. 0 where there are no two such regions."""
    if kind not in KINDS:
        raise ValueError(f"no distance is called {kind!r}; there are {', '.join(KINDS)}")
    names, counts = np.unique(region, return_counts=True)
    rows = [region == name for name in names[counts >= at_least]]
    found = np.zeros(x.shape[1])
    for column in range(x.shape[1]):
        values = x[:, column].astype(np.float64)
        if kind == "ks":
            parts = [np.sort(values[r]) for r in rows]
        else:
            edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
            bins = np.searchsorted(edges, values, side="right")
            parts = [np.bincount(bins[r], minlength=len(edges) + 1) / r.sum() for r in rows]
        distance = _ks if kind == "ks" else _js
        pairs = [distance(a, b) for i, a in enumerate(parts) for b in parts[:i]]
        found[column] = max(pairs, default=0.0)
    return found


def dense_columns(world: World) -> list[tuple[str, int]]:
    """(field, column) of every dense feature but those of the region, in schema order."""
    return [
        (field.name, column)
        for field in world.schema
        if isinstance(field, Dense) and field.role != "region"
        for column in range(field.width)
    ]


def columns_of(split: Split, chosen: list[tuple[str, int]]) -> torch.Tensor:
    """(B, len(chosen)) float32."""
    return torch.stack([split.inputs[name][:, column] for name, column in chosen], 1)


def world_distances(world: World, kind: str = "ks") -> dict[tuple[str, int], float]:
    """Of the training rows' dense features, by field and column. The field of role "region" must be
    an Id."""
    regions = [f.name for f in world.schema if f.role == "region" and not isinstance(f, Dense)]
    if len(regions) != 1:
        raise ValueError("distances by region need one id of role region")
    columns = dense_columns(world)
    found = distances(
        columns_of(world.train, columns).numpy(), world.train.inputs[regions[0]].numpy(), kind
    )
    return dict(zip(columns, found.tolist(), strict=True))


def with_dependent(world: World, dependent: set[tuple[str, int]]) -> World:
    """The same world with these dense columns as the field "dependent" and the others as
    "invariant", both normalised; a field without columns is left out."""
    columns = dense_columns(world)
    groups = {
        "dependent": [c for c in columns if c in dependent],
        "invariant": [c for c in columns if c not in dependent],
    }
    gone = {name for name, _ in columns}
    kept = tuple(field for field in world.schema if field.name not in gone)
    made = tuple(
        Dense(name, len(chosen), True, "dependent" if name == "dependent" else "")
        for name, chosen in groups.items()
        if chosen
    )

    def one(split: Split) -> Split:
        inputs = {f.name: columns_of(split, groups[f.name]) for f in made}
        return replace(split, inputs=inputs | {f.name: split.inputs[f.name] for f in kept})

    return replace(
        world,
        schema=(*made, *kept),
        train=one(world.train),
        valid=one(world.valid),
        test=one(world.test),
    )
