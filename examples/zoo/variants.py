"""One ranker, many ways to write it down.

People write the same mixture of experts as a loop, a bmm, an einsum or one big parameter. A `Spec`
says which ranker (its sizes, activations, heads) and in which idiom; `Ranker(spec)` is the module.
Parameters are drawn from their canonical names, so two specs that differ in idiom only compute the
same function (up to rounding), and a compiler should make the same plan of them. They are random
and not at their usual initial values: a test on zero biases tests nothing.

Shapes: B rows, D features, E experts, K and H hidden and output width of an expert, T tasks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

EXPERTS = ("list", "einsum", "broadcast", "broadcast_rows", "bmm", "baddbmm", "wide", "einsum_rows")
MIXTURES = (
    "stack_sum",
    "cat_sum",
    "stack_mul_first",
    "bmm",
    "matmul",
    "einsum",
    "einsum_last",
    "last_sum",
    "last_matmul",
    "split_chain",
    "chunk_chain",
    "index_chain",
    "unbind_chain",
    "loop",
)
ALL_TASK_MIXTURES = (
    "einsum_all",
    "matmul_all",
    "einsum_all_first",
    "sum_all",
)  # one product for all gates
HEADS = ("column", "squeeze", "squeeze_1", "squeeze_all", "reshape", "view", "flatten", "select")
JOINED_HEADS = ("cat", "stack")  # one output for all tasks
NORMS = ("none", "bn_before", "bn_after", "layer_norm")
ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda width: nn.ReLU(),
    "leaky_relu": lambda width: nn.LeakyReLU(0.1),
    "prelu": lambda width: nn.PReLU(),
    "prelu_channels": lambda width: nn.PReLU(width),
    "gelu": lambda width: nn.GELU(),
    "gelu_tanh": lambda width: nn.GELU(approximate="tanh"),
    "silu": lambda width: nn.SiLU(),
    "tanh": lambda width: nn.Tanh(),
    "elu": lambda width: nn.ELU(0.7),
    "selu": lambda width: nn.SELU(),
    "celu": lambda width: nn.CELU(1.3),
    "sigmoid": lambda width: nn.Sigmoid(),
    "softplus": lambda width: nn.Softplus(),
    "softsign": lambda width: nn.Softsign(),
    "mish": lambda width: nn.Mish(),
    "hardswish": lambda width: nn.Hardswish(),
    "hardsigmoid": lambda width: nn.Hardsigmoid(),
    "relu6": lambda width: nn.ReLU6(),
    "hardtanh": lambda width: nn.Hardtanh(-0.8, 0.9),
}


@dataclass(frozen=True)
class Spec:
    """Which ranker, and how it is written. The defaults are the survey's MMoE."""

    ranker: str = "mmoe"  # "mmoe", "ple" (paper form), "ple_seed" (two gates a task, added)
    features: int = 24
    experts: int = 4  # of PLE: own experts of each task, and as many shared
    tasks: int = 2
    hidden: int = 16
    out: int = 12
    towers: tuple[int, ...] = (16,)
    levels: int = 2  # of PLE
    activation: str = "relu"
    tower_activation: str = "relu"
    norm: str = "none"  # in the towers
    gate: str = "linear"  # "linear", "no_bias", "mlp", "wide" (one Linear for all tasks, MMoE only)
    head: str = "column"
    kind: str = "binary"  # "binary" sigmoid, "regression" linear, "multiclass" softmax over 5
    inputs: tuple[str, ...] = ("x",)  # several are concatenated
    gates_out: bool = False
    container: str = "tuple"  # or "list"
    input_norm: bool = False  # LayerNorm over the features
    expert_idiom: str = "list"
    mixture: str = "stack_sum"
    seed: int = 0

    def widths(self) -> list[int]:
        """Columns of each input; they differ, and add up to `features`."""
        count = len(self.inputs)
        first = [self.features * (i + 1) // (count * (count + 1) // 2) for i in range(count - 1)]
        return [*first, self.features - sum(first)]

    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        names = ["scores"] if self.head in JOINED_HEADS else [f"task{t}" for t in range(self.tasks)]
        if self.gates_out:
            names += [f"gate{t}" for t in range(self.tasks)]
        return names

    def module(self) -> Ranker:
        return Ranker(self)

    def made_up(self, rows: int, seed: int = 0) -> dict[str, Tensor]:
        """Inputs of so many rows: name to (rows, width), standard normal."""
        draws = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(rows, width, generator=draws)
            for name, width in zip(self.inputs, self.widths())
        }


