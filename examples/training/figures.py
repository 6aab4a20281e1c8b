"""The report's pictures, as PNG bytes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # no window, no display

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.manifold import TSNE  # noqa: E402

from examples.training import metrics  # noqa: E402
from examples.training.loop import History  # noqa: E402
from examples.zoo.tasks import Task  # noqa: E402

COLOURS = ["#3366aa", "#dd7733", "#449955", "#aa4466", "#8866bb", "#888844"]
POINTS = 250  # a task, in the picture of the bottoms

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
        "legend.frameon": False,
        "figure.dpi": 110,
    }
)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Metadata would say when and by which version: the same run gives the same bytes without.
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def panels(count: int, width: float = 3.1, height: float = 2.5, columns: int = 4):
    """A figure of `count` panels, up to `columns` beside each other, and its axes."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained"
    )
    for unused in axes.ravel()[count:]:
        unused.axis("off")
    return figure, list(axes.ravel()[:count])


def losses(history: History, tasks: Sequence[Task]) -> bytes:
    """Training and validation loss of each task by epoch; a line marks the epoch that was kept."""
    figure, axes = panels(len(tasks))
    train, valid = np.array(history.train), np.array(history.valid)
    epochs = np.arange(1, len(train) + 1)
    for t, (task, axis) in enumerate(zip(tasks, axes)):
        axis.plot(epochs, train[:, t], label="training", marker=".")
        axis.plot(epochs, valid[:, t], label="validation", marker=".")
        axis.axvline(history.best + 1, color="#bbbbbb", linewidth=1, zorder=0)
        axis.set(title=task.name, xlabel="epoch", ylabel="loss")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    return png(figure)


def weights(history: History, tasks: Sequence[Task]) -> bytes:
    """The balancer's weights by epoch."""
    figure, (axis,) = panels(1, 4.2)
    values = np.array(history.weights)
    for t, task in enumerate(tasks):
        axis.plot(np.arange(1, len(values) + 1), values[:, t], label=task.name, marker=".")
    axis.set(xlabel="epoch", ylabel="weight of the loss", ylim=(0, None))
    axis.legend()
    return png(figure)


def conflict(history: History, tasks: Sequence[Task]) -> bytes:
    """Cosine of each pair of tasks' gradients on the shared parameters by epoch."""
    figure, (axis,) = panels(1, 4.6, 2.7)
    values = np.array(history.cosine)
    epochs = np.arange(1, len(values) + 1)
    for a, b in itertools.combinations(range(len(tasks)), 2):
        axis.plot(epochs, values[:, a, b], label=f"{tasks[a].name}, {tasks[b].name}", marker=".")
    axis.axhline(0, color="#999999", linewidth=1, zorder=0)
    axis.set(xlabel="epoch", ylabel="cosine of gradients", ylim=(-1.05, 1.05))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(loc="best", fontsize=8)
    return png(figure)


def gates(values: Sequence[np.ndarray], tasks: Sequence[Task]) -> bytes:
    """Mean weight of each expert, and its spread over the rows; values (B, E) a gate."""
    figure, axes = panels(len(values), 2.6, 2.2)
    one_each = len(values) == len(tasks)
    for i, (gate, axis) in enumerate(zip(values, axes)):
        count = gate.shape[1]
        axis.bar(
            np.arange(count),
            gate.mean(axis=0),
            yerr=gate.std(axis=0),
            color=COLOURS[i % len(COLOURS)],
            error_kw={"elinewidth": 1, "ecolor": "#555555"},
        )
        axis.axhline(1 / count, color="#999999", linewidth=1, linestyle=":")
        axis.set(
            title=tasks[i].name if one_each else f"gate {i}",
            xlabel="expert",
            ylim=(0, max(1.0, float((gate.mean(axis=0) + gate.std(axis=0)).max()))),
        )
        axis.set_xticks(np.arange(count))
    axes[0].set_ylabel("weight")
    return png(figure)


