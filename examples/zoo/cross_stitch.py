"""Cross-stitch networks.

Ishan Misra, Abhinav Shrivastava, Abhinav Gupta, Martial Hebert: "Cross-stitch Networks for
Multi-task Learning", CVPR 2016.

Each task has a whole network of its own. After a hidden layer, a cross-stitch unit mixes what the
tasks' layers computed, by a small matrix of learned weights:

    a_t = relu(W_t h_t + b_t)                          (B, H),  t = 1 .. T;  h_t = x at first
    h_t = sum over s of alpha_t,s a_s                  (B, H)
    y_t = sigmoid(head_t(h_t of the last unit))        (B, 1)

How much to share, and at which depth, is thus learned: alpha = identity shares nothing, equal
weights share all. alpha depends on no candidate, so in serving a unit is a constant linear map. It
starts near the identity (0.9 of a task's own), as in the paper, and is free afterwards: rows need
not sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.layers import tower


class CrossStitch(nn.Module):
    """One unit: activations of T tasks (B, T, H) to their mixtures (B, T, H)."""

    def __init__(self, tasks: int, own: float = 0.9) -> None:
        super().__init__()
        others = (1 - own) / max(tasks - 1, 1)
        self.alpha = nn.Parameter(torch.eye(tasks) * (own - others) + others)  # (T, T)

    def forward(self, activations: Tensor) -> Tensor:
        return torch.matmul(self.alpha, activations)


class CrossStitchNetwork(nn.Module):
    """x (B, input_width) to `tasks` probabilities, each (B, 1)."""

    def __init__(
        self,
        input_width: int,
        tasks: int,
        hidden: Sequence[int] = (64, 32),
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        widths = [input_width, *hidden]
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(nn.Linear(width, out), nn.ReLU(), nn.Dropout(dropout))
                for _ in range(tasks)
            )
            for width, out in zip(widths, widths[1:])
        )
        self.units = nn.ModuleList(CrossStitch(tasks) for _ in hidden)
        self.towers = nn.ModuleList(tower(widths[-1], towers, dropout) for _ in range(tasks))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        streams: Sequence[Tensor] = [x] * len(self.towers)
        for layers, unit in zip(self.layers, self.units):
            activations = [layer(h) for layer, h in zip(layers, streams)]
            streams = unit(torch.stack(activations, dim=1)).unbind(1)
        return tuple(head(h) for head, h in zip(self.towers, streams))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))
