"""Planted worlds: shoppers whose behaviour is known exactly.

    world = make("funnel", rows=20_000, seed=0)

A world's constants (tastes, items, regions) are fixed by its name. `seed` draws the requests, the
candidates and what happened; train, valid and test are different draws of one world. The same
arguments give the same numbers. What a model can reach at best is the score of `Split.truth`.

Rows are candidates of requests: one user, one context, some 20 items. Users, items and queries are
drawn by popularity (Zipf). The score of a row is a sum of planted causes, and a label is a coin
with the bias sigmoid(score + b); b is such that the labels have the rates given below. A task
`after` another has its own coin, and its label is 1 only if the other's is:

    click = Bernoulli(q1)          P(click) = q1
    cart  = click Bernoulli(q2)    P(cart)  = q1 q2
    order = cart  Bernoulli(q3)    P(order) = q1 q2 q3

The worlds, and what they are for:

funnel      click 20 %, cart 6 %, order 2 %. Most of what moves later steps moves clicks too, and it
            takes many rows to learn: sharing lifts the sparse tasks.
conflict    two tasks, click 30 %, like 20 %. A third of the causes is common, what else moves one
            moves the other the opposite way, and how much depends on the surface that is looked at:
            sharing everything hurts, experts and gates help.
regions     funnel behind 10 regions of unequal size. The dependent dense features are prices in
            other currencies and rankings read the other way round: scale, offset and direction are
            the region's. The region comes as an id.
regions_vector   the same, the region as a vector of its statistics.
single      regions with one task.
sequences   three behaviours of a user (clicked, carted, ordered), each showing tastes of its own;
            click, cart and order each follow the best match of the candidate in one of them.
kinds       click (binary), dwell (regression, seconds, only where clicked), rating (one of five,
            missing for two rows in three), return (binary, after the click).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from examples.data import Split, World
from examples.data.causes import Shop, bias_for, cumulative, happened, sigmoid, zipf
from examples.zoo.features import Dense, Id, Schema, Sequence
from examples.zoo.tasks import Task

Array = np.ndarray

FUNNEL = (Task("click"), Task("cart", after="click"), Task("order", after="cart"))
FUNNEL_RATES = (0.2, 0.06, 0.02)
CALIBRATION_ROWS = 20_000  # how many rows the biases are computed with
REGIONS = 10
SURFACES = 3
LENGTHS = {"clicked": 20, "carted": 12, "ordered": 12}
CATEGORIES = 6
ITEMS_PER_CATEGORY = 10
CLASSES = 5


@dataclass
class Drawn:
    """What a world's rule says of some rows: inputs by field name, the scores of the tasks' coins
    without their biases, (B, T), and the rows' request (B,)."""

    inputs: dict[str, Array]
    scores: Array
    groups: Array
    extra: dict[str, Array] = field(default_factory=dict)


@dataclass
class Rule:
    """A world's constants: draws rows, and says what fields and tasks they have."""

    schema: Schema
    tasks: tuple[Task, ...]
    rates: tuple[float, ...]
    draw: Callable[[np.random.Generator, int], Drawn]


def _funnel(constants: np.random.Generator) -> Rule:
    shop = Shop(constants, dense=16, hidden=10)
    own = 0.5 * constants.standard_normal((shop.hidden, 3)) / np.sqrt(shop.hidden)
    common = constants.standard_normal(shop.hidden) / np.sqrt(shop.hidden)

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        drawn = shop.candidates(rng, rows)
        taste = 2.2 * drawn.hidden @ common + 1.0 * drawn.affinity + 0.6 * drawn.quality
        scores = np.stack([1.0 * taste, 0.8 * taste, 0.8 * taste], 1) + 1.5 * drawn.hidden @ own
        return Drawn(drawn.inputs, scores, drawn.groups)

    return Rule(shop.schema, FUNNEL, FUNNEL_RATES, draw)


def _conflict(constants: np.random.Generator) -> Rule:
    shop = Shop(constants, dense=16, hidden=24, plain=0.2)
    weigh = constants.standard_normal((SURFACES, 2, 8)) / np.sqrt(8)
    common = constants.standard_normal(8) / np.sqrt(8)

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        drawn = shop.candidates(rng, rows)
        surface = rng.integers(0, SURFACES, drawn.requests)[drawn.groups]
        drawn.inputs["surface"] = surface
        agreed, *rest = drawn.hidden.reshape(rows, 3, 8).transpose(1, 0, 2)  # (rows, 8) each
        agreed = 1.5 * agreed @ common + 0.6 * drawn.quality
        one, other = (3.0 * (h * weigh[surface, t]).sum(1) for t, h in enumerate(rest))
        click = agreed + one - 0.5 * other + 0.8 * drawn.affinity
        like = agreed + other - 0.5 * one - 0.8 * drawn.affinity
        return Drawn(drawn.inputs, np.stack([click, like], 1), drawn.groups)

    schema = (*shop.schema, Id("surface", SURFACES))
    return Rule(schema, (Task("click"), Task("like")), (0.3, 0.2), draw)


