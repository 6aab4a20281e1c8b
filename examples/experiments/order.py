"""ResFlow: in which order the tasks flow.

python -m examples.experiments.order
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np

from examples.data import Split, World
from examples.data.planted import make
from examples.experiments import common
from examples.experiments.common import Claim, Findings, Given, Table, each_seed, quality_rows

TITLE = "ResFlow: the order of the tasks"
PAPER = "ResFlow (arXiv 2411.09705)"
ABOUT = """World `funnel`: click, cart, order, from dense to sparse. ResFlow's residuals go from the
first task to the last in the order given: by sparsity (dense first), reversed, or at random: one of
the four other orders for each seed. NSE is the same without residuals."""

TASKS = 3
SPARSITY = tuple(range(TASKS))
ORDERS = tuple(itertools.permutations(range(TASKS)))
RANDOM = [order for order in ORDERS if order not in (SPARSITY, SPARSITY[::-1])]
NAMES = ("by sparsity", "at random", "reversed", "NSE", "single tasks")


def permuted(world: World, order: tuple[int, ...]) -> World:
    """The tasks in this order, a chain in which none names the one it comes after."""

    def one(split: Split) -> Split:
        places = list(order)
        return replace(split, labels=split.labels[:, places], truth=split.truth[:, places])

    return replace(
        world,
        tasks=tuple(replace(world.tasks[t], after=None) for t in order),
        train=one(world.train),
        valid=one(world.valid),
        test=one(world.test),
    )


def work(given: Given, seed: int) -> dict:
    """Quality by name, in the world's own order of the tasks, (T,)."""
    world = make("funnel", given.rows, seed)
    chosen = common.options(given, seed)

    def flowing(order: tuple[int, ...], model: str = "resflow") -> np.ndarray:
        found = common.train(model, permuted(world, order), chosen)
        return found[np.argsort(order)]

    return {
        "by sparsity": flowing(SPARSITY),
        "reversed": flowing(SPARSITY[::-1]),
        "at random": flowing(RANDOM[seed % len(RANDOM)]),
        "NSE": flowing(SPARSITY, "nse"),
        "single tasks": common.alone(world, chosen),
    }


def run(given: Given) -> Findings:
    found = each_seed(work, given)
    head = ["flow", "click", "cart", "order", "mean, to NSE"]
    sparsity = found["by sparsity"]
    claims = [
        Claim(
            "residuals lift the sparse task (order, by sparsity to NSE)",
            (sparsity[:, -1] - found["NSE"][:, -1]).tolist(),
        ),
        Claim(
            "ordering by sparsity is better than at random (mean of tasks)",
            (sparsity - found["at random"]).mean(1).tolist(),
        ),
        Claim(
            "ordering by sparsity is better than reversed (mean of tasks)",
            (sparsity - found["reversed"]).mean(1).tolist(),
        ),
    ]
    return Findings([Table("Quality.", head, quality_rows(found, NAMES, "NSE"))], claims)


if __name__ == "__main__":
    sys.exit(common.main("order"))
