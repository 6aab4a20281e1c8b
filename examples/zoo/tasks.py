"""Tasks: what a ranker predicts of a candidate.

    kind          a label is            the ranker's logit          what is served
    "binary"      0 or 1                log-odds, (B, 1)            sigmoid: P(1), (B, 1)
    "regression"  a number              the number itself, (B, 1)   the same, (B, 1)
    "multiclass"  a class, 0 .. C - 1   one score a class, (B, C)   softmax: P(class), (B, C)

A task may only happen `after` another: there is no cart without a click. Its probability is that
of having happened given the impression, P(click and cart), unless a ranker says otherwise. Chains
and trees of tasks are made of `after`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("binary", "regression", "multiclass")


@dataclass(frozen=True)
class Task:
    """One thing to predict. `classes` is C of a multiclass task, and 1 of the others."""

    name: str
    kind: str = "binary"
    classes: int = 1
    after: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        if (self.classes > 1) != (self.kind == "multiclass"):
            raise ValueError(f"task {self.name}: a {self.kind} task of {self.classes} classes")

    @property
    def width(self) -> int:
        """Columns of the task's logits, and of what is served."""
        return self.classes

    def served(self, logit: Tensor) -> Tensor:
        """What the user of the ranker gets for a logit, (B, width) both."""
        if self.kind == "binary":
            return torch.sigmoid(logit)
        return torch.softmax(logit, dim=1) if self.kind == "multiclass" else logit


def as_tasks(tasks: int | Sequence[Task]) -> tuple[Task, ...]:
    """The tasks themselves; a number stands for as many binary tasks without any order."""
    if isinstance(tasks, int):
        return tuple(Task(f"task{t}") for t in range(tasks))
    return tuple(tasks)


def parents(tasks: Sequence[Task]) -> list[int | None]:
    """For each task the index of the one that it comes after, which must stand before it."""
    found: list[int | None] = []
    for t, task in enumerate(tasks):
        earlier = {other.name: i for i, other in enumerate(tasks[:t])}
        if task.after is not None and task.after not in earlier:
            raise ValueError(f"task {task.name}: no task {task.after!r} stands before it")
        found.append(None if task.after is None else earlier[task.after])
    return found


def in_order(tasks: Sequence[Task]) -> list[int | None]:
    """As `parents`; tasks of which none says what it comes after form a chain, in their order."""
    if any(task.after is not None for task in tasks):
        return parents(tasks)
    return [None, *range(len(tasks) - 1)]