def _region_rule(constants: np.random.Generator, vector: bool, tasks: int) -> Rule:
    shop = Shop(constants, dense=8, hidden=8)
    width = 8
    share = zipf(REGIONS, 1.0)
    scale = np.exp(constants.normal(0, 1.0, (REGIONS, width)))
    direction = np.where(constants.random((REGIONS, width)) < 0.35, -1.0, 1.0)
    level = constants.normal(1.0, 0.3, width)  # of the offset, in units of the region's scale
    own = constants.standard_normal((width, 6)) / np.sqrt(width)
    weigh = constants.standard_normal(6)
    country = np.concatenate(
        [direction / scale, constants.normal(0, 0.3, (REGIONS, 4))], 1
    ) @ constants.normal(0, 0.35, (width + 4, 12))

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        drawn = shop.candidates(rng, rows)
        region = rng.choice(REGIONS, drawn.requests, p=share)[drawn.groups]
        canonical = rng.standard_normal((rows, width))
        drawn.inputs["local"] = scale[region] * direction[region] * (level + canonical)
        drawn.inputs["region"] = country[region] if vector else region
        shifted = np.tanh(canonical @ own * 1.5) @ weigh
        taste = 1.4 * shifted + 1.0 * drawn.hidden @ shop.common + 0.6 * drawn.affinity
        later = [0.7 * taste + 0.7 * drawn.hidden @ shop.own[:, t] for t in range(tasks - 1)]
        return Drawn(drawn.inputs, np.stack([taste, *later], 1), drawn.groups, {"region": region})

    regional = (
        Dense("region", 12, role="region") if vector else Id("region", REGIONS, role="region")
    )
    schema = (*shop.schema, Dense("local", width, normalise=True, role="dependent"), regional)
    rates = (0.25, 0.1, 0.04)[:tasks]
    return Rule(schema, FUNNEL[:tasks], rates, draw)


def _sequences(constants: np.random.Generator) -> Rule:
    items = CATEGORIES * ITEMS_PER_CATEGORY  # ids 1 .. items; 0 is padding
    centre = constants.standard_normal((CATEGORIES, 6))
    latent = np.repeat(centre, ITEMS_PER_CATEGORY, 0)
    latent = latent + 0.35 * constants.standard_normal(latent.shape)
    latent /= np.linalg.norm(latent, axis=1, keepdims=True)
    like = latent @ latent.T  # (items, items), cosines
    inside = zipf(ITEMS_PER_CATEGORY, 0.8)
    popular = zipf(items, 0.6)[constants.permutation(items)]
    dense = constants.standard_normal((8, 3)) / np.sqrt(8)
    appeal = 0.5 * constants.standard_normal(items)

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        requests = Shop.requests(rng, rows)
        count = int(requests[-1]) + 1
        item = rng.choice(items, rows, p=popular)
        inputs: dict[str, Array] = {"dense": rng.standard_normal((rows, 8)), "item": item + 1}
        matches = []
        tastes = {name: rng.integers(0, CATEGORIES, (count, 2)) for name in LENGTHS}
        for name, length in LENGTHS.items():
            # one event in ten has nothing to do with the user's two tastes
            pick = rng.integers(0, 2, (count, length))
            category = np.take_along_axis(tastes[name], pick, 1)
            noise = rng.random((count, length)) < 0.1
            category = np.where(noise, rng.integers(0, CATEGORIES, (count, length)), category)
            event = category * ITEMS_PER_CATEGORY + rng.choice(
                ITEMS_PER_CATEGORY, (count, length), p=inside
            )
            shortest = length // 4 if name == "clicked" else 0
            lengths = rng.integers(shortest, length + 1, count)
            real = np.arange(length) < lengths[:, None]
            inputs[name] = np.where(real, event + 1, 0)[requests]
            close = like[item[:, None], event[requests]]  # (rows, length)
            near = (np.exp(8 * (close - 1)) * real[requests]).sum(1)
            matches.append(near / (0.5 + near) - 0.35)
        shared = inputs["dense"] @ dense
        scores = 4.0 * np.stack(matches, 1) + shared + 0.5 * appeal[item][:, None]
        return Drawn(inputs, scores, requests)

    schema = (
        Dense("dense", 8),
        Id("item", items + 1, role="item"),
        *(Sequence(name, items + 1, length, role="item") for name, length in LENGTHS.items()),
    )
    return Rule(schema, FUNNEL, (0.3, 0.12, 0.05), draw)


def _kinds(constants: np.random.Generator) -> Rule:
    shop = Shop(constants, dense=12, hidden=10)
    own = constants.standard_normal((shop.hidden, 4)) / np.sqrt(shop.hidden)

    def draw(rng: np.random.Generator, rows: int) -> Drawn:
        drawn = shop.candidates(rng, rows)
        taste = 1.5 * drawn.hidden @ shop.common + 0.8 * drawn.affinity + 0.6 * drawn.quality
        scores = taste[:, None] + 0.8 * drawn.hidden @ own
        return Drawn(drawn.inputs, scores, drawn.groups)

    tasks = (
        Task("click"),
        Task("dwell", "regression"),
        Task("rating", "multiclass", CLASSES),
        Task("return", after="click"),
    )
    return Rule(shop.schema, tasks, (0.3, float("nan"), float("nan"), 0.1), draw)


