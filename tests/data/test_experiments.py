"""The experiments run, and their parts do what they say. What they find is not tested."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from examples.data.planted import make
from examples.experiments import common, order, regions
from examples.experiments.__main__ import EXPERIMENTS
from examples.experiments.growing import copied, first_tasks, freeze
from examples.training import runs
from examples.training.loop import Trainer
from examples.zoo.seq import one_more_task

TINY = common.Given(seeds=1, rows=400, epochs=1, jobs=1)


@pytest.mark.parametrize("model", ["shared_bottom", "mmoe", "resflow", "seq"])
def test_a_frozen_model_serves_the_same_bits(model) -> None:
    world = make("funnel", 600)
    two = first_tasks(world, 2)
    chosen = common.options(TINY, 0)
    old = runs.build(model, two, 0)
    Trainer(old, two, chosen).fit()
    old.eval()
    with torch.no_grad():
        before = old(*two.test.inputs.values())
    if model == "seq":
        new = one_more_task(old, world.tasks[2])
        names = set(old.state_dict())
    else:
        new = runs.build(model, world, 1)
        names = copied(old, new)
    freeze(new, names)
    start = {name: value.clone() for name, value in new.state_dict().items()}
    Trainer(new, world, chosen).fit()
    changed = {
        name for name, value in new.state_dict().items() if not torch.equal(value, start[name])
    }
    assert changed and not changed & names
    new.eval()
    with torch.no_grad():
        after = new(*world.test.inputs.values())
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])


def test_a_model_without_the_place_is_refused() -> None:
    world = make("funnel", 50)
    old = runs.build("shared_bottom", first_tasks(world, 2), 0)
    with pytest.raises(ValueError, match="has no place in the larger ranker"):
        copied(old, runs.build("mmoe", world, 0))


def test_tasks_are_permuted_with_their_columns() -> None:
    world = make("funnel", 300)
    turned = order.permuted(world, (2, 0, 1))
    assert [task.name for task in turned.tasks] == ["order", "click", "cart"]
    assert torch.equal(turned.test.labels[:, 1], world.test.labels[:, 0])
    assert torch.equal(turned.valid.truth[:, 0], world.valid.truth[:, 2])


def test_an_experiment_on_one_seed_gives_what_a_table_needs() -> None:
    found = regions.sweep(replace(TINY, rows=2000), 0)
    assert found["quality"].shape == (len(regions.THRESHOLDS), 3)
    assert found["count"][0] == 16 and found["count"][-1] == 0
    assert ((found["quality"] > 0) & (found["quality"] < 1)).all()


def test_claims_are_judged_by_their_interval() -> None:
    for differences, verdict in (
        ([0.1, 0.11, 0.12], "shows"),
        ([-0.1, -0.11, -0.12], "the opposite shows"),
        ([-0.1, 0.1, 0.12], "does not show"),
        ([0.1], "does not show"),
    ):
        assert common.Claim("", differences).verdict == verdict


def test_results_become_a_section(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(common, "FOLDER", tmp_path)
    table = common.Table("What it is.", ["a", "b"], [["1", "2"]])
    found = common.Findings([table], [common.Claim("it helps", [0.1, 0.12])])
    assert common.load("order") is None
    common.save("order", order, found, TINY, 1.0)
    text = common.markdown(common.load("order"))
    assert text.startswith("## ResFlow: the order of the tasks\n")
    assert "| 1 | 2 |" in text and "- it helps: +0.1100 ± 0.1271, does not show." in text


def test_every_experiment_says_what_it_is() -> None:
    for module in EXPERIMENTS.values():
        assert module.TITLE and module.PAPER and module.ABOUT and callable(module.run)
