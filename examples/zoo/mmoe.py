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

from examples.zoo.layers import Gate, expert, mixture
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class MMoE(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C).

    With `one_gate`, the single-gate mixture of experts (OMoE, the paper's baseline): one gate for
    all tasks, and every tower reads the same mixture.
    """

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        experts: int = 4,
        hidden: int = 64,
        out: int = 32,
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
        one_gate: bool = False,
        gates_out: bool = False,
    ) -> None:
        super().__init__(tasks, gates_out)
        self.experts = nn.ModuleList(
            expert(input_width, hidden, out, dropout) for _ in range(experts)
        )
        gates = 1 if one_gate else len(self.tasks)
        self.gates = nn.ModuleList(Gate(input_width, experts) for _ in range(gates))
        self.add_towers(out, towers, dropout)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        mixed = torch.stack([f(x) for f in self.experts], dim=1)  # (B, E, H)
        gates = [gate(x) for gate in self.gates]
        if len(gates) < len(self.tasks):
            return [mixture(gates[0], mixed)] * len(self.tasks), gates * len(self.tasks)
        return [mixture(gate, mixed) for gate in gates], gates

    def on_streams(self, streams: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As `routed` where each task has an input of its own, T of (B, input_width): the shared
        experts are evaluated on every one of them."""
        gates = [gate(x) for gate, x in zip(self.gates, streams, strict=True)]
        mixed = [
            mixture(gate, torch.stack([f(x) for f in self.experts], dim=1))
            for gate, x in zip(gates, streams)
        ]
        return mixed, gates

    def shared(self) -> list[nn.Parameter]:
        one = list(self.gates.parameters()) if len(self.gates) < len(self.tasks) else []
        return [*self.experts.parameters(), *one]
