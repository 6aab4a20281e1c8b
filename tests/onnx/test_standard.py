"""The standard's own test cases: every case of the `onnx` package whose operators we import.

The cases have fixed shapes; an input that nobody reads brings the candidates. Operands that must be known while
compiling become initialisers. Outputs come from the reference evaluator, rounded to their type."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.onnx.support import DTYPES, Probe, supported_operators, value

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    ALL = collect_testcases(None)

# Operand names of the standard that hold shapes, axes and the like.
KNOWN = {"axes", "axis", "shape", "repeats", "starts", "ends", "steps", "split", "start", "limit", "delta", "t", "r",
         "training_mode", "cond", "new_shape", "like"}  # fmt: skip

# Cases that are refused, by words of their names, and what the error says.
REFUSED = {
    "training": "training_mode", "dropout_default_mask": "the mask", "isinf_positive": "one sign",
    "isinf_negative": "one sign", "einsum_batch_diagonal": "diagonals", "empty_set": "extent 0",
    "zero_size": "extent 0", "allowzero_reordered": "extent 0", "bool_inputs": "expected numbers",
    "affine_grid": "depends on data", "lstm_with_peepholes": "sequence_lens",
    "triu_zero": "extent 0", "tril_zero": "extent 0",
    "reflect_pad": "mode 'reflect'", "wrap_pad": "mode 'wrap'",
}  # fmt: skip

# The same for cases of the operator Attention itself, not of what it expands to.
REFUSED_ATTENTION = {
    "with_past": "past_key", "qk_matmul_output": "for debugging", "4d_with_qk_matmul": "for debugging",
    "causal_nonpad": "nonpad_kv_seqlen", "window_ext_cache": "nonpad_kv_seqlen", "window_gqa_rank4": "for debugging",
    "padded_kv": "shorter than the keys",
}  # fmt: skip


def elements(model: onnx.ModelProto) -> set[int]:
    found = set()
    for info in [*model.graph.input, *model.graph.output]:
        kind = info.type.WhichOneof("value")
        found.add(info.type.tensor_type.elem_type if kind == "tensor_type" else 0)
    return found


def importable(case: object) -> bool:
    names = supported_operators()
    nodes = case.model.graph.node
    known = elements(case.model) <= set(DTYPES)
    opset = max((o.version for o in case.model.opset_import if not o.domain), default=0)
    return known and opset >= 11 and bool(nodes) and all(n.op_type in names and not n.domain for n in nodes)


CASES = [case for case in ALL if case.model is not None and importable(case)]


def test_there_are_cases() -> None:
    assert len(CASES) > 700


def is_known(case: object, name: str) -> bool:
    op = case.model.graph.node[0].op_type
    of_op = {"ConstantOfShape": ["x"], "Tile": ["y"], "Trilu": ["k"], "TopK": ["k"], "OneHot": ["depth"],
             "Pad": ["pads", "value"]}  # fmt: skip
    return name in KNOWN or name in of_op.get(op, [])


def array_of(data: object) -> np.ndarray:
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def prepared(case: object, inputs: list[object]) -> tuple[onnx.ModelProto, list[np.ndarray]]:
    model = copy.deepcopy(case.model)
    kept = []
    infos = list(model.graph.input)
    del model.graph.input[:]
    for info, data in zip(infos, inputs, strict=True):
        array = array_of(data)
        if is_known(case, info.name):
            model.graph.initializer.append(numpy_helper.from_array(array, info.name))
        else:
            model.graph.input.append(info)
            kept.append(array)
    model.graph.input.append(value("candidates_only", "B"))
    if "LayerNormalization" in {node.op_type for node in model.graph.node}:
        del model.graph.output[1:]  # Mean and InvStdDev
    return model, [*kept, np.zeros(1, np.float32)]


def close(got: np.ndarray, want: np.ndarray, name: str) -> None:
    assert got.shape == want.shape, name
    assert got.dtype == want.dtype, name
    if np.issubdtype(want.dtype, np.floating):
        tolerance = 2e-3 if want.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: object, probe: Probe) -> None:
    inputs, wanted = case.data_sets[0]
    model, arrays = prepared(case, inputs)
    refused = REFUSED | (REFUSED_ATTENTION if model.graph.node[0].op_type == "Attention" else {})
    for word, place in refused.items():
        if word in case.name:
            probe.refuse(model, place, options=("--allow-f32",))
            return
    got = probe.evaluate(model, arrays, 1, "--allow-f32")
    for info, want in zip(model.graph.output, wanted, strict=False):
        close(got[info.name], array_of(want), info.name)
