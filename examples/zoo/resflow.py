"""Residual flow between tasks (ResFlow).

"Residual Multi-Task Learner for Applied Ranking", arXiv 2411.09705.

Shoppers go from click to cart to order, each step rarer than the one before, and the rare tasks
have little to learn from. ResFlow gives all tasks networks of the same shape and lets each start
from the task before it: the earlier task's layers are added to the later one's, and so is the
logit.

    a_t = relu(W_t h_t + b_t)            layer l of task t, (B, H_l); h_t = x at the first layer
    h_t = a_t + h_(t-1)                  what the next layer reads; h_1 = a_1
    r_t = v_t h_t + c_t                  after the last layer, (B, 1)
    z_t = r_t + z_(t-1)                  z_1 = r_1
    y_t = sigmoid(z_t)                   (B, 1)

Residuals are cumulative, so over the tasks every layer is a running sum and so are the logits; all
tasks of one layer can be computed side by side. y_t is the probability of step t given the
impression, not given step t - 1. A negative r_t keeps it below that of step t - 1, which the model
learns from the data: nothing enforces it.

The paper's variants: residuals of layers and logits (this, and what it deploys), of logits only
(`layers_flow=False`), and none, the naive shared embedding (`logits_flow=False` as well).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def running_sum(values: Sequence[Tensor]) -> list[Tensor]:
    """v_1, v_1 + v_2, v_1 + v_2 + v_3, ...: from task to task."""
    sums = [values[0]]
    for value in values[1:]:
        sums.append(value + sums[-1])
    return sums


class ResFlow(nn.Module):
    """x (B, input_width) to `tasks` probabilities, each (B, 1), in the order of the steps."""

    def __init__(
        self,
        input_width: int,
        tasks: int,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.1,
        layers_flow: bool = True,
        logits_flow: bool = True,
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
        self.heads = nn.ModuleList(nn.Linear(widths[-1], 1) for _ in range(tasks))
        self.layers_flow, self.logits_flow = layers_flow, logits_flow

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        streams = [x] * len(self.heads)
        for layers in self.layers:
            streams = [layer(h) for layer, h in zip(layers, streams)]
            if self.layers_flow:
                streams = running_sum(streams)
        logits = [head(h) for head, h in zip(self.heads, streams)]
        return tuple(running_sum(logits) if self.logits_flow else logits)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))
