"""SEQ: trained on two tasks, moved to three.

python -m examples.experiments.transfer
"""

from __future__ import annotations

import sys
import time

import torch

from examples.data.planted import make
from examples.experiments import common
from examples.experiments.common import Claim, Findings, Given, Table, cell, each_seed
from examples.experiments.growing import first_tasks, freeze
from examples.training import runs
from examples.training.loop import Trainer
from examples.zoo.seq import one_more_task

TITLE = "SEQ: from two tasks to three"
PAPER = "SEQ+MD (arXiv 2408.13357)"
ABOUT = """World `funnel`. SEQ is trained on click and cart; then order is added: one more token and
one more head, drawn anew, while the recurrent network is the one that was trained on two tasks.
Either only the new parts are trained, and click and cart stay the same bits, or everything is, at a
third of the rate. Compared with SEQ trained on all three tasks at once, and with a network for each
task alone."""

WAYS = ("new parts only", "everything on", "three at once", "single task")


def work(given: Given, seed: int) -> dict:
    """quality (T,) and seconds of the last training by way; the click's and cart's before."""
    world = make("funnel", given.rows, seed)
    chosen = common.options(given, seed)
    two = runs.build("seq", first_tasks(world, 2), seed)
    Trainer(two, first_tasks(world, 2), chosen).fit()
    found = {"two tasks": common.quality(two, first_tasks(world, 2))}

    def timed(name: str, ranker, options) -> None:
        begin = time.perf_counter()
        found[name] = common.fit(ranker, world, options)
        found[f"{name}: seconds"] = time.perf_counter() - begin

    for name, rate in (("new parts only", common.RATE), ("everything on", common.RATE / 3)):
        torch.manual_seed(seed)
        three = one_more_task(two, world.tasks[2])
        if name == "new parts only":
            freeze(three, set(two.state_dict()))
        timed(name, three, common.options(given, seed, rate=rate))
    timed("three at once", runs.build("seq", world, seed), chosen)
    begin = time.perf_counter()
    found["single task"] = common.alone(world, chosen)
    found["single task: seconds"] = time.perf_counter() - begin
    return found


def run(given: Given) -> Findings:
    found = each_seed(work, given)
    before = found["two tasks"]
    rows = [["click and cart only", *(cell(before[:, t]) for t in range(2)), "", ""]]
    for name in WAYS:
        values = found[name]
        seconds = found[f"{name}: seconds"].mean()
        rows.append([name, *(cell(values[:, t]) for t in range(3)), f"{seconds:.1f}"])
    moved, alone = found["new parts only"][:, 2], found["single task"][:, 2]
    everything = found["everything on"][:, 2]
    return Findings(
        [
            Table(
                "Quality.",
                ["trained", "click", "cart", "order", "seconds of the last training"],
                rows,
            )
        ],
        [
            Claim(
                "what two tasks taught serves a third (order, new parts only, to a network alone)",
                (moved - alone).tolist(),
            ),
            Claim(
                "nothing is lost to training on three at once (order, everything trained on)",
                (everything - found["three at once"][:, 2]).tolist(),
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(common.main("transfer"))
