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
learns from the data: nothing enforces it. Two extensions do, which the paper does without: `hard`
has z_t = z_(t-1) - softplus(r_t), and `penalty` adds its multiple of the mean of
relu(z_t - z_(t-1)) to the loss.

The paper's variants: residuals of layers and logits (this, and what it deploys), of logits only
(`layers_flow=False`), and none, the naive shared embedding NSE (`logits_flow=False` as well). What
comes before a task is what its `after` names, so that the flow may be a tree; where no task has
any, the tasks are a chain. Where sequence and sparsity differ, the paper orders by sparsity.

The authors' networks for shops have PReLU with a slope for each channel, then BatchNorm, before the
residual (`activation="prelu"`), and a BatchNorm on x (`input_norm`).

Beside the tasks' probabilities p_t there may be served

- the expected value of a quantity of which task t says whether it reaches c_t (`levels`, watch
  time or rating; chains of some ten steps), each probability mass at the middle of its interval:
      (1 - p_1) c_1 / 2 + sum of max(p_t - p_(t+1), 0) (c_t + c_(t+1)) / 2 + p_T c_T
- one score to rank by: `fusion="add"`, sum of alpha_t p_t, which the paper found the better, for
  one tiny factor silences all others in `fusion="multiply"`, the product of p_t^alpha_t. alpha is a
  buffer, tuned after training: `mtlc --param` leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from examples.zoo.layers import networks, relu_layer
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task, in_order

FUSIONS = ("", "add", "multiply")
SMALLEST = 1e-8  # a probability as its logarithm sees it


def flow(values: Sequence[Tensor], parents: Sequence[int | None]) -> list[Tensor]:
    """v_1, v_1 + v_2, v_1 + v_2 + v_3, ... along a chain of tasks; in a tree, along its paths."""
    sums: list[Tensor] = []
    for value, parent in zip(values, parents):
        sums.append(value if parent is None else value + sums[parent])
    return sums


def prelu_layer(dropout: float) -> Callable[[int, int], nn.Module]:
    """Linear-PReLU-BatchNorm-Dropout, for `networks`."""
    return lambda before, after: nn.Sequential(
        nn.Linear(before, after), nn.PReLU(after), nn.BatchNorm1d(after), nn.Dropout(dropout)
    )


class ResFlow(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C), in the order of the
    steps; then the expected value and the score, each (B, 1), where they are asked for."""

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.1,
        layers_flow: bool = True,
        logits_flow: bool = True,
        hard: bool = False,
        penalty: float = 0.0,
        activation: str = "relu",
        input_norm: bool = False,
        levels: Sequence[float] = (),
        fusion: str = "",
        alpha: Sequence[float] = (),
    ) -> None:
        super().__init__(tasks)
        if fusion not in FUSIONS:
            raise ValueError(f"fusion {fusion!r} is none of {', '.join(FUSIONS[1:])}")
        if levels and len(levels) != len(self.tasks):
            raise ValueError(f"{len(levels)} levels for {len(self.tasks)} tasks")
        if (levels or fusion) and any(task.kind != "binary" for task in self.tasks):
            raise ValueError("levels and fusion are of probabilities: all tasks must be binary")
        count = len(self.tasks)
        self.parents = in_order(self.tasks)
        self.logit_parents = [
            p if p is not None and self.tasks[p].kind == task.kind == "binary" else None
            for task, p in zip(self.tasks, self.parents)
        ]
        layer = {"relu": relu_layer, "prelu": prelu_layer}[activation](dropout)
        self.input_norm = nn.BatchNorm1d(input_width) if input_norm else nn.Identity()
        self.layers = networks(input_width, hidden, count, layer)
        self.add_towers(hidden[-1], [], dropout)
        self.layers_flow, self.logits_flow = layers_flow, logits_flow
        self.hard, self.penalty, self.fusion = hard, penalty, fusion
        self.register_buffer("levels", torch.tensor(list(levels)) if levels else None)
        if fusion:
            self.register_buffer("alpha", torch.tensor(list(alpha) or [1.0] * count))

    @property
    def outputs(self) -> list[str]:
        names = [task.name for task in self.tasks]
        names += [] if self.levels is None else ["expected"]
        return names + (["score"] if self.fusion else [])

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        streams = [self.input_norm(x)] * len(self.tasks)
        for layers in self.layers:
            streams = [layer(h) for layer, h in zip(layers, streams)]
            if self.layers_flow:
                streams = flow(streams, self.parents)
        return streams, []

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        found = list(super().logits(x))
        if self.hard:
            for t, parent in enumerate(self.logit_parents):
                if parent is not None:
                    found[t] = found[parent] - softplus(found[t])
        elif self.logits_flow:
            found = flow(found, self.logit_parents)
        if self.training and self.penalty:
            steps = [(t, p) for t, p in enumerate(self.logit_parents) if p is not None]
            rises = [relu(found[t] - found[parent]).mean() for t, parent in steps]
            self._auxiliary = self.penalty * sum(rises, torch.zeros(()))
        return tuple(found)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        served = [task.served(z) for task, z in zip(self.tasks, self.logits(x))]
        found = list(served)
        if self.levels is not None:
            found.append(self.expected(torch.cat(served, dim=1)))
        if self.fusion:
            found.append(self.score(torch.cat(served, dim=1)))
        return tuple(found)

    def expected(self, p: Tensor) -> Tensor:
        """p (B, T) to the expected value, (B, 1)."""
        middle = (self.levels[:-1] + self.levels[1:]) / 2  # (T - 1,)
        between = (relu(p[:, :-1] - p[:, 1:]) * middle).sum(dim=1, keepdim=True)
        below = (1 - p[:, :1]) * (self.levels[0] / 2)
        return below + between + p[:, -1:] * self.levels[-1]

    def score(self, p: Tensor) -> Tensor:
        """p (B, T) to what is ranked by, (B, 1)."""
        if self.fusion == "add":
            return (p * self.alpha).sum(dim=1, keepdim=True)
        return torch.exp((p.clamp(min=SMALLEST).log() * self.alpha).sum(dim=1, keepdim=True))

    def shared(self) -> list[nn.Parameter]:
        """The networks that another task starts from, by whichever residuals there are; and the
        norm on x."""
        along = self.logit_parents if self.logits_flow or self.hard else []
        heads = {parent for parent in along if parent is not None}
        layers = {p for p in self.parents if p is not None and self.layers_flow} | heads
        found = list(self.input_norm.parameters())
        for t in sorted(layers):
            found += [p for level in self.layers for p in level[t].parameters()]
        return found + [p for t in sorted(heads) for p in self.towers[t].parameters()]
