"""The front end, and the rankers that read fields themselves: DTRN and MD. Above all: padding must
not matter, whatever it holds and wherever it stands."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the zoo's tests need PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.testing import assert_close  # noqa: E402

from examples.zoo.dtrn import DTRN, Block, SelfAttention  # noqa: E402
from examples.zoo.features import (  # noqa: E402
    Bag,
    Dense,
    FrontEnd,
    HashedId,
    Id,
    Schema,
    Sequence,
    made_up,
)
from examples.zoo.fields import WithFields  # noqa: E402
from examples.zoo.md import MD  # noqa: E402
from examples.zoo.mmoe import MMoE  # noqa: E402
from examples.zoo.ranker import Ranker, WithFrontEnd  # noqa: E402
from examples.zoo.rankers import COUNTRY, EVERYTHING, PAST, STEPS, drawn  # noqa: E402
from examples.zoo.registry import RANKERS  # noqa: E402
from examples.zoo.seq import SEQ  # noqa: E402
from examples.zoo.variants import Draws  # noqa: E402

ROWS, WIDTH = 23, 8
LISTS = [i for i, field in enumerate(EVERYTHING) if isinstance(field, Bag | Sequence)]
READERS = [name for name, entry in RANKERS.items() if not entry.why_not(EVERYTHING, STEPS)]


def front(*fields, width: int = WIDTH) -> FrontEnd:
    return drawn(FrontEnd(fields, width), Draws(0))


def ready(name: str) -> Ranker:
    return drawn(RANKERS[name].build(EVERYTHING, STEPS), Draws(0)).eval()


def inputs_of(schema: Schema) -> list[Tensor]:
    return list(made_up(schema, ROWS).values())


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_by_hand(mode: str) -> None:
    bag = front(Bag("tags", 9, 4, mode))
    table = bag.encoders[0].table.weight
    ids = torch.tensor([[3, 0, 5, 0], [0, 0, 0, 0], [8, 8, 1, 2], [0, 0, 0, 7]])
    got = bag(ids)
    for row, found in zip(ids, got):
        vectors = table[row[row != 0]]
        if len(vectors) == 0:
            want = torch.zeros(WIDTH)
        elif mode == "max":
            want = vectors.max(dim=0).values
        else:
            want = vectors.sum(dim=0) if mode == "sum" else vectors.mean(dim=0)
        assert_close(found, want)


def test_a_front_end_sets_the_fields_side_by_side() -> None:
    everything, inputs = front(*EVERYTHING), inputs_of(EVERYTHING)
    x = everything(*inputs)
    assert x.shape == (ROWS, everything.out) == (ROWS, 10 + 8 * WIDTH)
    at = 0
    for field, encode, value in zip(EVERYTHING, everything.encoders, inputs):
        width = field.width if isinstance(field, Dense) else WIDTH
        assert torch.equal(x[:, at : at + width], encode(value))
        at += width


def test_hashed_ids_share_buckets() -> None:
    hashed = front(HashedId("query", 16))
    ids = torch.tensor([3, 19, 3 + 16 * 10**12, 4])
    a, b, c, d = hashed(ids)
    assert torch.equal(a, b) and torch.equal(a, c) and not torch.equal(a, d)
    assert hashed(torch.tensor([2**62])).isfinite().all()


def test_normalised_features_have_mean_0_and_deviation_1() -> None:
    both = FrontEnd((Dense("price", 3, normalise=True), Dense("age", 2)), WIDTH)
    price = torch.randn(500, 3) * torch.tensor([10.0, 1e-3, 0.0]) + torch.tensor([5.0, -1.0, 7.0])
    age = 3 + torch.randn(500, 2)
    both.fit({"age": age, "price": price})
    x = both(price, age)
    assert_close(x[:, :3].mean(dim=0), torch.zeros(3), atol=1e-3, rtol=0)
    assert_close(x[:, :2].std(dim=0, unbiased=False), torch.ones(2), atol=1e-3, rtol=0)
    assert torch.equal(x[:, 2], torch.zeros(500))  # what never varies says nothing
    assert torch.equal(x[:, 3:], age)
    statistics = {"encoders.0.mean", "encoders.0.deviation"}
    assert statistics <= set(both.state_dict()) and not list(both.parameters())


def test_a_ranker_fits_all_its_front_ends() -> None:
    inputs = made_up(EVERYTHING, ROWS)
    for name in ("single_task", "mmoe", "stem", "dtrn", "md_mmoe", "resflow_tower"):
        model = RANKERS[name].build(EVERYTHING, STEPS)
        model.fit(inputs)
        means = [value for key, value in model.state_dict().items() if key.endswith(".mean")]
        assert means and all(torch.equal(mean, inputs["price"].mean(dim=0)) for mean in means)


def test_items_of_the_past_share_the_items_table() -> None:
    fields = (Id("item", 9, "item"), Sequence("bought", 9, 3, "item"), Sequence("other", 9, 3))
    tables = [encode.table for encode in front(*fields).encoders]
    assert tables[0] is tables[1] and tables[0] is not tables[2]


def test_schemas_are_checked() -> None:
    for fields, complaint in (
        ((Id("a", 3), Dense("a", 2)), "two fields are called a"),
        ((Id("a", 0),), "field a: a size of 0"),
        ((Bag("a", 3, 2, "median"),), "bag a: mode 'median'"),
        ((Id("a", 3, "regoin"),), "field a: role 'regoin'"),
    ):
        with pytest.raises(ValueError, match=complaint):
            FrontEnd(fields, WIDTH)


def test_one_matrix_of_ids_is_as_many_fields() -> None:
    model = drawn(WithFields((50, 7), WIDTH, 4, MMoE(2 * WIDTH + 4, 2)), Draws(0)).eval()
    ids, dense = torch.stack([torch.arange(5), torch.arange(5)], dim=1), torch.randn(5, 4)
    apart = WithFrontEnd(model.front, model.ranker)
    for a, b in zip(model(ids, dense), apart(ids[:, 0], ids[:, 1], dense)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", READERS)
def test_nothing_but_padding_is_finite(name: str) -> None:
    model, inputs = ready(name), inputs_of(EVERYTHING)
    for i in LISTS:
        inputs[i] = torch.zeros_like(inputs[i])
    for outputs in (model(*inputs), model.logits(*inputs)):
        assert all(output.isfinite().all() for output in outputs)


@pytest.mark.parametrize("name", READERS)
def test_where_padding_stands_and_what_it_holds_is_the_same(name: str) -> None:
    model, inputs = ready(name), inputs_of(EVERYTHING)
    before = model(*inputs)
    for i in LISTS:
        inputs[i] = inputs[i][:, torch.randperm(inputs[i].shape[1])]
    for a, b in zip(before, model(*inputs)):
        assert_close(a, b, rtol=1e-4, atol=1e-5)
    region, item = inputs[2], inputs[3]
    inputs[2], inputs[3] = region.clamp(min=1), item.clamp(min=1)  # these have a real row 0
    inputs[4] = inputs[4] | 1
    before = model(*inputs)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.weight[0] = 1e3
    for a, b in zip(before, model(*inputs)):
        assert torch.equal(a, b)


def test_events_matter_to_dtrn() -> None:
    """The counterpart of the above: else both would hold for a ranker that reads no sequence."""
    model, inputs = ready("dtrn"), inputs_of(EVERYTHING)
    before = model(*inputs)
    past = inputs[8].clone()
    inputs[8] = torch.where(past != 0, past % 39 + 1, 0)
    assert (before[0] - model(*inputs)[0]).abs().max() > 1e-3


def test_attention_by_hand() -> None:
    attention = drawn(SelfAttention(WIDTH, 2), Draws(0))
    u, mask = torch.randn(3, 5, WIDTH), torch.arange(5) < torch.tensor([[5], [2], [1]])
    got = attention(u, mask)
    for row in range(3):
        events = u[row][mask[row]]
        q, k, v = (f(events) for f in (attention.query, attention.key, attention.value))
        heads = [
            torch.softmax(q[:, h] @ k[:, h].T / 2.0, dim=1) @ v[:, h]
            for h in (slice(0, 4), slice(4, 8))
        ]
        assert_close(got[row][mask[row]], attention.merge(torch.cat(heads, dim=1)))
    fused = SelfAttention(WIDTH, 2, fused=True)
    fused.load_state_dict(attention.state_dict())
    assert_close(fused(u, mask), got)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_condition_of_zero_is_the_plain_block(pre_norm: bool) -> None:
    block = drawn(Block(WIDTH, 2, 16, pre_norm, fused=False), Draws(0)).eval()
    u, mask = torch.randn(3, 5, WIDTH), torch.ones(3, 5, dtype=torch.bool)
    norm = nn.LayerNorm(WIDTH)
    if pre_norm:
        v = u + block.attention(norm(u), mask)
        want = v + block.feed(norm(v))
    else:
        v = norm(u + block.attention(u, mask))
        want = norm(v + block.feed(v))
    assert_close(block(u, mask, torch.zeros(4 * WIDTH)), want)


def test_conditions_are_scales_and_shifts() -> None:
    block = drawn(Block(WIDTH, 2, 16, False, fused=False), Draws(0)).eval()
    gamma, beta, u = torch.randn(WIDTH), torch.randn(WIDTH), torch.randn(4, WIDTH)
    assert_close(block.norm(u, gamma, beta), nn.LayerNorm(WIDTH)(u) * (1 + gamma) + beta)


def test_tasks_have_interests_of_their_own() -> None:
    model = drawn(DTRN(PAST, STEPS, target=True), Draws(0)).eval()
    inputs = inputs_of(PAST)
    sequences = model.front.sequences(*inputs)
    interests = model.tim(sequences, model.front.item(*inputs))
    assert [z.shape for z in interests] == [(ROWS, 2, 16)] * 3
    some = sequences[0][1].any(dim=1)
    assert (interests[0] - interests[1])[some].abs().max() > 1e-2
    assert torch.equal(interests[0][~some][:, 0], torch.zeros(int((~some).sum()), 16))


def test_dtrn_without_its_parts() -> None:
    inputs = inputs_of(PAST)
    bare = drawn(DTRN(PAST, STEPS, tim=False, trm=False), Draws(0)).eval()
    bottoms = bare.bottoms(*inputs)
    assert all(torch.equal(bottoms[0], other) for other in bottoms[1:])
    tokens = bare.front.tokens(*inputs)  # sequences as means, as any front end has them
    assert torch.equal(bottoms[0], tokens.flatten(1))
    weighed = drawn(DTRN(PAST, STEPS, tim=False), Draws(0)).eval()
    x = weighed.front.tokens(*inputs)
    for refine, r in zip(weighed.trm, weighed.bottoms(*inputs)):
        w = 2 * torch.sigmoid(refine.weigh(x.mean(dim=2)))
        assert_close(r.view_as(x), x * w.unsqueeze(2))
    with pytest.raises(ValueError, match="a field of role item"):
        DTRN((PAST[0], PAST[3]), STEPS, target=True)


@pytest.mark.parametrize("schema", [EVERYTHING, COUNTRY], ids=["id", "vector"])
def test_md_masks_the_dependent_features_by_region(schema: Schema) -> None:
    md = drawn(MD(schema, WIDTH), Draws(0))
    inputs = inputs_of(schema)
    roles = [field.role for field in schema]
    region, dependent = inputs[roles.index("region")], inputs[roles.index("dependent")]
    others = [v for v, role in zip(inputs, roles) if role not in ("region", "dependent")]
    x, m = md(*inputs), md.masks(region)
    assert x.shape == (ROWS, md.out) and m.shape == dependent.shape
    assert_close(x[:, md.others.out :], md.read(m * dependent))
    assert torch.equal(x[:, : md.others.out], md.others(*others))
    assert m.std(dim=0).min() > 0
    if schema is EVERYTHING:
        assert len(m.unique(dim=0)) == len(region.unique())  # as many masks as regions
    model = WithFrontEnd(md, SEQ(md.out, STEPS, token=6)).eval()
    assert all(p.isfinite().all() for p in model(*inputs))


def test_md_names_what_it_misses() -> None:
    with pytest.raises(ValueError, match="no field has the role region"):
        MD((Dense("x", 3, role="dependent"),), WIDTH)
    with pytest.raises(ValueError, match="field a: only dense features can be masked"):
        MD((Id("r", 3, role="region"), Id("a", 3, role="dependent")), WIDTH)
