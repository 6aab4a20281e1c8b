"""Metrics against scikit-learn group by group, brute force, or numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from examples.training import metrics, relations
from examples.zoo.tasks import Task

RNG = np.random.default_rng(5)
NAN = float("nan")


def rows(count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label = (RNG.random(count) < 0.3).astype(float)
    score = label * 0.5 + RNG.random(count)
    return score, label, np.sort(RNG.integers(0, 25, count))


def test_auc_counts_pairs_and_half_of_ties() -> None:
    score, label, _ = rows(80)
    score = np.round(score, 1)  # ties
    pos, neg = score[label == 1], score[label == 0]
    want = np.mean([(p > n) + 0.5 * (p == n) for p in pos for n in neg])
    assert metrics.auc(score, label) == pytest.approx(want)
    assert math.isnan(metrics.auc(score, np.zeros(80)))


def test_grouped_auc_is_sklearns_within_each_group() -> None:
    score, label, group = rows()
    score = np.round(score, 1)
    each, weight = [], []
    for g in np.unique(group):
        part = group == g
        if 0 < label[part].sum() < part.sum():
            each.append(roc_auc_score(label[part], score[part]))
            weight.append(part.sum())
    assert metrics.grouped_auc(score, label, group) == pytest.approx(
        np.average(each, weights=weight)
    )
    assert math.isnan(metrics.grouped_auc(score, label, np.arange(len(label))))


@pytest.mark.parametrize("top", [None, 3])
def test_ndcg_is_sklearns_within_each_group(top: int | None) -> None:
    score, label, group = rows()
    each = [
        ndcg_score(label[None, group == g], score[None, group == g], k=top)
        for g in np.unique(group)
        if label[group == g].sum() > 0 and (group == g).sum() > 1
    ]
    assert metrics.ndcg(score, label, group, top) == pytest.approx(np.mean(each), rel=1e-9)


def test_calibration() -> None:
    p = np.array([0.1, 0.1, 0.4, 0.4])
    y = np.array([0.0, 1.0, 0.0, 1.0])
    assert metrics.calibration_ratio(p, y) == pytest.approx(0.5)
    assert metrics.calibration_error(p, y, bins=2) == pytest.approx((0.4 + 0.1) / 2)
    draws = RNG.random(50_000)
    assert metrics.calibration_error(draws, (RNG.random(50_000) < draws).astype(float)) < 0.01
    assert math.isnan(metrics.calibration_ratio(p, np.zeros(4)))


def test_log_loss_of_a_probability_rounded_to_zero_is_finite() -> None:
    assert metrics.log_loss(np.array([0.0, 1.0]), np.array([1.0, 1.0])) < 20
    classes = np.array([[0.2, 0.8], [0.5, 0.5]])
    want = -(math.log(0.8) + math.log(0.5)) / 2
    assert metrics.log_loss(classes, np.array([1.0, 0.0])) == pytest.approx(want)


def test_concordance_is_the_share_of_pairs_in_order() -> None:
    value, label = RNG.random(60), RNG.random(60)
    pairs = [(value[i] > value[j]) == (label[i] > label[j]) for i in range(60) for j in range(i)]
    assert metrics.concordance(value, label) == pytest.approx(np.mean(pairs))
    assert metrics.concordance(np.zeros(60), label) == 0.5


def test_missing_labels_do_not_count() -> None:
    score, label, group = rows(200)
    holes = label.copy()
    holes[::2] = NAN
    got = metrics.evaluate_task(Task("click"), score, holes, group)
    want = metrics.evaluate_task(Task("click"), score[1::2], label[1::2], group[1::2])
    assert got == pytest.approx(want, nan_ok=True)
    assert got["rows"] == 100
    none = metrics.evaluate_task(Task("click"), score, np.full(200, NAN), group)
    assert none["rows"] == 0 and math.isnan(none["quality"])


def test_kinds_have_their_metrics() -> None:
    value = RNG.random(100)
    numbers = metrics.evaluate_task(Task("dwell", "regression"), value, value * 2)
    assert numbers["quality"] == 1.0
    assert numbers["MAE"] == pytest.approx(value.mean())
    assert numbers["MSE"] == pytest.approx((value**2).mean())
    one_hot = np.eye(3)[RNG.integers(0, 3, 90)] * 0.7 + 0.1
    classes = metrics.evaluate_task(
        Task("rating", "multiclass", 3), one_hot, one_hot.argmax(1) * 1.0
    )
    assert classes["quality"] == 1.0 and classes["accuracy"] == 1.0
    assert classes["log loss"] == pytest.approx(-math.log(0.8))


def test_planted_probabilities_take_the_luck_out_of_an_auc() -> None:
    truth = RNG.random(4000).astype(np.float32)
    score = truth + 0.3 * RNG.random(4000).astype(np.float32)
    drawn = [metrics.auc(score, (RNG.random(4000) < truth).astype(float)) for _ in range(20)]
    got = metrics.quality(Task("click"), score, np.zeros(4000), truth)
    assert got == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / math.sqrt(20))


def test_the_violation_rate_counts_steps_that_rise() -> None:
    scores = [np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.4, 0.6, 0.5, 0.4])]
    assert metrics.violation_rate(scores, [(1, 0)]) == 0.25
    assert math.isnan(metrics.violation_rate(scores, []))


def test_the_pareto_front_by_comparing_all() -> None:
    points = np.round(RNG.random((40, 3)), 1)
    points[3] = points[7]  # equal points do not exclude each other
    for point, on in zip(points, metrics.pareto_front(points)):
        beaten = any((p >= point).all() and (p > point).any() for p in points)
        assert on == (not beaten)


def test_hypervolume() -> None:
    two = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 0.5]])
    assert metrics.hypervolume(two, np.zeros(2)) == pytest.approx(3 + 1)
    assert metrics.hypervolume(two, np.array([4.0, 0.0])) == 0.0
    three = RNG.random((6, 3))
    draws = RNG.random((200_000, 3))
    share = (draws[:, None, :] <= three[None]).all(2).any(1).mean()
    assert metrics.hypervolume(three, np.zeros(3)) == pytest.approx(share, abs=0.005)


def test_correlation_and_cosine() -> None:
    torch = pytest.importorskip("torch")
    columns = RNG.random((50, 3))
    columns[:, 2] = 1.0  # does not vary
    columns[4, 1] = NAN
    got = relations.correlation(columns)
    known = ~np.isnan(columns[:, 1])
    assert got[0, 1] == pytest.approx(np.corrcoef(columns[known, 0], columns[known, 1])[0, 1])
    assert got[0, 2] == 0.0 and got[2, 2] == 1.0
    vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    cosine = relations.cosine(vectors)
    assert cosine[0, 1] == pytest.approx(math.sqrt(0.5))
    assert cosine[0, 2] == 0.0


def test_gradient_cosine_looks_at_shared_parameters_only() -> None:
    torch = pytest.importorskip("torch")
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    towers = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)]
    losses = [(shared * towers[0]).sum(), -shared[0] * towers[1].sum()]
    got = relations.gradient_cosine(losses, [shared])
    assert got[0, 1] == pytest.approx(-math.sqrt(0.5), rel=1e-6)
    unused = torch.ones(1, requires_grad=True)  # a parameter that no task reaches counts as 0
    assert relations.gradient_cosine(losses, [shared, unused])[0, 1] == pytest.approx(got[0, 1])
