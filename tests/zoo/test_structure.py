"""Each ranker against what its paper says of it: the formulas of examples/zoo, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch", reason="the zoo's tests need PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.testing import assert_close  # noqa: E402

from examples.zoo.aitm import AITM  # noqa: E402
from examples.zoo.cross_stitch import CrossStitchNetwork  # noqa: E402
from examples.zoo.esmm import CLICK_AND_ORDER, CVR_LOSSES, ESMM  # noqa: E402
from examples.zoo.features import made_up  # noqa: E402
from examples.zoo.layers import both  # noqa: E402
from examples.zoo.mmoe import MMoE  # noqa: E402
from examples.zoo.ple import PLE  # noqa: E402
from examples.zoo.ple_seed import PLESeed  # noqa: E402
from examples.zoo.ranker import Ranker  # noqa: E402
from examples.zoo.rankers import EVERYTHING, KINDS, STEPS, TREE, drawn  # noqa: E402
from examples.zoo.resflow import ResFlow  # noqa: E402
from examples.zoo.resflow_tower import ResFlowTower, Score  # noqa: E402
from examples.zoo.seq import SEQ, one_more_task  # noqa: E402
from examples.zoo.shared_bottom import SharedBottom  # noqa: E402
from examples.zoo.stem import STEM, STEMSurvey  # noqa: E402
from examples.zoo.task_routing import TaskRouting  # noqa: E402
from examples.zoo.tasks import Task  # noqa: E402
from examples.zoo.variants import Draws  # noqa: E402

ROWS, WIDTH = 29, 10


def ready(model: Ranker) -> Ranker:
    return drawn(model, Draws(0)).eval()


def x(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(ROWS, WIDTH)


@contextmanager
def zeroed(*modules: nn.Module) -> Iterator[None]:
    """All parameters 0."""
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.zero_()
    yield


GATED = {
    "mmoe": (lambda: MMoE(WIDTH, 3), 1),
    "omoe": (lambda: MMoE(WIDTH, 3, one_gate=True), 1),
    "ple": (lambda: PLE(WIDTH, 3), 1),
    "ple_seed": (lambda: PLESeed(WIDTH, 3), 2),
    "stem_s": (lambda: STEMSurvey(WIDTH, 3), 1),
    "task_routing": (lambda: TaskRouting(WIDTH, 3), 1),
}


@pytest.mark.parametrize("name", GATED)
def test_gates_sum_up(name: str) -> None:
    build, total = GATED[name]
    _, gates = ready(build()).routed(x())
    assert len(gates) == 3
    for gate in gates:
        assert gate.min() > 0
        assert_close(gate.sum(dim=1), torch.full((ROWS,), float(total)))


def test_joint_routing_shares_one_budget() -> None:
    model = ready(TaskRouting(WIDTH, 3, joint=True))
    gates = torch.stack(model.routed(x())[1], dim=1)  # (B, T, E)
    assert_close(gates.sum(dim=(1, 2)), torch.ones(ROWS))
    assert (gates.sum(dim=2) < 1).all()


def test_stem_sees_all_experts_with_one_budget() -> None:
    model = ready(STEM(EVERYTHING, STEPS, own=2, shared=3))
    _, gates = model.routed(*made_up(EVERYTHING, ROWS).values())
    assert [gate.shape for gate in gates] == [(ROWS, 3 * 2 + 3)] * 3
    for gate in gates:
        assert_close(gate.sum(dim=1), torch.ones(ROWS))


def test_equal_gates_give_the_mean_of_the_experts() -> None:
    model, inputs = ready(MMoE(WIDTH, 2, experts=5)), x()
    mean = torch.stack([f(inputs) for f in model.experts]).mean(dim=0)
    with zeroed(*model.gates):
        mixed, _ = model.routed(inputs)
    for z in mixed:
        assert_close(z, mean)


def test_mmoe_on_equal_streams_is_mmoe() -> None:
    model, inputs = ready(MMoE(WIDTH, 3)), x()
    for a, b in zip(model.routed(inputs)[0], model.on_streams([inputs] * 3)[0]):
        assert_close(a, b)


def test_the_last_level_of_ple_has_no_shared_gate() -> None:
    levels = PLE(WIDTH, 2, levels=3).levels
    assert [level.shared_gate is None for level in levels] == [False, False, True]


def test_ple_by_hand() -> None:
    """One level: a task mixes its own and the shared experts, own first."""
    model, inputs = ready(PLE(WIDTH, 2, levels=1, own=2, shared=1)), x()
    level = model.levels[0]
    for t in range(2):
        experts = [f(inputs) for f in (*level.own[t], *level.shared)]
        gate = torch.softmax(level.gates[t].linear(inputs), dim=1)
        z = sum(gate[:, e : e + 1] * f for e, f in enumerate(experts))
        assert_close(model.routed(inputs)[0][t], z)


def test_what_ple_seed_never_reads() -> None:
    """Before the last level, what belongs to all tasks but the first."""
    model, inputs = ready(PLESeed(WIDTH, 3)), x()
    before = model(inputs)
    first = model.levels[0]
    with zeroed(first.own[1], first.own[2], first.own_gates[1], first.shared_gates[2]):
        after = model(inputs)
    assert all(torch.equal(a, b) for a, b in zip(before, after))


def test_cross_stitch_of_the_identity_is_networks_apart() -> None:
    model, inputs = ready(CrossStitchNetwork(WIDTH, 2, (8, 6), ())), x()
    with torch.no_grad():
        for unit in model.units:
            unit.alpha.copy_(torch.eye(2))
    for t in range(2):
        h = inputs
        for layer in model.layers:
            h = layer[t](h)
        assert_close(model.logits(inputs)[t], model.towers[t](h))


def test_cross_stitch_mixes_tasks_and_not_channels() -> None:
    model, inputs = ready(CrossStitchNetwork(WIDTH, 2, (2,), ())), x()
    a = [layer(inputs) for layer in model.layers[0]]
    alpha = model.units[0].alpha
    for t in range(2):
        mixed = alpha[t, 0] * a[0] + alpha[t, 1] * a[1]
        assert_close(model.logits(inputs)[t], model.towers[t](mixed))


def test_stem_s_weighs_all_rows_alike() -> None:
    model = ready(STEMSurvey(WIDTH, 3, experts=5))
    weights = torch.stack(model.routed(x())[1], dim=1)  # (B, T, E)
    assert torch.equal(weights, weights[:1].expand_as(weights))
    attention = model.attention
    w_q, w_k, _ = attention.in_proj_weight.chunk(3)
    b_q, b_k, _ = attention.in_proj_bias.chunk(3)
    q = (model.task_embeddings @ w_q.T + b_q).view(3, 4, 4).transpose(0, 1)  # (heads, T, a / 4)
    k = (model.expert_embeddings @ w_k.T + b_k).view(5, 4, 4).transpose(0, 1)
    by_hand = torch.softmax(q @ k.transpose(1, 2) / 4**0.5, dim=2).mean(dim=0)
    assert_close(weights[0], by_hand)


def test_stem_by_hand() -> None:
    """A gate reads the sum of its task's vector and the shared one, and weighs all experts."""
    model = ready(STEM(EVERYTHING, STEPS, own=1, shared=2))
    inputs = made_up(EVERYTHING, ROWS).values()
    *own, common = (front(*inputs) for front in model.fronts)
    experts = [f(z) for group, z in zip(model.experts, [*own, common]) for f in group]
    for t in range(3):
        gate = model.gates[t](own[t] + common)
        z = sum(gate[:, e : e + 1] * f for e, f in enumerate(experts))
        assert_close(model.routed(*inputs)[0][t], z)


