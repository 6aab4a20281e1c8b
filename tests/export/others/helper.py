"""torch-rechub's own ONNX exporter, called as its manual does."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

from torch_rechub.utils.onnx_export import ONNXExporter

import onnx
from tests.export.others.entry import Keyed, Other, reference
from tests.export.others.rechub import LENGTH
from tests.export.others.score import ROW_COUNTS, Result, compiled, first_line, worst_of
from tests.harness import Programs

NAMES = [
    f"torch-rechub {name}"
    for name in (
        "SharedBottom",
        "ESMM",
        "MMOE",
        "MMOE, bags",
        "PLE",
        "AITM",
        "WideDeep",
        "DeepFM",
        "DCN",
        "DCNv2, parallel, mixture",
        "DIN",
        "BST",
        "AutoInt",
        "FiBiNet, field_interaction",
        "DSSM",
    )
]


def dims_of(model: onnx.ModelProto) -> list[str]:
    """`--dim` for the symbolic lengths of sequences."""
    names = {
        dim.dim_param
        for value in model.graph.input
        for dim in value.type.tensor_type.shape.dim[1:]
        if dim.dim_param
    }
    return [word for name in sorted(names) for word in ("--dim", f"{name}={LENGTH}")]


def results(programs: Programs, other: Other, folder: Path) -> list[Result]:
    keyed = other.module()
    assert isinstance(keyed, Keyed)
    inputs = other.made_up(max(ROW_COUNTS))
    inputs = {
        name: value.unsqueeze(1) if value.is_floating_point() and value.dim() == 1 else value
        for name, value in inputs.items()
    }
    want = reference(keyed, inputs)
    given = {name: value.numpy() for name, value in inputs.items()}
    found = []
    for dynamo, opset in ((False, 14), (False, 17), (True, 18)):
        where = (
            other.package,
            f"{other.name} (its own exporter)",
            "dynamo" if dynamo else "torchscript",
            opset,
        )
        path = folder / f"{where[2]}{opset}.onnx"
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                ONNXExporter(keyed.model).export(
                    str(path),
                    seq_length=LENGTH,
                    opset_version=opset,
                    onnx_export_kwargs={"dynamo": dynamo},
                )
        except Exception as error:  # whatever the package raises is the answer
            found.append(Result(*where, error=first_line(error), by="pytorch"))
            continue
        model = onnx.load(path)
        order = [value.name for value in model.graph.input]
        plan, message = compiled(programs, path, dims_of(model))
        if plan is None:
            found.append(Result(*where, error=message, by="mtlc"))
            continue
        steps = len(programs.info(plan)["steps"])
        off = worst_of(programs, plan, {name: given[name] for name in order}, want, "output")
        found.append(Result(*where, steps, off))
    return found
