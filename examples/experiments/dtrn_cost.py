"""DTRN: what tasks and sequences cost.

python -m examples.experiments.dtrn_cost
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from examples.experiments import common
from examples.experiments.common import Findings, Given, Table
from examples.training.compiled import program
from examples.training.compiled import run as run_program
from examples.zoo.dtrn import DTRN
from examples.zoo.export import export
from examples.zoo.features import Dense, Id, Schema, Sequence, made_up
from examples.zoo.tasks import Task

TITLE = "DTRN: the cost of tasks and sequences"
PAPER = "DTRN (arXiv 2308.05996)"
ABOUT = """How DTRN's cost grows with tasks T and behaviour sequences N is an open question of the
paper. Compiled plans of DTRN on MMoE (target attention, post-norm, width 32, sequences of 50
events), random weights, 64 candidates a call, one thread, every candidate with sequences of its own
(nothing is shared by a request): microseconds a candidate, and the FLOPs of the plan. The attention
of the first block is the same for all tasks; everything after the first normalisation is not."""

TASKS = (1, 2, 3, 4)
SEQUENCES = (1, 2, 3, 5)
LENGTH, WIDTH, ITEMS, ROWS = 50, 32, 1000, 64


def schema(sequences: int) -> Schema:
    return (
        Dense("dense", 16),
        Id("user", 1000),
        Id("item", ITEMS, role="item"),
        *(Sequence(f"s{b}", ITEMS, LENGTH, role="item") for b in range(sequences)),
    )


def measured(tasks: int, sequences: int, folder: Path) -> tuple[float, float]:
    """Microseconds, and thousands of FLOPs, a candidate."""
    fields = schema(sequences)
    torch.manual_seed(0)
    model = DTRN(fields, [Task(f"t{t}") for t in range(tasks)], width=WIDTH, target=True).eval()
    path, plan = folder / "dtrn.onnx", folder / "dtrn.bin"
    export(model, made_up(fields, 3), model.outputs, path, "torchscript", 17)
    run_program(program("mtlc"), path, "-o", plan)
    told = run_program(program("mtlrun"), "info", plan)
    flops = re.search(r"row program: .* FLOPs ([\d,]+)/row", told)
    if flops is None:
        raise RuntimeError(f"mtlrun info tells no FLOPs of {plan}")
    bench = [program("mtlrun"), "bench", plan, "--rows", str(ROWS), "--seconds", "0.4", "--json"]
    best = min(json.loads(run_program(*bench))["results"][0]["median_us"] for _ in range(3))
    return best / ROWS, int(flops[1].replace(",", "")) / 1000


def run(given: Given) -> Findings:
    """`given` changes nothing here: there is no training."""
    times: dict[tuple[int, int], float] = {}
    work: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as name:
        for tasks in TASKS:
            for sequences in SEQUENCES:
                found = measured(tasks, sequences, Path(name))
                times[tasks, sequences], work[tasks, sequences] = found
    head = ["T", *(f"N = {n}" for n in SEQUENCES)]
    tables = [
        Table(
            caption, head, [[str(t), *(words.format(of[t, n]) for n in SEQUENCES)] for t in TASKS]
        )
        for caption, of, words in (
            ("Microseconds a candidate; the smallest of three medians.", times, "{:.1f}"),
            ("Thousands of FLOPs a candidate.", work, "{:,.0f}"),
        )
    ]
    # least squares: a constant, a part for each sequence, a part for each pair of task and sequence
    pairs = [(t, n) for t in TASKS for n in SEQUENCES]
    terms = np.array([[1, n, t * n] for t, n in pairs])
    fitted = []
    for of in (times, work):
        (_, one, both), *_ = np.linalg.lstsq(terms, np.array([of[pair] for pair in pairs]))
        fitted.append((one, both))
    rows = [
        [words, *(f"{value:,.1f}" for value in parts)]
        for words, parts in zip(("microseconds", "thousands of FLOPs"), fitted, strict=True)
    ]
    caption = "What one more sequence costs: once, and again for each task (least squares)."
    return Findings([*tables, Table(caption, ["", "once", "for each task"], rows)])


if __name__ == "__main__":
    sys.exit(common.main("dtrn_cost"))
