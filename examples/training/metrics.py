"""How good scores are, task by task: never the average alone.

Scores and labels are NumPy arrays (B,), classes (B, C); rows whose label is NaN do not count. A
metric that is not defined (an AUC without positives) is NaN. scikit-learn computes what it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn import metrics as sk

from examples.data import expected_auc
from examples.zoo.tasks import Task

Array = NDArray[np.floating]
BINS = 10


def auc(score: Array, label: Array) -> float:
    """P(a positive scores above a negative), ties count half."""
    if len(np.unique(label)) < 2:
        return float("nan")
    return float(sk.roc_auc_score(label, score))


def grouped_auc(score: Array, label: Array, group: Array) -> float:
    """Mean of the AUC within each request (or user), weighted by its rows; requests with one kind
    of label only are left out."""
    frame = pd.DataFrame({"score": score, "label": label, "group": group})
    frame["rank"] = frame.groupby("group")["score"].rank()  # ties share their mean rank
    frame["above"] = frame["rank"] * frame["label"]
    sums = frame.groupby("group").agg(
        rows=("label", "size"), positives=("label", "sum"), above=("above", "sum")
    )
    sums["negatives"] = sums["rows"] - sums["positives"]
    sums = sums[(sums["positives"] > 0) & (sums["negatives"] > 0)]
    if sums.empty:
        return float("nan")
    wins = sums["above"] - sums["positives"] * (sums["positives"] + 1) / 2
    each = wins / (sums["positives"] * sums["negatives"])
    return float(np.average(each, weights=sums["rows"]))


def ndcg(score: Array, gain: Array, group: Array, top: int | None = None) -> float:
    """Mean over requests of DCG / ideal DCG, DCG = sum of gain / log2(1 + rank) over the first
    `top`; requests without any gain are left out. Ties are in the order of the rows."""
    frame = pd.DataFrame({"score": score, "gain": gain, "group": group})

    def dcg(by: str) -> pd.Series:
        rank = frame.groupby("group")[by].rank(method="first", ascending=False)
        part = frame["gain"] / np.log2(1 + rank)
        if top is not None:
            part = part.where(rank <= top, 0.0)
        return part.groupby(frame["group"]).sum()

    ideal, got = dcg("gain"), dcg("score")
    known = ideal > 0
    return float((got[known] / ideal[known]).mean()) if known.any() else float("nan")


def log_loss(probability: Array, label: Array) -> float:
    """Binary (B,), or multi-class (B, C) with class indices. Probabilities are clipped to float32's
    resolution of 1: one rounded to 0 is not infinitely wrong."""
    clipped = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    if probability.ndim == 1:
        return float(sk.log_loss(label, clipped, labels=[0, 1]))
    clipped /= clipped.sum(axis=1, keepdims=True)
    return float(sk.log_loss(label, clipped, labels=np.arange(probability.shape[1])))


def calibration_ratio(probability: Array, label: Array) -> float:
    """Sum of predictions over number of positives: 1 is right, above 1 promises too much."""
    positives = label.sum()
    return float(probability.sum() / positives) if positives > 0 else float("nan")


def calibration_curve(probability: Array, label: Array, bins: int = BINS) -> Array:
    """(bins, 3): mean prediction, share of positives, rows; bins of equally many rows in the order
    of the predictions (equal widths leave most bins of a rare event empty)."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return np.array([[probability[part].mean(), label[part].mean(), len(part)] for part in parts])


def calibration_error(probability: Array, label: Array, bins: int = BINS) -> float:
    """Expected calibration error: mean over rows of |prediction - share of positives| of the bin."""
    curve = calibration_curve(probability, label, bins)
    return float(np.average(np.abs(curve[:, 0] - curve[:, 1]), weights=curve[:, 2]))


def concordance(value: Array, label: Array) -> float:
    """P(the larger of two labels has the larger prediction), ties half: what the AUC is to numbers.
    (Kendall's tau + 1) / 2."""
    if len(np.unique(label)) < 2:
        return float("nan")
    tau = kendalltau(value, label).statistic
    return float((tau + 1) / 2) if not np.isnan(tau) else 0.5  # all predictions are one


