"""Entire space multi-task model.

Xiao Ma, Liqin Zhao, Guan Huang, Zhi Wang, Zelin Hu, Xiaoqiang Zhu, Kun Gai: "Entire Space
Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate", SIGIR 2018.

Who buys has clicked before, so conversions are known for clicked items only, while the ranker must
score all that it shows. ESMM learns on all impressions what can be observed there, the click and
the click with purchase, and has the conversion rate between them:

    e     = relu(W x + b)               trunk, (B, H)
    ctr   = sigmoid(click_tower(e))     P(click | impression), (B, 1)
    cvr   = sigmoid(buy_tower(e))       P(purchase | click), (B, 1)
    ctcvr = ctr cvr                     P(click and purchase | impression), (B, 1)

The loss is that of ctr and ctcvr; cvr has no loss of its own. The product is of probabilities:
it is no sigmoid of any sum of logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from examples.zoo.layers import tower


class ESMM(nn.Module):
    """x (B, input_width) to ctr, cvr and ctcvr, each (B, 1)."""

    def __init__(
        self,
        input_width: int,
        trunk: int = 256,
        towers: Sequence[int] = (128, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(input_width, trunk), nn.ReLU(), nn.Dropout(dropout))
        self.click = tower(trunk, towers, dropout)
        self.buy = tower(trunk, towers, dropout)

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the click and of the purchase after a click."""
        e = self.trunk(x)
        return self.click(e), self.buy(e)

    def log_ctcvr(self, x: Tensor) -> Tensor:
        """log P(click and purchase), (B, 1), for the loss: exact where the probability is tiny."""
        click, buy = self.logits(x)
        return logsigmoid(click) + logsigmoid(buy)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctr, cvr = (torch.sigmoid(logit) for logit in self.logits(x))
        return ctr, cvr, ctr * cvr
