"""The zoo's rankers at small sizes, with parameters that a test can learn something from.

What `variants` does for one ranker in many idioms, this does for many rankers as the zoo writes
them: each family in its forms, then every entry of the registry as it is. Parameters are drawn anew
by name: no zero biases, every other scale of a normalisation negative, cross-stitch weights that
are not symmetric, a padding row that is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from examples.zoo import features
from examples.zoo.aitm import AITM
from examples.zoo.cross_stitch import CrossStitch, CrossStitchNetwork
from examples.zoo.dtrn import DTRN
from examples.zoo.esmm import ESMM
from examples.zoo.features import Bag, Dense, FrontEnd, HashedId, Id, Schema, Standardise
from examples.zoo.fields import WithFields
from examples.zoo.md import MD
from examples.zoo.mmoe import MMoE
from examples.zoo.ple import PLE
from examples.zoo.ple_seed import PLESeed
from examples.zoo.ranker import Ranker, SingleTask, WithFrontEnd
from examples.zoo.registry import RANKERS
from examples.zoo.resflow import ResFlow
from examples.zoo.resflow_tower import ResFlowTower
from examples.zoo.seq import SEQ
from examples.zoo.shared_bottom import SharedBottom
from examples.zoo.stem import STEM, STEMSurvey
from examples.zoo.task_routing import TaskRouting
from examples.zoo.tasks import Task
from examples.zoo.variants import Draws

FEATURES = 20
FIELD_SIZES = (50, 7, 200)
NUMBERS: Schema = (Dense("x", FEATURES),)
# One of each field; what of them is a list has rows with nothing in it.
EVERYTHING: Schema = (
    Dense("price", 6, normalise=True),
    Dense("local", 4, role="dependent"),
    Id("region", 5, role="region"),
    Id("item", 40, role="item"),
    HashedId("query", 16),
    Bag("tags", 12, 4, "sum"),
    Bag("genres", 9, 3, "mean"),
    Bag("stores", 7, 3, "max"),
    features.Sequence("clicked", 40, 6, role="item"),
    features.Sequence("bought", 30, 4),
)
COUNTRY: Schema = (Dense("country", 5, role="region"), *EVERYTHING[:2], EVERYTHING[3])
PAST: Schema = (EVERYTHING[0], EVERYTHING[3], *EVERYTHING[8:])
STEPS = (Task("click"), Task("cart", after="click"), Task("order", after="cart"))
KINDS = (Task("click"), Task("minutes", "regression"), Task("stars", "multiclass", 5))
TREE = (Task("click"), Task("cart", after="click"), Task("like", after="click"))
CHAIN = tuple(Task(f"step{t}") for t in range(10))


@dataclass(frozen=True)
class Small:
    """One ranker: `build` makes it, for inputs of `schema`. `opset` is the first at which
    TorchScript's exporter can write it."""

    build: Callable[[], Ranker]
    schema: Schema = NUMBERS
    opset: int = 11

    def module(self) -> Ranker:
        return drawn(self.build(), Draws(0)).eval()

    def outputs(self) -> list[str]:
        return self.build().outputs

    def made_up(self, rows: int, seed: int = 0) -> dict[str, Tensor]:
        return features.made_up(self.schema, rows, seed)


@dataclass(frozen=True)
class Matrix(Small):
    """Ids of FIELD_SIZES as the columns of one matrix before the numbers."""

    def made_up(self, rows: int, seed: int = 0) -> dict[str, Tensor]:
        draws = torch.Generator().manual_seed(seed)
        dense = torch.randn(rows, FEATURES, generator=draws)
        ids = [torch.randint(size, (rows,), generator=draws) for size in FIELD_SIZES]
        return {"ids": torch.stack(ids, dim=1), "dense": dense}


# Deviation and mean of the parameters of layers that `Draws` does not know.
SPREADS: dict[type, tuple[float, float]] = {CrossStitch: (0.4, 0.3), nn.PReLU: (0.3, 0.2)}


