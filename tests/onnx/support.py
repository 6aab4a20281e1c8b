"""Running the import probe: a program that imports a model and prints its graph, or evaluates it in float64."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {
    TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16,
    TensorProto.INT64: np.int64, TensorProto.INT32: np.int32, TensorProto.INT16: np.int16, TensorProto.INT8: np.int8,
    TensorProto.UINT64: np.uint64, TensorProto.UINT32: np.uint32, TensorProto.UINT16: np.uint16,
    TensorProto.UINT8: np.uint8, TensorProto.BOOL: np.bool_,
}  # fmt: skip


@dataclass(frozen=True)
class Probe:
    program: Path
    folder: Path

    def run(self, model: onnx.ModelProto | Path, *options: str) -> subprocess.CompletedProcess[str]:
        if isinstance(model, onnx.ModelProto):
            path = self.folder / "model.onnx"
            path.write_bytes(model.SerializeToString())
        else:
            path = model
        command = [str(self.program), str(path), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def text(self, model: onnx.ModelProto | Path, *options: str) -> str:
        """The graph as text."""
        done = self.run(model, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refuse(self, model: onnx.ModelProto | Path, *places: str, options: tuple[str, ...] = ()) -> str:
        """The error of a model that must be refused: one line that names all of `places`."""
        done = self.run(model, *options)
        assert done.returncode == 1, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        for place in places:
            assert place in lines[0], f"{place!r} is not named in: {lines[0]}"
        return lines[0]

    def evaluate(
        self, model: onnx.ModelProto | Path, inputs: list[np.ndarray], rows: int = 1, *options: str
    ) -> dict[str, np.ndarray]:
        """Outputs by name, of inputs in the graph's order. bfloat16 comes back as its bits (uint16)."""
        for index, array in enumerate(inputs):
            np.ascontiguousarray(array).tofile(self.folder / f"in.{index}")
        done = self.run(model, *options, "--eval", str(self.folder), str(rows))
        assert done.returncode == 0, done.stderr
        outputs = {}
        for index, line in enumerate(done.stdout.splitlines()):
            name, dtype, *shape = line.split()
            dtype = "uint16" if dtype == "bfloat16" else dtype
            outputs[name] = np.fromfile(self.folder / f"out.{index}", dtype).reshape([int(extent) for extent in shape])
        return outputs


def find_probe() -> Path:
    build = Path(os.environ.get("MTLC_BUILD", ROOT / "build" / "release"))
    path = Path(os.environ.get("IMPORT_PROBE", build / "onnx" / "import_probe"))
    if not os.access(path, os.X_OK):
        pytest.fail(f"no program at {path}: build with -Dtests=true, or set IMPORT_PROBE", pytrace=False)
    return path


def supported_operators() -> set[str]:
    rows = (ROOT / "onnx" / "operators.def").read_text()
    return set(re.findall(r"^OPERATOR\((\w+),", rows, re.MULTILINE))


def value(name: str, *shape: int | str | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name: str, array: object, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array, dtype=dtype), name)


def model(
    nodes: list[onnx.NodeProto],
    initializers: list[TensorProto] = (),
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
    **more: object,
) -> onnx.ModelProto:
    """x (batch, 4) to y, unless said otherwise."""
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", "batch", 4)] if inputs is None else inputs,
        [onnx.ValueInfoProto(name="y")] if outputs is None else outputs,
        initializer=list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **more)
