"""What the planted worlds are made of: shoppers, candidates, and coins with a known bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from examples.zoo.features import Bag, Dense, HashedId, Id, Schema

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def zipf(count: int, exponent: float) -> Array:
    """Probabilities of `count` things, the k-th proportional to k^-exponent."""
    weight = np.arange(1, count + 1) ** -exponent
    return weight / weight.sum()


def _before(after: Sequence[str | None], names: Sequence[str]) -> list[int | None]:
    """The column of the task that each task comes after: one before its own."""
    return [None if name is None else names.index(name) for name in after]


def cumulative(steps: Array, after: Sequence[str | None], names: Sequence[str]) -> Array:
    """Probabilities over all rows, (B, T), from those of the steps, given the step before."""
    out = steps.copy()
    for task, parent in enumerate(_before(after, names)):
        if parent is not None:
            out[:, task] *= out[:, parent]
    return out


def happened(coins: Array, after: Sequence[str | None], names: Sequence[str]) -> Array:
    """Labels (B, T) bool from the coins of the steps: nothing happens before its time."""
    out = coins.copy()
    for task, parent in enumerate(_before(after, names)):
        if parent is not None:
            out[:, task] &= out[:, parent]
    return out


def bias_for(
    scores: Array, rates: Sequence[float], after: Sequence[str | None], names: Sequence[str]
) -> Array:
    """What to add to the scores (B, T) so that the tasks have these rates over all rows. A rate of
    NaN asks for nothing and gets 0."""
    biases = np.zeros(len(rates))
    reached = np.ones(scores.shape)
    for task, (rate, parent) in enumerate(zip(rates, _before(after, names), strict=True)):
        base = np.ones(len(scores)) if parent is None else reached[:, parent]
        if not np.isnan(rate):
            low, high = -30.0, 30.0
            for _ in range(50):
                biases[task] = (low + high) / 2
                enough = (base * sigmoid(scores[:, task] + biases[task])).mean() > rate
                low, high = (low, biases[task]) if enough else (biases[task], high)
        reached[:, task] = base * sigmoid(scores[:, task] + biases[task])
    return biases


@dataclass
class Candidates:
    """Rows of a shop: the fields' values, and the causes that scores are made of.

    hidden (B, hidden) bends and products of the dense features, each of variance about 1; affinity
    (B,) how well user and item go together, which only their ids tell; quality (B,) what the item,
    its tags and the query are worth to everybody. groups (B,) the request, requests how many.
    """

    inputs: dict[str, Array]
    hidden: Array
    affinity: Array
    quality: Array
    groups: Array
    requests: int


class Shop:
    """Users, items, queries and tags with fixed tastes, and how dense features act.

    Fields: "dense" (half of it the request's, half the candidate's), "user" and "item" ids, "query"
    a hashed id (any number below 2^40), "tags" a bag of up to 5 of the item's tags.
    """

    USERS, ITEMS, QUERIES, TAGS, RANK = 300, 500, 2000, 40, 3

    def __init__(
        self, constants: np.random.Generator, dense: int, hidden: int, plain: float = 0.8
    ) -> None:
        self.dense, self.hidden, self.plain = dense, hidden, plain
        self.first = 1.5 * constants.standard_normal((dense, hidden)) / np.sqrt(dense)
        self.second = 1.5 * constants.standard_normal((dense, hidden)) / np.sqrt(dense)
        self.common = constants.standard_normal(hidden) / np.sqrt(hidden)
        self.own = constants.standard_normal((hidden, 3)) / np.sqrt(hidden)
        self.user = constants.standard_normal((self.USERS, self.RANK)) / np.sqrt(self.RANK)
        self.item = constants.standard_normal((self.ITEMS, self.RANK))
        self.worth = constants.standard_normal(self.ITEMS)
        self.query_number = constants.integers(0, 2**40, self.QUERIES)
        self.query_worth = constants.standard_normal(self.QUERIES)
        self.tag_worth = constants.standard_normal(self.TAGS + 1)
        self.tag_worth[0] = 0  # padding
        count = constants.integers(1, 6, self.ITEMS)
        tags = np.argsort(constants.random((self.ITEMS, self.TAGS)), 1)[:, :5] + 1
        self.tags = np.where(np.arange(5) < count[:, None], tags, 0)
        self.tag_mean = self.tag_worth[self.tags].sum(1) / np.sqrt(count)
        self.often_user = zipf(self.USERS, 0.7)
        self.often_item = zipf(self.ITEMS, 0.8)
        self.often_query = zipf(self.QUERIES, 1.0)

    @property
    def schema(self) -> Schema:
        return (
            Dense("dense", self.dense),
            Id("user", self.USERS),
            Id("item", self.ITEMS, role="item"),
            HashedId("query", 1024),
            Bag("tags", self.TAGS + 1, 5),
        )

    @staticmethod
    def requests(rng: np.random.Generator, rows: int) -> Array:
        """(rows,) int64: the number of the request of each row, 12 to 28 rows a request."""
        sizes = rng.integers(12, 29, rows // 12 + 1)
        return np.repeat(np.arange(len(sizes)), sizes)[:rows]

    def candidates(self, rng: np.random.Generator, rows: int) -> Candidates:
        groups = self.requests(rng, rows)
        count = int(groups[-1]) + 1
        user = rng.choice(self.USERS, count, p=self.often_user)[groups]
        query = rng.choice(self.QUERIES, count, p=self.often_query)[groups]
        item = rng.choice(self.ITEMS, rows, p=self.often_item)
        half = self.dense // 2
        context = rng.standard_normal((count, half))[groups]
        dense = np.concatenate([context, rng.standard_normal((rows, self.dense - half))], 1)
        bent = np.tanh(dense @ self.first)
        hidden = bent * (self.plain + 1.1 * np.tanh(dense @ self.second))
        inputs = {
            "dense": dense,
            "user": user,
            "item": item,
            "query": self.query_number[query],
            "tags": self.tags[item],
        }
        affinity = (self.user[user] * self.item[item]).sum(1)
        quality = 0.6 * self.worth[item] + 0.6 * self.tag_mean[item] + 0.4 * self.query_worth[query]
        return Candidates(inputs, hidden, affinity, quality, groups, count)
