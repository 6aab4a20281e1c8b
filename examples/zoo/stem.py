"""Shared and task-specific embeddings (STEM).

Liangcai Su et al.: "STEM: Unleashing the Power of Embeddings for Multi-task Recommendation",
AAAI 2024.

MMoE and PLE share the embeddings, and so a user has one vector for tasks that may disagree about
her. STEM gives every field T + 1 tables: one for each task, and a shared one. With x_t the front
end's vector from the tables of task t, and x_s that from the shared ones (B, D each):

    own_t,i(x_t), shared_j(x_s)                                      experts, (B, H)
    g_t = softmax(MLP_t(x_t + x_s))                                  (B, T P + S)
    z_t = mixture of all experts by g_t, those of other tasks without their gradient
    y_t = served(tower_t(z_t))

A task sees what the others' experts compute but does not train them (all forward, task-specific
backward), so that each task's tables learn from that task alone. In serving the stop of the
gradient is nothing.

STEMSurvey (STEM-S) is what a survey describes under the name, with another expansion of the letters
and another network: MMoE whose gates are an attention of T task embeddings A over E expert
embeddings C, in h heads of width a / h, averaged:

    w   = mean over heads of softmax((A W_q + b_q) (C W_k + b_k)' / sqrt(a / h))      (T, E)
    z_t = sum over e of w_t,e f_e(x)                                                 (B, H)

The weights do not depend on x: a fixed mixture is all that is left in serving. The attention's
values and its output are not used, and have no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from examples.zoo.features import FrontEnd, Schema
from examples.zoo.layers import Gate, expert, mixture
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class STEM(Ranker):
    """The fields of `schema`, one input each, to what is served for each task; `width` is that of
    each of the T + 1 tables of a field."""

    def __init__(
        self,
        schema: Schema,
        tasks: int | Sequence[Task],
        width: int = 8,
        own: int = 2,
        shared: int = 2,
        hidden: int = 64,
        out: int = 32,
        gate: Sequence[int] = (32,),
        towers: Sequence[int] = (16,),
        dropout: float = 0.1,
        gates_out: bool = False,
    ) -> None:
        super().__init__(tasks, gates_out)
        count = len(self.tasks)
        self.fronts = nn.ModuleList(FrontEnd(schema, width) for _ in range(count + 1))
        wide = self.fronts[0].out
        self.experts = nn.ModuleList(  # the tasks' own, then the shared ones
            nn.ModuleList(expert(wide, hidden, out, dropout) for _ in range(number))
            for number in [own] * count + [shared]
        )
        self.gates = nn.ModuleList(Gate(wide, count * own + shared, gate) for _ in self.tasks)
        self.add_towers(out, towers, dropout)

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        *own, common = (front(*inputs) for front in self.fronts)
        computed = [[f(x) for f in group] for group, x in zip(self.experts, [*own, common])]
        gates = [gate(x + common) for gate, x in zip(self.gates, own)]
        mixed = []
        for t, gate in enumerate(gates):
            seen = [
                f if group in (t, len(own)) else f.detach()
                for group, outputs in enumerate(computed)
                for f in outputs
            ]
            mixed.append(mixture(gate, torch.stack(seen, dim=1)))
        return mixed, gates

    def shared(self) -> list[nn.Parameter]:
        return [*self.fronts[-1].parameters(), *self.experts[-1].parameters()]


class STEMSurvey(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C)."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        experts: int = 4,
        hidden: int = 64,
        out: int = 32,
        towers: Sequence[int] = (16,),
        embedding: int = 16,
        heads: int = 4,
        dropout: float = 0.1,
        gates_out: bool = False,
    ) -> None:
        super().__init__(tasks, gates_out)
        self.experts = nn.ModuleList(
            expert(input_width, hidden, out, dropout) for _ in range(experts)
        )
        self.task_embeddings = nn.Parameter(torch.randn(len(self.tasks), embedding))
        self.expert_embeddings = nn.Parameter(torch.randn(experts, embedding))
        self.attention = nn.MultiheadAttention(embedding, heads, batch_first=True)
        self.add_towers(out, towers, dropout)

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        mixed = torch.stack([f(x) for f in self.experts], dim=1)  # (B, E, H)
        query = self.task_embeddings.expand(x.shape[0], -1, -1)  # (B, T, a)
        key = self.expert_embeddings.expand(x.shape[0], -1, -1)  # (B, E, a)
        _, weights = self.attention(query, key, key)  # (B, T, E)
        gates = list(weights.unbind(1))
        return [mixture(gate, mixed) for gate in gates], gates

    def shared(self) -> list[nn.Parameter]:
        """All before the towers; the attention's values and output have no gradient."""
        attention = [self.attention.in_proj_weight, self.attention.in_proj_bias]
        embeddings = [self.task_embeddings, self.expert_embeddings]
        return [*self.experts.parameters(), *embeddings, *attention]