class Draws:
    """Parameters by name: the same name gives the same values, in whichever module they end up."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def normal(self, name: str, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + zlib.crc32(name.encode()))
        return torch.randn(*shape, generator=generator) * scale + shift

    def linear(self, name: str, width: int, out: int, bias: bool = True) -> nn.Linear:
        layer = nn.Linear(width, out, bias=bias)
        with torch.no_grad():
            layer.weight.copy_(self.normal(name + ".weight", out, width, scale=1.2 * width**-0.5))
            if bias:
                layer.bias.copy_(self.normal(name + ".bias", out, scale=0.3))
        return layer

    def activation(self, name: str, kind: str, width: int) -> nn.Module:
        layer = ACTIVATIONS[kind](width)
        if isinstance(layer, nn.PReLU):
            with torch.no_grad():
                layer.weight.copy_(
                    self.normal(name + ".slope", *layer.weight.shape, scale=0.3, shift=0.2)
                )
        return layer

    def norm(self, name: str, kind: str, width: int) -> nn.Module:
        """Every other scale is negative, and running statistics are those of no data."""
        layer: nn.Module = nn.LayerNorm(width) if kind == "layer_norm" else nn.BatchNorm1d(width)
        with torch.no_grad():
            layer.weight.copy_(self.normal(name + ".scale", width, scale=0.2, shift=1.0))
            layer.weight[::2] *= -1
            layer.bias.copy_(self.normal(name + ".shift", width, scale=0.3))
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.copy_(self.normal(name + ".mean", width, scale=0.3))
                layer.running_var.copy_(self.normal(name + ".var", width).abs() + 0.5)
        return layer


class ListExperts(nn.Module):
    """Experts as modules: x (B, D) to a list of E tensors (B, H)."""

    def __init__(self, draws: Draws, name: str, spec: Spec, width: int, count: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(
                draws.linear(f"{name}.{e}.0", width, spec.hidden),
                draws.activation(f"{name}.0", spec.activation, spec.hidden),
                nn.Dropout(0.1),
                draws.linear(f"{name}.{e}.1", spec.hidden, spec.out),
                draws.activation(f"{name}.1", spec.activation, spec.out),
            )
            for e in range(count)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [expert(x) for expert in self.experts]


class TensorExperts(nn.Module):
    """Experts as 3-D parameters: x (B, D) to (B, E, H). w1 (E, D, K), b1 (E, K), w2 (E, K, H), b2
    (E, H)."""

    def __init__(self, draws: Draws, name: str, spec: Spec, width: int, count: int) -> None:
        super().__init__()
        first = [draws.linear(f"{name}.{e}.0", width, spec.hidden) for e in range(count)]
        second = [draws.linear(f"{name}.{e}.1", spec.hidden, spec.out) for e in range(count)]
        self.idiom, self.count, self.hidden = spec.expert_idiom, count, spec.hidden
        self.w1 = nn.Parameter(torch.stack([layer.weight.detach().T for layer in first]))
        self.b1 = nn.Parameter(torch.stack([layer.bias.detach() for layer in first]))
        self.w2 = nn.Parameter(torch.stack([layer.weight.detach().T for layer in second]))
        self.b2 = nn.Parameter(torch.stack([layer.bias.detach() for layer in second]))
        self.act1 = draws.activation(f"{name}.0", spec.activation, spec.hidden)
        self.act2 = draws.activation(f"{name}.1", spec.activation, spec.out)
        if self.idiom == "wide":
            self.first = nn.Linear(width, count * spec.hidden)
            with torch.no_grad():
                self.first.weight.copy_(torch.cat([layer.weight for layer in first]))
                self.first.bias.copy_(torch.cat([layer.bias for layer in first]))
            del self.w1, self.b1

    def forward(self, x: Tensor) -> Tensor:
        if self.idiom == "einsum":
            h = self.act1(torch.einsum("bd,edh->beh", x, self.w1) + self.b1)
            return self.act2(torch.einsum("beh,ehk->bek", h, self.w2) + self.b2)
        if self.idiom == "einsum_rows":  # experts before rows until the end
            h = self.act1(torch.einsum("bd,edh->ebh", x, self.w1) + self.b1[:, None, :])
            return self.act2(torch.einsum("ebh,ehk->bek", h, self.w2) + self.b2)
        if self.idiom == "wide":
            h = self.act1(self.first(x)).view(-1, self.count, self.hidden)
            return self.act2(torch.einsum("beh,ehk->bek", h, self.w2) + self.b2)
        if self.idiom == "broadcast":  # (B, 1, 1, D) x (E, D, K)
            h = self.act1(torch.matmul(x[:, None, None, :], self.w1) + self.b1[:, None, :])
            return self.act2(torch.matmul(h, self.w2) + self.b2[:, None, :]).squeeze(2)
        if self.idiom == "broadcast_rows":  # (B, D) x (E, D, K): experts first
            h = self.act1(torch.matmul(x, self.w1) + self.b1.unsqueeze(1))
            return self.act2(torch.matmul(h, self.w2) + self.b2.unsqueeze(1)).transpose(0, 1)
        many = x.unsqueeze(0).expand(self.count, -1, -1)  # (E, B, D)
        if self.idiom == "bmm":
            h = self.act1(torch.bmm(many, self.w1) + self.b1.unsqueeze(1))
            return self.act2(torch.bmm(h, self.w2) + self.b2.unsqueeze(1)).permute(1, 0, 2)
        if self.idiom == "baddbmm":
            h = self.act1(torch.baddbmm(self.b1.unsqueeze(1), many, self.w1))
            return self.act2(torch.baddbmm(self.b2.unsqueeze(1), h, self.w2)).permute(1, 0, 2)
        raise ValueError(f"no such idiom of experts: {self.idiom}")


def make_experts(draws: Draws, name: str, spec: Spec, width: int, count: int) -> nn.Module:
    return (ListExperts if spec.expert_idiom == "list" else TensorExperts)(
        draws, name, spec, width, count
    )


Mixed = list[Tensor] | Tensor  # experts' outputs: E of (B, H), or (B, E, H)


def join(groups: list[Mixed]) -> Mixed:
    """Several groups of experts as one, in order."""
    if isinstance(groups[0], list):
        return [f for group in groups for f in group]
    return groups[0] if len(groups) == 1 else torch.cat(groups, dim=1)


def stacked(experts: Mixed) -> Tensor:
    return torch.stack(experts, dim=1) if isinstance(experts, list) else experts


def listed(experts: Mixed) -> list[Tensor]:
    return experts if isinstance(experts, list) else list(experts.unbind(1))


def mix(idiom: str, gate: Tensor, experts: Mixed) -> Tensor:
    """sum over e of gate[:, e] experts[:, e, :] in one of MIXTURES; gate (B, E), result (B, H)."""
    if idiom == "stack_sum":
        return (stacked(experts) * gate.unsqueeze(2)).sum(dim=1)
    if idiom == "stack_mul_first":
        return torch.sum(gate[:, :, None] * stacked(experts), 1)
    if idiom == "cat_sum":
        return (
            torch.cat([f.unsqueeze(1) for f in listed(experts)], dim=1) * gate.unsqueeze(-1)
        ).sum(1)
    if idiom == "bmm":
        return torch.bmm(gate.unsqueeze(1), stacked(experts)).squeeze(1)
    if idiom == "matmul":
        return torch.matmul(gate.unsqueeze(1), stacked(experts)).squeeze(1)
    if idiom == "einsum":
        return torch.einsum("be,beh->bh", gate, stacked(experts))
    if idiom == "einsum_last":
        return torch.einsum("bhe,be->bh", torch.stack(listed(experts), dim=-1), gate)
    if idiom == "last_sum":
        return (torch.stack(listed(experts), dim=-1) * gate.unsqueeze(1)).sum(dim=-1)
    if idiom == "last_matmul":
        return torch.matmul(torch.stack(listed(experts), dim=2), gate.unsqueeze(-1)).squeeze(-1)
    outputs = listed(experts)
    if idiom == "split_chain":
        weights = gate.split(1, dim=1)
    elif idiom == "chunk_chain":
        weights = gate.chunk(len(outputs), dim=1)
    elif idiom == "index_chain":
        weights = tuple(gate[:, e : e + 1] for e in range(len(outputs)))
    elif idiom == "unbind_chain":
        weights = tuple(w.unsqueeze(1) for w in gate.unbind(1))
    elif idiom == "loop":
        weights = tuple(gate[:, e].reshape(-1, 1) for e in range(len(outputs)))
    else:
        raise ValueError(f"no such idiom of mixtures: {idiom}")
    total = weights[0] * outputs[0]
    for weight, output in zip(weights[1:], outputs[1:]):
        total = total + weight * output
    return total


def mix_all(idiom: str, gates: list[Tensor], experts: Mixed) -> list[Tensor]:
    """All tasks' mixtures at once, in one of ALL_TASK_MIXTURES; gates T of (B, E), result T of (B,
    H)."""
    x = stacked(experts)
    if idiom == "einsum_all":
        return list(torch.einsum("bte,beh->bth", torch.stack(gates, dim=1), x).unbind(1))
    if idiom == "einsum_all_first":
        z = torch.einsum("tbe,beh->tbh", torch.stack(gates, dim=0), x)
        return [z[t] for t in range(len(gates))]
    if idiom == "matmul_all":
        z = torch.matmul(torch.stack(gates, dim=1), x)
        return [z[:, t] for t in range(len(gates))]
    if idiom == "sum_all":
        z = (torch.stack(gates, dim=1).unsqueeze(-1) * x.unsqueeze(1)).sum(dim=2)
        return [z[:, t, :] for t in range(len(gates))]
    raise ValueError(f"no such idiom of mixtures for all tasks: {idiom}")


class SoftmaxGate(nn.Module):
    """(B, width) to (B, experts), positive, rows sum to 1."""

    def __init__(self, draws: Draws, name: str, spec: Spec, width: int, count: int) -> None:
        super().__init__()
        if spec.gate == "mlp":
            self.net: nn.Module = nn.Sequential(
                draws.linear(name + ".hidden", width, 24), nn.ReLU(), draws.linear(name, 24, count)
            )
        else:
            self.net = draws.linear(name, width, count, bias=spec.gate != "no_bias")

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.net(x), dim=-1)


class WideGate(nn.Module):
    """All tasks' gates in one Linear: (B, width) to T of (B, E). Parameters are those of T
    SoftmaxGates."""

    def __init__(self, draws: Draws, spec: Spec, width: int) -> None:
        super().__init__()
        self.tasks, self.experts = spec.tasks, spec.experts
        gates = [draws.linear(f"gate.{t}", width, spec.experts) for t in range(spec.tasks)]
        self.linear = nn.Linear(width, spec.tasks * spec.experts)
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat([gate.weight for gate in gates]))
            self.linear.bias.copy_(torch.cat([gate.bias for gate in gates]))

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(
            torch.softmax(self.linear(x).view(-1, self.tasks, self.experts), dim=-1).unbind(1)
        )


class MMoEBody(nn.Module):
    """(B, D) to T of (B, H), and the gates."""

    def __init__(self, draws: Draws, spec: Spec) -> None:
        super().__init__()
        self.idiom = spec.mixture
        self.experts = make_experts(draws, "expert", spec, spec.features, spec.experts)
        if spec.gate == "wide":
            self.gates: nn.Module = WideGate(draws, spec, spec.features)
        else:
            self.gates = nn.ModuleList(
                SoftmaxGate(draws, f"gate.{t}", spec, spec.features, spec.experts)
                for t in range(spec.tasks)
            )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        experts = self.experts(x)
        gates = (
            self.gates(x) if isinstance(self.gates, WideGate) else [gate(x) for gate in self.gates]
        )
        if self.idiom in ALL_TASK_MIXTURES:
            return mix_all(self.idiom, gates, experts), gates
        return [mix(self.idiom, gate, experts) for gate in gates], gates


class PLEBody(nn.Module):
    """Paper form: as examples/zoo/ple.py. (B, D) to T of (B, H), and the last level's gates."""

    def __init__(self, draws: Draws, spec: Spec) -> None:
        super().__init__()
        self.idiom, self.tasks, self.count = spec.mixture, spec.tasks, spec.levels
        self.experts, self.gates = nn.ModuleDict(), nn.ModuleDict()
        for level in range(spec.levels):
            width = spec.features if level == 0 else spec.out
            for stream in [*map(str, range(spec.tasks)), "shared"]:
                key = f"{level}_{stream}"
                self.experts[key] = make_experts(draws, "expert." + key, spec, width, spec.experts)
                seen = spec.experts * (spec.tasks + 1 if stream == "shared" else 2)
                if stream != "shared" or level + 1 < spec.levels:
                    self.gates[key] = SoftmaxGate(draws, "gate." + key, spec, width, seen)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        streams, common, gates = [x] * self.tasks, x, []
        for level in range(self.count):
            own = [self.experts[f"{level}_{t}"](streams[t]) for t in range(self.tasks)]
            shared = self.experts[f"{level}_shared"](common)
            gates = [self.gates[f"{level}_{t}"](streams[t]) for t in range(self.tasks)]
            if level + 1 < self.count:
                common = mix(
                    self.idiom, self.gates[f"{level}_shared"](common), join([*own, shared])
                )
            streams = [
                mix(self.idiom, gate, join([mine, shared])) for gate, mine in zip(gates, own)
            ]
        return streams, gates


