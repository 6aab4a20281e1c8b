"""What every entry of the registry must do, whatever it is: build for the fields and tasks that it
asks for, train, serve what its logits say, and know what its tasks share."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the zoo's tests need PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from examples.zoo.features import Dense, Id, Schema, Sequence, made_up  # noqa: E402
from examples.zoo.ranker import Ranker  # noqa: E402
from examples.zoo.rankers import EVERYTHING, KINDS, STEPS, TREE, drawn  # noqa: E402
from examples.zoo.registry import NEEDS, RANKERS  # noqa: E402
from examples.zoo.tasks import Task, parents  # noqa: E402
from examples.zoo.variants import Draws  # noqa: E402

ROWS = 33
TASKS = {
    "steps": STEPS,
    "tree": TREE,
    "kinds": (*KINDS, Task("return", after="click")),
    "one": STEPS[:1],
}
CASES = [
    (name, tasks)
    for name, entry in RANKERS.items()
    for tasks in TASKS
    if not entry.why_not(EVERYTHING, TASKS[tasks])
]


def built(name: str, tasks: str) -> tuple[Ranker, tuple[Tensor, ...]]:
    model = drawn(RANKERS[name].build(EVERYTHING, TASKS[tasks]), Draws(0))
    return model, tuple(made_up(EVERYTHING, ROWS).values())


def loss_of(task: Task, logit: Tensor) -> Tensor:
    if task.kind == "multiclass":
        labels = torch.arange(ROWS) % task.classes
        return functional.cross_entropy(logit, labels)
    labels = (torch.arange(ROWS) % 3 == 0).float().unsqueeze(1)
    if task.kind == "regression":
        return functional.mse_loss(logit, 10 * labels)
    return functional.binary_cross_entropy_with_logits(logit, labels)


@pytest.mark.parametrize(("name", "tasks"), CASES)
def test_serves_what_its_logits_say(name: str, tasks: str) -> None:
    model, inputs = built(name, tasks)
    model.eval()
    with torch.no_grad():
        served, logits = model(*inputs), model.logits(*inputs)
    assert len(logits) == len(model.tasks) and len(served) == len(model.outputs)
    assert model.outputs[: len(model.tasks)] == [task.name for task in TASKS[tasks]]
    for task, got, logit in zip(TASKS[tasks], served, logits):
        assert got.shape == logit.shape == (ROWS, task.classes)
        torch.testing.assert_close(got, task.served(logit), rtol=1e-5, atol=1e-6)
        assert got.std(dim=0).max() > 1e-3, "scores all rows alike"


@pytest.mark.parametrize(("name", "tasks"), CASES)
def test_trains_a_step_with_finite_gradients(name: str, tasks: str) -> None:
    model, inputs = built(name, tasks)
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    labels = torch.full((ROWS, len(model.tasks)), float("nan"))
    labels[::2] = 1.0
    losses = [loss_of(task, z) for task, z in zip(model.tasks, model.logits(*inputs))]
    loss = sum(losses) + model.auxiliary() + model.label_loss(labels)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    optimiser.step()
    assert model.auxiliary() == 0 and model.label_loss(labels) == 0, "not only of the last logits"
    copy.deepcopy(model)  # as early stopping does


@pytest.mark.parametrize(("name", "tasks"), CASES)
def test_shares_what_more_than_one_task_trains(name: str, tasks: str) -> None:
    model, inputs = built(name, tasks)
    model.eval()  # no dropout, which can hide a gradient
    parameters = list(model.named_parameters())
    trained_by = dict.fromkeys((key for key, _ in parameters), 0)
    for logit in model.logits(*inputs):
        uneven = (logit * torch.arange(1, 1 + logit.shape[1])).sum()
        gradients = torch.autograd.grad(
            uneven, [p for _, p in parameters], retain_graph=True, allow_unused=True
        )
        for (key, _), gradient in zip(parameters, gradients):
            trained_by[key] += gradient is not None and bool(gradient.any())
    shared = {id(parameter) for parameter in model.shared()}
    known = {id(parameter) for _, parameter in parameters}
    assert shared <= known
    if tasks == "one":
        return  # then nothing is between tasks
    wrong = {
        key: trained_by[key]
        for key, parameter in parameters
        if (trained_by[key] > 1) != (id(parameter) in shared)
    }
    if name == "seq_min":  # a minimum has the gradient of one side: here perhaps never the first's
        wrong = {key: count for key, count in wrong.items() if ".towers." not in key}
    assert not wrong


@pytest.mark.parametrize("name", RANKERS)
def test_says_what_it_needs(name: str) -> None:
    entry = RANKERS[name]
    assert set(entry.needs) <= set(NEEDS)
    assert any(case == name for case, _ in CASES)
    bare: Schema = (Dense("x", 4),)
    missing = entry.why_not(bare, (Task("a"), Task("b")))
    if not missing:
        entry.build(bare, (Task("a"), Task("b"))).eval()(torch.randn(3, 4))
    for need in entry.needs:
        assert need in missing or NEEDS[need](bare, (Task("a"), Task("b")))


def test_names_what_is_missing() -> None:
    assert RANKERS["md_mmoe"].why_not((Dense("x", 4),), STEPS) == (
        "a field of role region, dense features of role dependent"
    )
    assert "a behaviour sequence" in RANKERS["dtrn"].why_not((Id("item", 9, "item"),), STEPS)
    past: Schema = (Id("item", 9, "item"), Sequence("past", 9, 4, "item"))
    assert RANKERS["dtrn"].why_not(past, STEPS) == ""


def test_every_world_that_an_entry_should_win_is_one() -> None:
    worlds = {"funnel", "conflict", "regions", "sequences", "kinds", "single"}
    assert all(set(entry.beats) <= worlds for entry in RANKERS.values())


def test_the_table_of_rankers_is_complete() -> None:
    """docs/zoo.md: each name once."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "zoo.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")][1:]
    names = [name.strip() for row in rows for name in row.split(",")]
    assert sorted(names) == sorted(RANKERS)


def test_tasks_are_checked() -> None:
    with pytest.raises(ValueError, match="kind 'ordinal'"):
        Task("a", "ordinal")
    with pytest.raises(ValueError, match="multiclass task of 1 classes"):
        Task("a", "multiclass")
    with pytest.raises(ValueError, match="no task 'click' stands before it"):
        parents((Task("order", after="click"), Task("click")))


def test_a_baseline_shares_nothing() -> None:
    """A change of one task's network moves no other task."""
    model, inputs = built("single_task", "steps")
    model.eval()
    before = model(*inputs)
    for module in (model.fronts[1], model.towers[1]):
        for parameter in module.parameters():
            nn.init.normal_(parameter)
    after = model(*inputs)
    assert torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])
