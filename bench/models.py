"""The rankers that are compared: the zoo's, at the sizes of docs/benchmarks.md, as ONNX files and
prepared inputs.

All but DTRN read 512 features and predict three tasks. Weights are random but keep the scale of what they
pass on (He et al. 2015), so that scores differ from row to row and a wrong one is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WIDTH, TASKS = 512, 3
FIELDS, FIELD_SIZE, FIELD_WIDTH = 8, 100_000, 16
STEPS = ("click", "cart", "order")
# Of DTRN: behaviour sequences and their tables, fields beside them.
SEQUENCES, LENGTH, ITEMS, VECTOR = 3, 50, 10_000, 32


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

    def inputs(self, rows: int, seed: int) -> dict[str, np.ndarray]:
        """Inputs of so many rows, by name: ids spread over their whole tables, dense features
        standard normal."""
        draws = np.random.default_rng(seed)
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
    sizes = dict(experts=4, hidden=64, out=32, towers=(16,))
    return DTRN(tuple(schema), 2, width=VECTOR, heads=4, feed=4, positions=True, **sizes)


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
# One product of 512 numbers: what a call costs before any work is done.
TINY = Model("one product of 512 numbers", _tiny, ("score",), counted=False)


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


def export(name: str, path: Path) -> None:
    """Writes the ONNX file of MODELS[name] (or "tiny"): TorchScript exporter, opset 17, dynamic
    batch. Needs PyTorch."""
    import torch

    from examples.zoo.export import export as write

    model = TINY if name == "tiny" else MODELS[name]
    module = model.build()
    _draw_weights(module, seed=20)
    few = {key: torch.from_numpy(value) for key, value in model.inputs(3, seed=0).items()}
    write(module.eval(), few, model.outputs, path, "torchscript", 17)


if __name__ == "__main__":  # python -m bench.models FOLDER NAME...
    import sys

    for wanted in sys.argv[2:]:
        export(wanted, Path(sys.argv[1]) / f"{wanted}.onnx")
