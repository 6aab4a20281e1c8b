"""One run: a ranker, a world, a seed; and the single-task models that it is compared with. Results
are JSON, so that a table that was interrupted goes on, and a report can show earlier runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from examples.data import World
from examples.data.planted import make, worlds
from examples.training import compiled, metrics
from examples.training.loop import History, Options, Served, Trainer, predict
from examples.training.losses import steps
from examples.training.sampling import impute, only
from examples.zoo.ranker import Ranker
from examples.zoo.registry import RANKERS

BASELINE = "single_task"  # of the zoo; trained one task at a time here
ALONE = "single-task models"  # what the runs of those are called
CHECKED_ROWS = 257  # of the test rows, through the compiled models: full tiles and a rest


@dataclass
class Result:
    """What a run found. `tasks` has the metrics by task name; `valid` is the validation score that
    the rate is chosen by (smaller is better)."""

    model: str
    world: str
    rows: int
    seed: int
    parameters: int
    seconds: float
    epochs: int
    valid: float
    tasks: dict[str, dict[str, float]]
    violations: float
    options: dict
    compiled: list[dict] = field(default_factory=list)

    def quality(self) -> list[float]:
        return [values["quality"] for values in self.tasks.values()]

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.tmp")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(part, path)

    @staticmethod
    def load(path: Path) -> Result | None:
        """None where there is none, or one that another version of this wrote."""
        try:
            stored = json.loads(path.read_text())
            return Result(**stored)
        except (OSError, ValueError, TypeError):
            return None


@dataclass
class Trained:
    """A run with what a report looks at besides its result."""

    result: Result
    world: World
    ranker: Ranker
    served: Served
    trainer: Trainer
    scores: list[np.ndarray]  # of the test rows, one array a task
    history: History


def key(options: Options) -> str:
    """A short name for options: runs of other options are other runs."""
    text = json.dumps(options.to_json() | {"seed": 0}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def place(folder: Path, model: str, world: str, rows: int, options: Options) -> Path:
    """The folder of a run, in that of all runs."""
    return folder / f"{world}-{rows}" / model / f"seed{options.seed}-{key(options)}"


def build(model: str, world: World, seed: int) -> Ranker:
    """ValueError, in words, where the world lacks what the ranker needs."""
    entry = RANKERS[model]
    reason = entry.why_not(world.schema, world.tasks)
    if reason:
        raise ValueError(f"{model} cannot be built for the world {world.name}: {reason}")
    torch.manual_seed(seed)  # initial parameters
    return entry.build(world.schema, world.tasks)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def evaluate(world: World, scores: Sequence[np.ndarray], grouped: bool) -> dict[str, dict]:
    """Test metrics of each task by its name."""
    test = world.test
    groups = None if test.groups is None or not grouped else test.groups.numpy()
    return {
        task.name: metrics.evaluate_task(
            task,
            scores[t],
            test.labels[:, t].numpy(),
            groups,
            None if test.truth is None else test.truth[:, t].numpy(),
        )
        for t, task in enumerate(world.tasks)
    }


def violations(world: World, scores: Sequence[np.ndarray]) -> float:
    """nan where no task comes after another."""
    return metrics.violation_rate(scores, steps(world.tasks))


def teacher(options: Options):
    """For impute(): a single-task model of the rows that have the label."""
    plain = alone_options(options)

    def predictions(world: World, t: int) -> Tensor:
        alone = only(world, t)
        served = Trainer(build(BASELINE, alone, options.seed), alone, plain).fit()
        (score,) = predict(served, world.train, alone.tasks)
        return torch.from_numpy(score.argmax(axis=1) if score.ndim == 2 else score)

    return predictions


def train(
    model: str,
    world: World,
    options: Options,
    rows: int,
    folder: Path | None = None,
    resume: bool = False,
    progress: bool = False,
    grouped: bool = True,
) -> Trained:
    """Trains and evaluates; `folder` gets checkpoints, and `resume` goes on from one there."""
    begin = time.perf_counter()
    ranker = build(model, world, options.seed)
    trainer = Trainer(ranker, impute(world, teacher(options)) if options.impute else world, options)
    if resume and folder is not None and (folder / "checkpoint.pt").exists():
        trainer.resume(folder)
    served = trainer.fit(folder, progress)
    scores = predict(served, world.test, world.tasks)
    result = Result(
        model,
        world.name,
        rows,
        options.seed,
        parameters(ranker),
        time.perf_counter() - begin,
        trainer.epoch,
        min(trainer.history.score, default=float("nan")),
        evaluate(world, scores, grouped),
        violations(world, scores),
        options.to_json(),
    )
    return Trained(result, world, ranker, served, trainer, scores, trainer.history)


def train_baseline(
    world: World, options: Options, rows: int, grouped: bool = True
) -> tuple[Result, list[np.ndarray]]:
    """One model a task, each on its own, each stopped when it is best for its task; and the test
    scores. Uniform losses: what balances tasks has nothing to do here."""
    begin = time.perf_counter()
    scores, count, epochs, valid = [], 0, 0, []
    plain = alone_options(options)
    for t in range(len(world.tasks)):
        alone = only(world, t)
        ranker = build(BASELINE, alone, options.seed)
        trainer = Trainer(ranker, alone, plain)
        scores += predict(trainer.fit(), alone.test, alone.tasks)
        count += parameters(ranker)
        epochs = max(epochs, trainer.epoch)
        valid.append(min(trainer.history.score))
    result = Result(
        ALONE,
        world.name,
        rows,
        options.seed,
        count,
        time.perf_counter() - begin,
        epochs,
        float(np.mean(valid)),
        evaluate(world, scores, grouped),
        violations(world, scores),
        plain.to_json(),
    )
    return result, scores


def alone_options(options: Options) -> Options:
    """The same training for one task: nothing that is about several."""
    loss = replace(options.loss, pos_weight=(), cvr="entire", descending=0.0)
    return replace(
        options,
        balance="uniform",
        weights=(),
        balanced=None,
        impute=False,
        update="together",
        rate_own=None,
        loss=loss,
    )


def check(trained: Trained, folder: Path) -> list[compiled.Compiled]:
    """By both exporters, on the first test rows; the result remembers it."""
    inputs = {name: value[:CHECKED_ROWS] for name, value in trained.world.test.inputs.items()}
    found = compiled.both(trained.served, inputs, list(trained.ranker.outputs), folder)
    trained.result.compiled = [asdict(one) | {"equal": one.equal} for one in found]
    return found


def named_worlds(model: str) -> tuple[str, ...]:
    """Those that the ranker's paper says it is good at; without any, the first that it can be built
    for."""
    entry = RANKERS[model]

    def fits(name: str) -> bool:
        world = make(name, rows=8)
        return not entry.why_not(world.schema, world.tasks)

    return entry.beats or tuple(itertools.islice(filter(fits, worlds()), 1))


def earlier(folder: Path, world: str, rows: int, seed: int) -> list[Result]:
    """Runs of the same world, rows and seed, that were saved before: the latest of each model."""
    found: dict[str, Result] = {}
    paths = (folder / f"{world}-{rows}").glob(f"*/seed{seed}-*/result.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        result = Result.load(path)
        if result is not None:
            found[result.model] = result
    return list(found.values())
