"""Deep task-specific bottom representation network (DTRN).

"Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", arXiv 2308.05996.

MMoE and PLE route what stands above the embeddings; the representation of the candidate at the
bottom is still the same for all tasks, and there their gradients meet. DTRN gives each task a
bottom of its own, and any multi-task ranker reads them. Behaviour sequences S_b (B, L, K), say the
clicked and the bought items, become interests (TIM), and interests and field embeddings are weighed
(TRM), both by task:

TIM, task-specific interest. One Transformer block is shared by all pairs of a task and a sequence;
what differs between them is its layer normalisation, whose scales and shifts a hypernetwork makes
of a task embedding a_t and a sequence embedding s_b:

    [gamma_1, beta_1, gamma_2, beta_2] = MLP([a_t, s_b])                              K each
    norm_i(u) = (1 + gamma_i) (u - mean) / sqrt(var + 1e-5) + beta_i                  over K
    u = norm_1(S_b + attention(S_b))         scores of padding are masked             (B, L, K)
    v = norm_2(u + W_2 relu(W_1 u))                                                   (B, L, K)
    interest_t,b = mean of v over the events; or with the candidate item's vector e,
                   sum over l of softmax over l (v_l . e / sqrt(K)) v_l               (B, K)

`pre_norm` puts the normalisations before the attention and before the feed-forward layers instead.

TRM, task-specific refinement. A small network for each task weighs the M = F + N vectors of fields
and interests by what they say together, as SENet weighs channels:

    X_t = [field embeddings, interests of t]                                          (B, M, K)
    w_t = 2 sigmoid(W_2 relu(W_1 q)),  q = means over K (squeeze), else X_t itself    (B, M)
    R_t = w_t X_t, flat                                                               (B, M K)

and R_t is what the ranker on top (`on`) reads for task t: "mmoe" has shared experts evaluated on
each R_t; so has "ple" its tasks' own, and its shared stream starts from the mean of the R_t, or
with `on_own` its shared experts read each R_t too.

In serving a_t and s_b are constants, so the whole hypernetwork is: what remains are the constant
scales and shifts of layer normalisations. After them everything differs by task; the attention of
the first block before them (post-norm) does not, and needs computing once for a sequence.
The paper gives no sizes; where the interests are pooled, which norm comes first and what the
ranker's shared part reads are choices, so all are here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from examples.zoo import features
from examples.zoo.features import MASKED, FrontEnd, Schema, pooled
from examples.zoo.layers import tower
from examples.zoo.mmoe import MMoE
from examples.zoo.ple import PLE
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task


class SelfAttention(nn.Module):
    """u (B, L, K), mask (B, L) to what each event gathers from all events, (B, L, K).

    Scores of padding are -1e9, not minus infinity: where all is padding, the result is of no use
    but finite. `fused` leaves the same sums to PyTorch's own function.
    """

    def __init__(self, width: int, heads: int, fused: bool = False) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.merge = nn.Linear(width, width), nn.Linear(width, width)
        self.heads, self.size, self.fused = heads, width // heads, fused

    def split(self, u: Tensor) -> Tensor:
        """(B, L, K) to (B, heads, L, K / heads)."""
        return u.view(-1, u.shape[1], self.heads, self.size).transpose(1, 2)

    def forward(self, u: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self.split(map(u)) for map in (self.query, self.key, self.value))
        padding = ~mask[:, None, None, :]  # (B, 1, 1, L)
        if self.fused:
            gathered = scaled_dot_product_attention(q, k, v, padding.to(u.dtype) * MASKED)
        else:
            scores = torch.matmul(q, k.transpose(2, 3)) * self.size**-0.5  # (B, heads, L, L)
            weights = torch.softmax(scores.masked_fill(padding, MASKED), dim=-1)
            gathered = torch.matmul(weights, v)
        return self.merge(gathered.transpose(1, 2).reshape(-1, u.shape[1], self.heads * self.size))


class Block(nn.Module):
    """A Transformer block whose layer normalisations are given: u (B, L, K), mask (B, L) and
    condition (4 K,) to (B, L, K)."""

    def __init__(self, width: int, heads: int, hidden: int, pre_norm: bool, fused: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, fused)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.width, self.pre_norm = width, pre_norm

    def norm(self, u: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return layer_norm(u, (self.width,)) * (1 + gamma) + beta

    def forward(self, u: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        gamma_1, beta_1, gamma_2, beta_2 = condition.chunk(4)
        if self.pre_norm:
            u = u + self.attention(self.norm(u, gamma_1, beta_1), mask)
            return u + self.feed(self.norm(u, gamma_2, beta_2))
        u = self.norm(u + self.attention(u, mask), gamma_1, beta_1)
        return self.norm(u + self.feed(u), gamma_2, beta_2)


class TIM(nn.Module):
    """N sequences, their masks and, for target attention, the item's vector (B, K) to the
    interests, T of (B, N, K)."""

    def __init__(
        self,
        lengths: Sequence[int],
        tasks: int,
        width: int,
        heads: int,
        layers: int = 1,
        condition: int = 8,
        hidden: int = 32,
        pre_norm: bool = False,
        positions: bool = False,
        fused: bool = False,
        feed: int = 2,
    ) -> None:
        super().__init__()
        self.task = nn.Parameter(torch.randn(tasks, condition))
        self.sequence = nn.Parameter(torch.randn(len(lengths), condition))
        self.hyper = tower(2 * condition, [hidden], 0.0, layers * 4 * width)
        with torch.no_grad():  # begin near the plain layer normalisation
            self.hyper[-1].weight.mul_(0.1)
            self.hyper[-1].bias.zero_()
        self.blocks = nn.ModuleList(
            Block(width, heads, feed * width, pre_norm, fused) for _ in range(layers)
        )
        self.positions = nn.ParameterList(
            nn.Parameter(0.1 * torch.randn(length, width)) for length in lengths if positions
        )

    def interest(self, t: int, b: int, u: Tensor, mask: Tensor, item: Tensor | None) -> Tensor:
        """What sequence b says to task t, (B, K); zeros where it is empty."""
        given = self.hyper(torch.cat([self.task[t], self.sequence[b]]))
        if self.positions:
            u = u + self.positions[b]
        for block, condition in zip(self.blocks, given.chunk(len(self.blocks))):
            u = block(u, mask, condition)
        if item is None:
            return pooled(u, mask, "mean")
        scores = (u * item.unsqueeze(1)).sum(dim=2) * item.shape[1] ** -0.5  # (B, L)
        weights = torch.softmax(scores.masked_fill(~mask, MASKED), dim=1)
        some = mask.to(u.dtype).amax(dim=1, keepdim=True)  # (B, 1)
        return (u * weights.unsqueeze(2)).sum(dim=1) * some

    def forward(
        self, sequences: Sequence[tuple[Tensor, Tensor]], item: Tensor | None
    ) -> list[Tensor]:
        return [
            torch.stack(
                [self.interest(t, b, u, mask, item) for b, (u, mask) in enumerate(sequences)], dim=1
            )
            for t in range(len(self.task))
        ]


class TRM(nn.Module):
    """One task's weights on M vectors: (B, M, K) to (B, M K)."""

    def __init__(self, count: int, width: int, reduction: int = 2, squeeze: bool = True) -> None:
        super().__init__()
        hidden = max(count // reduction, 1)
        self.weigh = tower(count if squeeze else count * width, [hidden], 0.0, count)
        self.squeeze = squeeze

    def forward(self, x: Tensor) -> Tensor:
        seen = x.mean(dim=2) if self.squeeze else x.flatten(1)
        weights = 2 * torch.sigmoid(self.weigh(seen))  # 1 where nothing is known
        return (x * weights.unsqueeze(2)).flatten(1)


class DTRN(Ranker):
    """The fields of `schema`, one input each, to what is served for each task.

    Ablations: without `tim` the interests are plain means of the sequences, the same for all tasks;
    without `trm` nothing is weighed. `target` needs a field of role "item". The feed-forward layers
    are `feed` times as wide as the vectors.
    """

    def __init__(
        self,
        schema: Schema,
        tasks: int | Sequence[Task],
        width: int = 16,
        on: str = "mmoe",
        tim: bool = True,
        trm: bool = True,
        target: bool = False,
        pre_norm: bool = False,
        positions: bool = False,
        heads: int = 2,
        layers: int = 1,
        squeeze: bool = True,
        on_own: bool = False,
        fused: bool = False,
        feed: int = 2,
        gates_out: bool = False,
        **sizes: int | float | Sequence[int],
    ) -> None:
        super().__init__(tasks, gates_out)
        self.front = FrontEnd(schema, width, apart=True)
        lengths = [f.length for f in self.front.schema if isinstance(f, features.Sequence)]
        if target and not any(f.role == "item" for f in self.front.schema):
            raise ValueError("target attention needs a field of role item")
        self.target, self.on_own = target, on_own
        self.tim = None
        if tim and lengths:
            options = dict(pre_norm=pre_norm, positions=positions, fused=fused, feed=feed)
            self.tim = TIM(lengths, len(self.tasks), width, heads, layers, **options)
        count = len(self.front.schema)  # fields, and an interest in the place of each sequence
        self.trm = nn.ModuleList(TRM(count, width, squeeze=squeeze) for _ in self.tasks if trm)
        kinds = {"mmoe": MMoE, "ple": PLE}
        self.head = kinds[on](count * width, self.tasks, **sizes)

    @property
    def towers(self) -> nn.ModuleList:
        return self.head.towers

    def bottoms(self, *inputs: Tensor) -> list[Tensor]:
        """R_t: what the ranker on top reads, T of (B, M K)."""
        tokens = self.front.tokens(*inputs, pooled=False)
        sequences = self.front.sequences(*inputs)
        interests: list[Tensor] = []
        if self.tim is not None:
            item = self.front.item(*inputs) if self.target else None
            interests = self.tim(sequences, item)
        elif sequences:
            means = [pooled(vectors, mask, "mean") for vectors, mask in sequences]
            interests = [torch.stack(means, dim=1)] * len(self.tasks)
        vectors = [torch.cat([tokens, found], dim=1) for found in interests]
        vectors = vectors or [tokens] * len(self.tasks)
        if not self.trm:
            return [x.flatten(1) for x in vectors]
        return [refine(x) for refine, x in zip(self.trm, vectors)]

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        bottoms = self.bottoms(*inputs)
        if isinstance(self.head, MMoE):
            return self.head.on_streams(bottoms)
        mean = torch.stack(bottoms, dim=0).mean(dim=0)
        return self.head.on_streams(bottoms, mean, self.on_own)

    def shared(self) -> list[nn.Parameter]:
        """Under PLE the shared stream, where there is one, carries every refinement to all tasks;
        else each is one task's."""
        found = [*self.front.parameters(), *self.head.shared()]
        if self.tim is not None:
            found += self.tim.parameters()
        if isinstance(self.head, PLE) and not (self.on_own and len(self.head.levels) == 1):
            found += self.trm.parameters()
        return found