def test_stem_trains_no_other_task_by_its_experts() -> None:
    model = ready(STEM(EVERYTHING, STEPS))
    model.logits(*made_up(EVERYTHING, ROWS).values())[1].sum().backward()
    for t in (0, 2):
        untouched = [*model.fronts[t].parameters(), *model.experts[t].parameters()]
        assert all(parameter.grad is None for parameter in untouched)
    assert all(p.grad is not None for f in model.experts[1] for p in f.parameters())


def test_shared_bottom_normalises_before_the_relu() -> None:
    model = SharedBottom(WIDTH, 2, bottom=(8,), towers=(6,))
    kinds = [type(layer) for layer in model.bottom]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [type(layer) for layer in model.towers[0]] == [*kinds, nn.Linear]


@pytest.mark.parametrize("tasks", [STEPS, TREE], ids=["steps", "tree"])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_esmm_multiplies(tasks: tuple[Task, ...], scale: float) -> None:
    model = ready(ESMM(WIDTH, tasks))
    served = dict(zip(model.outputs, model(x(scale))))
    for task in model.tasks:
        if task.after:
            product = served[task.name]
            step = served[f"{task.name}_if_{task.after}"]
            assert_close(product, served[task.after] * step)
            assert (product <= torch.minimum(served[task.after], step)).all()


