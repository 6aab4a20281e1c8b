"""Multi-gate mixture of experts.

Jiaqi Ma, Zhe Zhao, Xinyang Yi, Jilin Chen, Lichan Hong, Ed H. Chi: "Modeling Task Relationships in
Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018.

Experts are shared by all tasks; each task has its own gate, so tasks that disagree may use
different experts:

    f_e(x) = expert e                          (B, H),  e = 1 .. E
    g_t(x) = softmax(W_t x + b_t)              (B, E),  t = 1 .. T
    z_t    = sum over e of g_t,e(x) f_e(x)     (B, H)
    y_t    = sigmoid(tower_t(z_t))             (B, 1)

The paper's gates have no bias; most implementations give them one, and so does this.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.layers import Gate, expert, mixture, tower


class MMoE(nn.Module):
    """x (B, input_width) to `tasks` probabilities, each (B, 1).

    `logits` is what the loss wants (no sigmoid, hence no rounding near 0 and 1); `forward` is what
    serving wants.
    """

    def __init__(
        self,
        input_width: int,
        tasks: int,
        experts: int = 4,
        hidden: int = 64,
        out: int = 32,
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            expert(input_width, hidden, out, dropout) for _ in range(experts)
        )
        self.gates = nn.ModuleList(Gate(input_width, experts) for _ in range(tasks))
        self.towers = nn.ModuleList(tower(out, towers, dropout) for _ in range(tasks))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        mixed = torch.stack([f(x) for f in self.experts], dim=1)  # (B, E, H)
        return tuple(head(mixture(gate(x), mixed)) for gate, head in zip(self.gates, self.towers))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.logits(x))
