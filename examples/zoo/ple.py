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

from examples.zoo.layers import Gate, expert, mixture
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


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

    def forward(
        self, streams: list[Tensor], common: Tensor, on_own: bool = False
    ) -> tuple[list[Tensor], Tensor | None, list[Tensor]]:
        """The new streams, the new shared stream, and the tasks' gates. With `on_own`, a task's
        gate mixes the shared experts as they are on its own stream, not as on the shared one."""
        own = [[f(x) for f in group] for group, x in zip(self.own, streams)]
        shared = [] if on_own and self.shared_gate is None else [f(common) for f in self.shared]
        gates = [gate(x) for gate, x in zip(self.gates, streams)]
        common_to = [[f(x) for f in self.shared] if on_own else shared for x in streams]
        mixed = [
            mixture(gate, torch.stack(mine + others, dim=1))
            for gate, mine, others in zip(gates, own, common_to)
        ]
        if self.shared_gate is None:
            return mixed, None, gates
        everyone = torch.stack([f for mine in own for f in mine] + shared, dim=1)  # (B, T P + S, H)
        return mixed, mixture(self.shared_gate(common), everyone), gates


class PLE(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C)."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        levels: int = 2,
        own: int = 2,
        shared: int = 2,
        hidden: int = 64,
        out: int = 32,
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
        gates_out: bool = False,
    ) -> None:
        super().__init__(tasks, gates_out)
        self.levels = nn.ModuleList(
            CGC(
                input_width if level == 0 else out,
                len(self.tasks),
                own,
                shared,
                hidden,
                out,
                dropout,
                last=level == levels - 1,
            )
            for level in range(levels)
        )
        self.add_towers(out, towers, dropout)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The gates are the last level's."""
        return self.on_streams([x] * len(self.tasks), x)

    def on_streams(
        self, streams: list[Tensor], common: Tensor, on_own: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As `routed` where each task has an input of its own, T of (B, input_width), and the
        shared stream starts from `common`; `on_own` is that of the first level (see CGC)."""
        gates: list[Tensor] = []
        for i, level in enumerate(self.levels):
            streams, common, gates = level(streams, common, on_own and i == 0)
        return streams, gates

    def shared(self) -> list[nn.Parameter]:
        """The shared stream carries to all tasks whatever stands before a shared gate."""
        found: list[nn.Parameter] = []
        for level, after in zip(self.levels, [*self.levels[1:], None]):
            found += level.shared.parameters()
            if level.shared_gate is not None:
                found += [*level.own.parameters(), *level.shared_gate.parameters()]
            if after is not None and after.shared_gate is not None:
                found += level.gates.parameters()
        return found
