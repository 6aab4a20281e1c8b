"""Losses per task, from logits, over what labels there are.

A model gives one tensor of logits a task: log-odds (B, 1), values (B, 1), or class logits (B, C).
Labels are (B, T) float32, NaN where nothing was observed: a class index for multiclass tasks. A
loss is a mean over the rows that have a label,

    L_t = sum over rows of m l / max(sum over rows of m, 1)

so a batch without any label of a task gives 0 and not NaN. A NaN is replaced before l is computed:
0 times NaN is NaN, and so would be the gradient of a sum that is masked afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from examples.zoo.tasks import Task, parents


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a regression task's training labels: the loss sees labels of
    mean 0 and variance 1, so that 0 to 1,000 does not drown 0 to 1."""

    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True)
class LossOptions:
    """`pos_weight` by task name multiplies the loss of positives (their odds come out as many
    times too high: a ranking does not mind, a calibration does). `cvr` is "entire" (ESMM's paper:
    all impressions, P(click and order)) or "clicked" (adds P(order | click) on clicked rows).
    `descending` weights the penalty for a later step that is likelier than the one before it, in
    `descending_space`: of "probability" (AITM, SEQ) or "logit" (ResFlow)."""

    pos_weight: tuple[tuple[str, float], ...] = ()
    regression: str = "mse"  # or "huber"
    cvr: str = "entire"
    descending: float = 0.0
    descending_space: str = "probability"


def masked_mean(loss: Tensor, mask: Tensor) -> Tensor:
    """sum(mask loss) / max(sum(mask), 1); both (B,)."""
    return (loss * mask).sum() / mask.sum().clamp(min=1)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0, exact at both ends: log(-expm1(x)) near 0, where exp(x) is near 1,
    and log1p(-exp(x)) elsewhere. -inf at 0. (Maechler, "Accurately computing log(1 - exp(-|a|))".)

    Both branches see a harmless stand-in where the other one is meant: torch.where passes a NaN
    gradient on from a branch that it does not choose.
    """
    near = x > -math.log(2)
    close = torch.where(near, x, torch.full_like(x, -1.0))
    far = torch.where(near, torch.full_like(x, -1.0), x)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))


def log_odds_of_product(*logits: Tensor) -> Tensor:
    """Log-odds of p_1 p_2 ... from the log-odds of each: log p = sum of log sigmoid(z_i), then
    log p - log(1 - p). A product of sigmoids is no sigmoid of any sum."""
    log_p = torch.stack([functional.logsigmoid(z) for z in logits]).sum(dim=0)
    # 1 - p underflows where all z are far above 0; p < 1 always, so the nearest number below 0 will do.
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).tiny)
    return log_p - log1mexp(log_p)


def conditional(child: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
    """log q and log(1 - q) of q = P(child | parent) = p_child / p_parent, from log-odds (B,). Where
    a model has the child likelier than its parent q would be above 1; it is held just below."""
    log_q = functional.logsigmoid(child) - functional.logsigmoid(parent)
    log_q = log_q.clamp(max=-1e-6)
    return log_q, log1mexp(log_q)


def binary(logit: Tensor, label: Tensor, pos_weight: float = 1.0) -> Tensor:
    """Mean binary cross-entropy; logit (B, 1), label (B,) with NaN where missing, or a probability
    where it was imputed."""
    known = ~label.isnan()
    target = torch.where(known, label, torch.zeros_like(label))
    weight = torch.tensor(pos_weight, dtype=logit.dtype) if pos_weight != 1 else None
    loss = functional.binary_cross_entropy_with_logits(
        logit.reshape(-1), target, reduction="none", pos_weight=weight
    )
    return masked_mean(loss, known.to(loss.dtype))


def regression(value: Tensor, label: Tensor, scale: Scale, kind: str = "mse") -> Tensor:
    """Squared or Huber (delta 1) error of a standardised target; value (B, 1) is in units of the
    standard deviation, label (B,) in its own."""
    known = ~label.isnan()
    target = torch.where(known, (label - scale.mean) / scale.deviation, torch.zeros_like(label))
    error = {"mse": functional.mse_loss, "huber": functional.huber_loss}[kind]
    loss = error(value.reshape(-1), target, reduction="none")
    return masked_mean(loss, known.to(loss.dtype))


def multiclass(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy; logits (B, C), label (B,) class indices as float32, NaN where missing."""
    known = ~label.isnan()
    target = torch.where(known, label, torch.zeros_like(label)).long()
    loss = functional.cross_entropy(logits, target, reduction="none")
    return masked_mean(loss, known.to(loss.dtype))


