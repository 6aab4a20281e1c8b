"""The loop: same seed, same weights, also across a checkpoint; every option trains; what is left of
training in an exported model: nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from examples.data.planted import make
from examples.training.balancers import BALANCERS
from examples.training.loop import Options, Served, Trainer, predict
from examples.training.losses import LossOptions, Scale
from examples.training.sampling import balanced_weights, impute, only, order
from examples.zoo.export import to_onnx
from examples.zoo.features import FrontEnd, made_up
from examples.zoo.mmoe import MMoE
from examples.zoo.ranker import SingleTask, WithFrontEnd

WORLD = make("funnel", 600, 0)
KINDS = make("kinds", 600, 0)
SHORT = Options(epochs=2, batch=128, patience=9, rate=5e-3)


def ranker(world=WORLD, seed: int = 0) -> WithFrontEnd:
    torch.manual_seed(seed)
    front = FrontEnd(world.schema, 4)
    return WithFrontEnd(
        front, MMoE(front.out, world.tasks, experts=2, hidden=8, out=8, towers=(4,))
    )


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().double().reshape(-1) for value in model.state_dict().values()])


def fitted(options: Options, world=WORLD) -> Trainer:
    trainer = Trainer(ranker(world), world, options)
    trainer.fit()
    return trainer


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    one, again = fitted(SHORT), fitted(SHORT)
    other = fitted(replace(SHORT, seed=1))
    assert torch.equal(weights(one.model), weights(again.model))
    assert not torch.equal(weights(one.model), weights(other.model))
    assert one.history == again.history


@pytest.mark.parametrize("balance", ["uniform", "gradnorm", "dwa", "uncertainty"])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(balance: str, tmp_path: Path) -> None:
    """Dropout, the order of the rows, Adam's moments and the balancer all go on."""
    options = replace(SHORT, epochs=4, balance=balance)
    whole = fitted(options)
    half = Trainer(ranker(), WORLD, replace(options, epochs=2))
    half.fit(tmp_path)
    torch.manual_seed(12345)
    resumed = Trainer(ranker(seed=9), WORLD, options)
    resumed.resume(tmp_path)
    assert resumed.epoch == 2
    resumed.fit(tmp_path)
    assert torch.equal(weights(whole.model), weights(resumed.model))
    assert whole.history == resumed.history


def test_resuming_with_other_options_is_refused(tmp_path: Path) -> None:
    Trainer(ranker(), WORLD, replace(SHORT, epochs=1)).fit(tmp_path)
    with pytest.raises(ValueError, match="another rate: rate 0.005, not 0.5"):
        Trainer(ranker(), WORLD, replace(SHORT, rate=0.5)).resume(tmp_path)


VARIANTS = {
    **{f"balance {name}": {"balance": name, "weights": (1.0, 2.0, 3.0)} for name in BALANCERS},
    "own optimiser": {"rate_own": 1e-2},
    "alternating": {"update": "alternate"},
    "accumulation": {"accumulate": 4},
    "balanced": {"balanced": ("order", 0.3)},
    "clicked": {"loss": LossOptions(cvr="clicked", descending=1.0, pos_weight=(("order", 5.0),))},
    "decay": {"decay": 0.1, "clip": 0.0},
}


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_option_trains_and_means_something(name: str) -> None:
    trainer = fitted(replace(SHORT, **VARIANTS[name]))
    assert bool(weights(trainer.model).isfinite().all())
    first, last = (sum(losses) for losses in trainer.history.train)
    assert last < first
    if name not in ("balance uniform", "balance dwa"):  # dwa has no rate yet after two epochs
        assert not torch.equal(weights(trainer.model), weights(fitted(SHORT).model))


def test_accumulation_adds_up_to_the_gradient_of_the_whole_batch() -> None:
    """In eval mode (no dropout), with a loss that counts rows: 4 equal parts are the whole."""
    grads = []
    for parts in (1, 4):
        trainer = Trainer(ranker(), WORLD, replace(SHORT, accumulate=parts, clip=0.0))
        trainer.model.eval()
        trainer._step(torch.arange(128), 0)
        grads.append(torch.cat([p.grad.reshape(-1) for p in trainer.model.parameters()]))
    assert torch.allclose(grads[0], grads[1], atol=1e-7)


def test_alternating_updates_train_one_task_at_a_time() -> None:
    trainer = Trainer(ranker(), WORLD, replace(SHORT, update="alternate"))
    before = [weights(tower).clone() for tower in trainer.model.ranker.towers]
    trainer._step(torch.arange(128), 1)  # the second task's turn
    moved = [not torch.equal(weights(t), b) for t, b in zip(trainer.model.ranker.towers, before)]
    assert moved == [False, True, False]
    assert len({id(optimiser) for optimiser in trainer.optimisers}) == 3


