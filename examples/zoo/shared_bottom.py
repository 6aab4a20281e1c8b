"""Shared bottom.

Rich Caruana: "Multitask Learning", Machine Learning 28, 1997.

The oldest way to train tasks together, and still the first to try: one network that all tasks
share, then a small tower for each:

    h   = bottom(x)               (B, H)
    y_t = sigmoid(tower_t(h))     (B, 1),  t = 1 .. T

Every layer of the bottom and of a tower is Linear, BatchNorm, ReLU. In serving the normalisation
has constant statistics and stands between a linear layer and its ReLU, so it is that linear layer
with other weights. What the tasks share they also fight for: when they disagree, one gains what
another loses, which is what MMoE and PLE mend.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


def normed_layers(width: int, widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Linear-BatchNorm-ReLU-Dropout for each of `widths`: (B, width) to (B, widths[-1])."""
    layers: list[nn.Module] = []
    for out in widths:
        layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(dropout)]
        width = out
    return layers


class SharedBottom(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C)."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        bottom: Sequence[int] = (256, 128, 64),
        towers: Sequence[int] = (32, 16),
        dropout: float = 0.2,
        tower_dropout: float = 0.1,
    ) -> None:
        super().__init__(tasks)
        self.bottom = nn.Sequential(*normed_layers(input_width, bottom, dropout))
        self.towers = nn.ModuleList(
            nn.Sequential(
                *normed_layers(bottom[-1], towers, tower_dropout),
                nn.Linear([bottom[-1], *towers][-1], task.width),
            )
            for task in self.tasks
        )

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [self.bottom(x)] * len(self.tasks), []

    def shared(self) -> list[nn.Parameter]:
        return list(self.bottom.parameters())
