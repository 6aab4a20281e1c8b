"""The models of DeepCTR-Torch. They take one matrix, (B, columns), in the order of
`feature_index`."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Sequence
from unittest import mock

from torch import nn

from tests.export.others.entry import Columns, Field, Other

# On import the package starts a thread that asks the network, by `requests`, for its newest
# version.
sys.modules.setdefault("requests", types.ModuleType("requests"))
with mock.patch.object(threading.Thread, "start"):
    from deepctr_torch import models
    from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat

WIDTH, LENGTH = 8, 12
HIDDEN = {"dnn_hidden_units": (24, 12)}


def sparse(count: int = 5) -> list[SparseFeat]:
    return [SparseFeat(f"c{i}", 17 + 6 * i, embedding_dim=WIDTH) for i in range(count)]


def dense() -> list[DenseFeat]:
    return [DenseFeat("d0", 1), DenseFeat("d1", 3)]


def bag(name: str, combiner: str, length_name: str | None = None) -> VarLenSparseFeat:
    return VarLenSparseFeat(
        SparseFeat(name, 31, embedding_dim=WIDTH), LENGTH, combiner, length_name
    )


def fields_of(features: Sequence) -> tuple[Field, ...]:
    fields: dict[str, Field] = {}
    for feature in features:
        if isinstance(feature, DenseFeat):
            fields[feature.name] = Field(
                feature.name, length=feature.dimension if feature.dimension > 1 else 0
            )
        elif isinstance(feature, SparseFeat):
            fields[feature.name] = Field(feature.name, feature.vocabulary_size)
        else:
            fields[feature.name] = Field(feature.name, feature.vocabulary_size, feature.maxlen)
            if feature.length_name and feature.length_name not in fields:
                fields[feature.length_name] = Field(feature.length_name, LENGTH + 1, low=1)
    return tuple(fields.values())


def entry(name: str, features: Sequence, build: Callable[[], nn.Module]) -> Other:
    return Other("DeepCTR-Torch", name, fields_of(features), lambda: Columns(build()))


def multi_task_models() -> list[Other]:
    both = sparse() + dense()
    bags = sparse() + [bag("tags", "mean"), bag("sums", "sum"), bag("peaks", "max")] + dense()
    towers = {"tower_dnn_hidden_units": (10,)}
    three = {"task_types": ("binary", "regression", "binary"), "task_names": ("a", "b", "c")}
    experts = {
        "expert_dnn_hidden_units": (24, 12),
        "gate_dnn_hidden_units": (6,),
        **towers,
        **three,
    }
    return [
        entry("SharedBottom", both, lambda: models.SharedBottom(both, (24, 12), (10,), **three)),
        entry("ESMM", both, lambda: models.ESMM(both, (24, 12))),
        entry("MMOE", both, lambda: models.MMOE(both, 4, **experts)),
        entry(
            "MMOE, bags, batch norm", bags, lambda: models.MMOE(bags, 4, dnn_use_bn=True, **experts)
        ),
        entry("PLE", both, lambda: models.PLE(both, 2, 2, 2, **experts)),
        entry(
            "PLE, PReLU", both, lambda: models.PLE(both, 1, 2, 3, dnn_activation="prelu", **experts)
        ),
    ]


def simple_models() -> list[Other]:
    s, d = sparse(), dense()
    both = s + d
    bags = s + [bag("tags", "mean"), bag("peaks", "max"), bag("lengths", "sum", "count")] + d

    def on(model: type[nn.Module], features: list = both, **options) -> Callable[[], nn.Module]:
        return lambda: model(features, features, **options)

    return [
        entry("WDL", both, on(models.WDL, **HIDDEN)),
        entry("WDL, bags", bags, on(models.WDL, bags, **HIDDEN)),
        entry("DeepFM", both, on(models.DeepFM, **HIDDEN)),
        entry("DeepFM, bags, batch norm", bags, on(models.DeepFM, bags, dnn_use_bn=True, **HIDDEN)),
        entry("DeepFM, PReLU", both, on(models.DeepFM, dnn_activation="prelu", **HIDDEN)),
        entry("xDeepFM", both, on(models.xDeepFM, cin_layer_size=(10, 6), **HIDDEN)),
        entry(
            "xDeepFM, no halves",
            both,
            on(models.xDeepFM, cin_layer_size=(7, 5), cin_split_half=False, **HIDDEN),
        ),
        entry("DCN, vector", both, on(models.DCN, cross_num=3, **HIDDEN)),
        entry(
            "DCN, matrix",
            both,
            on(models.DCN, cross_num=3, cross_parameterization="matrix", **HIDDEN),
        ),
        entry("DCNMix", both, on(models.DCNMix, low_rank=6, num_experts=3, **HIDDEN)),
        entry("AutoInt", both, on(models.AutoInt, att_layer_num=2, **HIDDEN)),
        *(
            entry(
                f"FiBiNET, {kind}",
                both,
                on(models.FiBiNET, bilinear_type=kind, reduction_ratio=2, **HIDDEN),
            )
            for kind in ("all", "each", "interaction")
        ),
        entry("AFM", s, on(models.AFM, s)),
        entry("AFM, no attention", s, on(models.AFM, s, use_attention=False)),
        entry("NFM", both, on(models.NFM, **HIDDEN)),
        entry("IFM", both, on(models.IFM, **HIDDEN)),
        entry("DIFM", both, on(models.DIFM, **HIDDEN)),
        entry("AFN", both, on(models.AFN, ltl_hidden_size=20, afn_dnn_hidden_units=(24, 12))),
        entry("ONN", both, on(models.ONN, **HIDDEN)),
        entry(
            "CCPM",
            s,
            on(
                models.CCPM,
                s,
                conv_kernel_width=(3, 2),
                conv_filters=(4, 3),
                dnn_hidden_units=(24,),
            ),
        ),
        entry("MLR", both, lambda: models.MLR(both)),
        *(
            entry(
                f"PNN, {name}", both, lambda options=options: models.PNN(both, **HIDDEN, **options)
            )
            for name, options in {
                "inner": {},
                "outer, mat": {"use_inner": False, "use_outter": True},
                "outer, vec": {"use_outter": True, "kernel_type": "vec"},
                "outer, num": {"use_outter": True, "kernel_type": "num"},
            }.items()
        ),
    ]


def sequence_models() -> list[Other]:
    items = [
        SparseFeat("user", 20, embedding_dim=WIDTH),
        SparseFeat("item", 31, embedding_dim=WIDTH),
        SparseFeat("shop", 17, embedding_dim=4),
    ]
    history = [
        VarLenSparseFeat(
            SparseFeat("hist_item", 31, embedding_dim=WIDTH, embedding_name="item"),
            LENGTH,
            length_name="count",
        ),
        VarLenSparseFeat(
            SparseFeat("hist_shop", 17, embedding_dim=4, embedding_name="shop"),
            LENGTH,
            length_name="count",
        ),
    ]
    features = [*items, DenseFeat("d0", 2), *history]
    watched = ["item", "shop"]

    def din(**options) -> Callable[[], nn.Module]:
        return lambda: models.DIN(features, watched, att_hidden_size=(16, 8), **HIDDEN, **options)

    def dien(kind: str) -> Callable[[], nn.Module]:
        return lambda: models.DIEN(
            features, watched, gru_type=kind, att_hidden_units=(16, 8), **HIDDEN
        )

    return [
        entry("DIN", features, din()),
        entry("DIN, softmax", features, din(att_weight_normalization=True)),
        entry("DIN, relu, batch norm", features, din(att_activation="relu", dnn_use_bn=True)),
        *(
            entry(f"DIEN, {kind}", features, dien(kind))
            for kind in ("GRU", "AIGRU", "AGRU", "AUGRU")
        ),
    ]


def entries() -> list[Other]:
    return [*multi_task_models(), *simple_models(), *sequence_models()]
