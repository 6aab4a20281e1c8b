"""Adding a task to a trained model.

python -m examples.experiments.one_more
"""

from __future__ import annotations

import sys

import numpy as np

from examples.data.planted import make
from examples.experiments import common
from examples.experiments.common import Claim, Findings, Given, Table, cell, each_seed
from examples.experiments.growing import copied, first_tasks, freeze
from examples.training import runs
from examples.training.loop import Trainer

TITLE = "Adding a task to a trained model"
PAPER = "the survey (question 11)"
ABOUT = """World `funnel`: a ranker serves click and cart, and order is to be added. Frozen: all
that was learned stays, its scores the same bits; the new tower, gate or network is trained.
Fine-tuned: everything is trained on, at a third of the rate. Anew: all three tasks from the start.
For ResFlow the new network starts from the flow of the old ones."""

MODELS = ("shared_bottom", "mmoe", "resflow")
WAYS = ("frozen", "fine-tuned", "anew")


def work(given: Given, seed: int) -> dict:
    """By "MODEL, WAY": quality (T,); by "MODEL, before": (T - 1,)."""
    world = make("funnel", given.rows, seed)
    two = first_tasks(world, 2)
    chosen = common.options(given, seed)
    found: dict[str, np.ndarray] = {"single tasks": common.alone(world, chosen)}
    for model in MODELS:
        old = runs.build(model, two, seed)
        Trainer(old, two, chosen).fit()
        found[f"{model}, before"] = common.quality(old, two)
        for way in WAYS:
            new = runs.build(model, world, seed)
            options = chosen
            if way != "anew":
                names = copied(old, new)
                if way == "frozen":
                    freeze(new, names)
                else:
                    options = common.options(given, seed, rate=common.RATE / 3)
            found[f"{model}, {way}"] = common.fit(new, world, options)
    return found


def run(given: Given) -> Findings:
    found = each_seed(work, given)
    rows = []
    for model in MODELS:
        before = found[f"{model}, before"]
        rows.append([f"{model}, before", *(cell(before[:, t]) for t in range(2)), "", ""])
        for way in WAYS:
            values = found[f"{model}, {way}"]
            change = (values[:, :2] - before).mean(1)
            rows.append([f"{model}, {way}", *(cell(values[:, t]) for t in range(3))])
            rows[-1].append(cell(change, sign=True))
    alone = found["single tasks"]
    rows.append(["single tasks", *(cell(alone[:, t]) for t in range(3)), ""])
    claims = [
        Claim(
            f"{model}: order on a frozen trunk beats a network of its own",
            (found[f"{model}, frozen"][:, 2] - alone[:, 2]).tolist(),
        )
        for model in MODELS
    ]
    claims.append(
        Claim(
            "MMoE takes a new task more easily than Shared-Bottom (order, frozen)",
            (found["mmoe, frozen"][:, 2] - found["shared_bottom, frozen"][:, 2]).tolist(),
        )
    )
    head = ["ranker", "click", "cart", "order", "click and cart, to before"]
    return Findings([Table("Quality.", head, rows)], claims)


if __name__ == "__main__":
    sys.exit(common.main("one_more"))
