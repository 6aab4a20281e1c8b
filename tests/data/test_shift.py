"""Distances by region, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from examples.data.planted import make
from examples.data.shift import BINS, dense_columns, distances, with_dependent, world_distances


def test_ks_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(0, 1, 400), rng.normal(0.5, 2, 300), np.round(rng.normal(0, 1, 300), 1)]
    )
    region = np.repeat([4, 7, 9], (400, 300, 300))
    want = max(
        ks_2samp(x[region == a], x[region == b]).statistic for a, b in ((4, 7), (4, 9), (7, 9))
    )
    assert distances(x[:, None], region)[0] == pytest.approx(want, abs=1e-12)


def test_js_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x, region = rng.normal(0, 1, 1000), np.repeat([0, 1], 500)
    x[region == 1] *= 3
    edges = np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1])
    parts = [
        np.bincount(np.searchsorted(edges, x[region == r], side="right"), minlength=BINS)
        for r in (0, 1)
    ]
    want = jensenshannon(*parts, base=2) ** 2
    assert distances(x[:, None], region, "js")[0] == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("kind", ["ks", "js"])
def test_distances_ignore_units_and_small_regions(kind) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, (1000, 2))
    region = np.repeat([0, 1, 2], (500, 450, 50))
    x[region == 1, 1] += 1
    x[region == 2, 0] += 100  # fifty rows are too few to count
    found = distances(x, region, kind)
    assert found[0] < 0.12 and found[1] > 0.15
    assert np.allclose(found, distances(x * 1000 - 7, region, kind), atol=0.02)
    assert (distances(x, np.zeros(1000, int), kind) == 0).all()
    constant = np.zeros((1000, 1))
    assert distances(constant, region, kind)[0] == 0
    with pytest.raises(ValueError, match="no distance is called 'kl'"):
        distances(x, region, "kl")


def test_the_shifted_features_are_found() -> None:
    world = make("regions", 20_000)
    for kind, threshold in (("ks", 0.5), ("js", 0.6)):
        apart = world_distances(world, kind)
        assert {name for name, value in apart.items() if value > threshold} == {
            ("local", i) for i in range(8)
        }
    with pytest.raises(ValueError, match="one id of role region"):
        world_distances(make("regions_vector", 1000))


def test_a_world_is_split_into_dependent_and_invariant() -> None:
    world = make("regions", 500)
    chosen = {("local", 3), ("dense", 1)}
    made = with_dependent(world, chosen)
    assert [(f.name, f.role) for f in made.schema[:2]] == [
        ("dependent", "dependent"),
        ("invariant", ""),
    ]
    assert made.schema[0].width == 2 and made.schema[1].width == len(dense_columns(world)) - 2
    assert list(made.test.inputs) == [f.name for f in made.schema]
    both = torch.stack([world.test.inputs["dense"][:, 1], world.test.inputs["local"][:, 3]], 1)
    assert torch.equal(made.test.inputs["dependent"], both)
    assert torch.equal(made.test.labels, world.test.labels)
    assert [f.name for f in with_dependent(world, set()).schema][0] == "invariant"
