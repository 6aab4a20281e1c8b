"""Adaptive information transfer between tasks (AITM).

Dongbo Xi et al.: "Modeling the Sequential Dependence among Audience Multi-step Conversions with
Multi-task Learning in Targeted Display Advertising", KDD 2021.

Each step of a chain has a bottom of its own, and from step to step an attention over two rows
decides how much of what the earlier step knows the later one takes:

    q_t  = MLP_t(x)                                       (B, K)
    q'_1 = q_1;  p = transfer_t(q'_(t-1))                 (B, K), linear
    X    = [p; q_t]                                       (B, 2, K)
    a    = softmax over the rows of (key(X) . query(X)) / sqrt(K)      (B, 2)
    q'_t = sum over the rows of a value(X)                (B, K)
    y_t  = sigmoid(tower_t(q'_t))                         (B, 1)

key, query and value are linear and the same for all steps; a row's score is the dot product of its
own key and query. A step cannot be likelier than the one before it: training adds
weight * mean of relu(y_t - y_(t-1)), and serving relies on it having been learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from examples.zoo.layers import mlp
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task, in_order


class AITM(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C), in the tasks' order."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        bottom: Sequence[int] = (64, 32),
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
        weight: float = 0.6,
    ) -> None:
        super().__init__(tasks)
        self.parents, self.weight, width = in_order(self.tasks), weight, bottom[-1]
        self.bottoms = nn.ModuleList(mlp(input_width, bottom, dropout) for _ in self.tasks)
        self.transfers = nn.ModuleList(
            nn.Linear(width, width) for parent in self.parents if parent is not None
        )
        self.key, self.query = nn.Linear(width, width), nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.add_towers(width, towers, dropout)

    def transferred(self, earlier: Tensor, own: Tensor) -> Tensor:
        """Both (B, K) to q'_t (B, K)."""
        rows = torch.stack([earlier, own], dim=1)  # (B, 2, K)
        scores = (self.key(rows) * self.query(rows)).sum(dim=2) * own.shape[1] ** -0.5
        weights = torch.softmax(scores, dim=1)  # (B, 2)
        return (self.value(rows) * weights.unsqueeze(2)).sum(dim=1)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        found: list[Tensor] = []
        transfers = iter(self.transfers)
        for bottom, parent in zip(self.bottoms, self.parents):
            own = bottom(x)
            if parent is not None:
                own = self.transferred(next(transfers)(found[parent]), own)
            found.append(own)
        return found, []

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        found = super().logits(x)
        if self.training:
            binary = [task.kind == "binary" for task in self.tasks]
            excess = [
                relu(torch.sigmoid(found[t]) - torch.sigmoid(found[p])).mean()
                for t, p in enumerate(self.parents)
                if p is not None and binary[t] and binary[p]
            ]
            self._auxiliary = self.weight * sum(excess, torch.zeros(()))
        return found

    def shared(self) -> list[nn.Parameter]:
        """What lies before a step that another comes after, and, from two such steps on, key, query
        and value."""
        later = {parent for parent in self.parents if parent is not None}
        steps = [t for t, parent in enumerate(self.parents) if parent is not None]
        maps = [self.key, self.query, self.value] if len(steps) > 1 else []
        found = [parameter for linear in maps for parameter in linear.parameters()]
        for t in sorted(later):
            found += self.bottoms[t].parameters()
        for transfer, t in zip(self.transfers, steps):
            found += transfer.parameters() if t in later else []
        return found
