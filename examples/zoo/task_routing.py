"""Task routing: one router for the gates of all tasks.

A survey's alternative to MMoE (see mmoe.py), whose gates are T networks of their own. Here they
share all but their last layer:

    s   = W_2 relu(W_1 x + b_1) + b_2            (B, T E), seen as (B, T, E)
    r_t = softmax over e of s_t                  (B, E)
    z_t = sum over e of r_t,e f_e(x)             (B, H)
    y_t = served(tower_t(z_t))

The survey gives the router only, and its code takes the softmax over all T E numbers before it
splits them: a task's weights then sum to less than 1, those of all tasks to 1, and the tasks
compete for a budget. That is `joint`; it is no mixture of experts with softmax gates, and no
compiler may take it for one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.layers import expert, mixture, tower
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class TaskRouting(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C)."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        experts: int = 4,
        hidden: int = 64,
        out: int = 32,
        router: int = 64,
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
        joint: bool = False,
        gates_out: bool = False,
    ) -> None:
        super().__init__(tasks, gates_out)
        self.experts = nn.ModuleList(
            expert(input_width, hidden, out, dropout) for _ in range(experts)
        )
        self.router = tower(input_width, [router], 0.0, len(self.tasks) * experts)
        self.joint = joint
        self.add_towers(out, towers, dropout)

    def routes(self, x: Tensor) -> Tensor:
        """(B, T, E)."""
        scores = self.router(x)
        shape = (-1, len(self.tasks), len(self.experts))
        if self.joint:
            return torch.softmax(scores, dim=1).view(shape)
        return torch.softmax(scores.view(shape), dim=2)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        mixed = torch.stack([f(x) for f in self.experts], dim=1)  # (B, E, H)
        gates = list(self.routes(x).unbind(1))
        return [mixture(gate, mixed) for gate in gates], gates

    def shared(self) -> list[nn.Parameter]:
        """The router's last layer has rows for each task, but is one matrix."""
        return [*self.experts.parameters(), *self.router.parameters()]
