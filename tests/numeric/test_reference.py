"""A third opinion: the fixture's own graph, promoted to float64 and run by onnx.reference, which
shares no code with PyTorch's exporters or with our importer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message

import onnx
from onnx import TensorProto, numpy_helper
from tests.harness import TOLERANCE, Fixture, Programs, check_close, difference, manifest, names

reference = pytest.importorskip("onnx.reference", reason="this onnx has no reference evaluator")

ALL = [fixture for fixture in manifest() if "--batch-axis0" not in fixture.options]


def promote(message: Message) -> None:
    """Turns float32 into float64 in a whole model: weights, constants, types, and casts."""
    if isinstance(message, onnx.TensorProto):
        if message.data_type == TensorProto.FLOAT:
            message.CopyFrom(
                numpy_helper.from_array(
                    numpy_helper.to_array(message).astype(np.float64), message.name
                )
            )
        return
    if isinstance(message, onnx.TypeProto.Tensor) and message.elem_type == TensorProto.FLOAT:
        message.elem_type = TensorProto.DOUBLE
    if isinstance(message, onnx.NodeProto) and message.op_type == "Cast":
        for attribute in message.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in value if hasattr(value, "add") else [value]:
                promote(item)


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_onnx_reference_agrees(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    model = onnx.load(fixture.path)
    if fixture.opset < 14 and any(
        node.op_type == "BatchNormalization" for node in model.graph.node
    ):
        pytest.skip("onnx.reference always trains BatchNormalization below opset 14")
    promote(model)
    inputs = fixture.load("in")
    doubles = {
        name: value.astype(np.float64) if value.dtype == np.float32 else value
        for name, value in inputs.items()
    }
    outputs = reference.ReferenceEvaluator(model).run(list(fixture.outputs), doubles)
    third = dict(zip(fixture.outputs, outputs, strict=True))
    for name, want in fixture.load("f64").items():
        assert third[name].dtype == np.float64, f"{name} was rounded on the way"
        # Exporters round what they fold to float32, so this is no 1e-15.
        assert difference(third[name], want) <= TOLERANCE / 10, (
            f"onnx.reference and PyTorch disagree about {name}"
        )

    plan = programs.compile(fixture.path, tmp_path / "plan.bin")
    check_close(programs.score(plan, inputs), third, fixture.model)
