"""Losses against their definitions in float64, with labels that are missing, and where
probabilities are near 0 and 1."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from examples.training.losses import (
    Losses,
    LossOptions,
    binary,
    clicked,
    conditional,
    descending,
    log1mexp,
    log_odds_of_product,
    multiclass,
    regression,
    scale_of,
)
from examples.zoo.tasks import Task

NAN = float("nan")
CHAIN = (Task("click"), Task("cart", after="click"), Task("order", after="cart"))


def column(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1)


def test_a_binary_loss_counts_rows_with_a_label_only() -> None:
    logit = column(2.0, -1.0, 0.5).requires_grad_()
    loss = binary(logit, torch.tensor([1.0, NAN, 0.0]))
    want = (math.log1p(math.exp(-2.0)) + math.log1p(math.exp(0.5))) / 2
    assert loss.item() == pytest.approx(want, rel=1e-6)
    loss.backward()
    assert logit.grad is not None
    assert logit.grad[1].item() == 0.0
    assert bool(logit.grad.isfinite().all())


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass", "clicked"])
def test_a_batch_without_labels_has_loss_and_gradient_zero(kind: str) -> None:
    """max(count, 1), and NaN replaced before the loss: 0 times NaN is NaN."""
    logit = torch.randn(4, 3 if kind == "multiclass" else 1, requires_grad=True)
    parent = torch.zeros(4, 1, requires_grad=True)
    none = torch.full((4,), NAN)
    loss = {
        "binary": lambda: binary(logit, none),
        "regression": lambda: regression(logit, none, scale_of(none)),
        "multiclass": lambda: multiclass(logit, none),
        "clicked": lambda: clicked(logit, parent, torch.ones(4), torch.zeros(4)),  # nobody clicked
    }[kind]()
    loss.backward()
    assert loss.item() == 0.0
    assert logit.grad is not None and bool((logit.grad == 0).all())


def test_pos_weight_multiplies_the_positives() -> None:
    logit, label = column(0.3, -0.7), torch.tensor([1.0, 0.0])
    want = (5 * math.log1p(math.exp(-0.3)) + math.log1p(math.exp(-0.7))) / 2
    assert binary(logit, label, 5.0).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_regression_sees_standardised_targets(kind: str) -> None:
    labels = torch.tensor([100.0, 300.0, NAN, 500.0, 700.0])
    scale = scale_of(labels)
    assert (scale.mean, scale.deviation) == pytest.approx((400.0, 258.19889), rel=1e-5)
    value = column(0.5, 0.0, 9.0, 0.0, 0.0)
    off = [0.5 - -300 / 258.19889, 100 / 258.19889, -100 / 258.19889, -300 / 258.19889]
    each = [o * o if kind == "mse" else (o * o / 2 if abs(o) < 1 else abs(o) - 0.5) for o in off]
    assert regression(value, labels, scale, kind).item() == pytest.approx(sum(each) / 4, rel=1e-5)


def test_multiclass_is_the_cross_entropy_of_known_rows() -> None:
    logits = torch.randn(4, 3)
    want = -torch.log_softmax(logits, 1)[[0, 1, 3], [2, 0, 1]].mean()
    got = multiclass(logits, torch.tensor([2.0, 0.0, NAN, 1.0]))
    assert got.item() == pytest.approx(want.item(), rel=1e-6)


@pytest.mark.parametrize("x", [-1e-30, -1e-10, -1e-3, -0.5, -0.7, -2.0, -30.0, -80.0])
def test_log1mexp_is_exact_at_both_ends(x: float) -> None:
    value = torch.tensor(x, requires_grad=True)
    got = log1mexp(value)
    want = math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))
    assert got.item() == pytest.approx(want, rel=2e-6)
    got.backward()
    assert value.grad is not None and bool(value.grad.isfinite())


def test_log_odds_of_a_product_of_probabilities() -> None:
    a, b = torch.randn(1000) * 4, torch.randn(1000) * 4
    p = torch.sigmoid(a.double()) * torch.sigmoid(b.double())
    want = (p / (1 - p)).log()
    assert torch.allclose(log_odds_of_product(a, b).double(), want, atol=2e-4, rtol=2e-5)
    for extreme in (-50.0, 50.0):
        z = torch.full((3,), extreme, requires_grad=True)
        out = log_odds_of_product(z, z)
        out.sum().backward()
        assert bool(out.isfinite().all()) and bool(z.grad.isfinite().all())


def test_a_conditional_probability_is_the_quotient() -> None:
    parent, child = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([-1.0, -0.5, -4.0])
    q = torch.sigmoid(child.double()) / torch.sigmoid(parent.double())
    log_q, log_not = conditional(child, parent)
    assert torch.allclose(log_q.double(), q.log(), atol=1e-6)
    assert torch.allclose(log_not.double(), (1 - q).log(), atol=1e-5)
    above = conditional(torch.tensor([2.0]), torch.tensor([-2.0]))  # the child likelier
    assert bool(torch.cat(above).isfinite().all())


def test_clicked_only_looks_at_rows_in_which_the_parent_happened() -> None:
    parent = column(1.0, 1.0, 1.0).requires_grad_()
    child = column(-1.0, 0.0, 0.5).requires_grad_()
    loss = clicked(child, parent, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0]))
    q = torch.sigmoid(torch.tensor([-1.0, 0.5])) / torch.sigmoid(torch.tensor(1.0))
    want = -(q[0].log() + (1 - q[1]).log()) / 2
    assert loss.item() == pytest.approx(want.item(), rel=1e-5)
    loss.backward()
    assert child.grad[1].item() == 0.0 and child.grad[0].item() != 0.0


def test_the_entire_space_loss_trains_both_factors_on_rows_without_a_click() -> None:
    """ESMM: with P(order) = P(click) P(order | click) and losses of click and order over all rows,
    a row without a click still moves the conversion tower. Against float64 by hand."""
    click = column(0.4).double().requires_grad_()
    cvr = column(-0.3).double().requires_grad_()
    labels = torch.tensor([[0.0, 0.0]], dtype=torch.float64)
    tasks = (Task("click"), Task("order", after="click"))
    losses = Losses(tasks, labels)
    order = log_odds_of_product(click, cvr)
    sum(losses.per_task((click, order), labels)).backward()
    a, b = torch.sigmoid(click).item(), torch.sigmoid(cvr).item()
    # d -log(1 - ab) / d cvr = ab (1 - b) / (1 - ab); the click's own loss adds a.
    assert cvr.grad.item() == pytest.approx(a * b * (1 - b) / (1 - a * b), rel=1e-9)
    assert click.grad.item() == pytest.approx(a + a * b * (1 - a) / (1 - a * b), rel=1e-9)


def test_the_clicked_option_adds_to_the_child_only() -> None:
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    logits = [column(1.0, 0.2, -0.5), column(-1.0, 0.0, -1.5), column(-2.0, -1.0, -2.5)]
    entire = Losses(CHAIN, labels).per_task(logits, labels)
    both = Losses(CHAIN, labels, LossOptions(cvr="clicked")).per_task(logits, labels)
    assert both[0].item() == entire[0].item()
    added = clicked(logits[1], logits[0], labels[:, 1], labels[:, 0])
    assert (both[1] - entire[1]).item() == pytest.approx(added.item(), rel=1e-5)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_the_descending_penalty_is_zero_where_steps_descend(space: str) -> None:
    falling = [column(2.0, 1.0), column(1.0, 0.0), column(0.5, -2.0)]
    assert descending(falling, CHAIN, space).item() == 0.0
    rising = [column(0.0, 1.0), column(1.0, 0.0), column(0.5, -2.0)]
    rise = 1.0 if space == "logit" else 1 / (1 + math.exp(-1)) - 0.5
    assert descending(rising, CHAIN, space).item() == pytest.approx(rise / 2, rel=1e-6)


def test_the_penalty_is_weighted_and_beside_the_task_losses() -> None:
    rising = [column(0.0), column(1.0), column(0.5)]
    labels = torch.zeros(1, 3)
    plain = Losses(CHAIN, labels)
    weighted = Losses(CHAIN, labels, LossOptions(descending=0.6))
    assert plain.extra(rising).item() == 0.0
    assert weighted.extra(rising).item() == pytest.approx(0.6 * descending(rising, CHAIN).item())