class PLESeedBody(nn.Module):
    """The survey's code: each task adds two mixtures, of shared and of own experts; the first task
    feeds the next level."""

    def __init__(self, draws: Draws, spec: Spec) -> None:
        super().__init__()
        self.idiom, self.tasks, self.count = spec.mixture, spec.tasks, spec.levels
        self.experts, self.gates = nn.ModuleDict(), nn.ModuleDict()
        for level in range(spec.levels):
            width = spec.features if level == 0 else spec.out
            for stream in [*map(str, range(spec.tasks)), "shared"]:
                key = f"{level}_{stream}"
                self.experts[key] = make_experts(draws, "expert." + key, spec, width, spec.experts)
                for task in (
                    [stream] if stream != "shared" else [f"{t}_shared" for t in range(spec.tasks)]
                ):
                    gate = f"{level}_{task}"
                    self.gates[gate] = SoftmaxGate(draws, "gate." + gate, spec, width, spec.experts)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        mixed, gates = [x], []
        for level in range(self.count):
            x = mixed[0]
            shared = self.experts[f"{level}_shared"](x)
            gates = [self.gates[f"{level}_{t}"](x) for t in range(self.tasks)]
            mixed = [
                mix(self.idiom, self.gates[f"{level}_{t}_shared"](x), shared)
                + mix(self.idiom, gates[t], self.experts[f"{level}_{t}"](x))
                for t in range(self.tasks)
            ]
        return mixed, gates


