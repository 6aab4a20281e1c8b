"""The zoo's rankers at small sizes, with parameters that a test can learn something from.

What `variants` does for one ranker in many idioms, this does for many rankers as the zoo writes
them. Parameters are drawn anew by name: no zero biases, every other scale of a normalisation
negative, cross-stitch weights that are not symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from examples.zoo.cross_stitch import CrossStitch, CrossStitchNetwork
from examples.zoo.esmm import ESMM
from examples.zoo.fields import WithFields
from examples.zoo.mmoe import MMoE
from examples.zoo.resflow import ResFlow
from examples.zoo.shared_bottom import SharedBottom
from examples.zoo.variants import Draws

FEATURES = 20
FIELD_SIZES = (50, 7, 200)


@dataclass(frozen=True)
class Small:
    """One ranker: `build` makes it. With `fields`, ids of FIELD_SIZES stand before the features."""

    build: Callable[[], nn.Module]
    names: tuple[str, ...] = ("click", "cart", "order")
    fields: bool = False

    def module(self) -> nn.Module:
        return drawn(self.build(), Draws(0)).eval()

    def outputs(self) -> list[str]:
        return list(self.names)

    def made_up(self, rows: int, seed: int = 0) -> dict[str, Tensor]:
        draws = torch.Generator().manual_seed(seed)
        dense = torch.randn(rows, FEATURES, generator=draws)
        if not self.fields:
            return {"x": dense}
        ids = [torch.randint(size, (rows,), generator=draws) for size in FIELD_SIZES]
        return {"ids": torch.stack(ids, dim=1), "dense": dense}


def drawn(model: nn.Module, draws: Draws) -> nn.Module:
    """The same module with parameters by name."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            new: nn.Module = draws.linear(name, layer.in_features, layer.out_features)
        elif isinstance(layer, nn.BatchNorm1d):
            new = draws.norm(name, "bn", layer.num_features)
        else:
            if isinstance(layer, CrossStitch):
                with torch.no_grad():
                    layer.alpha.copy_(draws.normal(name, *layer.alpha.shape, scale=0.4, shift=0.3))
            continue
        layer.load_state_dict(new.state_dict())
    return model


def rankers() -> dict[str, Small]:
    """By a name that says what is special about it."""
    return {
        "zoo-shared_bottom": Small(lambda: SharedBottom(FEATURES, 3, bottom=(24, 16), towers=(8,))),
        "zoo-shared_bottom-deep": Small(
            lambda: SharedBottom(FEATURES, 3, bottom=(24, 17, 9), towers=(8, 5))
        ),
        "zoo-cross_stitch": Small(lambda: CrossStitchNetwork(FEATURES, 3, (24, 16), (8,))),
        "zoo-cross_stitch-2": Small(
            lambda: CrossStitchNetwork(FEATURES, 2, (12, 9, 7), ()), ("click", "cart")
        ),
        "zoo-esmm": Small(
            lambda: ESMM(FEATURES, trunk=24, towers=(16, 8)), ("ctr", "ctcvr", "cvr")
        ),
        "zoo-resflow": Small(lambda: ResFlow(FEATURES, 3, (24, 16))),
        "zoo-resflow-logits": Small(lambda: ResFlow(FEATURES, 3, (24, 16), layers_flow=False)),
        "zoo-resflow-none": Small(
            lambda: ResFlow(FEATURES, 3, (24, 16), layers_flow=False, logits_flow=False)
        ),
        "zoo-resflow-long": Small(
            lambda: ResFlow(FEATURES, 10, (9,)), tuple(f"step{t}" for t in range(10))
        ),
        "zoo-mmoe-fields": Small(
            lambda: WithFields(
                FIELD_SIZES,
                5,
                FEATURES,
                MMoE(FEATURES + 5 * len(FIELD_SIZES), 3, hidden=16, out=12),
            ),
            fields=True,
        ),
    }