RULES: dict[str, Callable[[np.random.Generator], Rule]] = {
    "funnel": _funnel,
    "conflict": _conflict,
    "regions": lambda constants: _region_rule(constants, vector=False, tasks=3),
    "regions_vector": lambda constants: _region_rule(constants, vector=True, tasks=3),
    "single": lambda constants: _region_rule(constants, vector=False, tasks=1),
    "sequences": _sequences,
    "kinds": _kinds,
}


def worlds() -> tuple[str, ...]:
    """The names that `make` knows."""
    return tuple(RULES)


def _tensors(rule: Rule, inputs: dict[str, Array]) -> dict[str, torch.Tensor]:
    """By name in schema order: float32 for dense fields, int64 for the others."""
    return {
        f.name: torch.from_numpy(
            inputs[f.name].astype(np.float32 if isinstance(f, Dense) else np.int64)
        )
        for f in rule.schema
    }


def _steps(rule: Rule, scores: Array, biases: Array) -> Array:
    """P(label) over all rows, (B, T), of binary tasks; a chain's coins are multiplied."""
    return cumulative(sigmoid(scores + biases), [t.after for t in rule.tasks], _names(rule))


def _names(rule: Rule) -> list[str]:
    return [task.name for task in rule.tasks]


def _split(name: str, rule: Rule, biases: Array, rng: np.random.Generator, rows: int) -> Split:
    drawn = rule.draw(rng, rows)
    truth = _steps(rule, drawn.scores, biases)
    coins = rng.random(truth.shape) < sigmoid(drawn.scores + biases)
    labels = happened(coins, [t.after for t in rule.tasks], _names(rule)).astype(np.float32)
    split = Split(
        _tensors(rule, drawn.inputs),
        torch.from_numpy(labels),
        torch.from_numpy(truth.astype(np.float32)),
        torch.from_numpy(drawn.groups),
    )
    if name == "kinds":
        _other_kinds(rule, split, drawn.scores, rng)
    return split


def _other_kinds(rule: Rule, split: Split, scores: Array, rng: np.random.Generator) -> None:
    """Overwrites the columns of dwell and rating, and takes away the labels that nobody has.

    dwell = exp(m + 0.5 e) seconds with m = 3 + 0.6 score and e ~ N(0, 1): mean exp(m + 0.125);
    rating is the number of thresholds below score + logistic noise, an ordered logit.
    """
    names = _names(rule)
    labels = split.labels.numpy()
    truth = split.truth.numpy()
    dwell, rating = names.index("dwell"), names.index("rating")
    middle = 3 + 0.6 * scores[:, dwell]
    labels[:, dwell] = np.exp(middle + 0.5 * rng.standard_normal(len(middle)))
    truth[:, dwell] = np.exp(middle + 0.125)
    thresholds = np.array([-2.5, -1.0, 0.5, 2.0])
    above = sigmoid(scores[:, rating, None] - thresholds)  # P(class > c)
    full = np.concatenate([np.ones((len(above), 1)), above, np.zeros((len(above), 1))], 1)
    classes = full[:, :-1] - full[:, 1:]
    labels[:, rating] = (rng.random(len(above))[:, None] < above).sum(1)
    truth[:, rating] = above.sum(1)
    split.classes["rating"] = torch.from_numpy(classes.astype(np.float32))
    clicked = labels[:, names.index("click")] > 0
    labels[~clicked, dwell] = np.nan
    labels[rng.random(len(labels)) < 2 / 3, rating] = np.nan


def make(name: str, rows: int = 20_000, seed: int = 0) -> World:
    """The world of this name with `rows` rows to train on, rows / 4 to validate and `rows` to test,
    at least one each."""
    if name not in RULES:
        raise ValueError(f"no world is called {name!r}; there are {', '.join(RULES)}")
    if rows < 1 or seed < 0:
        raise ValueError(f"rows {rows} and seed {seed}: rows must be 1 or more, seed 0 or more")
    # regions_vector is regions in other clothes: the same constants and the same draws
    key = zlib.crc32({"regions_vector": "regions"}.get(name, name).encode())
    constants = np.random.default_rng([key, 0])
    rule = RULES[name](constants)
    reference = rule.draw(np.random.default_rng([key, 1]), CALIBRATION_ROWS)
    biases = bias_for(reference.scores, rule.rates, [t.after for t in rule.tasks], _names(rule))
    parts = {
        part: _split(name, rule, biases, np.random.default_rng([key, 2 + number, seed]), size)
        for number, (part, size) in enumerate(
            [("train", rows), ("valid", max(rows // 4, 1)), ("test", rows)]
        )
    }
    return World(name, rule.schema, rule.tasks, **parts)