def test_the_own_rate_is_that_of_what_tasks_do_not_share() -> None:
    trainer = Trainer(ranker(), WORLD, replace(SHORT, rate=1e-3, rate_own=0.0))
    towers, experts = trainer.model.ranker.towers, trainer.model.ranker.experts
    before = weights(towers).clone(), weights(experts).clone()
    trainer._step(torch.arange(128), 0)
    assert torch.equal(weights(towers), before[0])
    assert not torch.equal(weights(experts), before[1])


def test_early_stopping_keeps_the_best_epoch() -> None:
    trainer = fitted(replace(SHORT, epochs=40, rate=0.03, patience=2))
    assert trainer.epoch < 40
    assert trainer.history.best == trainer.epoch - 1 - 2
    best = min(trainer.history.score)
    trainer._validate()  # the weights that were kept
    assert trainer.history.score[-1] == best


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"balanced": ("buy", 0.5)}, "no task 'buy': the tasks are click, cart, order"),
        ({"balance": "manual", "weights": (1.0,)}, "1 weights for 3 tasks"),
        ({"update": "alternate", "balance": "dwa"}, "one task at a time: no dwa"),
    ],
)
def test_options_that_do_not_fit_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trainer(ranker(), WORLD, replace(SHORT, **change))


def test_gradient_balancers_need_something_shared() -> None:
    with pytest.raises(
        ValueError, match="mgda compares the gradients of parameters that tasks share"
    ):
        Trainer(SingleTask(WORLD.schema, WORLD.tasks), WORLD, replace(SHORT, balance="mgda"))


def test_kinds_with_missing_labels_train_and_are_served_in_their_units() -> None:
    trainer = fitted(replace(SHORT, epochs=12, patience=12, rate=1e-2), KINDS)
    scores = predict(trainer.served(), KINDS.test, KINDS.tasks)
    dwell = [task.name for task in KINDS.tasks].index("dwell")
    label = KINDS.test.labels[:, dwell]
    label = label[~label.isnan()]
    assert float(scores[dwell].mean()) == pytest.approx(float(label.mean()), rel=0.35)
    classes = [t for t, task in enumerate(KINDS.tasks) if task.kind == "multiclass"]
    assert scores[classes[0]].shape == (600, KINDS.tasks[classes[0]].classes)


def test_balanced_sampling_draws_the_share_that_was_asked_for() -> None:
    label = WORLD.train.labels[:, 2]
    rows = order(50_000, torch.Generator().manual_seed(0), balanced_weights(label, 0.25))
    assert float((label[rows % 600] == 1).float().mean()) == pytest.approx(0.25, abs=0.02)
    with pytest.raises(ValueError, match="with and without the event"):
        balanced_weights(torch.zeros(5), 0.5)


def test_imputation_fills_training_labels_only() -> None:
    filled = impute(KINDS, lambda world, t: torch.full((600,), 0.25 + t))
    missing = KINDS.train.labels.isnan()
    assert bool(missing.any()) and not bool(filled.train.labels.isnan().any())
    assert bool((filled.train.labels[missing[:, 1], 1] == 1.25).all())
    assert torch.equal(filled.train.labels[~missing], KINDS.train.labels[~missing])
    assert torch.equal(filled.valid.labels.isnan(), KINDS.valid.labels.isnan())


def test_one_task_alone_comes_after_nothing() -> None:
    alone = only(WORLD, 2)
    assert (alone.tasks[0].name, alone.tasks[0].after) == ("order", None)
    assert torch.equal(alone.test.labels[:, 0], WORLD.test.labels[:, 2])


def operators(model: torch.nn.Module, outputs: list[str], inputs: dict) -> list[str]:
    proto = to_onnx(model, inputs, outputs)
    return [f"{node.op_type} {list(node.input)} {list(node.output)}" for node in proto.graph.node]


def test_nothing_of_training_is_in_the_exported_graph() -> None:
    """With every option that adds to the loss, the graph is node by node that of a ranker which was
    never trained, and its initialisers are parameters of the ranker."""
    loud = replace(
        SHORT,
        epochs=1,
        balance="uncertainty",
        loss=LossOptions(cvr="clicked", descending=0.6, pos_weight=(("order", 9.0),)),
    )
    trained = fitted(loud)
    outputs, few = list(trained.model.outputs), made_up(WORLD.schema, 3)
    never = Served(ranker(), [Scale()] * 3).eval()
    got = operators(trained.served(), outputs, few)
    assert got == operators(never, outputs, few)
    words = " ".join(got)
    for name in ("Dropout", "Random", "Bernoulli", "Loss"):
        assert name not in words