def make_tower(draws: Draws, name: str, spec: Spec) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = spec.out
    for i, out in enumerate(spec.towers):
        layers.append(draws.linear(f"{name}.{i}", width, out))
        activation = draws.activation(f"{name}.{i}", spec.tower_activation, out)
        norms = [draws.norm(f"{name}.{i}", spec.norm, out)] if spec.norm != "none" else []
        layers += [activation, *norms] if spec.norm == "bn_after" else [*norms, activation]
        layers.append(nn.Dropout(0.1))
        width = out
    return nn.Sequential(
        *layers, draws.linear(name + ".head", width, 5 if spec.kind == "multiclass" else 1)
    )


class Ranker(nn.Module):
    """The ranker of a spec: up to three inputs (B, ...) to its outputs, always in eval mode."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        draws = Draws(spec.seed)
        bodies = {"mmoe": MMoEBody, "ple": PLEBody, "ple_seed": PLESeedBody}
        self.spec = spec
        self.input_norm = (
            draws.norm("input", "layer_norm", spec.features) if spec.input_norm else None
        )
        self.body = bodies[spec.ranker](draws, spec)
        self.towers = nn.ModuleList(
            make_tower(draws, f"tower.{t}", spec) for t in range(spec.tasks)
        )
        self.eval()

    def head(self, logit: Tensor) -> Tensor:
        spec = self.spec
        if spec.kind == "multiclass":
            return torch.softmax(logit, dim=1)
        score = torch.sigmoid(logit) if spec.kind == "binary" else logit
        if spec.head in ("column", "cat"):
            return score
        if spec.head in ("squeeze", "stack"):
            return score.squeeze(-1)
        if spec.head == "squeeze_1":
            return score.squeeze(1)
        if spec.head == "squeeze_all":
            return score.squeeze()
        if spec.head == "reshape":
            return score.reshape(-1)
        if spec.head == "view":
            return score.view(-1)
        if spec.head == "flatten":
            return score.flatten()
        if spec.head == "select":
            return score[:, 0]
        raise ValueError(f"no such head: {spec.head}")

    def forward(
        self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        parts = [part for part in (x, y, z) if part is not None]
        features = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self.input_norm is not None:
            features = self.input_norm(features)
        mixed, gates = self.body(features)
        outputs = [self.head(tower(h)) for tower, h in zip(self.towers, mixed)]
        if self.spec.head == "cat":
            outputs = [torch.cat(outputs, dim=1)]
        elif self.spec.head == "stack":
            outputs = [torch.stack(outputs, dim=1)]
        outputs += gates if self.spec.gates_out else []
        return outputs if self.spec.container == "list" else tuple(outputs)


def reference(model: nn.Module, inputs: dict[str, Tensor], double: bool) -> list[Tensor]:
    """What PyTorch computes, in float64 (parameters and inputs promoted exactly) or float32. Ids
    stay as they are."""
    dtype = torch.float64 if double else torch.float32
    model = model.to(dtype)
    with torch.no_grad():
        outputs = model(
            *(value.to(dtype) if value.is_floating_point() else value for value in inputs.values())
        )
    model.to(torch.float32)  # float32 to float64 and back is exact
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


BASE = Spec()
PLE_BASE = Spec(ranker="ple", features=20, experts=2, hidden=8, out=8, towers=(8,))


def idioms() -> dict[str, list[Spec]]:
    """Rankers by name, each in all idioms: the specs of one name compute the same function."""
    return {
        "mmoe": [BASE]
        + [replace(BASE, expert_idiom=e) for e in EXPERTS[1:]]
        + [replace(BASE, mixture=m) for m in (*MIXTURES[1:], *ALL_TASK_MIXTURES)]
        + [
            replace(BASE, gate="wide", mixture="einsum_all"),
            replace(BASE, expert_idiom="einsum", mixture="einsum"),
        ]
        + [
            replace(BASE, expert_idiom="bmm", mixture="matmul_all"),
            replace(BASE, container="list"),
        ],
        "ple": [PLE_BASE]
        + [
            replace(PLE_BASE, expert_idiom=e, mixture=m)
            for e, m in (("einsum", "einsum"), ("bmm", "bmm"))
        ]
        + [replace(PLE_BASE, mixture=m) for m in ("matmul", "einsum", "last_sum", "split_chain")],
    }


def catalogue() -> dict[str, Spec]:
    """Every spec of the sweep, by a name that says what is special about it."""
    specs: dict[str, Spec] = {}
    for ranker, written in idioms().items():
        for spec in written:
            gate = "-wide_gate" if spec.gate == "wide" else ""
            box = "-list" if spec.container == "list" else ""
            specs[f"{ranker}-{spec.expert_idiom}-{spec.mixture}{gate}{box}"] = spec
    for name in list(ACTIVATIONS)[1:]:
        specs[f"activation-{name}"] = replace(BASE, activation=name, tower_activation=name)
    for head in (*HEADS[1:], *JOINED_HEADS):
        specs[f"head-{head}"] = replace(BASE, head=head, tasks=3)
    for norm in NORMS[1:]:
        specs[f"norm-{norm}"] = replace(BASE, norm=norm, towers=(24, 12))
    specs["norm-bn_before-tanh"] = replace(BASE, norm="bn_before", tower_activation="tanh")
    specs["norm-bn_after-leaky_relu"] = replace(
        BASE, norm="bn_after", tower_activation="leaky_relu"
    )
    for experts, tasks in ((1, 1), (1, 2), (2, 1), (3, 8), (7, 3), (8, 4), (16, 2), (16, 8)):
        specs[f"size-{experts}x{tasks}"] = replace(BASE, experts=experts, tasks=tasks)
        specs[f"size-{experts}x{tasks}-matmul"] = replace(
            BASE, experts=experts, tasks=tasks, mixture="matmul"
        )
    specs["size-1x1-einsum"] = replace(
        BASE, experts=1, tasks=1, expert_idiom="einsum", mixture="einsum"
    )
    specs["size-16x8-bmm"] = replace(
        BASE, experts=16, tasks=8, expert_idiom="bmm", mixture="matmul_all"
    )
    for features, hidden, out, towers in (
        (7, 17, 33, (9,)),
        (100, 33, 7, (5, 3)),
        (1, 1, 1, (1,)),
        (17, 100, 15, ()),
    ):
        sizes = dict(features=features, hidden=hidden, out=out, towers=towers)
        specs[f"width-{features}-{hidden}-{out}"] = replace(BASE, **sizes)
        specs[f"width-{features}-{hidden}-{out}-einsum"] = replace(
            BASE, expert_idiom="einsum", mixture="einsum", experts=3, **sizes
        )
    specs["gate-no_bias"] = replace(BASE, gate="no_bias")
    specs["gate-mlp"] = replace(BASE, gate="mlp", gates_out=True)
    specs["gates-out"] = replace(BASE, gates_out=True)
    specs["gates-out-matmul_all"] = replace(BASE, gates_out=True, mixture="matmul_all", gate="wide")
    specs["kind-regression"] = replace(BASE, kind="regression")
    specs["kind-multiclass"] = replace(BASE, kind="multiclass", tasks=3)
    specs["inputs-2"] = replace(BASE, inputs=("user", "item"), features=40)
    specs["inputs-3"] = replace(
        BASE, inputs=("user", "item", "context"), features=41, mixture="bmm"
    )
    specs["input-layer_norm"] = replace(BASE, input_norm=True)
    specs["ple-seed"] = replace(PLE_BASE, ranker="ple_seed", gates_out=True)
    specs["ple-3-levels"] = replace(PLE_BASE, levels=3, experts=1, tasks=3)
    specs["ple-1-level"] = replace(PLE_BASE, levels=1, experts=3, head="squeeze", gates_out=True)
    specs["ple-mlp-bn"] = replace(PLE_BASE, gate="mlp", norm="bn_before", tasks=4, mixture="bmm")
    return specs
