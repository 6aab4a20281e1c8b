"""ResFlow as a twin tower, for ranking very many candidates.

The efficiency variant of "Residual Multi-Task Learner for Applied Ranking" (see resflow.py), for
pre-ranking. What belongs to the user is computed once a request and what belongs to the item once a
day, so each side has networks of its own, one for each task and of one shape, with the residuals of
ResFlow from task to task on its side:

    u_t = user network t     v_t = item network t      (B, M), layers flow on their own side
    r_t = u_t . v_t + c_t                              (B, 1)
    z_t = r_t + z_(t-1);  y_t = sigmoid(z_t)           (B, 1)

Online there remain T dot products for each candidate. The paper says that residuals need careful
placement here and no more. Were u_t and v_t cumulative as well (`last_flows`), r_t would already
hold r_(t-1) and cross terms, and z_t add it again; so by default the vectors do not flow, only the
layers before them and the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo import features
from examples.zoo.features import Field, FrontEnd, Schema
from examples.zoo.layers import networks, relu_layer
from examples.zoo.ranker import Ranker
from examples.zoo.resflow import flow
from examples.zoo.tasks import Task, in_order


def of_item(field: Field) -> bool:
    """The item's side has its id and what is named after it; all else is the user's, with the
    behaviour sequences."""
    named = field.role == "item" or field.name.startswith("item")
    return named and not isinstance(field, features.Sequence)


class Side(nn.Module):
    """The fields of one side to a vector for each task, T of (B, out)."""

    def __init__(
        self,
        schema: Schema,
        width: int,
        hidden: Sequence[int],
        out: int,
        parents: Sequence[int | None],
        dropout: float,
        last_flows: bool,
    ) -> None:
        super().__init__()
        self.front = FrontEnd(schema, width)
        self.layers = networks(self.front.out, hidden, len(parents), relu_layer(dropout))
        self.last = nn.ModuleList(nn.Linear(hidden[-1], out) for _ in parents)
        self.parents, self.last_flows = list(parents), last_flows

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        streams = [self.front(*inputs)] * len(self.last)
        for layers in self.layers:
            streams = flow([layer(h) for layer, h in zip(layers, streams)], self.parents)
        vectors = [layer(h) for layer, h in zip(self.last, streams)]
        return tuple(flow(vectors, self.parents) if self.last_flows else vectors)


class ResFlowTower(Ranker):
    """The fields of `schema`, one input each, to what is served for each task, (B, 1). `item` names
    the fields of the item's side (by default those of `of_item`).

    `user`, `item` and `score` are the parts that a service runs apart: `score` takes T user
    vectors, of one row or of one a candidate, and T item vectors.
    """

    def __init__(
        self,
        schema: Schema,
        tasks: int | Sequence[Task],
        width: int = 8,
        hidden: Sequence[int] = (64, 32),
        out: int = 16,
        item: Sequence[str] | None = None,
        dropout: float = 0.1,
        last_flows: bool = False,
    ) -> None:
        super().__init__(tasks)
        if any(task.kind == "multiclass" for task in self.tasks):
            raise ValueError("a dot product is one number: no multiclass task")
        self.on_item = [of_item(f) if item is None else f.name in item for f in schema]
        if len(set(self.on_item)) < 2:
            raise ValueError("a twin tower needs fields of the user and fields of the item")
        parents = in_order(self.tasks)
        self.logit_parents = [
            p if p is not None and self.tasks[p].kind == task.kind == "binary" else None
            for task, p in zip(self.tasks, parents)
        ]
        self.user, self.item = (
            Side(
                tuple(f for f, on_item in zip(schema, self.on_item) if on_item == side),
                width,
                hidden,
                out,
                parents,
                dropout,
                last_flows,
            )
            for side in (False, True)
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in self.tasks)

    def vectors(self, *inputs: Tensor) -> list[Tensor]:
        """u_1 .. u_T, v_1 .. v_T, each (B, M)."""
        sides = ([v for v, on in zip(inputs, self.on_item) if on == side] for side in (False, True))
        return [*self.user(*next(sides)), *self.item(*next(sides))]

    def logits_of(self, *vectors: Tensor) -> tuple[Tensor, ...]:
        users, items = vectors[: len(self.tasks)], vectors[len(self.tasks) :]
        r = [(u * v).sum(dim=1, keepdim=True) + c for u, v, c in zip(users, items, self.bias)]
        return tuple(flow(r, self.logit_parents))

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """For pictures: u_t and v_t side by side, (B, 2 M)."""
        vectors = self.vectors(*inputs)
        users, items = vectors[: len(self.tasks)], vectors[len(self.tasks) :]
        return [torch.cat(pair, dim=1) for pair in zip(users, items)], []

    def logits(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.logits_of(*self.vectors(*inputs))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.score(*self.vectors(*inputs))

    def score(self, *vectors: Tensor) -> tuple[Tensor, ...]:
        """u_1 .. u_T (B or 1, M), v_1 .. v_T (B, M) to what is served."""
        return tuple(task.served(z) for task, z in zip(self.tasks, self.logits_of(*vectors)))

    def shared(self) -> list[nn.Parameter]:
        """The tables, and the networks that another task starts from."""
        flows = {p for p in self.user.parents if p is not None}
        heads = {p for p in self.logit_parents if p is not None}
        found = [*self.user.front.parameters(), *self.item.front.parameters()]
        for side in (self.user, self.item):
            found += [p for t in flows for level in side.layers for p in level[t].parameters()]
            ends = heads | (flows if side.last_flows else set())
            found += [p for t in ends for p in side.last[t].parameters()]
        return found + [self.bias[t] for t in heads]


class Score(nn.Module):
    """The online part of a twin tower as a module of its own, to export."""

    def __init__(self, ranker: ResFlowTower) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, *vectors: Tensor) -> tuple[Tensor, ...]:
        return self.ranker.score(*vectors)