def multiclass_auc(probability: Array, label: Array) -> float:
    """Mean over the classes that occur of the AUC of the class against the rest; (B, C)."""
    each = [auc(probability[:, c], (label == c).astype(float)) for c in range(probability.shape[1])]
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def quality(task: Task, score: Array, label: Array, truth: Array | None = None) -> float:
    """One number from 0.5 (nothing) to 1 for each kind of task: AUC, concordance, or the mean AUC
    of the classes. `truth`, planted probabilities of all rows, takes the luck of the labels out of an
    AUC; where labels are missing it is not that of the rows that have one, and labels count."""
    known = ~np.isnan(label)
    score, label = score[known], label[known]
    if len(label) == 0:
        return float("nan")
    if task.kind == "regression":
        return concordance(score, label)
    if task.kind == "multiclass":
        return multiclass_auc(score, label)
    if truth is not None and known.all():
        return expected_auc(torch.from_numpy(score), torch.from_numpy(truth))
    return auc(score, label)


def evaluate_task(
    task: Task,
    score: Array,
    label: Array,
    group: Array | None = None,
    truth: Array | None = None,
) -> dict[str, float]:
    """Every metric that this kind of task has, by its name."""
    known = ~np.isnan(label)
    result = {"rows": float(known.sum()), "quality": quality(task, score, label, truth)}
    score, label = score[known].astype(np.float64), label[known].astype(np.float64)
    group = None if group is None else group[known]
    if len(label) == 0:
        return result
    if task.kind == "regression":
        off = score - label
        result |= {"MSE": float((off**2).mean()), "MAE": float(np.abs(off).mean())}
        result["R2"] = float(sk.r2_score(label, score)) if len(label) > 1 else float("nan")
        return result
    if task.kind == "multiclass":
        result["log loss"] = log_loss(score, label)
        result["accuracy"] = float(sk.accuracy_score(label, score.argmax(axis=1)))
        return result
    result |= {
        "positives": float(label.mean()),
        "AUC": auc(score, label),
        "log loss": log_loss(score, label),
        "MSE": float(((score - label) ** 2).mean()),
        "MAE": float(np.abs(score - label).mean()),
        "calibration": calibration_ratio(score, label),
        "ECE": calibration_error(score, label),
    }
    if group is not None:
        result["grouped AUC"] = grouped_auc(score, label, group)
        result["NDCG"] = ndcg(score, label, group)
    return result


def violation_rate(scores: Sequence[Array], steps: Sequence[tuple[int, int]]) -> float:
    """Share of (row, step) pairs in which a later step is likelier than the one before it; `steps`
    are (task, the task before it), scores (B,) a task. NaN without steps."""
    if not steps:
        return float("nan")
    # Float32 products may round up by a bit: that is no violation.
    return float(np.mean([(scores[t] > scores[p] * (1 + 1e-6)).mean() for t, p in steps]))


def pareto_front(points: Array) -> NDArray[np.bool_]:
    """Which of the points (N, T), larger is better, no other one matches everywhere and beats
    somewhere."""
    as_good = (points[:, None, :] >= points[None, :, :]).all(axis=2)
    better = (points[:, None, :] > points[None, :, :]).any(axis=2)
    return ~(as_good & better).any(axis=0)


def hypervolume(points: Array, reference: Array) -> float:
    """Volume that the points (N, T) dominate above `reference` (T,): slices along the last axis,
    each the volume of one dimension less. Exact; for tens of points."""
    points = np.asarray(points, dtype=np.float64)
    points = points[(points > reference).all(axis=1)]
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    points = points[np.argsort(-points[:, -1])]
    floors = np.append(points[1:, -1], reference[-1])
    volume = 0.0
    for count, (point, floor) in enumerate(zip(points, floors), start=1):
        if point[-1] > floor:
            volume += (point[-1] - floor) * hypervolume(points[:count, :-1], reference[:-1])
    return volume
