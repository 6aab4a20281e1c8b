"""PyTorch to ONNX by either exporter, with a dynamic batch, and nothing in the file but the model.

python -m examples.zoo.export mmoe mmoe.onnx
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from google.protobuf.message import Message
from torch import Tensor, nn

import onnx

EXPORTERS = ("torchscript", "dynamo")
BATCH = "batch"  # the name of the candidates' axis


def strip(message: Message) -> None:
    """Clears doc_string and metadata_props in the whole of a model (graphs, nodes, values,
    functions, tensors): exporters put source paths and stack traces there. Serving never reads
    them."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for item in value if isinstance(value, Sequence) or hasattr(value, "add") else [value]:
                strip(item)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters explain at length what they will deprecate."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


def to_program(
    model: nn.Module, inputs: dict[str, Tensor], dynamic: bool = True
) -> torch.export.ExportedProgram:
    """What the dynamo exporter starts from; may be exported several times, at several opsets."""
    dim = torch.export.Dim(BATCH, min=1, max=1 << 20)
    shapes = tuple({0: dim} for _ in inputs)
    taken = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in taken):
        shapes = (shapes,)  # forward(*inputs): one argument, which is all of them
    with _quiet():
        return torch.export.export(
            model, tuple(inputs.values()), dynamic_shapes=shapes if dynamic else None
        )


def to_onnx(
    model: nn.Module | torch.export.ExportedProgram,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    exporter: str = "torchscript",
    opset: int = 17,
    dynamic: bool = True,
) -> onnx.ModelProto:
    """Exports `model`, in eval mode, called as model(*inputs.values()); the first axis of each
    input is the batch (at least two rows here: exporters treat an extent of 1 as special).
    `outputs` names the results in order.

    Raises ValueError when the exporter wrote another opset than asked for: dynamo falls back to 18,
    silently, below that and for operators that it cannot convert.
    """
    with _quiet():
        if exporter == "torchscript":
            buffer = io.BytesIO()
            torch.onnx.export(
                model,
                tuple(inputs.values()),
                buffer,
                dynamo=False,
                opset_version=opset,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: {0: BATCH} for name in [*inputs, *outputs]}
                if dynamic
                else None,
            )
            proto = onnx.load_from_string(buffer.getvalue())
        elif exporter == "dynamo":
            program = model
            if not isinstance(model, torch.export.ExportedProgram):
                program = to_program(model, inputs, dynamic)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=list(inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
            )
            proto = copy.deepcopy(exported.model_proto)
        else:
            raise ValueError(f"exporter {exporter!r} is none of {', '.join(EXPORTERS)}")
    written = {entry.domain: entry.version for entry in proto.opset_import}[""]
    if written != opset:
        raise ValueError(f"{exporter} wrote opset {written} when asked for {opset}")
    strip(proto)
    proto.producer_name, proto.producer_version = "pytorch", torch.__version__.split("+")[0]
    return proto


def to_newest_onnx(
    program: torch.export.ExportedProgram, inputs: dict[str, Tensor], outputs: Sequence[str]
) -> tuple[onnx.ModelProto, int]:
    """By the dynamo exporter at the newest opset at which it really writes this model; and which
    that is."""
    for opset in range(onnx.defs.onnx_opset_version(), 18, -1):
        with contextlib.suppress(ValueError):
            return to_onnx(program, inputs, outputs, "dynamo", opset), opset
    return to_onnx(program, inputs, outputs, "dynamo", 18), 18


def export(
    model: nn.Module | torch.export.ExportedProgram,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    path: Path | str,
    exporter: str = "torchscript",
    opset: int = 17,
    dynamic: bool = True,
) -> Path:
    """to_onnx, into one file (the weights inside, whichever the exporter). Returns its path."""
    proto = to_onnx(model, inputs, outputs, exporter, opset, dynamic)
    path = Path(path)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


def main() -> None:
    from examples.zoo.data import TASKS
    from examples.zoo.train import trained

    name, path = sys.argv[1:]
    export(trained(name), {"x": torch.zeros(3, 64)}, TASKS, path)
    print(f"wrote {path}: {', '.join(TASKS)} from x (batch, 64)")


if __name__ == "__main__":
    main()
