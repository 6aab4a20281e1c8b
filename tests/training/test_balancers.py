"""Each balancer's mathematics, against another way to compute it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from examples.training.balancers import (
    BALANCERS,
    DynamicWeightAverage,
    GradNorm,
    Manual,
    Mgda,
    Uncertainty,
    balancer,
    gradient,
    least_norm,
)


def simplex_search(gradients: Tensor, parts: int) -> float:
    """The least norm over a grid on the simplex."""
    count = len(gradients)
    best = math.inf
    for cut in itertools.combinations(range(parts + count - 1), count - 1):
        edges = [-1, *cut, parts + count - 1]
        w = torch.tensor([b - a - 1 for a, b in zip(edges, edges[1:])]).double() / parts
        best = min(best, float((w @ gradients).norm()))
    return best


@pytest.mark.parametrize("case", range(12))
@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_mgda_finds_the_point_of_least_norm(tasks: int, case: int) -> None:
    draws = torch.Generator().manual_seed(100 * tasks + case)
    gradients = torch.randn(tasks, 6, generator=draws, dtype=torch.float64)
    gradients = gradients * torch.tensor([1.0, 3.0, 0.5, 10.0])[:tasks, None]  # unequal scales
    if case % 3 == 0:
        gradients[1] = -0.5 * gradients[0] + 0.1 * gradients[1]  # conflict
    w = least_norm(gradients)
    assert w.sum().item() == pytest.approx(1.0) and bool((w >= 0).all())
    found = float((w @ gradients).norm())
    grid = simplex_search(gradients, {2: 2000, 3: 120, 4: 36}[tasks])
    assert found <= grid + 1e-9
    # The optimum's condition: no gradient has a smaller inner product with the point than itself.
    point = w @ gradients
    assert float((gradients @ point).min()) >= found**2 - 1e-5 * float(gradients.norm() ** 2)


def test_mgda_of_two_tasks_has_the_closed_form() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([-0.5, 1.0])
    gamma = float((b - a) @ b / ((a - b) @ (a - b)))
    assert least_norm(torch.stack([a, b])).tolist() == pytest.approx([gamma, 1 - gamma])
    same_way = torch.stack([a, 3 * a])  # the shorter one alone
    assert least_norm(same_way).tolist() == [1.0, 0.0]
    assert least_norm(torch.stack([a, a])).sum().item() == 1.0


def test_mgda_descends_every_task() -> None:
    x = torch.tensor([0.3, -0.2], requires_grad=True)
    losses = [((x - torch.tensor([1.0, 0.0])) ** 2).sum(), 5 * ((x + 1) ** 2).sum()]
    total = Mgda(2).total(losses, [x])
    (step,) = torch.autograd.grad(total, [x], retain_graph=True)
    for loss in losses:
        (g,) = torch.autograd.grad(loss, [x], retain_graph=True)
        assert float(g @ step) >= -1e-6


def model() -> tuple[Tensor, list[Tensor]]:
    shared = torch.randn(5, requires_grad=True)
    return shared, [(shared**2).sum(), (torch.sin(shared) * 2).sum() + 9, (3 * shared).exp().mean()]


def test_gradnorms_gradient_is_that_of_its_objective() -> None:
    """By finite differences of the objective written anew: norms of the gradients of w_t L_t itself,
    the target held fixed."""
    shared, losses = model()
    g = GradNorm(3, alpha=0.5)
    g.first.copy_(torch.tensor([8.0, 4.0, 1.0]))
    with torch.no_grad():
        g.w.copy_(torch.tensor([0.5, 1.5, 1.0]))
    (got,) = torch.autograd.grad(g.distance(losses, [shared]), [g.w])

    def norms(w: Tensor) -> Tensor:
        return torch.stack([gradient(w[t] * losses[t], [shared]).norm() for t in range(3)]).double()

    ratio = torch.stack([loss.detach() for loss in losses]).double() / g.first
    target = norms(g.w.detach()).mean() * (ratio / ratio.mean()) ** 0.5
    for t in range(3):
        step = torch.zeros(3)
        step[t] = 0.01  # the objective is linear in w between its kinks
        w = g.w.detach()
        up, down = (norms(w + step) - target).abs().sum(), (norms(w - step) - target).abs().sum()
        assert got[t].item() == pytest.approx(float(up - down) / 0.02, rel=1e-3)


def test_gradnorm_evens_out_gradients_and_leaves_the_model_alone() -> None:
    shared = torch.tensor([1.0, 1.0], requires_grad=True)
    g = GradNorm(2, alpha=0.0)
    for _ in range(400):
        losses = [10 * shared.sum(), shared.sum() + 5]
        total = g.total(losses, [shared])
    assert shared.grad is None  # only the loss it returns reaches the model
    assert g.w.sum().item() == pytest.approx(2.0, rel=1e-5)
    assert (10 * g.w[0] / g.w[1]).item() == pytest.approx(1.0, abs=0.15)
    total.backward()
    assert shared.grad is not None


def test_gradnorm_gives_more_to_the_task_that_trains_slowly() -> None:
    shared = torch.tensor([1.0, 1.0], requires_grad=True)
    g = GradNorm(2, alpha=1.0)
    for step in range(200):
        fast = shared.sum() + (10 if step == 0 else 1)
        slow = shared.sum() + 10
        g.total([fast, slow], [shared])
    assert g.w[1] > g.w[0]


def test_dwa_gives_less_to_a_falling_loss() -> None:
    dwa = DynamicWeightAverage(2)
    dwa.epoch(torch.tensor([1.0, 1.0]))
    assert dwa.weights.tolist() == [1.0, 1.0]  # no rate yet
    dwa.epoch(torch.tensor([0.5, 1.0]))
    falling, flat = dwa.weights.tolist()
    want = 2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5))
    assert falling == pytest.approx(want, rel=1e-6)
    assert falling < flat and falling + flat == pytest.approx(2.0)


def test_uncertainty_is_kendalls_sum_and_its_optimum_the_losses_logarithm() -> None:
    u = Uncertainty(2)
    losses = [torch.tensor(4.0), torch.tensor(0.25)]
    assert u.total(losses, []).item() == pytest.approx(4.25)  # s = 0: the uniform sum
    optimiser = torch.optim.Adam(u.trained(), lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        u.total(losses, []).backward()
        optimiser.step()
    assert u.s.tolist() == pytest.approx([math.log(4.0), math.log(0.25)], abs=1e-3)


def test_manual_weights() -> None:
    losses = [torch.tensor(4.0), torch.tensor(0.25)]
    assert Manual(2, [0.5, 4.0]).total(losses, []).item() == 3.0
    with pytest.raises(ValueError, match="3 weights for 2 tasks"):
        Manual(2, [1, 2, 3])


@pytest.mark.parametrize("name", list(BALANCERS))
def test_state_goes_into_a_checkpoint_and_back(name: str) -> None:
    shared, losses = model()
    one, other = (balancer(name, 3, [1.0, 2.0, 3.0]) for _ in range(2))
    one.total(losses, [shared])
    for _ in range(2):
        one.epoch(torch.stack(losses).detach())
    other.load_state_dict(one.state_dict())
    totals = [b.total(losses, [shared]).item() for b in (one, other)]
    assert totals[0] == totals[1]
    totals = [b.total(losses, [shared]).item() for b in (one, other)]
    assert totals[0] == totals[1]
