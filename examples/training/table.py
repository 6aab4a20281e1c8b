"""The table of all rankers: on the worlds that its paper names, does a ranker beat single-task
models, and do its compiled models score as PyTorch does?

A cell is a ranker on a world. Its rate is chosen among RATES by the validation score of a
seed that the table does not use; the single-task models choose theirs in the same way. Then both
are trained with each seed, on the same data, and compared by pairs:

    d_s = quality of the ranker - quality of the single-task models, seed s
    mean(d) +- t(0.975, S - 1) deviation(d) / sqrt(S)

A ranker "beats" where the whole interval is above 0. Nothing is tuned for a cell beyond the rate.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from tqdm import tqdm

from examples.data.planted import make
from examples.training import runs
from examples.training.compiled import ROOT, program
from examples.training.loop import Options
from examples.training.runs import ALONE, Result
from examples.zoo.registry import RANKERS

RATES = (2e-3, 5e-3)
# Attention over 70 events makes a row of this world twenty times as dear as one of the others.
FEWER_ROWS = {"sequences": 10_000}
TUNING = 1000  # the seed that rates are chosen with
PAGE = ROOT / "docs" / "training.md"
START, END = "<!-- table -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Unit:
    """One training: of a ranker, or (model ALONE) of one model a task."""

    model: str
    world: str
    rows: int
    options: Options
    check: bool  # export and compile too
    folder: Path

    @property
    def path(self) -> Path:
        place = runs.place(self.folder, self.model, self.world, self.rows, self.options)
        return place / "result.json"

    def stored(self) -> Result | None:
        result = Result.load(self.path)
        return result if result and (result.compiled or not self.check) else None


def start_worker() -> None:
    torch.set_num_threads(1)


def work(unit: Unit) -> str:
    """Trains, saves the result; "" or what went wrong, in one line."""
    try:
        world = make(unit.world, unit.rows, unit.options.seed)
        if unit.model == ALONE:
            result, _ = runs.train_baseline(world, unit.options, unit.rows, grouped=False)
        else:
            trained = runs.train(unit.model, world, unit.options, unit.rows, grouped=False)
            if unit.check:
                runs.check(trained, unit.path.parent)
            result = trained.result
        result.save(unit.path)
        return ""
    except Exception as error:  # one ranker that fails must not end the others
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"{unit.model} on {unit.world}, seed {unit.options.seed}: {line}"


def run_all(units: Sequence[Unit], jobs: int, words: str) -> list[str]:
    """What is not stored yet, in `jobs` processes; what went wrong."""
    todo = [unit for unit in dict.fromkeys(units) if unit.stored() is None]
    todo.sort(key=lambda unit: unit.world not in FEWER_ROWS)  # the dear ones first: no long tail
    if not todo:
        return []
    failed: list[str] = []
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker) as pool,
        tqdm(total=len(todo), desc=words, unit="run", file=sys.stderr) as bar,
    ):
        waiting = [pool.submit(work, unit) for unit in todo]
        try:
            for done in as_completed(waiting):
                if done.result():
                    failed.append(done.result())
                    tqdm.write(f"train: {done.result()}", file=sys.stderr)
                bar.update()
        except BrokenProcessPool:
            failed.append("a process ended without a word (out of memory?)")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


@dataclass(frozen=True)
class Cell:
    model: str
    world: str
    predicted: bool


def cells(models: Sequence[str], chosen: Sequence[str]) -> list[Cell]:
    """Each ranker on each world that its paper names; one of which it says nothing is trained and
    compiled too, on the first world that it can be built for."""
    found = []
    for model in models or RANKERS:
        found += [
            Cell(model, world, world in RANKERS[model].beats)
            for world in runs.named_worlds(model)
            if not chosen or world in chosen
        ]
    return found


def fingerprint() -> str:
    """Of all that a result depends on: runs of other sources or programs are other runs."""
    sources = [ROOT / "examples" / name for name in ("zoo", "data", "training")]
    files = sorted(path for folder in sources for path in folder.glob("*.py"))
    apart = {"table.py", "report.py", "figures.py", "arguments.py", "relations.py"}
    digest = hashlib.sha256()
    for path in [file for file in files if file.name not in apart]:
        digest.update(path.name.encode() + path.read_bytes())
    for name in ("mtlc", "mtlrun"):
        path = shutil.which(program(name))
        digest.update(Path(path).read_bytes() if path else b"")
    return digest.hexdigest()[:12]


def budget(given: argparse.Namespace) -> Options:
    """The same for all. What a paper adds to the losses is in the ranker, its auxiliary()."""
    return Options(epochs=given.epochs, batch=given.batch, patience=given.patience, clip=given.clip)


def chosen_rate(units: Iterable[Unit]) -> float | None:
    """That of the best validation score; None where no run succeeded."""
    found = [(result.valid, result.options["rate"]) for u in units if (result := u.stored())]
    return min(found)[1] if found else None


@dataclass(frozen=True)
class Compared:
    """Mean difference and half the width of its 95 % interval (nan for one seed)."""

    mean: float
    half: float

    @staticmethod
    def of(differences: Sequence[float]) -> Compared:
        count = len(differences)
        if count < 2:
            return Compared(float(np.mean(differences)) if count else float("nan"), float("nan"))
        error = float(np.std(differences, ddof=1)) / math.sqrt(count)
        return Compared(float(np.mean(differences)), float(stats.t.ppf(0.975, count - 1)) * error)

    @property
    def above(self) -> bool:
        return self.mean - self.half > 0  # false where half is nan

    def __str__(self) -> str:
        return f"{self.mean:+.4f}" + ("" if math.isnan(self.half) else f" ± {self.half:.4f}")


def verdict(cell: Cell, compared: Compared) -> str:
    if not cell.predicted:
        return "not predicted"
    if math.isnan(compared.half):
        return "one seed"
    return "**beats**" if compared.above else "does not"


def sparse_task(result: Result) -> str:
    """The binary task that happens least; without one, the last."""
    rates = {name: v["positives"] for name, v in result.tasks.items() if "positives" in v}
    return min(rates, key=rates.__getitem__) if rates else list(result.tasks)[-1]


def compiled_words(result: Result) -> tuple[str, float, bool]:
    """ "60 to 20, 58 to 20", the largest difference, and whether both are equal."""
    shown = [
        f"{one['nodes']} to {one['steps']}" if not one["error"] else "no" for one in result.compiled
    ]
    worst = max((one["difference"] for one in result.compiled), default=float("inf"))
    both = bool(result.compiled) and all(one["equal"] for one in result.compiled)
    return ", ".join(shown), worst, both


HEAD = (
    "ranker", "world", "parameters", "rate", "quality, alone", "quality", "difference", "",
    "sparse task", "difference", "", "nodes to steps, both exporters", "largest error",
)  # fmt: skip


def row(cell: Cell, results: Sequence[Result], alone: Sequence[Result]) -> tuple[str, ...]:
    """The cells of one line; results and alone are in the order of the seeds."""
    pairs = list(zip(results, alone))
    mean = Compared.of([float(np.mean(a.quality()) - np.mean(b.quality())) for a, b in pairs])
    task = sparse_task(results[0])
    sparse = Compared.of([a.tasks[task]["quality"] - b.tasks[task]["quality"] for a, b in pairs])
    shown, worst, equal = compiled_words(results[0])
    return (
        cell.model,
        cell.world,
        f"{results[0].parameters:,} ({alone[0].parameters:,})",
        f"{results[0].options['rate']:g}",
        f"{np.mean([b.quality() for b in alone]):.4f}",
        f"{np.mean([a.quality() for a in results]):.4f}",
        str(mean),
        verdict(cell, mean),
        task,
        str(sparse),
        verdict(cell, sparse),
        shown,
        f"{worst:.0e}" + ("" if equal else " **differs**"),
    )


def markdown(
    rows: Sequence[Sequence[str]], given: argparse.Namespace, failed: Sequence[str]
) -> str:
    fewer = "".join(
        f" ({min(count, given.rows):,} of {name})" for name, count in FEWER_ROWS.items()
    )
    lines = [
        f"{given.seeds} seeds, {given.rows:,} training rows{fewer}, at most {given.epochs} epochs of "
        f"batches of {given.batch}, stopped after {given.patience} without a better validation loss; "
        "written by `python -m examples.train --all --docs`.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(cells) + " |" for cells in rows),
    ]
    if failed:
        lines += ["", "Failed:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def write_page(text: str) -> None:
    """Between the two marks of docs/training.md. ValueError where they are missing."""
    page = PAGE.read_text()
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"{PAGE.relative_to(ROOT)} has no place for the table ({START} ... {END})")
    before, rest = page.split(START)
    PAGE.write_text(f"{before}{START}\n{text}{END}{rest.split(END)[1]}")


def run(given: argparse.Namespace) -> int:
    """Trains what is missing, prints the table; 0 if every ranker trained, compiled and scored as
    PyTorch does. Whether it beats anything has no say in that."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes started below
    folder = given.folder / f"table-{fingerprint()}"
    wanted = cells(given.models, given.worlds)
    pairs = [(cell.model, cell.world) for cell in wanted]
    pairs += [(ALONE, world) for world in dict.fromkeys(world for _, world in pairs)]

    def unit(model: str, world: str, rate: float, seed: int, check: bool = False) -> Unit:
        options = replace(budget(given), rate=rate, seed=seed)
        rows = min(given.rows, FEWER_ROWS.get(world, given.rows))
        return Unit(model, world, rows, options, check, folder)

    tuning = {pair: [unit(*pair, rate, TUNING) for rate in RATES] for pair in pairs}
    failed = run_all([u for units in tuning.values() for u in units], given.jobs, "rates")
    final: dict[tuple[str, str], list[Unit]] = {}
    for pair, units in tuning.items():
        if (rate := chosen_rate(units)) is not None:
            final[pair] = [
                unit(*pair, rate, seed, check=seed == 0 and pair[0] != ALONE)
                for seed in range(given.seeds)
            ]
    failed += run_all([u for units in final.values() for u in units], given.jobs, "seeds")

    rows, equal = [], True
    for cell in wanted:
        results = [u.stored() for u in final.get((cell.model, cell.world), [])]
        alone = [u.stored() for u in final.get((ALONE, cell.world), [])]
        if not results or None in results or not alone or None in alone:
            equal = False
            continue
        rows.append(row(cell, results, alone))
        equal = equal and compiled_words(results[0])[2]
    text = markdown(rows, given, failed)
    print(text, end="")
    if given.docs:
        write_page(text)
    return 0 if equal and not failed else 1
