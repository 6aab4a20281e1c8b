"""Small models by hand, and what a refusal must look like."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4


def weight(name: str = "w", *shape: int) -> onnx.TensorProto:
    shape = shape or (WIDTH, 3)
    return numpy_helper.from_array(
        np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape) / 8, name
    )


def value(name: str, *shape: int | str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: list[onnx.NodeProto] | None = None,
    initializers: list[onnx.TensorProto] | None = None,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
    **more: object,
) -> onnx.ModelProto:
    """x (batch, 4) times w (4, 3), unless said otherwise. Not checked: most of these are wrong on
    purpose."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")] if nodes is None else nodes,
        "hostile",
        [value("x", "batch", WIDTH)] if inputs is None else inputs,
        [value("y", "batch", 3)] if outputs is None else outputs,
        initializer=[weight()] if initializers is None else initializers,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def save(proto: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def check_refused(done: subprocess.CompletedProcess[str], *places: str) -> None:
    """Exit status 1, nothing on standard output, and one line on standard error that names each of
    `places`."""
    assert done.returncode == 1, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, f"{len(lines)} lines, expected one:\n{done.stderr}"
    assert all(character.isprintable() for character in lines[0]), (
        f"control characters in {lines[0]!r}"
    )
    for place in places:
        assert place in lines[0], f"{place!r} is not named in: {lines[0]}"


def check_holds(folder: Path, *names: str) -> None:
    """Nothing else is in the folder: no partial output, no temporary file."""
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)
