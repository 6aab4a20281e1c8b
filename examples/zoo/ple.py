"""Progressive layered extraction.

Hongyan Tang, Junning Liu, Ming Zhao, Xudong Gong: "Progressive Layered Extraction (PLE): A Novel
Multi-Task Learning (MTL) Model for Personalized Recommendations", RecSys 2020.

MMoE shares every expert with every task, so a noisy task can spoil all of them. PLE gives each task
experts of its own beside the shared ones, and stacks several such levels. One level (the paper's
CGC, customized gate control) has a stream x_t for each task and a shared stream x_s; at the first
level all of them are the input x:

    own_t,i(x_t), shared_j(x_s)                                            experts, (B, H)
    x_t' = mixture of [own_t, shared] by softmax(W_t x_t + b_t)            P + S experts
    x_s' = mixture of [own_1, ..., own_T, shared] by softmax(W_s x_s + b_s)    T P + S experts

The last level has no shared gate: nobody would read x_s'. Then y_t = sigmoid(tower_t(x_t)), (B, 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.layers import Gate, expert, mixture, tower


class CGC(nn.Module):
    """One level: T task streams (B, width) and the shared one, to the same at width `out`. The
    shared stream of the last level is None."""

    def __init__(
        self,
        width: int,
        tasks: int,
        own: int,
        shared: int,
        hidden: int,
        out: int,
        dropout: float,
        last: bool,
    ) -> None:
        super().__init__()
        self.own = nn.ModuleList(
            nn.ModuleList(expert(width, hidden, out, dropout) for _ in range(own))
            for _ in range(tasks)
        )
        self.shared = nn.ModuleList(expert(width, hidden, out, dropout) for _ in range(shared))
        self.gates = nn.ModuleList(Gate(width, own + shared) for _ in range(tasks))
        self.shared_gate = None if last else Gate(width, tasks * own + shared)

    def forward(self, streams: list[Tensor], common: Tensor) -> tuple[list[Tensor], Tensor | None]:
        own = [[f(x) for f in group] for group, x in zip(self.own, streams)]
        shared = [f(common) for f in self.shared]
        mixed = [
            mixture(gate(x), torch.stack(mine + shared, dim=1))
            for gate, x, mine in zip(self.gates, streams, own)
        ]
        if self.shared_gate is None:
            return mixed, None
        everyone = torch.stack([f for mine in own for f in mine] + shared, dim=1)  # (B, T P + S, H)
        return mixed, mixture(self.shared_gate(common), everyone)


class PLE(nn.Module):
    """x (B, input_width) to `tasks` probabilities, each (B, 1)."""

    def __init__(
        self,
        input_width: int,
        tasks: int,
        levels: int = 2,
        own: int = 2,
        shared: int = 2,
        hidden: int = 64,
        out: int = 32,
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            CGC(
                input_width if level == 0 else out,
                tasks,
                own,
                shared,
                hidden,
                out,
                dropout,
                last=level == levels - 1,
            )
            for level in range(levels)
        )
        self.towers = nn.ModuleList(tower(out, towers, dropout) for _ in range(tasks))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        streams: list[Tensor] = [x] * len(self.towers)
        common: Tensor | None = x
        for level in self.levels:
            streams, common = level(streams, common)
        return tuple(head(z) for head, z in zip(self.towers, streams))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))
