"""The three blocks that MMoE and PLE are made of. Shapes: B candidates, E experts, H width of an
expert's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def expert(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    """f(x) = relu(W2 relu(W1 x + b1) + b2), x (B, width) to (B, out).

    The non-linearity after the last layer is part of the expert: what is mixed are features, not
    logits. Dropout acts in training only; exporters drop it.
    """
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out), nn.ReLU()
    )


def tower(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear-ReLU-Dropout for each width in `hidden`, then a logit: (B, width) to (B, 1)."""
    layers: list[nn.Module] = []
    for out in hidden:
        layers += [nn.Linear(width, out), nn.ReLU(), nn.Dropout(dropout)]
        width = out
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Gate(nn.Module):
    """g(x) = softmax(W x + b), x (B, width) to (B, experts): how much of each expert this candidate
    wants.

    Weights are positive and sum to 1. One linear layer with a bias.
    """

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, experts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.linear(x), dim=1)


def mixture(gate: Tensor, experts: Tensor) -> Tensor:
    """z = sum over e of gate[:, e] experts[:, e, :]; gate (B, E), experts (B, E, H), z (B, H)."""
    return (gate.unsqueeze(2) * experts).sum(dim=1)
