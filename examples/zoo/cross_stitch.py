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

from examples.zoo.layers import networks, relu_layer
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class CrossStitch(nn.Module):
    """One unit: activations of T tasks (B, T, H) to their mixtures (B, T, H)."""

    def __init__(self, tasks: int, own: float = 0.9) -> None:
        super().__init__()
        others = (1 - own) / max(tasks - 1, 1)
        self.alpha = nn.Parameter(torch.eye(tasks) * (own - others) + others)  # (T, T)

    def forward(self, activations: Tensor) -> Tensor:
        return torch.matmul(self.alpha, activations)


class CrossStitchNetwork(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C)."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        hidden: Sequence[int] = (64, 32),
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(tasks)
        self.layers = networks(input_width, hidden, len(self.tasks), relu_layer(dropout))
        self.units = nn.ModuleList(CrossStitch(len(self.tasks)) for _ in hidden)
        self.add_towers(hidden[-1], towers, dropout)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        streams: Sequence[Tensor] = [x] * len(self.tasks)
        for layers, unit in zip(self.layers, self.units):
            activations = [layer(h) for layer, h in zip(layers, streams)]
            streams = unit(torch.stack(activations, dim=1)).unbind(1)
        return list(streams), []

    def shared(self) -> list[nn.Parameter]:
        return [*self.layers.parameters(), *self.units.parameters()]
