"""MD: which features are region-dependent, and what masking them gives.

python -m examples.experiments.regions
"""

from __future__ import annotations

import sys

import numpy as np

from examples.data.planted import make
from examples.data.shift import KINDS, dense_columns, with_dependent, world_distances
from examples.experiments import common
from examples.experiments.common import Claim, Findings, Given, Table, cell, each_seed

TITLE = "MD: the offline choice of region-dependent features"
PAPER = "SEQ+MD (arXiv 2408.13357)"
ABOUT = """World `regions`: 16 dense features, of which 8 have a scale, an offset and a direction of
the region's. Each feature's distance between regions (docs/data.md) is computed on the training
rows; those above a threshold go through MD's mask in front of Shared-Bottom, the others go past it.
Without any there is no MD, and the region's id is a feature like others. Then MD in front of
single-task networks on world `single`, which has one task: what MD does by itself. The first four
features are the request's: of few requests in a small region even equal distributions look
apart."""

THRESHOLDS = (0.0, 0.1, 0.5, 0.85, 1.0)
CHOSEN = 0.5
SHIFTED = "local"  # the field whose columns the world shifts


def sweep(given: Given, seed: int) -> dict:
    """quality (thresholds, T), chosen (thresholds,), right (thresholds,), and the distances."""
    world = make("regions", given.rows, seed)
    chosen = common.options(given, seed)
    apart = {kind: world_distances(world, kind) for kind in KINDS}
    known: dict[frozenset, np.ndarray] = {}
    quality, counts, right = [], [], []
    for threshold in THRESHOLDS:
        picked = frozenset(name for name, value in apart["ks"].items() if value > threshold)
        if picked not in known:
            model = "md_shared_bottom" if picked else "shared_bottom"
            known[picked] = common.train(model, with_dependent(world, set(picked)), chosen)
        quality.append(known[picked])
        counts.append(len(picked))
        right.append(sum(name == SHIFTED for name, _ in picked))
    columns = dense_columns(world)
    return {
        "quality": np.stack(quality),
        "count": counts,
        "right": right,
        "alone": common.alone(world, chosen),
        **{kind: [apart[kind][column] for column in columns] for kind in KINDS},
    }


def single(given: Given, seed: int) -> dict:
    world = make("single", given.rows, seed)
    chosen = common.options(given, seed)
    return {name: common.train(name, world, chosen) for name in ("single_task", "md_single")}


def run(given: Given) -> Findings:
    found = each_seed(sweep, given)
    one = each_seed(single, given)
    columns = dense_columns(make("regions", 100, 0))
    distances = [
        [f"{name} {column}", *(cell(found[kind][:, i]) for kind in KINDS)]
        for i, (name, column) in enumerate(columns)
    ]
    base = found["quality"][:, -1]  # no feature is further apart than 1: no MD
    rows = []
    for i, threshold in enumerate(THRESHOLDS):
        values = found["quality"][:, i]
        rows.append(
            [
                f"{threshold:g}",
                f"{found['count'][:, i].mean():.1f}",
                f"{found['right'][:, i].mean():.1f}",
                *(cell(values[:, t]) for t in range(3)),
                cell(values.mean(1) - base.mean(1), sign=True),
            ]
        )
    alone = found["alone"]
    rows.append(["single-task networks", "", "", *(cell(alone[:, t]) for t in range(3))])
    rows[-1].append(cell(alone.mean(1) - base.mean(1), sign=True))
    best = THRESHOLDS.index(CHOSEN)
    masked = found["quality"][:, best].mean(1)
    everything = found["quality"][:, 0].mean(1)
    gain = (one["md_single"] - one["single_task"])[:, 0]
    head = ["KS above", "features masked", "of those shifted", "click", "cart", "order"]
    return Findings(
        [
            Table("Largest distance between two regions.", ["feature", *KINDS], distances),
            Table("Thresholds, and quality by task.", [*head, "mean, to none masked"], rows),
            Table(
                "One task.",
                ["ranker", "quality", "difference"],
                [
                    ["single_task", cell(one["single_task"][:, 0]), ""],
                    ["md_single", cell(one["md_single"][:, 0]), cell(gain, sign=True)],
                ],
            ),
        ],
        [
            Claim(
                f"MD helps a multi-task ranker (KS above {CHOSEN} to none masked, mean of tasks)",
                (masked - base.mean(1)).tolist(),
            ),
            Claim(
                f"a chosen mask is better than one of all (KS above {CHOSEN} to all masked)",
                (masked - everything).tolist(),
            ),
            Claim("MD helps a single task", gain.tolist()),
        ],
    )


if __name__ == "__main__":
    sys.exit(common.main("regions"))
