"""The blocks that rankers are made of. Shapes: B candidates, E experts, H width of an expert's
output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def mlp(width: int, widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear-ReLU-Dropout for each of `widths`: (B, width) to (B, widths[-1])."""
    layers: list[nn.Module] = []
    for out in widths:
        layers += [nn.Linear(width, out), nn.ReLU(), nn.Dropout(dropout)]
        width = out
    return nn.Sequential(*layers)


def expert(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    """f(x) = relu(W2 relu(W1 x + b1) + b2), x (B, width) to (B, out).

    The non-linearity after the last layer is part of the expert: what is mixed are features, not
    logits. Dropout acts in training only; exporters drop it.
    """
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out), nn.ReLU()
    )


def tower(width: int, hidden: Sequence[int], dropout: float, out: int = 1) -> nn.Sequential:
    """`mlp` of the widths in `hidden`, then `out` logits: (B, width) to (B, out)."""
    last = hidden[-1] if hidden else width
    return mlp(width, hidden, dropout).append(nn.Linear(last, out))


class Gate(nn.Module):
    """g(x) = softmax(W x + b), x (B, width) to (B, experts): how much of each expert this candidate
    wants.

    Weights are positive and sum to 1. One linear layer with a bias; `hidden` puts an MLP before it.
    """

    def __init__(self, width: int, experts: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.hidden = mlp(width, hidden) if hidden else None
        self.linear = nn.Linear(hidden[-1] if hidden else width, experts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.linear(x if self.hidden is None else self.hidden(x)), dim=1)


def mixture(gate: Tensor, experts: Tensor) -> Tensor:
    """z = sum over e of gate[:, e] experts[:, e, :]; gate (B, E), experts (B, E, H), z (B, H)."""
    return (gate.unsqueeze(2) * experts).sum(dim=1)


def networks(
    width: int, widths: Sequence[int], tasks: int, layer: Callable[[int, int], nn.Module]
) -> nn.ModuleList:
    """As many networks as tasks, of one shape, layer by layer: [l][t] is layer l of task t,
    `layer(in, out)`. What Cross-Stitch and ResFlow exchange, they exchange between the layers."""
    ins = [width, *widths]
    return nn.ModuleList(
        nn.ModuleList(layer(before, after) for _ in range(tasks))
        for before, after in zip(ins, widths)
    )


def relu_layer(dropout: float) -> Callable[[int, int], nn.Module]:
    """Linear-ReLU-Dropout, for `networks`."""
    return lambda before, after: nn.Sequential(
        nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)
    )


def both(a: Tensor, b: Tensor) -> Tensor:
    """Log-odds of sigmoid(a) sigmoid(b): that two steps happen, from the log-odds of each.

    With p the product, (1 - p) / p = (1 + exp(-a)) (1 + exp(-b)) - 1 = exp(-a) + exp(-b) +
    exp(-a - b), a sum of positive numbers: exact to rounding where p is tiny, where it is almost 1,
    and in its gradients.
    """
    return -torch.logsumexp(torch.stack([-a, -b, -a - b]), dim=0)