def test_esmm_wants_binary_steps() -> None:
    with pytest.raises(ValueError, match="task minutes: only a binary task has a product"):
        ESMM(WIDTH, (Task("click"), Task("minutes", "regression", after="click")))


@pytest.mark.parametrize("cvr_loss", CVR_LOSSES)
def test_losses_of_cvr(cvr_loss: str) -> None:
    model = drawn(ESMM(WIDTH, CLICK_AND_ORDER, cvr_loss=cvr_loss, dropout=0.0), Draws(0)).train()
    inputs = x()
    labels = torch.zeros(ROWS, 2)
    model.logits(inputs)
    nobody = model.label_loss(labels)  # no click at all: no division by zero
    assert nobody.isfinite() and (cvr_loss == "dr" or nobody == 0)
    labels[:7, 0], labels[:3, 1], labels[5, 1], labels[6, 0] = 1, 1, float("nan"), float("nan")
    model.logits(inputs)
    loss = model.label_loss(labels)
    _, _, cvr = model.eval()(inputs)
    known = torch.tensor([0, 1, 2, 3, 4])  # clicked, and it is known whether ordered
    error = nn.functional.binary_cross_entropy(cvr[known], labels[known, 1:], reduction="none")
    if cvr_loss == "clicked":
        assert_close(loss, error.mean())
    if cvr_loss == "ips":
        ctr = model(inputs)[0][known].clamp(min=0.05)
        assert_close(loss, (error / ctr).sum() / ROWS)
    assert loss.isfinite() and (loss > 0) == (cvr_loss != "none")


@pytest.mark.parametrize("scale", [1, 50, 1e3])
def test_log_odds_of_a_product_are_exact(scale: float) -> None:
    a, b = (scale * torch.randn(200) for _ in range(2))
    a.requires_grad_()
    z = both(a, b)
    p = -torch.log1p(torch.exp(-a.detach().double())), -torch.log1p(torch.exp(-b.double()))
    if scale < 1e3:  # beyond, float64 overflows as well
        log_p = p[0] + p[1]
        want = log_p - torch.log(-torch.expm1(log_p))
        keep = log_p < -1e-12  # nearer to 1 the cancellation is that of the reference
        assert_close(z.detach().double()[keep], want[keep], rtol=1e-5, atol=1e-5)
    z.sum().backward()
    assert z.isfinite().all() and a.grad.isfinite().all()


@pytest.mark.parametrize("form", ["product", "min"])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_seq_never_increases(form: str, scale: float) -> None:
    model = ready(SEQ(WIDTH, 5, hidden=12, form=form))
    inputs = x(scale)
    served = torch.cat(model(inputs), dim=1)
    assert (served[:, 1:] <= served[:, :-1]).all()
    steps = torch.sigmoid(torch.cat(super(SEQ, model).logits(inputs), dim=1))
    want = steps.cumprod(dim=1) if form == "product" else steps.cummin(dim=1).values
    assert_close(served, want)
    logits = model.logits(inputs)
    assert all(logit.isfinite().all() for logit in logits)
    assert_close(torch.sigmoid(torch.cat(logits, dim=1)), served)


def test_seq_descends_along_a_tree() -> None:
    model, inputs = ready(SEQ(WIDTH, TREE, hidden=12)), x()
    steps = [torch.sigmoid(a) for a in super(SEQ, model).logits(inputs)]
    click, cart, like = model(inputs)
    assert_close(cart, click * steps[1])
    assert_close(like, click * steps[2])


