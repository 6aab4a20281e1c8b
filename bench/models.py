"""The rankers that are compared: the zoo's, at the sizes of docs/benchmarks.md, as ONNX files and
prepared inputs.

All but DTRN and the twin tower read 512 features; all but DTRN predict three tasks. Weights are random but
keep the scale of what they pass on (He et al. 2015), so that scores differ from row to row and a wrong one
is seen.

MODELS are called with rows that have nothing in common, REQUESTS with the candidates of one user.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WIDTH, TASKS = 512, 3
FIELDS, FIELD_SIZE, FIELD_WIDTH = 8, 100_000, 16
STEPS = ("click", "cart", "order")
# Of DTRN and the twin tower: behaviour sequences and their tables, fields beside them.
SEQUENCES, LENGTH, ITEMS, VECTOR = 3, 50, 10_000, 32
USER_COLUMNS = WIDTH * 3 // 4  # of x, in a request
# Fields of the user and of the item (its id among them), and dense features of both.
USER_FIELDS, ITEM_FIELDS, USER_DENSE, ITEM_DENSE = 8, 4, 160, 32


@dataclass(frozen=True)
class Model:
    """One ranker. `build` makes the torch module; torch is imported only there, because the timed
    processes run without it."""

    title: str
    build: Callable[[], object]
    outputs: tuple[str, ...] = STEPS
    fields: int = 0  # id fields in front of the dense features
    sequences: int = 0  # behaviour sequences; then fields and sequences are inputs of their own
    counted: bool = True  # in the geometric mean that the project promises
    draw: Callable[[np.random.Generator, int], dict[str, np.ndarray]] | None = None

    def inputs(self, rows: int, seed: int) -> dict[str, np.ndarray]:
        """Inputs of so many rows, by name: ids spread over their whole tables, dense features
        standard normal."""
        draws = np.random.default_rng(seed)
        if self.draw:
            return self.draw(draws, rows)
        if self.sequences:
            ids = {f"field{i}": draws.integers(0, ITEMS, rows) for i in range(self.fields)}
            return ids | {f"seq{i}": _events(draws, rows) for i in range(self.sequences)}
        if not self.fields:
            return {"x": draws.standard_normal((rows, WIDTH), dtype=np.float32)}
        dense = WIDTH - self.fields * FIELD_WIDTH
        return {
            "ids": draws.integers(0, FIELD_SIZE, (rows, self.fields), dtype=np.int64),
            "dense": draws.standard_normal((rows, dense), dtype=np.float32),
        }


def _events(draws: np.random.Generator, rows: int) -> np.ndarray:
    """A sequence of ids, (rows, LENGTH), of 1 to LENGTH events; the rest is padding, 0."""
    ids = draws.integers(1, ITEMS, (rows, LENGTH))
    return ids * (np.arange(LENGTH) < draws.integers(1, LENGTH + 1, (rows, 1)))


def _sides(draws: np.random.Generator, rows: int, users: int, items: int) -> dict[str, np.ndarray]:
    """Id fields of the user, behaviour sequences, and id fields of the item, its id first."""
    names = [f"user{i}" for i in range(users)]
    ids = {name: draws.integers(0, ITEMS, rows) for name in names}
    ids |= {f"seq{i}": _events(draws, rows) for i in range(SEQUENCES)}
    names = ["item", *(f"item{i}" for i in range(items - 1))]
    return ids | {name: draws.integers(1, ITEMS, rows) for name in names}


def _draw_target(draws: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    return _sides(draws, rows, FIELDS // 2, FIELDS // 2)


def _draw_tower(draws: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    widths = {"user_dense": USER_DENSE, "item_dense": ITEM_DENSE}
    return _sides(draws, rows, USER_FIELDS, ITEM_FIELDS) | {
        name: draws.standard_normal((rows, width), dtype=np.float32)
        for name, width in widths.items()
    }


def _mmoe() -> object:
    from examples.zoo.mmoe import MMoE

    return MMoE(WIDTH, TASKS, experts=8, hidden=256, out=128, towers=(64,))


def _ple() -> object:
    from examples.zoo.ple import PLE

    return PLE(WIDTH, TASKS, levels=2, own=4, shared=4, hidden=256, out=128, towers=(64,))


def _esmm() -> object:
    from examples.zoo.esmm import ESMM

    return ESMM(WIDTH, trunk=256, towers=(256, 128))


def _shared_bottom() -> object:
    from examples.zoo.shared_bottom import SharedBottom

    return SharedBottom(WIDTH, TASKS, bottom=(512, 256, 128), towers=(64,))


def _cross_stitch() -> object:
    from examples.zoo.cross_stitch import CrossStitchNetwork

    return CrossStitchNetwork(WIDTH, TASKS, hidden=(256, 128), towers=(64,))


def _resflow() -> object:
    from examples.zoo.resflow import ResFlow

    return ResFlow(WIDTH, TASKS, hidden=(512, 256, 128))


def _seq_md() -> object:
    from torch import Tensor, nn

    from examples.zoo.features import Dense
    from examples.zoo.md import MD
    from examples.zoo.seq import SEQ

    parts = {"region": 64, "dependent": 192, "": 256}  # of the features

    class SeqMD(nn.Module):
        """x (B, WIDTH) to TASKS of (B, 1)."""

        def __init__(self) -> None:
            super().__init__()
            schema = tuple(Dense(role or "rest", size, role=role) for role, size in parts.items())
            self.mask = MD(schema, width=1, hidden=128, made=64)
            self.seq = SEQ(self.mask.out, TASKS, hidden=128, layers=2)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return self.seq(self.mask(*x.split(list(parts.values()), dim=1)))

    return SeqMD()


def _dtrn() -> object:
    """Eight fields, the candidate item one of them, and three sequences; 4 heads of 8, feed-forward layers of 128."""
    from examples.zoo.dtrn import DTRN
    from examples.zoo.features import Id, Sequence

    schema = [Id(f"field{i}", ITEMS) for i in range(FIELDS)]
    schema += [Sequence(f"seq{i}", ITEMS, LENGTH) for i in range(SEQUENCES)]
    return DTRN(tuple(schema), 2, **_dtrn_sizes())


def _dtrn_sizes() -> dict[str, object]:
    layers = dict(width=VECTOR, heads=4, feed=4, positions=True)
    return layers | dict(experts=4, hidden=64, out=32, towers=(16,))


def _schema(users: int, items: int) -> tuple[object, ...]:
    """The fields of `_sides`; the candidate item and the sequences share a table."""
    from examples.zoo.features import Id, Sequence

    return (
        *(Id(f"user{i}", ITEMS) for i in range(users)),
        *(Sequence(f"seq{i}", ITEMS, LENGTH, role="item") for i in range(SEQUENCES)),
        Id("item", ITEMS, role="item"),
        *(Id(f"item{i}", ITEMS) for i in range(items - 1)),
    )


def _dtrn_target() -> object:
    """DTRN whose interests are what the candidate item attends to; half of the fields are its."""
    from examples.zoo.dtrn import DTRN

    return DTRN(_schema(FIELDS // 2, FIELDS // 2), 2, target=True, **_dtrn_sizes())


def _resflow_tower() -> object:
    """The user's side reads 512 numbers (8 fields, 3 pooled sequences, dense), the item's 160."""
    from examples.zoo.features import Dense
    from examples.zoo.resflow_tower import ResFlowTower

    dense = (Dense("user_dense", USER_DENSE), Dense("item_dense", ITEM_DENSE))
    schema = (*_schema(USER_FIELDS, ITEM_FIELDS), *dense)
    return ResFlowTower(schema, TASKS, width=VECTOR, hidden=(256, 128), out=32)


def _mmoe_fields() -> object:
    from examples.zoo.fields import WithFields

    numbers = WIDTH - FIELDS * FIELD_WIDTH
    return WithFields((FIELD_SIZE,) * FIELDS, FIELD_WIDTH, numbers, _mmoe())


def _tiny() -> object:
    from torch import nn

    return nn.Sequential(nn.Linear(WIDTH, 1), nn.Sigmoid())


MODELS = {
    "mmoe": Model("MMoE, 8 experts 256-128", _mmoe),
    "ple": Model("PLE, 2 levels, 4 shared + 12 task experts 256-128", _ple),
    "esmm": Model("ESMM, trunk 256, towers 256-128", _esmm, ("ctr", "ctcvr", "cvr")),
    "shared_bottom": Model("Shared-Bottom 512-256-128", _shared_bottom),
    "cross_stitch": Model("Cross-Stitch, 3 networks 256-128", _cross_stitch),
    "resflow": Model("ResFlow 512-256-128", _resflow),
    "mmoe_fields": Model(
        f"MMoE behind {FIELDS} id fields of {FIELD_SIZE:,} x {FIELD_WIDTH}",
        _mmoe_fields,
        fields=FIELDS,
        counted=False,
    ),
    "dtrn": Model(
        f"DTRN, {SEQUENCES} sequences of {LENGTH}, width {VECTOR}",
        _dtrn,
        STEPS[:2],
        fields=FIELDS,
        sequences=SEQUENCES,
        counted=False,
    ),
    "seq_md": Model("SEQ behind MD, 2 GRU layers of 128", _seq_md, counted=False),
}
DTRN_TARGET = Model(
    f"DTRN with target attention, {SEQUENCES} sequences of {LENGTH}, width {VECTOR}",
    _dtrn_target,
    STEPS[:2],
    draw=_draw_target,
)
TOWER = Model("ResFlow as a twin tower, 256-128-32 a side", _resflow_tower, draw=_draw_tower)


@dataclass(frozen=True)
class Request:
    """One user and many candidates of a model. `inputs` are patterns of the inputs that are the
    user's, `columns` of an input the first so many. With `stored`, the outputs of the item's plan
    are there before the call."""

    name: str  # of the ONNX file
    model: Model
    inputs: tuple[str, ...] = ()
    columns: tuple[tuple[str, int], ...] = ()
    stored: bool = False

    @property
    def title(self) -> str:
        return self.model.title + (", items stored" if self.stored else "")

    def words(self) -> str:
        """For `mtlc --request`."""
        return ",".join([*self.inputs, *(f"{name}[:,0:{end}]" for name, end in self.columns)])

    def of_user(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.inputs)

    def copied(self, candidates: int, seed: int) -> dict[str, np.ndarray]:
        """Inputs of so many rows with the user's features copied into each: what a runtime needs
        that knows no user."""
        batch = self.model.inputs(candidates, seed)
        for name, value in batch.items():
            if self.of_user(name):
                value[:] = value[:1]
        for name, end in self.columns:
            batch[name][:, :end] = batch[name][:1, :end]
        return batch

    def once(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same with each of the user's features once, as a plan compiled for requests takes
        them: (1, ..) and, of columns, NAME.request (1, end) beside NAME.row."""
        found = {n: v[:1].copy() if self.of_user(n) else v for n, v in batch.items()}
        for name, end in self.columns:
            whole = found.pop(name)
            found[f"{name}.request"] = whole[:1, :end].copy()
            found[f"{name}.row"] = whole[:, end:].copy()
        return found


