"""Entire space multi-task model.

Xiao Ma, Liqin Zhao, Guan Huang, Zhi Wang, Zelin Hu, Xiaoqiang Zhu, Kun Gai: "Entire Space
Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate", SIGIR 2018.

Who buys has clicked before, so conversions are known for clicked items only, while the ranker must
score all that it shows. ESMM learns on all impressions what can be observed there, the click and
the click with purchase, and has the conversion rate between them:

    e     = relu(W x + b)               trunk, (B, H)
    ctr   = sigmoid(click_tower(e))     P(click | impression), (B, 1)
    cvr   = sigmoid(order_tower(e))     P(order | click), (B, 1)
    ctcvr = ctr cvr                     P(click and order | impression), (B, 1)

The loss is that of ctr and ctcvr; cvr has no loss of its own. The product is of probabilities: it
is no sigmoid of any sum of logits. Here a task that comes `after` another has such a product, so
longer chains (click, cart, order) and trees work alike. Served are the tasks' probabilities, and
after them what each product was made with, P(order | click).

`cvr_loss` adds what others train cvr with. o is the click, r the order, l the cross-entropy of cvr
and r, and o' the predicted ctr, a constant here and not below `FLOOR`:

    "clicked"    mean of l over the clicked: biased, for who clicks is no random sample
    "ips"        mean of o / o' l over all: each clicked row stands for those that were not
    "dr"         mean of l' + o / o' (l - l') + o / o' (l - l')^2: l' imputes the loss of a row

"ips" and "dr" are from Hao Wang et al.: "ESCM2: Entire Space Counterfactual Multi-Task Model for
Post-Click Conversion Rate Estimation", SIGIR 2022. What is exported stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from examples.zoo.layers import both, mlp, tower
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task, parents

CLICK_AND_ORDER = (Task("click"), Task("order", after="click"))
CVR_LOSSES = ("none", "clicked", "ips", "dr")
FLOOR = 0.05


class ESMM(Ranker):
    """x (B, input_width) to the tasks' probabilities and to those of the later steps given the
    step before, each (B, 1)."""

    def __init__(
        self,
        input_width: int,
        tasks: Sequence[Task] = CLICK_AND_ORDER,
        trunk: int = 256,
        towers: Sequence[int] = (128, 64),
        dropout: float = 0.2,
        cvr_loss: str = "none",
    ) -> None:
        super().__init__(tasks)
        self.parents = parents(self.tasks)
        for task, parent in zip(self.tasks, self.parents):
            if parent is not None and not task.kind == self.tasks[parent].kind == "binary":
                raise ValueError(f"task {task.name}: only a binary task has a product")
        if cvr_loss not in CVR_LOSSES:
            raise ValueError(f"cvr_loss {cvr_loss!r} is none of {', '.join(CVR_LOSSES)}")
        self.cvr_loss = cvr_loss
        self.trunk = mlp(input_width, [trunk], dropout)
        self.add_towers(trunk, towers, dropout)
        later = [parent for parent in self.parents if parent is not None]
        self.imputers = nn.ModuleList(  # of l', in training only
            tower(trunk, towers, dropout) for _ in later if cvr_loss == "dr"
        )
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def outputs(self) -> list[str]:
        names = [task.name for task in self.tasks]
        return names + [f"{task.name}_if_{task.after}" for task in self.tasks if task.after]

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [self.trunk(x)] * len(self.tasks), []

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        e = self.trunk(x)
        found: list[Tensor] = []
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        imputers = iter(self.imputers)
        for head, parent in zip(self.towers, self.parents):
            step = head(e)  # log-odds given the step before
            if parent is not None and self.cvr_loss != "none":
                imputer = next(imputers, None)
                steps.append((found[parent], step, step if imputer is None else imputer(e)))
            found.append(step if parent is None else both(found[parent], step))
        if self.training:
            self._steps = steps
        return tuple(found)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        e = self.trunk(x)
        served: list[Tensor] = []
        given: list[Tensor] = []
        for task, head, parent in zip(self.tasks, self.towers, self.parents):
            step = task.served(head(e))
            if parent is not None:
                given.append(step)
                step = served[parent] * step
            served.append(step)
        return (*served, *given)

    def shared(self) -> list[nn.Parameter]:
        """The trunk, and the towers of steps that others come after."""
        later = sorted({parent for parent in self.parents if parent is not None})
        towers = [parameter for t in later for parameter in self.towers[t].parameters()]
        return [*self.trunk.parameters(), *towers]

    def label_loss(self, labels: Tensor) -> Tensor:
        """`cvr_loss` of the last `logits`, summed over the later steps; labels (B, T)."""
        steps, self._steps = self._steps, []
        later = [(t, parent) for t, parent in enumerate(self.parents) if parent is not None]
        loss = torch.zeros(())
        for (t, parent), (before, step, imputed) in zip(later, steps):
            label, clicked = labels[:, t : t + 1], labels[:, parent : parent + 1]
            known = (clicked == 1) & ~label.isnan()  # NaN is not 1
            happened = known.to(step.dtype)
            error = binary_cross_entropy_with_logits(
                step, torch.where(known, label, 0.0), reduction="none"
            )
            if self.cvr_loss == "clicked":
                loss = loss + (happened * error).sum() / happened.sum().clamp(min=1)
                continue
            weight = happened / torch.sigmoid(before.detach()).clamp(min=FLOOR)
            if self.cvr_loss == "ips":
                loss = loss + (weight * error).mean()
                continue
            guess = softplus(imputed)  # a loss is positive
            off = error - guess
            loss = loss + (guess + weight * off + weight * off**2).mean()
        return loss
