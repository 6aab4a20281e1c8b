"""Rankers of other people's packages, as they are: how they are built, given numbers, exported and
scored by PyTorch.

A package's model takes a dict, or one matrix of floats; an adapter of a few lines gives it named
tensors, as its users write it for an export."""

from __future__ import annotations

import contextlib
import copy
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

import onnx
from examples.zoo.export import BATCH, to_newest_onnx, to_onnx

NEWEST = "newest"
EXPORTS: tuple[tuple[str, int | str], ...] = (
    ("torchscript", 11),
    ("torchscript", 13),
    ("torchscript", 17),
    ("dynamo", 18),
    ("dynamo", 20),
    ("dynamo", NEWEST),
)


@dataclass(frozen=True)
class Field:
    """One input. Ids (`size` > 0) are int64 in [low, size): (B,), or (B, length) with zeros as
    padding behind the first few; others float32: (B,), or (B, length)."""

    name: str
    size: int = 0
    length: int = 0
    low: int = 0

    def made_up(self, rows: int, random: np.random.Generator) -> Tensor:
        shape = (rows, self.length) if self.length else (rows,)
        if not self.size:
            return torch.from_numpy(random.standard_normal(shape).astype(np.float32))
        if not self.length:
            return torch.from_numpy(random.integers(self.low, self.size, shape))
        ids = random.integers(1, self.size, shape)
        return torch.from_numpy(
            ids * (np.arange(self.length) < random.integers(1, self.length + 1, (rows, 1)))
        )


class Keyed(nn.Module):
    """Inputs in order, for a model that takes a dict."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(dict(zip(self.names, inputs)))


class Columns(nn.Module):
    """Inputs in order, for a model that takes one matrix of floats, ids included."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        columns = [value.float() for value in inputs]
        return self.model(
            torch.cat([c if c.dim() == 2 else c.unsqueeze(1) for c in columns], dim=1)
        )


@dataclass(frozen=True)
class Other:
    """A ranker of a package. `build` gives the adapted module, whose one output the plan's must
    equal."""

    package: str
    name: str
    fields: tuple[Field, ...]
    build: Callable[[], nn.Module]

    @property
    def title(self) -> str:
        return f"{self.package} {self.name}"

    def module(self) -> nn.Module:
        torch.manual_seed(zlib.crc32(self.title.encode()))
        module = self.build()
        give_numbers(module)
        return module.eval()

    def made_up(self, rows: int) -> dict[str, Tensor]:
        random = np.random.default_rng(zlib.crc32(self.title.encode()))
        return {field.name: field.made_up(rows, random) for field in self.fields}


def give_numbers(module: nn.Module) -> None:
    """Parameters and statistics as of a trained model: nothing is 0, 1 or tiny, as packages
    initialise them."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Embedding):
                part.weight.normal_(0.0, 0.5)
            elif isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0.0, 0.3)
                part.running_var.uniform_(0.5, 2.0)
                if part.affine:
                    part.weight.uniform_(0.5, 1.5)
        for name, parameter in module.named_parameters():
            if name.endswith(("bias", "alpha", ".b")) or parameter.dim() < 2:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif not 0.02 < parameter.std() < 2.0:  # a deviation of 1e-4, or not initialised at all
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """What a model does in float32 on purpose (`.float()`, masks, zeros), it does in float64."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(Tensor, "float", Tensor.double):
            yield
    finally:
        torch.set_default_dtype(default)


def reference(module: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray:
    """PyTorch's scores in float64."""
    with torch.no_grad(), in_double():
        model = copy.deepcopy(module).double()
        values = [v.double() if v.is_floating_point() else v for v in inputs.values()]
        return model(*values).numpy()


class Exporter:
    """One entry's module, and its exports."""

    def __init__(self, other: Other) -> None:
        self.other, self.model = other, other.module()
        self.program: torch.export.ExportedProgram | None = None

    def export(self, exporter: str, opset: int | str) -> tuple[onnx.ModelProto, int]:
        """The model, and the opset that it has. Raises what PyTorch raises when it cannot."""
        few = self.other.made_up(3)
        if exporter == "torchscript":
            return to_onnx(self.model, few, ["y"], exporter, int(opset)), int(opset)
        if self.program is None:
            dim = torch.export.Dim(BATCH, min=1, max=1 << 20)
            self.program = torch.export.export(
                self.model, tuple(few.values()), dynamic_shapes=(tuple({0: dim} for _ in few),)
            )
        if opset == NEWEST:
            return to_newest_onnx(self.program, few, ["y"])
        return to_onnx(self.program, few, ["y"], exporter, int(opset)), int(opset)
