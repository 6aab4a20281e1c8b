"""The training loop: Adam, early stopping, checkpoints; the same seed gives the same weights.

Regression tasks are learnt in standard deviations; `Served` puts the labels' own units back for use.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from examples.data import Split, World
from examples.training import metrics, relations
from examples.training.balancers import balancer
from examples.training.losses import Losses, LossOptions, Scale
from examples.training.sampling import balanced_weights, order
from examples.zoo.ranker import Ranker
from examples.zoo.tasks import Task

ROWS = 1024  # a call where nothing is learnt: activations stay in cache, and any number of rows will do
PROBE = 512  # rows on which gradients are compared after each epoch


@dataclass(frozen=True)
class Options:
    """`batch` rows a step, in `accumulate` parts whose gradients add up. `rate_own` is the rate of
    an optimiser of its own for the parameters that tasks do not share. `update` "alternate" trains
    one task a step, in turn, each with its own optimiser. `balanced` is (task, share of its
    positives in a batch). `impute` fills missing training labels in by single-task models (that is the
    caller's work: runs.train). Training stops when the validation loss has not fallen for `patience`
    epochs, and takes the best epoch's weights. `clip` bounds the gradient's norm (0: no bound)."""

    epochs: int = 20
    batch: int = 512
    rate: float = 2e-3
    rate_own: float | None = None
    decay: float = 0.0
    patience: int = 3
    clip: float = 5.0
    accumulate: int = 1
    update: str = "together"
    balance: str = "uniform"
    weights: tuple[float, ...] = ()
    balanced: tuple[str, float] | None = None
    impute: bool = False
    loss: LossOptions = field(default_factory=LossOptions)
    seed: int = 0

    def to_json(self) -> dict:
        return json.loads(json.dumps(dataclasses.asdict(self)))


@dataclass
class History:
    """One entry an epoch: losses (T,) of training and validation, validation quality (T,), the
    balancer's weights (T,), cosines (T, T) of the gradients; `best` is the epoch whose weights were
    kept."""

    train: list[list[float]] = field(default_factory=list)
    valid: list[list[float]] = field(default_factory=list)
    quality: list[list[float]] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)
    cosine: list[list[list[float]]] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    best: int = -1


class Served(nn.Module):
    """What is exported: the ranker, with regression values in the labels' units. The compiler folds
    scale and shift into the last layer."""

    def __init__(self, model: Ranker, scales: Sequence[Scale]) -> None:
        super().__init__()
        self.model = model
        self.scales = [(scale.deviation, scale.mean) for scale in scales]
        self.outputs = model.outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = list(self.model(*inputs))
        for t, (deviation, mean) in enumerate(self.scales):
            if (deviation, mean) != (1.0, 0.0):
                outputs[t] = outputs[t] * deviation + mean
        return tuple(outputs)


def rows_of(split: Split, rows: Tensor | slice) -> list[Tensor]:
    return [value[rows] for value in split.inputs.values()]


@torch.no_grad()
def predict(model: nn.Module, split: Split, tasks: Sequence[Task]) -> list[np.ndarray]:
    """Scores of a model in eval mode, one array a task: (B,), classes (B, C)."""
    model.eval()
    parts: list[list[Tensor]] = [[] for _ in tasks]
    for start in range(0, len(split.labels), ROWS):
        outputs = model(*rows_of(split, slice(start, start + ROWS)))
        for part, task, output in zip(parts, tasks, outputs):
            part.append(output if task.kind == "multiclass" else output.reshape(-1))
    return [torch.cat(part).numpy() for part in parts]


class Trainer:
    """One model on one world. fit() trains it; `history` says how that went."""

    def __init__(self, model: Ranker, world: World, options: Options) -> None:
        """Takes the statistics of the dense fields from the training rows. ValueError where options
        do not fit the world or the model."""
        self.model, self.world, self.options = model, world, options
        self.history = History()
        self.epoch = 0
        torch.manual_seed(options.seed)  # dropout
        self.generator = torch.Generator().manual_seed(options.seed)  # the order of the rows
        model.fit(world.train.inputs)
        labels = world.train.labels
        self.losses = Losses(world.tasks, labels, options.loss)
        self.shared = [p for p in model.shared() if p.requires_grad]
        self.balancer = balancer(options.balance, len(world.tasks), options.weights)
        self._check()
        self.row_weights = None
        if options.balanced is not None:
            name, share = options.balanced
            self.row_weights = balanced_weights(labels[:, self._task(name)], share)
        self.optimisers = self._optimisers()
        self.constant = self._constant_losses()
        self.best: dict[str, Tensor] = copy.deepcopy(model.state_dict())

    def _task(self, name: str) -> int:
        names = [task.name for task in self.world.tasks]
        if name not in names:
            raise ValueError(f"no task {name!r}: the tasks are {', '.join(names)}")
        return names.index(name)

    def _check(self) -> None:
        options, tasks = self.options, self.world.tasks
        for name, _ in options.loss.pos_weight:
            if tasks[self._task(name)].kind != "binary":
                raise ValueError(f"task {name} is not binary: it has no positives to weight")
        if options.balanced and tasks[self._task(options.balanced[0])].kind != "binary":
            raise ValueError(f"task {options.balanced[0]} is not binary: it cannot be balanced")
        if self.balancer.needs_shared and (not self.shared or len(tasks) < 2):
            raise ValueError(
                f"{options.balance} compares the gradients of parameters that tasks share, "
                "and this model has none"
            )
        if options.update == "alternate" and options.balance not in ("uniform", "manual"):
            raise ValueError(f"alternating updates see one task at a time: no {options.balance}")

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """One of all parameters; of shared and of own ones; or one a task."""
        options = self.options
        parameters = [p for p in self.model.parameters() if p.requires_grad]

        def adam(group: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
            return torch.optim.AdamW(group, lr=rate, weight_decay=options.decay)

        if options.update == "alternate":
            return [adam(parameters, options.rate) for _ in self.world.tasks]
        made = []
        if options.rate_own is None:
            made.append(adam(parameters, options.rate))
        else:
            shared = {id(p) for p in self.shared}
            groups = [[p for p in parameters if (id(p) in shared) == s] for s in (True, False)]
            rates = (options.rate, options.rate_own)
            made += [adam(group, rate) for group, rate in zip(groups, rates) if group]
        if self.balancer.trained():  # no decay: 0 is no better a weight than another
            made.append(torch.optim.Adam(self.balancer.trained(), lr=options.rate))
        return made

    def _constant_losses(self) -> list[float]:
        """The validation loss of each task's best constant: what a loss is measured by, so that no
        task's scale decides when to stop."""
        labels, found = self.world.valid.labels, []
        for t, task in enumerate(self.world.tasks):
            known = labels[:, t][~labels[:, t].isnan()]
            if task.kind == "binary":
                rate = min(max(float(known.mean()) if len(known) else 0.5, 1e-4), 1 - 1e-4)
                found.append(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate))
            elif task.kind == "multiclass":
                share = torch.bincount(known.long(), minlength=task.classes) / max(len(known), 1)
                found.append(max(float(-(share * share.clamp(min=1e-9).log()).sum()), 1e-4))
            else:
                found.append(1.0)  # standardised
        return found

    def served(self) -> Served:
        """The model for use, in eval mode."""
        return Served(self.model, self.losses.scales).eval()

    def _logits(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.model.logits(*inputs)

    def _loss(self, rows: Tensor, step: int) -> tuple[Tensor, list[Tensor]]:
        """The loss of these training rows, and those of the tasks."""
        logits = self._logits(rows_of(self.world.train, rows))
        labels = self.world.train.labels[rows]
        losses = self.losses.per_task(logits, labels)
        beside = self.losses.extra(logits) + self.model.auxiliary() + self.model.label_loss(labels)
        if self.options.update == "alternate":
            t = step % len(losses)
            total = self.balancer.weights[t] * losses[t]
        else:
            total = self.balancer.total(losses, self.shared)
        return total + beside, losses

    def _step(self, rows: Tensor, step: int) -> list[float]:
        """One update; the tasks' losses (T,)."""
        alternate = self.options.update == "alternate"
        turn = step % len(self.world.tasks)
        optimisers = [self.optimisers[turn]] if alternate else self.optimisers
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        parts = rows.chunk(self.options.accumulate)
        means = torch.zeros(len(self.world.tasks))
        for part in parts:
            total, losses = self._loss(part, step)
            if not bool(total.isfinite()):
                raise FloatingPointError(f"the loss is {total.item()} in epoch {self.epoch + 1}")
            (total * (len(part) / len(rows))).backward()
            means += torch.stack([loss.detach() for loss in losses]) * (len(part) / len(rows))
        if self.options.clip > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        for optimiser in optimisers:
            optimiser.step()
        return means.tolist()

    def run_epoch(self) -> None:
        """All training rows once, then validation."""
        self.model.train()
        rows = len(self.world.train.labels)
        sums, steps = torch.zeros(len(self.world.tasks)), 0
        weights = torch.zeros(len(self.world.tasks))
        for batch in order(rows, self.generator, self.row_weights).split(self.options.batch):
            if len(batch) < 2 * self.options.accumulate:
                continue  # batch normalisation cannot learn from one row
            sums += torch.tensor(self._step(batch, steps))
            weights += self.balancer.weights.detach()
            steps += 1
        means = sums / max(steps, 1)
        self.balancer.epoch(means)
        self.history.train.append(means.tolist())
        self.history.weights.append((weights / max(steps, 1)).tolist())
        self._validate()
        self.epoch += 1

    def _validate(self) -> None:
        self.model.eval()
        valid, tasks, history = self.world.valid, self.world.tasks, self.history
        with torch.no_grad():
            parts = [
                self._logits(rows_of(valid, slice(start, start + ROWS)))
                for start in range(0, len(valid.labels), ROWS)
            ]
            logits = [torch.cat(values) for values in zip(*parts)]
            losses = [loss.item() for loss in self.losses.per_task(logits, valid.labels)]
            scores = [task.served(logit).numpy() for task, logit in zip(tasks, logits)]
        history.valid.append(losses)
        history.quality.append(
            [
                metrics.quality(
                    task, s if task.kind == "multiclass" else s[:, 0], valid.labels[:, t].numpy()
                )
                for t, (task, s) in enumerate(zip(tasks, scores))
            ]
        )
        history.cosine.append(self._conflict())
        history.score.append(sum(a / b for a, b in zip(losses, self.constant)) / len(losses))
        if min(history.score) == history.score[-1]:
            history.best = len(history.score) - 1
            self.best = copy.deepcopy(self.model.state_dict())

    def _conflict(self) -> list[list[float]]:
        """Cosines of the tasks' gradients on the first training rows, without dropout."""
        if len(self.world.tasks) < 2 or not self.shared:
            return []
        rows = torch.arange(min(PROBE, len(self.world.train.labels)))
        logits = self._logits(rows_of(self.world.train, rows))
        losses = self.losses.per_task(logits, self.world.train.labels[rows])
        return relations.gradient_cosine(losses, self.shared).tolist()

    def done(self) -> bool:
        since = len(self.history.score) - 1 - self.history.best
        return self.epoch >= self.options.epochs or (
            self.history.best >= 0 and since >= self.options.patience
        )

    def fit(
        self,
        folder: Path | None = None,
        progress: bool = False,
        after_epoch: Callable[[Trainer], None] | None = None,
    ) -> Served:
        """Trains until done(), with a checkpoint an epoch in `folder`; the best epoch's model."""
        bar = tqdm(
            total=self.options.epochs, initial=self.epoch, unit="epoch", disable=not progress
        )
        with bar:
            while not self.done():
                self.run_epoch()
                if folder is not None:
                    self.save(folder)
                bar.update()
                shown = zip(self.world.tasks, self.history.quality[-1])
                bar.set_postfix_str(" ".join(f"{task.name} {value:.3f}" for task, value in shown))
                if after_epoch is not None:
                    after_epoch(self)
        self.model.load_state_dict(self.best)
        return self.served()

    def save(self, folder: Path) -> None:
        """checkpoint.pt, all that training goes on from, and options.json. Whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "balancer": self.balancer.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "history": dataclasses.asdict(self.history),
            "epoch": self.epoch,
            "random": torch.get_rng_state(),
            "order": self.generator.get_state(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / "checkpoint.tmp")
        os.replace(folder / "checkpoint.tmp", folder / "checkpoint.pt")
        (folder / "options.json").write_text(json.dumps(self.options.to_json(), indent=1) + "\n")

    def resume(self, folder: Path) -> None:
        """Goes on from save(). ValueError where the options differ in more than the number of
        epochs: the result would be that of neither."""
        stored = json.loads((folder / "options.json").read_text())
        now = self.options.to_json()
        other = [name for name in now if name != "epochs" and stored.get(name) != now[name]]
        if other:
            raise ValueError(
                f"{folder} was trained with another {', '.join(other)}: "
                f"{other[0]} {stored.get(other[0])!r}, not {now[other[0]]!r}"
            )
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.best = state["best"]
        self.balancer.load_state_dict(state["balancer"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.history = History(**state["history"])
        self.epoch = state["epoch"]
        torch.set_rng_state(state["random"])
        self.generator.set_state(state["order"])
