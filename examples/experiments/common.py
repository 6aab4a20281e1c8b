"""What all experiments share: training on a seed, comparing by pairs, results as JSON.

An experiment is a module with TITLE, PAPER, ABOUT (what is done, in a few sentences) and
`run(given) -> Findings`. Quality is the AUC that scores have on average over labels drawn from the
planted truth, on test rows: the luck of few positives is taken out of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from types import ModuleType

import numpy as np
import torch

from examples.data import World, expected_auc
from examples.training import runs
from examples.training.compiled import ROOT
from examples.training.loop import Options, Trainer, predict
from examples.training.sampling import only
from examples.training.table import Compared
from examples.zoo.ranker import Ranker

FOLDER = ROOT / "build" / "experiments"
RATE = 3e-3


@dataclass(frozen=True)
class Given:
    """How large: seeds, training rows, most epochs, processes."""

    seeds: int = 5
    rows: int = 10_000
    epochs: int = 12
    jobs: int = 2


@dataclass
class Claim:
    """Something a paper says, as a difference that must be above 0: its values, one a seed."""

    text: str
    differences: list[float]

    @property
    def verdict(self) -> str:
        compared = Compared.of(self.differences)
        if compared.above:
            return "shows"
        return "the opposite shows" if compared.mean + compared.half < 0 else "does not show"


@dataclass
class Table:
    """Cells are text already."""

    caption: str
    head: list[str]
    rows: list[list[str]]


@dataclass
class Findings:
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


def options(given: Given, seed: int, **changes) -> Options:
    """The same for every model of an experiment; nothing is tuned."""
    return Options(**{"epochs": given.epochs, "rate": RATE, "seed": seed} | changes)


def fit(ranker: Ranker, world: World, chosen: Options) -> np.ndarray:
    """Trains; quality by task, (T,)."""
    Trainer(ranker, world, chosen).fit()
    return quality(ranker, world)


def train(model: str, world: World, chosen: Options) -> np.ndarray:
    """A ranker of the registry, built and trained; quality by task, (T,)."""
    return fit(runs.build(model, world, chosen.seed), world, chosen)


def alone(world: World, chosen: Options, model: str = "single_task") -> np.ndarray:
    """A model for each task, each trained and stopped by itself; (T,)."""
    found = [train(model, only(world, t), chosen)[0] for t in range(len(world.tasks))]
    return np.array(found)


def quality(ranker: Ranker, world: World) -> np.ndarray:
    """(T,), of binary tasks."""
    scores = predict(ranker, world.test, world.tasks)
    return np.array(
        [
            expected_auc(torch.from_numpy(score), world.test.truth[:, t])
            for t, score in enumerate(scores)
        ]
    )


def _start() -> None:
    torch.set_num_threads(1)


def each_seed(work: Callable[..., dict], given: Given, *arguments) -> dict[str, np.ndarray]:
    """work(given, seed, *arguments), a function of a module, for each seed; what it returns by
    name, stacked: (seeds, ...)."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes started below
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, mp_context=context, initializer=_start) as pool:
        waiting = [pool.submit(work, given, seed, *arguments) for seed in range(given.seeds)]
        results = [one.result() for one in waiting]
    return {name: np.stack([np.asarray(r[name]) for r in results]) for name in results[0]}


def cell(values: np.ndarray, sign: bool = False) -> str:
    """Mean and half the 95 % interval of the values, one a seed."""
    compared = Compared.of(values.tolist())
    return str(compared) if sign else str(compared).lstrip("+")


def quality_rows(found: dict[str, np.ndarray], names: Sequence[str], base: str) -> list[list[str]]:
    """One row a name: quality by task, and the difference of the means to `base`; found[name] is
    (seeds, T)."""
    rows = []
    for name in names:
        values = found[name]
        difference = values.mean(1) - found[base].mean(1)
        cells = [cell(values[:, t]) for t in range(values.shape[1])]
        rows.append([name, *cells, "" if name == base else cell(difference, sign=True)])
    return rows


def save(name: str, module: ModuleType, found: Findings, given: Given, seconds: float) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    stored = {
        "title": module.TITLE,
        "paper": module.PAPER,
        "about": " ".join(module.ABOUT.split()),
        "given": asdict(given),
        "seconds": seconds,
        "tables": [asdict(table) for table in found.tables],
        "claims": [asdict(claim) | {"verdict": claim.verdict} for claim in found.claims],
    }
    path = FOLDER / f"{name}.json"
    part = path.with_suffix(f".{os.getpid()}.tmp")
    part.write_text(json.dumps(stored, indent=1) + "\n")
    os.replace(part, path)


def load(name: str) -> dict | None:
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def markdown(stored: dict) -> str:
    """A section of docs/experiments.md."""
    lines = [f"## {stored['title']}", "", stored["about"], ""]
    for table in stored["tables"]:
        lines += [table["caption"], ""]
        lines += ["| " + " | ".join(table["head"]) + " |", "|" + "---|" * len(table["head"])]
        lines += ["| " + " | ".join(row) + " |" for row in table["rows"]]
        lines.append("")
    if stored["claims"]:
        lines += [f"What {stored['paper']} says, and whether it shows:", ""]
        for claim in stored["claims"]:
            compared = Compared.of(claim["differences"])
            lines.append(f"- {claim['text']}: {compared}, {claim['verdict']}.")
        lines.append("")
    return "\n".join(lines)


def sizes(stored: dict) -> str:
    """The line below a section: how it was run. Without claims nothing was trained."""
    if not stored["claims"]:
        return ""
    given = stored["given"]
    return (
        f"\n{given['seeds']} seeds, {given['rows']:,} training rows, at most {given['epochs']} "
        f"epochs, rate {RATE:g} unless said otherwise.\n"
    )


def run(name: str, module: ModuleType, given: Given) -> dict:
    """Runs, saves and returns what was saved."""
    begin = time.perf_counter()
    found = module.run(given)
    save(name, module, found, given, time.perf_counter() - begin)
    stored = load(name)
    assert stored is not None
    return stored


def parser(about: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--seeds", type=int, default=Given.seeds, metavar="N")
    made.add_argument("--rows", type=int, default=Given.rows, metavar="N", help="to train on")
    made.add_argument("--epochs", type=int, default=Given.epochs, metavar="N", help="at most")
    made.add_argument("--jobs", type=int, default=Given.jobs, metavar="N", help="processes")
    return made


def given_of(made: argparse.ArgumentParser, words: argparse.Namespace) -> Given:
    given = Given(words.seeds, words.rows, words.epochs, words.jobs)
    for name, value in asdict(given).items():
        if value < 1:
            made.error(f"--{name} {value}: expected 1 or more")
    return given


def main(name: str) -> int:
    """Of one experiment: `python -m examples.experiments.NAME`."""
    module = sys.modules["__main__"]
    made = parser(module.TITLE)
    print(markdown(run(name, module, given_of(made, made.parse_args()))))
    return 0