def calibration(tasks: Sequence[Task], scores: Sequence[np.ndarray], labels: np.ndarray) -> bytes:
    """Mean prediction and share of positives of ten equal parts of the rows, binary tasks."""
    binary = [t for t, task in enumerate(tasks) if task.kind == "binary"]
    figure, axes = panels(len(binary), 2.7, 2.6)
    for t, axis in zip(binary, axes):
        known = ~np.isnan(labels[:, t])
        curve = metrics.calibration_curve(scores[t][known], labels[known, t])
        top = float(curve[:, :2].max()) * 1.08
        error = np.sqrt(np.maximum(curve[:, 1] * (1 - curve[:, 1]), 1e-12) / curve[:, 2])
        axis.plot([0, top], [0, top], color="#999999", linewidth=1, zorder=0)
        axis.errorbar(curve[:, 0], curve[:, 1], 1.96 * error, marker="o", markersize=4, capsize=2)
        axis.set(title=tasks[t].name, xlabel="mean prediction", xlim=(0, top), ylim=(0, top))
        if (curve[:, 1] > 0).all() and curve[:, 0].max() > 20 * curve[:, 0].min():  # a rare event
            low = float(curve[:, :2].min()) / 1.5
            axis.plot([low, top], [low, top], color="#999999", linewidth=1, zorder=0)
            axis.set(xscale="log", yscale="log", xlim=(low, top * 1.3), ylim=(low, top * 1.3))
    axes[0].set_ylabel("share that happened")
    return png(figure)


def pareto(points: dict[str, Sequence[float]], tasks: Sequence[Task], this: str) -> bytes:
    """Quality of one task against another's; who is on the front of the two is joined by a line."""
    pairs = list(itertools.combinations(range(len(tasks)), 2))[:6]
    figure, axes = panels(len(pairs), 4.0, 3.4, columns=3)
    names = list(points)
    values = np.array([points[name] for name in names])
    for (a, b), axis in zip(pairs, axes):
        pair = values[:, [a, b]]
        front = metrics.pareto_front(pair)
        line = pair[front][np.argsort(pair[front][:, 0])]
        axis.plot(line[:, 0], line[:, 1], color="#bbbbbb", linewidth=1, zorder=0)
        for name, point in zip(names, pair):
            colour = {this: COLOURS[1], "single-task models": COLOURS[3]}.get(name, COLOURS[0])
            axis.scatter(*point, color=colour, s=45 if name == this else 22)
            axis.annotate(
                name, point, xytext=(4, 4), textcoords="offset points", fontsize=7, color=colour
            )
        axis.margins(0.18)
        axis.set(xlabel=f"{tasks[a].name}", ylabel=f"{tasks[b].name}")
        axis.ticklabel_format(useOffset=False)
        axis.locator_params(nbins=5)
    return png(figure)


def bottoms(values: Sequence[np.ndarray], tasks: Sequence[Task], seed: int = 0) -> bytes:
    """What the towers read, (B, H) a task, in two dimensions: by PCA and by t-SNE, all tasks in one
    space. ValueError where the widths differ: then there is no common space."""
    if len({value.shape[1] for value in values}) != 1:
        raise ValueError("towers read vectors of different widths")
    rows = min(POINTS, len(values[0]))
    points = np.concatenate([value[:rows] for value in values]).astype(np.float64)
    points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
    flat = {}
    if points.shape[1] >= 2:
        flat["PCA"] = PCA(2, random_state=seed).fit_transform(points)
    perplexity = min(30.0, (len(points) - 1) / 4)
    flat["t-SNE"] = TSNE(2, perplexity=perplexity, random_state=seed, init="random").fit_transform(
        points
    )
    figure, axes = panels(len(flat), 4.0, 3.4)
    for (name, where), axis in zip(flat.items(), axes):
        for t, task in enumerate(tasks):
            part = where[t * rows : (t + 1) * rows]
            axis.scatter(part[:, 0], part[:, 1], s=7, alpha=0.6, label=task.name, linewidths=0)
        axis.set(title=name, xticks=[], yticks=[])
    axes[0].legend(markerscale=2)
    return png(figure)


def matrices(named: dict[str, np.ndarray], tasks: Sequence[Task]) -> bytes:
    """(T, T) from -1 to 1 each, with the numbers in the cells."""
    figure, axes = panels(len(named), 2.6, 2.5)
    names = [task.name for task in tasks]
    for (title, matrix), axis in zip(named.items(), axes):
        axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu")
        for i, j in itertools.product(range(len(names)), repeat=2):
            dark = abs(matrix[i, j]) > 0.6
            axis.text(
                j,
                i,
                f"{matrix[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_title(title, fontsize=9)
        axis.spines[:].set_visible(False)
    return png(figure)
