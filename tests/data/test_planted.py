"""The planted worlds are what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.data import expected_auc, expected_log_loss
from examples.data.planted import ITEMS_PER_CATEGORY, make, worlds
from examples.zoo.features import Bag, Dense, HashedId, Id, Sequence

ROWS = 4000


@pytest.fixture(scope="module", params=worlds())
def world(request):
    return make(request.param, ROWS, seed=3)


def splits(world):
    return world.train, world.valid, world.test


def same(a, b) -> bool:
    return (
        all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)
        and torch.equal(a.labels.nan_to_num(-1), b.labels.nan_to_num(-1))
        and torch.equal(a.truth, b.truth)
        and torch.equal(a.groups, b.groups)
    )


def test_shapes_and_types_follow_the_schema(world) -> None:
    for split, rows in zip(splits(world), (ROWS, ROWS // 4, ROWS)):
        assert list(split.inputs) == [field.name for field in world.schema]
        assert len(split) == rows
        for field in world.schema:
            values = split.inputs[field.name]
            if isinstance(field, Dense):
                assert values.dtype == torch.float32 and values.shape == (rows, field.width)
                assert values.isfinite().all()
            elif isinstance(field, Bag | Sequence):
                assert values.dtype == torch.int64 and values.shape == (rows, field.length)
            else:
                assert values.dtype == torch.int64 and values.shape == (rows,)
        assert split.labels.shape == split.truth.shape == (rows, len(world.tasks))
        assert split.labels.dtype == split.truth.dtype == torch.float32
        assert split.groups.dtype == torch.int64 and split.groups.shape == (rows,)


def test_ids_are_inside_their_tables(world) -> None:
    for split in splits(world):
        for field in world.schema:
            values = split.inputs[field.name]
            if not isinstance(field, Dense):
                assert values.min() >= 0
            if isinstance(field, Id | Bag | Sequence):
                assert values.max() < field.size
            if isinstance(field, HashedId):
                assert values.max() >= field.buckets  # something is left to hash


def test_padding_comes_last_and_some_is_there(world) -> None:
    for field in world.schema:
        if isinstance(field, Bag | Sequence):
            real = world.train.inputs[field.name] > 0
            assert (real[:, 1:] <= real[:, :-1]).all(), "an id after padding"
            assert not real.all() and real.any()
            if field.name in ("carted", "ordered"):
                assert (~real).all(1).any(), "no empty sequence"


def test_the_same_arguments_give_the_same_rows_and_others_do_not(world) -> None:
    again, other = make(world.name, ROWS, seed=3), make(world.name, ROWS, seed=4)
    for a, b, c in zip(splits(world), splits(again), splits(other)):
        assert same(a, b)
        assert not same(a, c)
    assert not torch.equal(world.train.inputs["dense"], world.test.inputs["dense"])


def test_what_comes_after_happens_after(world) -> None:
    for number, task in enumerate(world.tasks):
        if task.after is not None:
            before = world.task(task.after)
            for split in splits(world):
                assert (split.labels[:, number] <= split.labels[:, before]).all()
                assert (split.truth[:, number] <= split.truth[:, before]).all()
                assert 0 < split.labels[:, number].sum() < split.labels[:, before].sum()


def test_truth_is_the_probability_of_the_labels(world) -> None:
    """In each fifth of the rows, ordered by the truth, the positives are within 4.5 standard
    deviations of what the truth says: labels that ignored it would be far outside."""
    for number, task in enumerate(world.tasks):
        if task.kind != "binary":
            continue
        truth, label = (
            torch.cat([getattr(s, part)[:, number] for s in splits(world)])
            for part in ("truth", "labels")
        )
        for rows in truth.argsort().chunk(5):
            p = truth[rows].double()
            deviation = (p * (1 - p)).sum().sqrt()
            assert (label[rows].double().sum() - p.sum()).abs() <= 4.5 * deviation + 1e-3
        top = truth.argsort(descending=True)[: len(truth) // 5]
        assert label[top].mean() > 1.5 * label.mean()


def test_rates_are_those_of_the_docstring() -> None:
    for name, rates in {
        "funnel": (0.2, 0.06, 0.02),
        "conflict": (0.3, 0.2),
        "regions": (0.25, 0.1, 0.04),
        "single": (0.25,),
        "sequences": (0.3, 0.12, 0.05),
    }.items():
        found = make(name, 20_000).train.truth.mean(0)
        assert torch.allclose(found, torch.tensor(rates), rtol=0.25), (name, found)


def test_groups_are_requests_of_one_user(world) -> None:
    groups = world.train.groups
    assert ((groups[1:] - groups[:-1] == 0) | (groups[1:] - groups[:-1] == 1)).all()
    sizes = groups.bincount()[:-1]  # the last one may be cut
    assert 12 <= sizes.min() and sizes.max() <= 28
    for name in ("user", "clicked", "region"):
        if name in world.train.inputs:
            values = world.train.inputs[name].reshape(ROWS, -1)
            change = (values[1:] != values[:-1]).any(1)
            assert not (change & (groups[1:] == groups[:-1])).any(), f"{name} changes in a request"


def test_the_region_shift_is_there_and_only_where_it_is_said() -> None:
    """Means of a dependent feature differ between regions by more than luck; of others, not. And
    their direction differs: they go with the clicks in one region and against them in another."""
    world = make("regions", 40_000)
    region = world.train.inputs["region"]
    counts = region.bincount(minlength=10)
    assert counts.max() > 5 * counts.min() > 0
    for name, shifted in (("local", True), ("dense", False)):
        values = world.train.inputs[name]
        for column in range(values.shape[1]):
            x = values[:, column].double()
            # dense features of a request stand for all its rows: compare request by request
            if not shifted and column < values.shape[1] // 2:
                continue
            means = torch.stack([x[region == r].mean() for r in range(10)])
            spread = torch.stack([x[region == r].std() / counts[r] ** 0.5 for r in range(10)])
            far = ((means - x.mean()).abs() / spread).max()
            assert (far > 10) if shifted else (far < 5), (name, column, far)
    local, truth = world.train.inputs["local"].double(), world.train.truth[:, 0].double()
    big = [r for r in range(10) if counts[r] > 1500]
    slopes = torch.stack(
        [
            torch.stack(
                [
                    torch.corrcoef(torch.stack([local[region == r, c], truth[region == r]]))[0, 1]
                    for c in range(8)
                ]
            )
            for r in big
        ]
    )
    assert (slopes.amin(0) < -0.1).logical_and(slopes.amax(0) > 0.1).any()


def test_the_vector_variant_tells_the_same_story() -> None:
    a, b = make("regions", ROWS), make("regions_vector", ROWS)
    assert torch.equal(a.train.labels, b.train.labels)
    assert torch.equal(a.train.inputs["local"], b.train.inputs["local"])
    vectors = b.train.inputs["region"]
    for r in range(10):
        assert len(torch.unique(vectors[a.train.inputs["region"] == r], dim=0)) == 1


def test_each_task_follows_its_own_sequence() -> None:
    """Having clicked (carted, ordered) items of the candidate's category says most about the step
    of that name, given the step before."""
    world = make("sequences", 20_000)
    category = (world.train.inputs["item"] - 1) // ITEMS_PER_CATEGORY
    before = torch.ones(len(category), dtype=torch.bool)
    gains = np.zeros((3, 3))
    for number in range(3):
        rows = before
        label = world.train.labels[rows, number]
        for column, name in enumerate(("clicked", "carted", "ordered")):
            events = world.train.inputs[name]
            seen = (((events - 1) // ITEMS_PER_CATEGORY == category[:, None]) & (events > 0)).any(
                1
            )[rows]
            gains[number, column] = label[seen].mean() / label[~seen].mean()
        before = world.train.labels[:, number] > 0
    assert (gains.argmax(1) == np.arange(3)).all(), gains
    assert gains.diagonal().min() > 1.3


def test_kinds_have_missing_labels_where_they_say() -> None:
    world = make("kinds", 20_000)
    labels, truth = world.train.labels, world.train.truth
    click, dwell, rating, back = labels.T
    assert (dwell.isnan() == (click == 0)).all()
    assert 0.6 < rating.isnan().float().mean() < 0.73
    assert not click.isnan().any() and not back.isnan().any()
    assert set(rating[~rating.isnan()].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    classes = world.train.classes["rating"]
    assert torch.allclose(classes.sum(1), torch.ones(len(classes)), atol=1e-5)
    assert torch.allclose((classes * torch.arange(5)).sum(1), truth[:, 2], atol=1e-4)
    # means of many heavy-tailed values: within 15 % in each half
    known = ~dwell.isnan()
    for rows in truth[known, 1].argsort().chunk(2):
        assert abs(dwell[known][rows].mean() / truth[known, 1][rows].mean() - 1) < 0.15
    known = ~rating.isnan()
    assert abs(rating[known].mean() - truth[known, 2].mean()) < 0.05


def test_unknown_worlds_and_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match="no world is called 'funnell'; there are funnel, conflict"
    ):
        make("funnell")
    for rows, seed in ((0, 0), (10, -1)):
        with pytest.raises(ValueError, match="rows must be 1 or more"):
            make("funnel", rows, seed)
    assert len(make("single", 1).train) == 1


def test_take_keeps_rows_together(world) -> None:
    rows = torch.tensor([5, 2, 2])
    taken = world.train.take(rows)
    assert len(taken) == 3 and torch.equal(taken.truth[1], world.train.truth[2])
    assert all(torch.equal(v[0], world.train.inputs[n][5]) for n, v in taken.inputs.items())
    assert len(world.train.take(slice(0, 7))) == 7


def test_expected_auc_is_the_mean_auc_over_labels() -> None:
    """Against all 2^6 label vectors of six rows, two of them with the same score."""
    truth = torch.tensor([0.1, 0.7, 0.4, 0.4, 0.9, 0.3])
    score = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.5, 0.5])
    won = pairs = 0.0
    for code in range(64):
        label = torch.tensor([(code >> i) & 1 for i in range(6)])
        weight = torch.where(label > 0, truth, 1 - truth).double().prod().item()
        for i in range(6):
            for j in range(6):
                if label[i] and not label[j]:
                    pairs += weight
                    won += weight * (
                        (score[i] > score[j]).item() + 0.5 * (score[i] == score[j]).item()
                    )
    assert abs(expected_auc(score, truth) - won / pairs) < 1e-6
    assert expected_auc(truth, truth) >= expected_auc(score, truth)
    p = torch.full((6,), 0.5)
    assert abs(expected_log_loss(p, truth) - np.log(2)) < 1e-9
    assert expected_log_loss(truth, truth) < expected_log_loss(score / 4, truth)
