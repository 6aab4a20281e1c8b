"""A model's scores by the programs against the standard's: `onnx.reference` on the model promoted to float64."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import onnx
from onnx import TensorProto, numpy_helper
from tests.harness import Programs

TOLERANCE = 1e-5
NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16)
Arrays = Mapping[str, np.ndarray]
Reference = Callable[[Arrays], dict[str, np.ndarray]]


class BatchNormalization(OpRun):
    """Up to opset 13 that of onnx.reference computes the statistics of the batch."""

    def _run(self, x, scale, bias, mean, variance, epsilon=1e-5, **_):
        across = [-1, *[1] * (x.ndim - 2)]
        factor = scale / np.sqrt(variance + epsilon)
        return (x * factor.reshape(across) + (bias - mean * factor).reshape(across),)


class Mean(OpRun):
    """That of onnx.reference adds in place, which does not broadcast the first operand."""

    def _run(self, *operands):
        return (sum(operands) / len(operands),)


def widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in NARROW:
        wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
        tensor.CopyFrom(wide)


def widen_node(node: onnx.NodeProto) -> None:
    if node.op_type == "ConstantOfShape" and not node.attribute:  # float32 zeros
        zero = onnx.helper.make_tensor("value", TensorProto.DOUBLE, [1], [0.0])
        node.attribute.append(onnx.helper.make_attribute("value", zero))
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in NARROW:
            attribute.i = TensorProto.DOUBLE
        elif attribute.type == onnx.AttributeProto.TENSOR:
            widen_tensor(attribute.t)
        elif attribute.type == onnx.AttributeProto.GRAPH:
            widen_graph(attribute.g)
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            attribute.Clear()
            wide = numpy_helper.from_array(np.asarray(numbers, np.float32).astype(np.float64))
            attribute.CopyFrom(onnx.helper.make_attribute("value", wide))


def widen_graph(graph: onnx.GraphProto) -> None:
    for info in [*graph.input, *graph.output, *graph.value_info]:
        if info.type.tensor_type.elem_type in NARROW:
            info.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        widen_tensor(tensor)
    for node in graph.node:
        widen_node(node)


def promoted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in float64. Constants keep the values of their narrower type."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    widen_graph(wide.graph)
    for function in wide.functions:
        for node in function.node:
            widen_node(node)
    return wide


def evaluate(wide: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    given = {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in inputs.items()}
    names = [info.name for info in wide.graph.output]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = ReferenceEvaluator(wide, new_ops=[BatchNormalization, Mean]).run(None, given)
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def difference(got: np.ndarray, want: np.ndarray) -> str:
    """What is wrong with `got`, "" for nothing."""
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if (got.dtype.kind == "f") != (want.dtype.kind == "f") or (got.dtype.kind != "f" and got.dtype != want.dtype):
        return f"{got.dtype}, expected {want.dtype}"
    if got.dtype.kind != "f":
        wrong = got != want
    else:
        tolerance = 2e-3 if got.dtype == np.float16 else TOLERANCE
        with np.errstate(all="ignore"):
            near = np.abs(got.astype(np.float64) - want) <= tolerance * np.maximum(1.0, np.abs(want))
            wide_want = want.astype(got.dtype)
        wrong = ~(near | (got == wide_want) | (np.isnan(got) & np.isnan(want)))
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} elements differ, first {place}: {got[place]}, expected {want[place]}"


@dataclass(frozen=True)
class Refused(Exception):
    """mtlc refused the model, in the way it should."""

    message: str


class Compiled:
    """A model and its plan, in a folder of their own."""

    def __init__(self, programs: Programs, model: onnx.ModelProto, folder: Path, *options: str) -> None:
        self.programs, self.model, self.folder = programs, model, folder
        self.wide = promoted(model)
        path, self.plan = folder / "model.onnx", folder / "plan.bin"
        path.write_bytes(model.SerializeToString())
        self.plan.unlink(missing_ok=True)
        done = programs.run(programs.mtlc, path, "-o", self.plan, *options)
        if done.returncode == 0:
            assert done.stderr == "", done.stderr
            return
        check_message(done)
        assert not self.plan.exists()
        raise Refused(done.stderr.strip())

    def score(self, inputs: Arrays, *options: str) -> dict[str, np.ndarray]:
        given, got = self.folder / "in.npz", self.folder / "out.npz"
        np.savez(given, **inputs)
        self.programs.ok(self.programs.mtlrun, "score", self.plan, "-i", given, "-o", got, *options)
        with np.load(got) as outputs:
            return dict(outputs)

    def check(self, inputs: Arrays, *options: str, reference: Reference | None = None) -> dict[str, np.ndarray]:
        """Scores, and fails where they are not the reference's."""
        want = reference(inputs) if reference is not None else evaluate(self.wide, inputs)
        got = self.score(inputs, *options)
        assert sorted(got) == sorted(want)
        rows = {name: array.shape for name, array in inputs.items()}
        wrong = [f"{name}: {text}" for name in want if (text := difference(got[name], want[name]))]
        assert not wrong, f"{rows} {' '.join(options)}: " + "; ".join(wrong)
        return got


def check_message(done: subprocess.CompletedProcess[str]) -> None:
    """A refusal is one line and exit status 1."""
    assert done.returncode == 1, f"exit status {done.returncode}: {done.stderr[-3000:]}"
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mtlc: "), done.stderr


def check_model(
    programs: Programs,
    model: onnx.ModelProto,
    make: Callable[[int], Arrays],
    runs: Iterable[tuple[int, tuple[str, ...]]],
    *options: str,
    reference: Reference | None = None,
) -> None:
    """Compiles and scores at each (row count, options of mtlrun)."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(programs, model, Path(folder), *options)
        for rows, extra in runs:
            compiled.check(make(rows), *extra, reference=reference)


def run_seeds(run: Callable[[Programs, int], object], what: str) -> None:
    """For tests that are programs too, MTLC MTLRUN FIRST COUNT: tries seeds, goes on after a failure, and
    says how many failed. A text that `run` returns is the message of a refusal that is right."""
    programs = Programs(Path(sys.argv[1]), Path(sys.argv[2]))
    first, count = int(sys.argv[3]), int(sys.argv[4])
    refused = failed = 0
    for seed in range(first, first + count):
        try:
            message = run(programs, seed)
            if isinstance(message, str) and message:
                refused += 1
                print(f"{seed} refused: {message}", flush=True)
        except Exception as error:  # noqa: BLE001
            failed += 1
            print(f"{seed} {type(error).__name__}: {str(error)[:600]}", flush=True)
    print(f"{count} {what} from {first}: {failed} failed, {refused} refused")
