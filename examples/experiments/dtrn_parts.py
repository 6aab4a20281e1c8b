"""DTRN without TIM, without TRM.

python -m examples.experiments.dtrn_parts
"""

from __future__ import annotations

import sys

from examples.data.planted import make
from examples.experiments import common
from examples.experiments.common import Claim, Findings, Given, Table, each_seed, quality_rows

TITLE = "DTRN: what its parts do"
PAPER = "DTRN (arXiv 2308.05996)"
ABOUT = """World `sequences`: three behaviours of a user, each with tastes of its own, and three
tasks that each follow the best match of the candidate in one of them. DTRN on MMoE with target
attention; without TIM the interests are plain means, without TRM nothing is weighed. MMoE reads
means of the sequences too."""

MODELS = ("dtrn", "dtrn_no_tim", "dtrn_no_trm", "mmoe")


def work(given: Given, seed: int) -> dict:
    world = make("sequences", given.rows, seed)
    chosen = common.options(given, seed)
    found = {model: common.train(model, world, chosen) for model in MODELS}
    return found | {"single tasks": common.alone(world, chosen)}


def run(given: Given) -> Findings:
    found = each_seed(work, given)
    head = ["ranker", "click", "cart", "order", "mean, to MMoE"]
    rows = quality_rows(found, (*MODELS, "single tasks"), "mmoe")
    full = found["dtrn"].mean(1)
    words = {
        "mmoe": "DTRN beats the ranker that it stands on (MMoE)",
        "dtrn_no_tim": "TIM contributes (DTRN to DTRN without TIM)",
        "dtrn_no_trm": "TRM contributes (DTRN to DTRN without TRM)",
    }
    claims = [
        Claim(f"{text}, mean of tasks", (full - found[name].mean(1)).tolist())
        for name, text in words.items()
    ]
    return Findings([Table("Quality.", head, rows)], claims)


if __name__ == "__main__":
    sys.exit(common.main("dtrn_parts"))
