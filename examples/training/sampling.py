"""Which rows a batch holds, and what stands where a label is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from examples.data import World


def order(rows: int, generator: torch.Generator, weights: Tensor | None = None) -> Tensor:
    """Row numbers of one epoch, (rows,): each once, or drawn with replacement by `weights`."""
    if weights is None:
        return torch.randperm(rows, generator=generator)
    return torch.multinomial(weights, rows, replacement=True, generator=generator)


def balanced_weights(label: Tensor, share: float) -> Tensor:
    """Weights of rows, (B,), under which positives of a rare binary task are `share` of a batch; all
    other rows, those without a label too, share the rest evenly. Predicted probabilities then are
    those of the sample, not of the traffic."""
    positive = label == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        raise ValueError("balanced sampling needs rows with and without the event")
    return torch.where(positive, share / count, (1 - share) / others)


def impute(world: World, teacher: Callable[[World, int], Tensor]) -> World:
    """`world` with the training labels that are missing filled in by a teacher: teacher(world, t)
    gives task t's predictions (B,) for the training rows, a probability, a value or a class number.
    Validation and test labels stay as they are."""
    labels = world.train.labels.clone()
    for t in range(len(world.tasks)):
        missing = labels[:, t].isnan()
        if bool(missing.any()):
            labels[missing, t] = teacher(world, t)[missing].to(labels.dtype)
    return replace(world, train=replace(world.train, labels=labels))


def only(world: World, t: int) -> World:
    """The same rows with one task, which then comes after nothing."""
    task = replace(world.tasks[t], after=None)

    def one(split):
        truth = None if split.truth is None else split.truth[:, t : t + 1]
        return replace(split, labels=split.labels[:, t : t + 1], truth=truth)

    return replace(
        world,
        tasks=(task,),
        train=one(world.train),
        valid=one(world.valid),
        test=one(world.test),
    )
