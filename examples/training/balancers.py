"""How the losses of several tasks become one: six balancers, each as in its paper.

A balancer is given the losses of one batch and the parameters that tasks share, and returns the
loss to differentiate; its weights are constants in that loss (uncertainty's are parameters). Only
training knows of it.

    uniform      sum of L_t
    manual       sum of w_t L_t, weights of yours
    uncertainty  sum of exp(-s_t) L_t + s_t, s_t learnt (Kendall, Gal, Cipolla, CVPR 2018, twice the
                 objective of the paper: the same optimum)
    gradnorm     w_t such that the norms of the gradients follow the tasks' training rates (Chen,
                 Badrinarayanan, Lee, Rabinovich, ICML 2018)
    dwa          w = T softmax(L(e - 1) / L(e - 2) / tau) per epoch e: whoever falls gets less (Liu,
                 Johns, Davison, CVPR 2019)
    mgda         the point of least norm in the hull of the gradients (Desideri 2012; Sener, Koltun,
                 NeurIPS 2018)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Balancer(nn.Module):
    """`weights` (T,) are those of the last batch, for the report."""

    needs_shared = False  # gradients of parameters that several tasks train

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks
        self.register_buffer("weights", torch.ones(tasks))

    def total(self, losses: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
        """The loss to differentiate; `losses` are T scalars with their graph."""
        return torch.stack([*losses]) @ self.weights

    def epoch(self, means: Tensor) -> None:
        """After each epoch, with the mean training loss (T,) of each task."""

    def trained(self) -> list[nn.Parameter]:
        """Parameters that the model's optimiser trains along."""
        return []


class Uniform(Balancer):
    pass


class Manual(Balancer):
    def __init__(self, tasks: int, weights: Sequence[float]) -> None:
        super().__init__(tasks)
        if len(weights) != tasks:
            raise ValueError(f"{len(weights)} weights for {tasks} tasks")
        self.weights.copy_(torch.tensor(weights))


class Uncertainty(Balancer):
    """s_t = log of the variance of task t's noise; starts at 0, so as the uniform sum."""

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.s = nn.Parameter(torch.zeros(tasks))

    def total(self, losses: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
        self.weights.copy_(torch.exp(-self.s.detach()))
        return (torch.exp(-self.s) * torch.stack([*losses]) + self.s).sum()

    def trained(self) -> list[nn.Parameter]:
        return [self.s]


def gradient(loss: Tensor, shared: Sequence[Tensor]) -> Tensor:
    """d loss / d shared as one vector; what a task does not reach has the gradient 0. The graph
    stays."""
    parts = torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).reshape(-1)
            for g, p in zip(parts, shared, strict=True)
        ]
    )


