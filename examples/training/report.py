"""The report of one run: one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from examples.training import figures, metrics, relations
from examples.training.compiled import TOLERANCE, Compiled
from examples.training.loop import rows_of
from examples.training.runs import Result, Trained
from examples.zoo.registry import RANKERS

ROWS = 2000  # test rows that gates and bottoms are drawn from

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #888 }
p.note { color: #666; max-width: 52em } .good { color: #27752f } .bad { color: #b02a2a } img { max-width: 100% }
"""


def number(value: float) -> str:
    if math.isnan(value):
        return ""
    return (
        f"{value:,.0f}"
        if abs(value) >= 10_000
        else f"{value:.4g}"
        if abs(value) >= 10
        else f"{value:.4f}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def picture(data: bytes, words: str) -> str:
    return (
        f'<img alt="{html.escape(words)}" src="data:image/png;base64,'
        f'{base64.b64encode(data).decode()}">'
    )


def metrics_table(result: Result, baseline: Result) -> str:
    """Each metric of each task, the single-task models' beside it, and which is better."""
    smaller = {"log loss", "MSE", "MAE", "ECE"}
    rows = []
    for task, values in result.tasks.items():
        alone = baseline.tasks[task]
        for name, value in values.items():
            if name in ("rows", "positives"):
                rows.append((html.escape(task), name, number(value), "", ""))
                continue
            other = alone.get(name, float("nan"))
            better = (value < other) == (name in smaller) and value != other
            if name == "calibration":
                better = abs(value - 1) < abs(other - 1)
            mark = f'<span class="{"good" if better else "bad"}">{value - other:+.4f}</span>'
            rows.append((html.escape(task), name, number(value), number(other), mark))
    return table(("task", "metric", result.model, "single-task models", "difference"), rows)


def compiled_table(found: Sequence[Compiled]) -> str:
    rows = []
    for one in found:
        good = "good" if one.equal else "bad"
        words = one.error or ("equal" if one.equal else f"differs by more than {TOLERANCE:.0e}")
        rows.append(
            (
                one.exporter,
                str(one.opset or ""),
                f"{one.nodes} to {one.steps}" if one.steps else "",
                "" if one.error else f"{one.difference:.1e}",
                f'<span class="{good}">{html.escape(words)}</span>',
            )
        )
    return table(("exporter", "opset", "nodes to steps", "largest difference", ""), rows)


@torch.no_grad()
def routed(trained: Trained) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the towers read, (B, H) a task, and the gates (B, E), of some test rows."""
    inputs = rows_of(trained.world.test, slice(0, ROWS))
    read, gates = trained.ranker.eval().routed(*inputs)
    flat = [value.reshape(len(value), -1).numpy() for value in read]
    return flat, [gate.reshape(len(gate), -1).numpy() for gate in gates]


def relation_matrices(trained: Trained) -> dict[str, np.ndarray]:
    """Of predictions, labels, gradients and task embeddings, as far as there are."""
    world, tasks = trained.world, trained.world.tasks
    columns = [
        s @ np.arange(s.shape[1]) if s.ndim == 2 else s for s in trained.scores
    ]  # of classes: the mean class
    found = {
        "predictions": relations.correlation(np.stack(columns, axis=1)),
        "labels": relations.correlation(world.test.labels.numpy()),
    }
    if trained.history.cosine and trained.history.cosine[-1]:
        best = trained.history.cosine[trained.history.best]
        found["gradients, shared parameters"] = np.array(best)
    for name, value in relations.task_embeddings(trained.ranker, len(tasks)).items():
        found[name] = relations.cosine(value)
    return found


def about_points(points: dict[str, Sequence[float]], tasks: int) -> str:
    """The volume that the models dominate together, above 0.5 of each task."""
    values = np.array(list(points.values()))
    volume = metrics.hypervolume(values, np.full(tasks, 0.5))
    front = [name for name, on in zip(points, metrics.pareto_front(values)) if on]
    return (
        f"On the front of all tasks: {html.escape(', '.join(front))}. Hypervolume above 0.5 in each "
        f"task: {volume:.5f}."
    )


def sections(
    trained: Trained, baseline: Result, others: Sequence[Result], found: Sequence[Compiled]
) -> Iterable[tuple[str, str, str]]:
    """(title, HTML, note) of each part that this run has."""
    tasks, history = trained.world.tasks, trained.history
    yield (
        "Compiled",
        compiled_table(found),
        (
            "The largest difference over rows and outputs from PyTorch in float64; "
            f"{TOLERANCE:.0e} is allowed."
        ),
    )
    yield (
        "Test metrics",
        metrics_table(trained.result, baseline),
        (
            "The single-task models are trained one by one, each stopped when best for its task. "
            "'quality' is the AUC, for planted data over the planted probabilities and without the luck "
            "of one draw of labels; for numbers the share of pairs in the right order; for classes the "
            "mean AUC of each against the rest."
        ),
    )
    yield (
        "Losses",
        picture(figures.losses(history, tasks), "losses by epoch"),
        ("The grey line is the epoch whose weights were kept."),
    )
    if np.ptp(np.array(history.weights), axis=0).max() > 1e-6:
        yield (
            "Weights of the losses",
            picture(figures.weights(history, tasks), "weights"),
            (f"By the balancer: {trained.trainer.options.balance}."),
        )
    bottoms, gates = routed(trained)
    if gates:
        yield (
            "Gates",
            picture(figures.gates(gates, tasks), "gate weights"),
            (
                "Mean weight of each expert over test rows, with the standard deviation between rows; "
                "dotted: equal weights."
            ),
        )
    if len(tasks) > 1 and history.cosine and history.cosine[-1]:
        yield (
            "Gradient conflict",
            picture(figures.conflict(history, tasks), "gradient cosine"),
            (
                "Cosine of the tasks' gradients on what they share, the same rows after each epoch. "
                "Below 0 they pull apart."
            ),
        )
    if any(task.kind == "binary" for task in tasks):
        drawn = figures.calibration(tasks, trained.scores, trained.world.test.labels.numpy())
        yield (
            "Calibration",
            picture(drawn, "calibration"),
            ("Ten equal parts of the test rows in the order of the prediction, 95 % intervals."),
        )
    if len(tasks) > 1:
        points = {other.model: other.quality() for other in others}
        points |= {
            baseline.model: baseline.quality(),
            trained.result.model: trained.result.quality(),
        }
        points = {name: value for name, value in points.items() if not np.isnan(value).any()}
        if points:
            drawn = figures.pareto(points, tasks, trained.result.model)
            yield (
                "Against other models",
                picture(drawn, "Pareto front"),
                (
                    "Quality of one task against another's; further up and right is better. "
                    + about_points(points, len(tasks))
                ),
            )
        if len({value.shape[1] for value in bottoms}) == 1:
            drawn = figures.bottoms(bottoms, tasks)
            yield (
                "What the towers read",
                picture(drawn, "bottoms in two dimensions"),
                ("One point is one candidate's representation for one task."),
            )
        yield (
            "How tasks relate",
            picture(figures.matrices(relation_matrices(trained), tasks), "relations between tasks"),
            "Correlation of predictions and of labels, cosine of gradients and of task embeddings.",
        )
    yield "Options", f"<pre>{html.escape(json.dumps(trained.result.options, indent=1))}</pre>", ""


def write(
    path: Path,
    trained: Trained,
    baseline: Result,
    others: Sequence[Result],
    found: Sequence[Compiled],
) -> None:
    result, entry = trained.result, RANKERS[trained.result.model]
    title = f"{entry.title}: {result.world}"
    violations = (
        ""
        if math.isnan(result.violations)
        else f" A later step was likelier than the one before it in {result.violations:.2%} of the cases "
        f"(single-task models: {baseline.violations:.2%})."
    )
    facts = (
        f"{html.escape(entry.paper)}. World <b>{result.world}</b>, {result.rows:,} training rows, seed "
        f"{result.seed}; {result.parameters:,} parameters (single-task models {baseline.parameters:,}); "
        f"{result.epochs} epochs, {result.seconds:.1f} s.{violations}"
    )
    parts = [
        f"<h2>{html.escape(name)}</h2>{body}" + (f'<p class="note">{note}</p>' if note else "")
        for name, body, note in sections(trained, baseline, others, found)
    ]
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title><style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1><p>{facts}</p>"
        + "".join(parts)
        + "</body></html>\n"
    )