def clicked(child: Tensor, parent: Tensor, label: Tensor, happened: Tensor) -> Tensor:
    """Cross-entropy of P(child | parent) over the rows in which the parent happened; logits (B, 1)
    of both over all impressions, labels (B,). 0 where no row was clicked."""
    log_q, log_not = conditional(child.reshape(-1), parent.reshape(-1))
    known = (~label.isnan()) & (happened == 1)  # NaN == 1 is false
    target = torch.where(known, label, torch.zeros_like(label))
    return masked_mean(-(target * log_q + (1 - target) * log_not), known.to(log_q.dtype))


def steps(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    """(task, the task that must have happened before it), as indices, of those that have one."""
    return [(t, before) for t, before in enumerate(parents(tasks)) if before is not None]


def descending(
    logits: Sequence[Tensor], tasks: Sequence[Task], space: str = "probability"
) -> Tensor:
    """Sum over steps of the mean of max(p_step - p_before, 0), AITM's penalty for any ranker, or the
    same of log-odds. Training only."""
    value = torch.sigmoid if space == "probability" else torch.Tensor.clone
    total = logits[0].new_zeros(())
    for step, before in steps(tasks):
        total = total + (value(logits[step]) - value(logits[before])).clamp(min=0).mean()
    return total


class Losses:
    """The losses of one set of tasks.

    per_task(logits, labels): a list of T scalars for a balancer. extra(logits): what is added to
    the balanced sum, the descending penalty.
    """

    def __init__(
        self, tasks: Sequence[Task], labels: Tensor, options: LossOptions = LossOptions()
    ) -> None:
        """`labels` (B, T) are the training labels: regression targets are standardised by them."""
        self.tasks, self.options = tuple(tasks), options
        self.pos_weight = dict(options.pos_weight)
        self.scales = [
            scale_of(labels[:, t]) if task.kind == "regression" else Scale()
            for t, task in enumerate(tasks)
        ]

    def one(self, t: int, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        task, label = self.tasks[t], labels[:, t]
        if task.kind == "regression":
            return regression(logits[t], label, self.scales[t], self.options.regression)
        if task.kind == "multiclass":
            return multiclass(logits[t], label)
        loss = binary(logits[t], label, self.pos_weight.get(task.name, 1.0))
        if self.options.cvr == "clicked":
            for child, parent in steps(self.tasks):
                if child == t:
                    loss = loss + clicked(logits[t], logits[parent], label, labels[:, parent])
        return loss

    def per_task(self, logits: Sequence[Tensor], labels: Tensor) -> list[Tensor]:
        return [self.one(t, logits, labels) for t in range(len(self.tasks))]

    def extra(self, logits: Sequence[Tensor]) -> Tensor:
        if self.options.descending == 0:
            return logits[0].new_zeros(())
        penalty = descending(logits, self.tasks, self.options.descending_space)
        return self.options.descending * penalty


def scale_of(labels: Tensor) -> Scale:
    """Of one regression task's labels (B,), without the missing ones."""
    known = labels[~labels.isnan()]
    if len(known) < 2:
        return Scale()
    return Scale(float(known.mean()), max(float(known.std()), 1e-6))