class GradNorm(Balancer):
    """G_t = |gradient of w_t L_t|, r_t = (L_t / L_t(0)) / mean, and w descends

        sum over t of | G_t - stop_gradient(mean(G) r_t^alpha) |

    whose only variable is w; afterwards w is scaled to sum T. alpha > 0 pulls slow tasks along.
    """

    needs_shared = True

    def __init__(self, tasks: int, alpha: float = 0.12, rate: float = 0.025) -> None:
        super().__init__(tasks)
        self.alpha = alpha
        self.w = nn.Parameter(torch.ones(tasks))
        self.optimiser = torch.optim.Adam([self.w], lr=rate)
        self.register_buffer("first", torch.zeros(tasks))  # L(0); 0 before the first batch

    def distance(self, losses: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
        """The objective, differentiable by w. |d(w L)| = w |dL| for w > 0, and w stays above 0:
        |dL| is a constant to w, and the model's second derivative (create_graph) is not needed."""
        norms = torch.stack([gradient(loss, shared).norm() for loss in losses])
        g = self.w * norms.detach()
        ratio = torch.stack([loss.detach() for loss in losses]) / self.first
        target = (g.mean() * (ratio / ratio.mean()) ** self.alpha).detach()
        return (g - target).abs().sum()

    def total(self, losses: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
        if not bool(self.first.any()):
            self.first.copy_(torch.stack([loss.detach() for loss in losses]).clamp(min=1e-8))
        self.weights.copy_(self.w.detach())
        total = super().total(losses, shared)
        self.optimiser.zero_grad()
        (self.w.grad,) = torch.autograd.grad(self.distance(losses, shared), [self.w])
        self.optimiser.step()
        with torch.no_grad():  # for the next batch
            self.w.clamp_(min=1e-3)
            self.w.mul_(self.tasks / self.w.sum())
        return total

    def get_extra_state(self) -> dict:
        return self.optimiser.state_dict()

    def set_extra_state(self, state: dict) -> None:
        self.optimiser.load_state_dict(state)


class DynamicWeightAverage(Balancer):
    """Weights change from epoch to epoch and sum to T; 1 each in the first two epochs, which have
    no rate yet."""

    def __init__(self, tasks: int, temperature: float = 2.0) -> None:
        super().__init__(tasks)
        self.temperature = temperature
        self.register_buffer(
            "before", torch.zeros(tasks)
        )  # L of the epoch before the last; 0: none

    def epoch(self, means: Tensor) -> None:
        means = means.detach()
        if bool(self.before.any()):
            rate = means / self.before.clamp(min=1e-8)
            self.weights.copy_(self.tasks * torch.softmax(rate / self.temperature, dim=0))
        self.before.copy_(means)


def least_norm(gradients: Tensor, steps: int = 250, tolerance: float = 1e-7) -> Tensor:
    """w on the simplex with the least |sum of w_t g_t|; gradients (T, P), w (T,).

    Two tasks have the closed form w_1 = clip((g2 - g1) . g2 / |g1 - g2|^2, 0, 1). More go by
    Frank-Wolfe with exact line search: towards the vertex t of the smallest (M w)_t, M the Gram
    matrix, by the same closed form between the present point and that vertex; away steps from the
    worst vertex in use, since plain Frank-Wolfe crawls near an edge. Stops at a duality gap of
    `tolerance` |M|.
    """
    gram = (gradients @ gradients.T).double()
    count = len(gram)
    w = torch.full((count,), 1 / count, dtype=torch.float64)
    if count == 2:
        w[0] = segment(gram[0, 0], gram[0, 1], gram[1, 1])
        w[1] = 1 - w[0]
        return w.to(gradients.dtype)
    for _ in range(steps):
        slope = gram @ w
        best = int(slope.argmin())
        if float(w @ slope - slope[best]) <= tolerance * float(gram.abs().max()):
            break
        used = torch.where(w > 0, slope, torch.full_like(slope, -torch.inf))
        worst = int(used.argmax())
        direction, limit = -w.clone(), 1.0  # towards the best vertex
        direction[best] += 1
        if slope[worst] - w @ slope > w @ slope - slope[best] and w[worst] < 1:
            direction, limit = w.clone(), float(w[worst] / (1 - w[worst]))  # away from the worst
            direction[worst] -= 1
        curvature = float(direction @ gram @ direction)
        if curvature <= 0:
            break
        step = min(max(float(-(direction @ slope)) / curvature, 0.0), limit)
        w = (w + step * direction).clamp(min=0)
        w = w / w.sum()
    return w.to(gradients.dtype)


def segment(aa: Tensor, ab: Tensor, bb: Tensor) -> Tensor:
    """The share of a in the point of least norm between a and b, from their inner products."""
    length = aa - 2 * ab + bb
    if length <= 0:  # a and b are one
        return torch.full_like(aa, 0.5)
    return ((bb - ab) / length).clamp(0, 1)


class Mgda(Balancer):
    """Weights are found anew for each batch: along their sum no task's loss rises, to first order.
    Gradients are as they are, so a task of small gradients gets much of the weight."""

    needs_shared = True

    def total(self, losses: Sequence[Tensor], shared: Sequence[Tensor]) -> Tensor:
        gradients = torch.stack([gradient(loss, shared) for loss in losses])
        # Times T: as much in all as uniform weights.
        self.weights.copy_(self.tasks * least_norm(gradients.detach()))
        return super().total(losses, shared)


BALANCERS = {
    "uniform": Uniform,
    "manual": Manual,
    "uncertainty": Uncertainty,
    "gradnorm": GradNorm,
    "dwa": DynamicWeightAverage,
    "mgda": Mgda,
}


def balancer(name: str, tasks: int, weights: Sequence[float] = ()) -> Balancer:
    """By name; `weights` are for "manual"."""
    return Manual(tasks, weights) if name == "manual" else BALANCERS[name](tasks)