def test_the_penalty_of_seq_is_by_how_much_it_rises() -> None:
    model = drawn(SEQ(WIDTH, 3, hidden=12, form="penalty", weight=2.0), Draws(0)).train()
    logits = model.logits(x())
    p = torch.sigmoid(torch.cat(logits, dim=1))
    rise = (p[:, 1:] - p[:, :-1]).clamp(min=0).mean(dim=0).sum()
    assert rise > 0
    assert_close(model.auxiliary(), 2 * rise)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 5])
def test_seq_reads_the_tasks_by_a_gru(tasks: int, layers: int) -> None:
    """By a hand-rolled cell: r, u, n in this order, b_hn inside the product with r."""
    model, inputs = ready(SEQ(WIDTH, tasks, hidden=7, layers=layers, token=6)), x()
    tokens = [model.project(inputs)]
    tokens += [make(tokens[0]) for make in model.tokens]
    for layer in range(layers):
        w_i, w_h, b_i, b_h = (
            getattr(model.gru, f"{kind}_l{layer}")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, states = torch.zeros(ROWS, 7), []
        for token in tokens:
            i_r, i_u, i_n = (token @ w_i.T + b_i).chunk(3, dim=1)
            h_r, h_u, h_n = (h @ w_h.T + b_h).chunk(3, dim=1)
            r, u = torch.sigmoid(i_r + h_r), torch.sigmoid(i_u + h_u)
            n = torch.tanh(i_n + r * h_n)
            h = (1 - u) * n + u * h
            states.append(h)
        tokens = states
    for got, want in zip(model.routed(inputs)[0], tokens, strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("options", [{}, {"token": 6, "one_head": True}, {"cascade": True}])
def test_one_more_task_leaves_the_others_as_they_are(options: dict) -> None:
    model, inputs = ready(SEQ(WIDTH, STEPS[:2], hidden=12, **options)), x()
    longer = one_more_task(model, STEPS[2]).eval()
    before, after = model(inputs), longer(inputs)
    assert len(after) == 3 and all(torch.equal(a, b) for a, b in zip(before, after))
    assert (after[2] <= after[1]).all()
    with pytest.raises(ValueError, match="MMoE takes no further task"):
        one_more_task(MMoE(WIDTH, 2), STEPS[2])


def test_resflow_of_zero_networks_repeats_the_earlier_task() -> None:
    model, inputs = ready(ResFlow(WIDTH, 3, (8, 6))), x()
    later = [layers[t] for layers in model.layers for t in (1, 2)]
    with zeroed(*later, *model.towers[1:]):
        logits, (streams, _) = model.logits(inputs), model.routed(inputs)
    for t in (1, 2):
        assert torch.equal(logits[t], logits[0]) and torch.equal(streams[t], streams[0])


def test_resflow_of_one_task_is_a_network() -> None:
    model, inputs = ready(ResFlow(WIDTH, 1, (8, 6))), x()
    h = inputs
    for layers in model.layers:
        h = layers[0](h)
    assert_close(model(inputs)[0], torch.sigmoid(model.towers[0](h)))


def test_resflow_without_residuals_is_networks_apart() -> None:
    model, inputs = ready(ResFlow(WIDTH, 3, (8, 6), layers_flow=False, logits_flow=False)), x()
    for t in range(3):
        h = inputs
        for layers in model.layers:
            h = layers[t](h)
        assert_close(model.logits(inputs)[t], model.towers[t](h))


def test_resflow_of_logits_is_a_running_sum() -> None:
    model, inputs = ready(ResFlow(WIDTH, 10, (8,), layers_flow=False)), x()
    own = torch.cat(super(ResFlow, model).logits(inputs), dim=1)
    assert_close(torch.cat(model.logits(inputs), dim=1), own.cumsum(dim=1))


def test_resflow_flows_along_a_tree() -> None:
    """like comes after click, as cart does, and does not see cart."""
    model, inputs = ready(ResFlow(WIDTH, TREE, (8, 6))), x()
    before = model(inputs)
    with zeroed(*(layers[1] for layers in model.layers), model.towers[1]):
        after = model(inputs)
    assert torch.equal(before[2], after[2]) and not torch.equal(before[1], after[1])


def test_hard_resflow_cannot_rise() -> None:
    soft, hard = (ready(ResFlow(WIDTH, 4, (8, 6), hard=hard)) for hard in (False, True))
    inputs = x(3.0)
    rises = [
        (p[:, 1:] > p[:, :-1]).float().mean()
        for p in (torch.cat(model(inputs), dim=1) for model in (soft, hard))
    ]
    assert rises[0] > 0.1 and rises[1] == 0


def test_resflow_as_the_authors_write_it() -> None:
    layer = ResFlow(WIDTH, 2, (8,), activation="prelu", input_norm=True).layers[0][0]
    assert [type(part) for part in layer][:3] == [nn.Linear, nn.PReLU, nn.BatchNorm1d]
    assert layer[1].weight.shape == (8,)


def test_resflow_fuses_and_expects() -> None:
    levels, alpha = [1.0, 3.0, 10.0], [0.5, 0.2, 0.3]
    inputs, scores = x(), {}
    for fusion in ("add", "multiply"):
        model = ready(ResFlow(WIDTH, 3, (8,), levels=levels, fusion=fusion, alpha=alpha))
        assert model.outputs[-2:] == ["expected", "score"]
        *served, expected, scores[fusion] = model(inputs)
    p = torch.cat(served, dim=1)
    a, b, c = p.T
    want = (1 - a) * 0.5 + (a - b).clamp(min=0) * 2 + (b - c).clamp(min=0) * 6.5 + c * 10
    assert_close(expected[:, 0], want)
    weights = torch.tensor(alpha)
    assert_close(scores["add"][:, 0], p @ weights)
    assert_close(scores["multiply"][:, 0], (p**weights).prod(dim=1))
    assert "alpha" in dict(model.named_buffers())  # what `mtlc --param alpha` leaves open


@pytest.mark.parametrize("last_flows", [False, True])
def test_a_twin_tower_may_be_served_in_parts(last_flows: bool) -> None:
    model = ready(ResFlowTower(EVERYTHING, STEPS, last_flows=last_flows))
    inputs = list(made_up(EVERYTHING, ROWS).values())
    sides = {
        side: [v for v, on in zip(inputs, model.on_item) if on == side] for side in (False, True)
    }
    of_user = [value[:1] for value in sides[False]]  # one user, all the items
    for i, on in enumerate(model.on_item):
        if not on:
            inputs[i] = inputs[i][:1].expand(ROWS, *inputs[i].shape[1:])
    users, items = model.user(*of_user), model.item(*sides[True])
    for whole, part in zip(model(*inputs), Score(model)(*users, *items)):
        assert_close(whole, part)
    r = [(u * v).sum(dim=1, keepdim=True) + c for u, v, c in zip(users, items, model.bias)]
    assert_close(torch.cat(model.logits(*inputs), dim=1), torch.cat(r, dim=1).cumsum(dim=1))


def test_aitm_by_hand() -> None:
    model, inputs = ready(AITM(WIDTH, 2, bottom=(8,), towers=())), x()
    first, own = (bottom(inputs) for bottom in model.bottoms)
    rows = [model.transfers[0](first), own]
    scores = [(model.key(row) * model.query(row)).sum(dim=1) / 8**0.5 for row in rows]
    a = torch.softmax(torch.stack(scores, dim=1), dim=1)
    z = a[:, :1] * model.value(rows[0]) + a[:, 1:] * model.value(rows[1])
    for got, want in zip(model.logits(inputs), (model.towers[0](first), model.towers[1](z))):
        assert_close(got, want)


@pytest.mark.parametrize("kind", [AITM, ResFlow])
def test_penalties_are_of_training(kind: type[Ranker]) -> None:
    weighed = {"weight": 0.6} if kind is AITM else {"penalty": 0.6}
    model, inputs = ready(kind(WIDTH, 3, **weighed)), x()
    model.logits(inputs)
    assert model.auxiliary() == 0
    model.train().logits(inputs)
    assert model.auxiliary() > 0


def test_multiclass_probabilities_sum_to_one() -> None:
    click, minutes, stars = ready(MMoE(WIDTH, KINDS))(x())
    assert_close(stars.sum(dim=1), torch.ones(ROWS))
    assert minutes.min() < 0 or minutes.max() > 1  # no sigmoid on a number
    assert click.min() > 0 and click.max() < 1
