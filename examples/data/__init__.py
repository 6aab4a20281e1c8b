"""Data to train and evaluate rankers on: planted worlds whose truth is known (planted.py), and
readers of public datasets. Both give a World."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from examples.zoo.features import Schema
from examples.zoo.tasks import Task

if TYPE_CHECKING:
    from examples.data.vocabulary import Vocabulary


@dataclass
class Split:
    """The rows of one part of a dataset, B of them.

    inputs: one tensor a field, by the field's name, in schema order, shapes and dtypes as
        examples/zoo/features.py says.
    labels: (B, T) float32, one column a task; 0 or 1, a value, or a class's number; NaN is missing.
    truth: (B, T) float32, where it is known: the probability of a binary task's label (for a task
        `after` another, over all rows: P(click and order), not P(order | click)), the mean of a
        regression's, the mean class number of a multi-class task's.
    groups: (B,) int64, the request (or user) that a row belongs to, for grouped AUC and NDCG; rows
        of a group stand together.
    classes: (B, C) float32 probabilities by the name of the multi-class task, where known.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    truth: Tensor | None = None
    groups: Tensor | None = None
    classes: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor | slice) -> Split:
        """The rows that an index (int64 or bool, one dimension) or a slice selects."""
        return Split(
            {name: values[rows] for name, values in self.inputs.items()},
            self.labels[rows],
            None if self.truth is None else self.truth[rows],
            None if self.groups is None else self.groups[rows],
            {name: values[rows] for name, values in self.classes.items()},
        )


@dataclass
class World:
    """A dataset: what its rows hold, what is to be predicted, and the rows.

    Of a public dataset also: the vocabularies that made its ids, by field name (serving needs them:
    vocabulary.py), and notes of what was left out of the data, one line each.
    """

    name: str
    schema: Schema
    tasks: tuple[Task, ...]
    train: Split
    valid: Split
    test: Split
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def task(self, name: str) -> int:
        """The column of the task of this name in labels and truth."""
        return [task.name for task in self.tasks].index(name)


def expected_auc(score: Tensor, truth: Tensor) -> float:
    """The AUC that `score` has on average over labels drawn from `truth` (both (B,)): every row
    counts as a positive with weight truth and as a negative with weight 1 - truth. It has none of
    the noise of few positives. Equal scores count half."""
    weight = truth.double()
    values, place = torch.unique(score, return_inverse=True)
    positive = torch.zeros(len(values), dtype=torch.float64).index_add_(0, place, weight)
    negative = torch.zeros(len(values), dtype=torch.float64).index_add_(0, place, 1 - weight)
    below = negative.cumsum(0) - negative
    itself = (weight * (1 - weight)).sum()  # a row does not compete with itself
    won = (positive * (below + 0.5 * negative)).sum() - 0.5 * itself
    pairs = positive.sum() * negative.sum() - itself
    return (won / pairs).item()


def expected_log_loss(probability: Tensor, truth: Tensor) -> float:
    """Mean log loss of `probability` over labels drawn from `truth` (both (B,)); its minimum, the
    entropy of the labels, is reached at probability = truth."""
    p = probability.double().clamp(1e-12, 1 - 1e-12)
    q = truth.double()
    return -(q * p.log() + (1 - q) * (1 - p).log()).mean().item()
