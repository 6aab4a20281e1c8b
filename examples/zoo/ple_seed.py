"""The survey's form of PLE (PLE-S).

A survey of multi-task rankers explains PLE (see ple.py) with code that differs from the paper, and
teams have copied it. All experts and gates of a level read the same x, and each task has two gates,
one over the shared experts and one over its own:

    g_t = softmax(W_t x + b_t)  over S shared experts                                  (B, S)
    g'_t likewise               over P experts of the task's own                       (B, P)
    z_t = sum over i of g_t,i shared_i(x) + sum over j of g'_t,j own_t,j(x)            (B, H)
    x   = z_1 for the next level;  y_t = served(tower_t(z_t)) after the last one

A task's weights therefore sum to 2. Only the first task's mixture goes on to the next level, so
that what the other tasks have in all levels but the last reaches no output: dead weight, which
exporters drop.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.layers import Gate, expert, mixture
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class SeedLevel(nn.Module):
    """x (B, width) to T mixtures (B, out), and T gates (B, S + P) whose rows sum to 2."""

    def __init__(
        self, width: int, tasks: int, own: int, shared: int, hidden: int, out: int, dropout: float
    ) -> None:
        super().__init__()
        self.shared = nn.ModuleList(expert(width, hidden, out, dropout) for _ in range(shared))
        self.own = nn.ModuleList(
            nn.ModuleList(expert(width, hidden, out, dropout) for _ in range(own))
            for _ in range(tasks)
        )
        self.shared_gates = nn.ModuleList(Gate(width, shared) for _ in range(tasks))
        self.own_gates = nn.ModuleList(Gate(width, own) for _ in range(tasks))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        shared = torch.stack([f(x) for f in self.shared], dim=1)  # (B, S, H)
        mixed, gates = [], []
        for experts, to_shared, to_own in zip(self.own, self.shared_gates, self.own_gates):
            own = torch.stack([f(x) for f in experts], dim=1)  # (B, P, H)
            pair = [to_shared(x), to_own(x)]
            mixed.append(mixture(pair[0], shared) + mixture(pair[1], own))
            gates.append(torch.cat(pair, dim=1))
        return mixed, gates


class PLESeed(Ranker):
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
        widths = [input_width] + [out] * (levels - 1)
        self.levels = nn.ModuleList(
            SeedLevel(width, len(self.tasks), own, shared, hidden, out, dropout)
            for width in widths
        )
        self.add_towers(out, towers, dropout)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The gates are the last level's."""
        mixed, gates = [x], []
        for level in self.levels:
            mixed, gates = level(mixed[0])
        return mixed, gates

    def shared(self) -> list[nn.Parameter]:
        """The shared experts, and before the last level all that the first task mixes."""
        found: list[nn.Parameter] = []
        for i, level in enumerate(self.levels):
            found += level.shared.parameters()
            if i + 1 < len(self.levels):
                for part in (level.own, level.shared_gates, level.own_gates):
                    found += part[0].parameters()
        return found
