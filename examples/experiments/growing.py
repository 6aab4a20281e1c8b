"""Models that get one more task than they were trained for."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from examples.data import Split, World
from examples.zoo.ranker import Ranker


def first_tasks(world: World, count: int) -> World:
    """The same rows with the first tasks only."""

    def one(split: Split) -> Split:
        truth = None if split.truth is None else split.truth[:, :count]
        return replace(split, labels=split.labels[:, :count], truth=truth)

    return replace(
        world,
        tasks=world.tasks[:count],
        train=one(world.train),
        valid=one(world.valid),
        test=one(world.test),
    )


def copied(old: Ranker, new: Ranker) -> set[str]:
    """Puts what `old` learned into `new`, a ranker of the same kind with more tasks; the names of
    what was copied. ValueError where something of `old` has no place of its shape in `new`."""
    there, learned = new.state_dict(), old.state_dict()
    for name, value in learned.items():
        if name not in there or there[name].shape != value.shape:
            raise ValueError(f"{type(old).__name__}: {name} has no place in the larger ranker")
    new.load_state_dict({**there, **learned})
    return set(learned)


def freeze(ranker: Ranker, names: set[str]) -> None:
    """Keeps these parameters and buffers as they are in training, batch normalisation's statistics
    and dropout included: what the ranker served for the earlier tasks stays the same bits."""
    for name, parameter in ranker.named_parameters():
        parameter.requires_grad_(name not in names)
    for prefix, module in ranker.named_modules():
        within = prefix
        while within and not _state(ranker, within):
            within = within.rpartition(".")[0]  # Dropout has no state: what it stands in tells
        if within and _state(ranker, within) <= names:
            _keep_in_eval_mode(module)


def _state(ranker: Ranker, prefix: str) -> set[str]:
    """The names, in the ranker, of a module's parameters and buffers."""
    return set(ranker.get_submodule(prefix).state_dict(prefix=f"{prefix}."))


def _keep_in_eval_mode(module: nn.Module) -> None:
    module.train = lambda mode=True: nn.Module.train(module, False)
