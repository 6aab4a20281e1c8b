"""The models of torch-rechub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models import matching, multi_task, ranking
from torch_rechub.models.matching import dssm_senet

from tests.export.others.entry import Field, Keyed, Other

WIDTH, LENGTH, NEGATIVES = 8, 12, 3
MLP = {"dims": [24, 12], "dropout": 0.2, "activation": "relu"}


def sparse(count: int = 5, prefix: str = "c") -> list[SparseFeature]:
    return [SparseFeature(f"{prefix}{i}", 17 + 6 * i, embed_dim=WIDTH) for i in range(count)]


def dense(count: int = 3) -> list[DenseFeature]:
    return [DenseFeature(f"d{i}") for i in range(count)]


def sequence(name: str, size: int = 40, pooling: str = "mean", **options) -> SequenceFeature:
    options = {"padding_idx": 0, **options}
    return SequenceFeature(name, size, embed_dim=WIDTH, pooling=pooling, **options)


def target(name: str, size: int = 40) -> SparseFeature:
    return SparseFeature(name, size, embed_dim=WIDTH, padding_idx=0)


def field_of(feature: DenseFeature | SparseFeature | SequenceFeature) -> Field:
    if isinstance(feature, DenseFeature):
        return Field(feature.name, length=feature.embed_dim if feature.embed_dim > 1 else 0)
    negative = feature.name.startswith("negative")
    length = (NEGATIVES if negative else LENGTH) if isinstance(feature, SequenceFeature) else 0
    return Field(feature.name, feature.vocab_size, length, low=int(feature.padding_idx == 0))


def entry(
    name: str, features: Sequence, build: Callable[[], nn.Module], mode: str | None = None
) -> Other:
    fields = tuple(field_of(feature) for feature in features)

    def module() -> nn.Module:
        model = build()
        if mode:
            model.mode = mode
        return Keyed(model, [field.name for field in fields])

    return Other("torch-rechub", name, fields, module)


def multi_task_models() -> list[Other]:
    s, d = sparse(), dense()
    both = s + d
    kinds = ["classification", "regression", "classification"]
    towers = [{"dims": [10]}, {"dims": [9, 5]}, {"dims": []}]
    bag = [sequence("tags"), sequence("sums", pooling="sum")]
    user, item = sparse(3, "u"), sparse(2, "i")
    return [
        entry("SharedBottom", both, lambda: multi_task.SharedBottom(both, kinds, MLP, towers)),
        entry("ESMM", user + item, lambda: multi_task.ESMM(user, item, MLP, MLP)),
        entry("MMOE", both, lambda: multi_task.MMOE(both, kinds, 4, MLP, towers)),
        entry(
            "MMOE, bags", s + bag + d, lambda: multi_task.MMOE(s + bag + d, kinds, 4, MLP, towers)
        ),
        entry("PLE", both, lambda: multi_task.PLE(both, kinds, 2, 2, 1, MLP, towers)),
        entry("AITM", both, lambda: multi_task.AITM(both, 3, MLP, towers)),
        entry("AITM, 2 tasks", both, lambda: multi_task.AITM(both, 2, MLP, towers[:2])),
    ]


def sequence_models() -> list[Other]:
    context = sparse(2) + dense(2)
    history = [
        sequence("items", pooling="concat", shared_with="item"),
        sequence("shops", 23, "concat", shared_with="shop"),
    ]
    targets = [target("item"), target("shop", 23)]
    negative = [
        sequence("other_items", pooling="concat", shared_with="item"),
        sequence("other_shops", 23, "concat", shared_with="shop"),
    ]
    head, attention = {"dims": [24, 12], "dropout": 0.2}, {"dims": [16]}
    all_of = context + history + targets

    def din(**options) -> Callable[[], nn.Module]:
        return lambda: ranking.DIN(
            sparse(2), history, targets, dict(head), {**attention, **options}
        )

    without = sparse(2) + history + targets
    return [
        entry("DIN", without, din()),
        entry("DIN, PReLU, softmax", without, din(activation="prelu", use_softmax=True)),
        entry("DIN, sigmoid", without, din(activation="sigmoid", dims=[20, 10])),
        entry(
            "BST",
            all_of,
            lambda: ranking.BST(
                context, history, targets, MLP, nhead=4, num_layers=2, max_seq_len=LENGTH + 1
            ),
        ),
        entry(
            "DIEN",
            all_of + negative,
            lambda: First(ranking.DIEN(context, history, negative, targets, dict(head))),
        ),
    ]


class First(nn.Module):
    """The scores of a model that also returns a loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: dict):
        return self.model(x)[0]


