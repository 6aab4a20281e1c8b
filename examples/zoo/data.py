"""Made-up shoppers whose behaviour is known exactly.

A candidate is shown; it may be clicked, then put into the cart, then ordered. Each step is a coin
whose bias is a known function of the features, and a step can only happen after the one before it,
so the labels are nested:

    click = Bernoulli(p1)          p1 = sigmoid(s1(x) - 0.5)
    cart  = click Bernoulli(p2)    p2 = sigmoid(s2(x))            P(cart)  = p1 p2
    order = cart  Bernoulli(p3)    p3 = sigmoid(s3(x))            P(order) = p1 p2 p3

with s_t(x) = a_t . x + 1.5 tanh(b_t . x) tanh(c . x): a linear taste of the step's own plus an
interaction, in which c is common to all steps (why sharing helps) and a, b are not (why sharing
everything hurts). What a model can reach at best is therefore known: the score of the true
probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TASKS = ("click", "cart", "order")


@dataclass(frozen=True)
class Planted:
    """x (B, D) float32; labels and truth (B, 3) float32: what happened, and how likely it was."""

    x: Tensor
    labels: Tensor
    truth: Tensor


def planted(rows: int, features: int, seed: int, world: int = 7) -> Planted:
    """`world` draws the shoppers' tastes, `seed` the candidates: train and test share a world."""
    tastes = torch.Generator().manual_seed(world)
    scale = features**-0.5
    a = 1.5 * scale * torch.randn(features, 3, generator=tastes)
    b = 2.0 * scale * torch.randn(features, 3, generator=tastes)
    c = 2.0 * scale * torch.randn(features, 1, generator=tastes)

    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=draws)
    step = torch.sigmoid(
        x @ a + 1.5 * torch.tanh(x @ b) * torch.tanh(x @ c) - torch.tensor([0.5, 0.0, 0.0])
    )
    happened = (torch.rand(rows, 3, generator=draws) < step).float()
    return Planted(x, happened.cumprod(dim=1), step.cumprod(dim=1))


def auc(score: Tensor, label: Tensor) -> float:
    """P(a positive scores higher than a negative), by ranks; score and label (B,). No ties are
    expected."""
    rank = torch.empty_like(score, dtype=torch.float64)
    rank[score.argsort()] = torch.arange(1, len(score) + 1, dtype=torch.float64)
    positives = label.sum().double()
    negatives = len(label) - positives
    above = rank[label > 0].sum() - positives * (positives + 1) / 2
    return (above / (positives * negatives)).item()