_x, _user = (("x", USER_COLUMNS),), ("user*", "seq*")
REQUESTS = {
    "mmoe": Request("mmoe", MODELS["mmoe"], columns=_x),
    "ple": Request("ple", MODELS["ple"], columns=_x),
    "dtrn_target": Request("dtrn_target", DTRN_TARGET, _user),
    "resflow_tower": Request("resflow_tower", TOWER, _user),
    "resflow_tower_stored": Request("resflow_tower", TOWER, _user, stored=True),
}
# One product of 512 numbers: what a call costs before any work is done.
TINY = Model("one product of 512 numbers", _tiny, ("score",), counted=False)

# By the names of their ONNX files.
FILES = {**MODELS, **{request.name: request.model for request in REQUESTS.values()}, "tiny": TINY}


def _draw_weights(module: object, seed: int) -> None:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    for side in filter(None, (getattr(module, "user", None), getattr(module, "item", None))):
        for layer in side.last:  # of a twin tower: products of two vectors must not be large
            layer.weight.data *= 0.25


def export(name: str, path: Path) -> None:
    """Writes the ONNX file of FILES[name]: TorchScript exporter, opset 17, dynamic batch. Needs
    PyTorch."""
    import torch

    from examples.zoo.export import export as write

    model = FILES[name]
    module = model.build()
    _draw_weights(module, seed=20)
    few = {key: torch.from_numpy(value) for key, value in model.inputs(3, seed=0).items()}
    write(module.eval(), few, model.outputs, path, "torchscript", 17)


if __name__ == "__main__":  # python -m bench.models FOLDER NAME...
    import sys

    for wanted in sys.argv[2:]:
        export(wanted, Path(sys.argv[1]) / f"{wanted}.onnx")