def ranking_models() -> list[Other]:
    s, d = sparse(), dense()
    both, bag = s + d, [sequence("tags")]
    cross = [SparseFeature(f"c{i}", (17 + 6 * i) * 5, embed_dim=WIDTH) for i in range(5)]
    linear = [SparseFeature(f"c{i}", 17 + 6 * i, embed_dim=1) for i in range(5)]

    def dcn2(structure: str, mixture: bool) -> Callable[[], nn.Module]:
        return lambda: ranking.DCNv2(
            both, 3, MLP, structure, use_low_rank_mixture=mixture, low_rank=6, num_experts=3
        )

    def edcn(bridge: str) -> Callable[[], nn.Module]:
        return lambda: ranking.EDCN(
            both, 3, {"dropout": 0.1, "activation": "relu"}, bridge_type=bridge
        )

    def fibinet(bilinear: str) -> Callable[[], nn.Module]:
        return lambda: ranking.FiBiNet(s, MLP, reduction_ratio=2, bilinear_type=bilinear)

    return [
        entry("WideDeep", both, lambda: ranking.WideDeep(s, both, MLP)),
        entry("WideDeep, bag", s + bag + d, lambda: ranking.WideDeep(s + bag, s + bag + d, MLP)),
        entry("DeepFM", both, lambda: ranking.DeepFM(both, s, MLP)),
        entry(
            "DeepFM, PReLU", both, lambda: ranking.DeepFM(both, s, {**MLP, "activation": "prelu"})
        ),
        entry("DeepFM, dice", both, lambda: ranking.DeepFM(both, s, {**MLP, "activation": "dice"})),
        entry("DCN", both, lambda: ranking.DCN(both, 3, MLP)),
        entry("DCNv2, parallel, mixture", both, dcn2("parallel", True)),
        entry("DCNv2, parallel", both, dcn2("parallel", False)),
        entry("DCNv2, stacked, mixture", both, dcn2("stacked", True)),
        entry("DCNv2, crossnet_only", both, dcn2("crossnet_only", False)),
        *(
            entry(f"EDCN, {bridge}", both, edcn(bridge))
            for bridge in (
                "hadamard_product",
                "pointwise_addition",
                "concatenation",
                "attention_pooling",
            )
        ),
        entry("AFM", s, lambda: ranking.AFM(s, WIDTH, t=12)),
        *(
            entry(f"FiBiNet, {kind}", s, fibinet(kind))
            for kind in ("field_all", "field_each", "field_interaction")
        ),
        entry("DeepFFM", s, lambda: ranking.DeepFFM(linear, cross, WIDTH, MLP)),
        entry("FatDeepFFM", s, lambda: ranking.FatDeepFFM(linear, cross, WIDTH, 2, MLP)),
        entry(
            "AutoInt",
            both,
            lambda: ranking.AutoInt(s, d, num_layers=2, num_heads=2, mlp_params=MLP),
        ),
        entry("AutoInt, no dense", s, lambda: ranking.AutoInt(s, [], num_layers=3, num_heads=4)),
    ]


def matching_models() -> list[Other]:
    user, item = sparse(3, "u"), [target("item")]
    many = sparse(2, "i")
    history = [sequence("items", pooling="concat", shared_with="item")]
    negative = [sequence("negative_items", pooling="concat", shared_with="item")]
    tower = {"dims": [16, WIDTH], "activation": "prelu"}
    history_by_name = target("seq_item")
    recorded = sequence("seq", pooling="concat", padding_idx=0)
    all_of = user + history + item + negative

    def multi(model: type[nn.Module], *more, **options) -> Callable[[], nn.Module]:
        return lambda: model(user, history, item, negative, *more, **options)

    def sine() -> nn.Module:
        return matching.SINE(["items"], ["item"], ["negative_items"], 40, WIDTH, 10, 9, 3, LENGTH)

    def session(model: type[nn.Module], *more, **options) -> Callable[[], nn.Module]:
        return lambda: model(recorded, *more, item_feature=history_by_name, **options)

    return [
        entry("DSSM", user + many, lambda: matching.DSSM(user, many, tower, tower)),
        entry("DSSM, user", user, lambda: matching.DSSM(user, many, tower, tower), "user"),
        entry("DSSM, item", many, lambda: matching.DSSM(user, many, tower, tower), "item"),
        entry("DSSM SENet", user + many, lambda: dssm_senet.DSSM(user, many, tower, tower)),
        entry(
            "YoutubeDNN",
            user + item + negative,
            lambda: matching.YoutubeDNN(user, item, negative, tower),
        ),
        entry(
            "YoutubeDNN, user",
            user,
            lambda: matching.YoutubeDNN(user, item, negative, tower),
            "user",
        ),
        entry(
            "YoutubeDNN, item",
            item,
            lambda: matching.YoutubeDNN(user, item, negative, tower),
            "item",
        ),
        entry("GRU4Rec", all_of, multi(matching.GRU4Rec, tower)),
        entry("MIND, user", user + history, multi(matching.MIND, LENGTH), "user"),
        entry("MIND", all_of, multi(matching.MIND, LENGTH)),
        entry("ComirecSA, user", user + history, multi(matching.ComirecSA), "user"),
        entry("ComirecSA", all_of, multi(matching.ComirecSA)),
        entry("ComirecDR, user", user + history, multi(matching.ComirecDR, LENGTH), "user"),
        entry("SINE", history + item + negative, sine),
        entry("STAMP, user", [recorded], session(matching.STAMP, 0.3, 0.3), "user"),
        entry("NARM, user", [recorded], session(matching.NARM, 10, 0.1, 0.1), "user"),
        entry(
            "SASRec, user",
            [recorded],
            lambda: matching.SASRec([recorded], max_len=LENGTH, num_blocks=2, num_heads=2),
            "user",
        ),
    ]


def entries() -> list[Other]:
    return [*multi_task_models(), *ranking_models(), *sequence_models(), *matching_models()]
