"""The words of the command line, and the options that they make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from examples.training.balancers import BALANCERS
from examples.training.compiled import ROOT
from examples.training.loop import Options
from examples.training.losses import LossOptions

FOLDER = ROOT / "build" / "training"


class Parser(argparse.ArgumentParser):
    """One line says what is wrong, without the usage of forty options before it."""

    def error(self, message: str) -> None:
        self.exit(2, f"train: {message} (see --help)\n")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return value


def not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def by_task(check: Callable[[str], float]) -> Callable[[str], tuple[tuple[str, float], ...]]:
    """NAME=NUMBER[,NAME=NUMBER...]."""

    def parse(text: str) -> tuple[tuple[str, float], ...]:
        pairs = []
        for part in text.split(","):
            name, equals, value = part.partition("=")
            try:
                pairs.append((name, check(value)))
            except ValueError:
                equals = ""
            if not name or not equals:
                raise argparse.ArgumentTypeError(f"{part!r} is not TASK=NUMBER")
        return tuple(pairs)

    return parse


def share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def parser() -> Parser:
    made = Parser(
        prog="python -m examples.train",
        description="Trains a ranker of the zoo on planted data, exports it with both exporters, compiles "
        "it with mtlc, scores it with mtlrun, says whether all agree within 1e-5, and writes a report. "
        "Exit status 1 if they do not.",
        epilog="docs/training.md tells more. MTLC and MTLRUN name the programs where they are not in build/bin.",
    )
    what = made.add_argument_group("what to train")
    what.add_argument("--model", metavar="M", help="a ranker of the zoo; --list names them")
    what.add_argument(
        "--world", metavar="W", help="planted data (default: the first that M's paper is good at)"
    )
    what.add_argument(
        "--data",
        metavar="FORMAT=FOLDER",
        help="public data instead, as examples/data reads them: ali-ccp, aliexpress, kuairand-pure, "
        "movielens-1m",
    )
    what.add_argument(
        "--rows", type=positive, default=20_000, help="training rows (default: %(default)s)"
    )
    what.add_argument(
        "--seed", type=int, default=0, help="of data, parameters and batches (default: %(default)s)"
    )
    what.add_argument("--list", action="store_true", help="list rankers and worlds, and end")
    what.add_argument(
        "--against",
        metavar="M,...",
        type=names,
        default=(),
        help="train these too, for the Pareto front",
    )

    how = made.add_argument_group("how")
    how.add_argument(
        "--epochs", type=positive, default=Options.epochs, help="at most (default: %(default)s)"
    )
    how.add_argument(
        "--patience",
        type=positive,
        default=Options.patience,
        help="stop after so many epochs without a better validation loss (default: %(default)s)",
    )
    how.add_argument(
        "--batch", type=positive, default=Options.batch, help="rows a step (default: %(default)s)"
    )
    how.add_argument(
        "--accumulate", type=positive, default=1, metavar="N", help="compute a step in N parts"
    )
    how.add_argument(
        "--rate", type=rate, default=Options.rate, help="Adam's rate (default: %(default)s)"
    )
    how.add_argument(
        "--rate-own",
        type=rate,
        metavar="R",
        help="rate of a second optimiser, for the parameters that tasks do not share",
    )
    how.add_argument("--decay", type=not_negative, default=0.0, help="weight decay (AdamW)")
    how.add_argument(
        "--clip",
        type=not_negative,
        default=Options.clip,
        help="largest norm of a gradient, 0 for none (default: %(default)s)",
    )
    how.add_argument(
        "--update",
        choices=("together", "alternate"),
        default="together",
        help="alternate: one task a step, in turn, each with an optimiser of its own",
    )
    how.add_argument(
        "--balanced",
        type=by_task(share),
        metavar="TASK=SHARE",
        help="draw rows such that this share of a batch has the task's event",
    )
    how.add_argument(
        "--impute",
        action="store_true",
        help="fill missing training labels in by single-task models",
    )

    loss = made.add_argument_group("losses")
    loss.add_argument(
        "--balance", choices=tuple(BALANCERS), default="uniform", help="how losses become one"
    )
    loss.add_argument(
        "--weights",
        type=by_task(not_negative),
        metavar="TASK=W,...",
        help="of the losses, for --balance manual (others: 1)",
    )
    loss.add_argument(
        "--pos-weight",
        type=by_task(rate),
        default=(),
        metavar="TASK=W,...",
        help="weight of a binary task's positives",
    )
    loss.add_argument(
        "--regression",
        choices=("mse", "huber"),
        default="mse",
        help="loss of standardised targets (default: %(default)s)",
    )
    loss.add_argument(
        "--cvr",
        choices=("entire", "clicked"),
        default="entire",
        help="clicked: add the loss of P(step | the step before) on rows where that happened",
    )
    loss.add_argument(
        "--descending",
        type=not_negative,
        default=0.0,
        metavar="W",
        help="weight of a penalty for a later step that is likelier than the one before it",
    )
    loss.add_argument(
        "--descending-space",
        choices=("probability", "logit"),
        default="probability",
        help="what the penalty compares (default: %(default)s)",
    )

    where = made.add_argument_group("results")
    where.add_argument(
        "--folder", type=Path, default=FOLDER, help="of runs (default: build/training)"
    )
    where.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    where.add_argument("--no-report", action="store_true", help="train, compile and compare only")
    where.add_argument("--quiet", action="store_true", help="no progress bar")

    every = made.add_argument_group("all rankers")
    every.add_argument(
        "--all",
        action="store_true",
        help="every ranker on every world that its paper names, against single-task models",
    )
    every.add_argument(
        "--models", type=names, default=(), metavar="M,...", help="with --all: these only"
    )
    every.add_argument(
        "--worlds", type=names, default=(), metavar="W,...", help="with --all: these only"
    )
    every.add_argument(
        "--seeds", type=positive, default=5, help="runs a cell (default: %(default)s)"
    )
    every.add_argument(
        "--jobs",
        type=positive,
        default=len(os.sched_getaffinity(0)),
        help="processes, of one thread each (default: as many as there are CPUs)",
    )
    every.add_argument("--docs", action="store_true", help="write the table into docs/training.md")
    return made


def options(given: argparse.Namespace, tasks: list[str]) -> Options:
    """What the words mean for a world of these tasks. ValueError in words."""
    weights: tuple[float, ...] = ()
    if given.weights is not None and given.balance != "manual":
        raise ValueError("--weights are for --balance manual")
    if given.balance == "manual":
        chosen = dict(given.weights or ())
        for name in chosen:
            if name not in tasks:
                raise ValueError(f"--weights: no task {name!r}; the tasks are {', '.join(tasks)}")
        weights = tuple(chosen.get(name, 1.0) for name in tasks)
    if given.balanced is not None and len(given.balanced) != 1:
        raise ValueError("--balanced takes one task")
    loss = LossOptions(
        pos_weight=given.pos_weight,
        regression=given.regression,
        cvr=given.cvr,
        descending=given.descending,
        descending_space=given.descending_space,
    )
    return Options(
        epochs=given.epochs,
        batch=given.batch,
        rate=given.rate,
        rate_own=given.rate_own,
        decay=given.decay,
        patience=given.patience,
        clip=given.clip,
        accumulate=given.accumulate,
        update=given.update,
        balance=given.balance,
        weights=weights,
        balanced=given.balanced[0] if given.balanced else None,
        impute=given.impute,
        loss=loss,
        seed=given.seed,
    )