def drawn(model: nn.Module, draws: Draws) -> nn.Module:
    """The same module with parameters by name."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            new: nn.Module = draws.linear(name, layer.in_features, layer.out_features)
            layer.load_state_dict(new.state_dict())
        elif isinstance(layer, nn.BatchNorm1d):
            layer.load_state_dict(draws.norm(name, "bn", layer.num_features).state_dict())
        elif isinstance(layer, Standardise):
            layer.mean.copy_(draws.normal(name + ".mean", *layer.mean.shape, scale=0.3))
            layer.deviation.copy_(draws.normal(name + ".deviation", *layer.mean.shape).abs() + 0.5)
        else:
            _draw_bare(name, layer, draws)
    return model


def _draw_bare(name: str, layer: nn.Module, draws: Draws) -> None:
    """The parameters that a layer holds itself."""
    for which, parameter in layer.named_parameters(recurse=False):
        scale, shift = SPREADS.get(type(layer), (0.7, 0.0))
        if isinstance(layer, nn.GRU | nn.MultiheadAttention):
            scale = 1.2 * parameter.shape[1] ** -0.5 if parameter.ndim > 1 else 0.3
        key = name if isinstance(layer, CrossStitch) else f"{name}.{which}"
        with torch.no_grad():
            parameter.copy_(draws.normal(key, *parameter.shape, scale=scale, shift=shift))


def plain(
    make: Callable[..., Ranker], tasks: int | Sequence[Task] = STEPS, opset: int = 11, **sizes
) -> Small:
    """A ranker that reads x (B, FEATURES)."""
    return Small(lambda: make(FEATURES, tasks, **sizes), opset=opset)


def fielded(
    make: Callable[..., Ranker],
    tasks: Sequence[Task] = STEPS,
    schema: Schema = EVERYTHING,
    front: Callable[[Schema, int], nn.Module] = FrontEnd,
    **sizes,
) -> Small:
    """A ranker behind a front end."""

    def build() -> Ranker:
        before = front(schema, 5)
        return WithFrontEnd(before, make(before.out, tasks, **sizes))

    return Small(build, schema)


def own_fields(
    make: Callable[..., Ranker],
    tasks: Sequence[Task] = STEPS,
    schema: Schema = EVERYTHING,
    opset: int = 11,
    **sizes,
) -> Small:
    """A ranker that reads the fields itself."""
    return Small(lambda: make(schema, tasks, **sizes), schema, opset)


def of_inputs() -> dict[str, Small]:
    """Rankers that read x alone."""
    mmoe = partial(plain, MMoE, hidden=16, out=12)
    ple = partial(plain, PLE, hidden=8, out=8, towers=(8,))
    bottom = partial(plain, SharedBottom)
    stitch = partial(plain, CrossStitchNetwork)
    flow = partial(plain, ResFlow, hidden=(24, 16))
    seq = partial(plain, SEQ, hidden=12)
    return {
        "zoo-shared_bottom": bottom(bottom=(24, 16), towers=(8,)),
        "zoo-shared_bottom-deep": bottom(bottom=(24, 17, 9), towers=(8, 5)),
        "zoo-shared_bottom-kinds": bottom(KINDS, bottom=(24, 16), towers=(8,)),
        "zoo-cross_stitch": stitch(hidden=(24, 16), towers=(8,)),
        "zoo-cross_stitch-2": stitch(2, hidden=(12, 9, 7), towers=()),
        "zoo-esmm": Small(lambda: ESMM(FEATURES, trunk=24, towers=(16, 8))),
        "zoo-esmm-chain": plain(ESMM, trunk=24, towers=(16, 8)),
        "zoo-esmm-tree": plain(ESMM, TREE, trunk=24, towers=(8,)),
        "zoo-omoe": mmoe(one_gate=True, gates_out=True),
        "zoo-mmoe-kinds": mmoe(KINDS),
        "zoo-ple-gates": ple(gates_out=True),
        "zoo-ple_seed": plain(PLESeed, hidden=8, out=8, gates_out=True),
        "zoo-stem_s": plain(STEMSurvey, opset=13, hidden=16, out=12),
        "zoo-stem_s-gates": plain(STEMSurvey, KINDS, 13, hidden=16, out=12, gates_out=True),
        "zoo-task_routing": plain(TaskRouting, hidden=16, out=12, router=16, gates_out=True),
        "zoo-task_routing-joint": plain(
            TaskRouting, hidden=16, out=12, router=16, joint=True, gates_out=True
        ),
        "zoo-resflow": flow(),
        "zoo-resflow-logits": flow(layers_flow=False),
        "zoo-resflow-none": flow(layers_flow=False, logits_flow=False),
        "zoo-resflow-long": plain(ResFlow, CHAIN, hidden=(9,)),
        "zoo-resflow-tree": flow(TREE),
        "zoo-resflow-prelu": flow(activation="prelu", input_norm=True),
        "zoo-resflow-hard": flow(hard=True),
        "zoo-resflow-fused": flow(fusion="add", alpha=(0.2, 0.3, 0.5)),
        "zoo-resflow-product": flow(fusion="multiply", alpha=(0.2, 0.3, 0.5)),
        "zoo-resflow-ordinal": plain(
            ResFlow, CHAIN, hidden=(9, 7), layers_flow=False, levels=[2.0 * t for t in range(1, 11)]
        ),
        "zoo-seq": seq(),
        "zoo-seq-1-layer": seq(token=8, layers=1),
        "zoo-seq-min": seq(form="min", token=8, cascade=True),
        "zoo-seq-penalty": seq(CHAIN[:5], form="penalty", token=8, one_head=True),
        "zoo-seq-kinds": seq(KINDS, token=8),
        "zoo-seq-1": seq(1, token=8),
        "zoo-aitm": plain(AITM, bottom=(16, 12), towers=(8,)),
        "zoo-aitm-2": plain(AITM, 2, bottom=(16,), towers=()),
    }


def of_fields() -> dict[str, Small]:
    """Rankers that read fields of every kind."""
    mmoe = partial(fielded, MMoE, hidden=16, out=12)
    dtrn = partial(own_fields, DTRN, schema=PAST, width=8, hidden=16, out=12)
    masked = partial(fielded, front=MD)
    return {
        "zoo-mmoe-fields": Matrix(
            lambda: WithFields(
                FIELD_SIZES,
                5,
                FEATURES,
                MMoE(FEATURES + 5 * len(FIELD_SIZES), 3, hidden=16, out=12),
            )
        ),
        **{
            f"zoo-front-{name}": mmoe(schema=(EVERYTHING[0], *fields), experts=2)
            for name, fields in {
                "ids": EVERYTHING[2:4],
                "hashed": EVERYTHING[4:5],
                "bag_sum": EVERYTHING[5:6],
                "bag_mean": EVERYTHING[6:7],
                "bag_max": EVERYTHING[7:8],
                "sequences": EVERYTHING[8:],
            }.items()
        },
        "zoo-front": mmoe(KINDS),
        "zoo-single_task": own_fields(SingleTask, width=5, hidden=(12,)),
        "zoo-stem": own_fields(STEM, width=4, hidden=12, out=8, gate=(12,), gates_out=True),
        "zoo-resflow-tower": own_fields(ResFlowTower, width=5, hidden=(16, 12), out=8),
        "zoo-resflow-tower-last": own_fields(
            ResFlowTower, TREE, PAST, width=5, hidden=(12,), out=8, last_flows=True
        ),
        "zoo-dtrn": dtrn(target=True),
        "zoo-dtrn-pooled": dtrn(STEPS[:2], experts=2),
        "zoo-dtrn-pre_norm": dtrn(pre_norm=True, target=True, gates_out=True),
        "zoo-dtrn-deep": dtrn(STEPS[:2], layers=2, positions=True, squeeze=False),
        "zoo-dtrn-deep-pre_norm": dtrn(STEPS[:2], layers=2, positions=True, pre_norm=True, heads=4),
        "zoo-dtrn-fused": dtrn(STEPS[:2], opset=14, fused=True, target=True),
        "zoo-dtrn-no_tim": dtrn(tim=False),
        "zoo-dtrn-no_trm": dtrn(STEPS[:2], trm=False, target=True),
        "zoo-dtrn-ple": dtrn(STEPS[:2], on="ple", own=1, shared=1),
        "zoo-dtrn-ple-own": dtrn(
            STEPS[:2], on="ple", levels=1, own=1, shared=2, on_own=True, target=True
        ),
        "zoo-dtrn-kinds": dtrn(KINDS, schema=EVERYTHING),
        "zoo-md-id": masked(MMoE, hidden=16, out=12),
        "zoo-md-vector": masked(MMoE, schema=COUNTRY, hidden=16, out=12),
        "zoo-md-shared_bottom": masked(SharedBottom, KINDS, bottom=(16,), towers=(8,)),
        "zoo-md-seq": masked(SEQ, token=8, hidden=12),
        "zoo-md-single": own_fields(SingleTask, STEPS[:1], COUNTRY, hidden=(16,), front=MD),
    }


def registered() -> dict[str, Small]:
    """The registry's entries at its own sizes, on every field and a chain of tasks."""
    return {
        f"registry-{name}": Small(partial(entry.build, EVERYTHING, STEPS), EVERYTHING, 13)
        for name, entry in RANKERS.items()
    }


def rankers() -> dict[str, Small]:
    """By a name that says what is special about it."""
    return {**of_inputs(), **of_fields(), **registered()}
