"""Forcing a provider means it: with oneDNN forced no native product runs, and the other way
round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from tests.harness import Fixture, Programs, difference, manifest, names

ALL = manifest()
PRODUCTS = ("linear", "matmul")
# What oneDNN has primitives for among the steps of the fixtures, where the candidates come first.
PRIMITIVES = (*PRODUCTS, "softmax", "layer_norm", "binary", "concat", "slice", "transpose")


def kernels(programs: Programs, plan: Path, provider: str) -> dict[str, list[str]]:
    """Who computes each step, by operation."""
    found: dict[str, list[str]] = {}
    for step in programs.info(plan, "--provider", provider)["steps"]:
        found.setdefault(step["op"], []).append(step["kernel"])
    return found


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_products_run_where_they_must(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    forced = kernels(programs, plan, "onednn")
    products = [kernel for op in PRODUCTS for kernel in forced.get(op, [])]
    assert products, "a ranker without products"
    assert all("onednn" in kernel.lower() for kernel in products), (
        f"native products with oneDNN forced: {products}"
    )
    native = [
        kernel for entries in kernels(programs, plan, "native").values() for kernel in entries
    ]
    assert not any("onednn" in kernel.lower() for kernel in native), (
        f"oneDNN with native forced: {native}"
    )


NO_PRIMITIVE = ("max", "min", "pow")  # stay native: oneDNN has no pow, and its min and max lose NaN


def fits_onednn(step: dict) -> bool:
    """Floats, with the candidates on the first axis, and no windows of wider rows (but for linear)."""
    if step["op"] == "binary" and step["function"] in NO_PRIMITIVE:
        return False
    tensors = [tensor for tensor in (*step["inputs"], step["output"]) if tensor]
    first = all(not isinstance(extent, str) for t in tensors for extent in t["shape"][1:])
    dense = step["op"] == "linear" or all(not tensor.get("pitch") for tensor in tensors)
    return first and dense and all(tensor["dtype"] == "float32" for tensor in tensors)


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_every_primitive_is_used(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    for step in programs.info(plan, "--provider", "onednn")["steps"]:
        kernel = step["kernel"]
        assert not kernel.startswith("onednn ref"), f"reference code: {step['label']}"
        assert "would use" not in kernel, f"{step['label']} is {kernel}"
        if step["op"] in PRIMITIVES and fits_onednn(step):
            assert kernel.startswith("onednn "), f"{step['op']} {step['label']} is {kernel}"
        if "copied" in kernel:
            groups, k, n = step["inputs"][1]["shape"]
            copied = int(kernel.split("weights copied: ")[1].removesuffix(" bytes"))
            assert step["op"] == "linear" and copied >= 4 * groups * k * n
    for step in programs.info(plan)["steps"]:
        assert "oneDNN" not in step["kernel"] and "onednn" not in step["kernel"]


WIDTH, LINES = 16, 4
# name -> node, its output's shape beyond the candidates, and who computes it with oneDNN forced
STEPS = {
    "softmax": (helper.make_node("Softmax", ["x"], ["y"], axis=2), (LINES, WIDTH), "onednn "),
    "softmax_across": (
        helper.make_node("Softmax", ["x"], ["y"], axis=1),
        (LINES, WIDTH),
        "; oneDNN would use ref",
    ),
    "sum": (helper.make_node("ReduceSum", ["x", "last"], ["y"], keepdims=0), (LINES,), "onednn "),
    "sum_across": (
        helper.make_node("ReduceSum", ["x", "middle"], ["y"], keepdims=0),
        (WIDTH,),
        "; oneDNN would use ref",
    ),
    "prod": (helper.make_node("ReduceProd", ["x", "last"], ["y"], keepdims=0), (LINES,), "onednn "),
    "max": (helper.make_node("ReduceMax", ["x", "last"], ["y"], keepdims=0), (LINES,), "native "),
    "prelu": (helper.make_node("PRelu", ["x", "slope"], ["y"]), (LINES, WIDTH), "onednn "),
    "sigmoid": (helper.make_node("Sigmoid", ["x"], ["y"]), (LINES, WIDTH), "onednn "),
    "relu": (helper.make_node("Relu", ["x"], ["y"]), (LINES, WIDTH), "native "),
    "across": (helper.make_node("Mul", ["x", "z"], ["y"]), (LINES, WIDTH), "onednn "),
    "less": (helper.make_node("Less", ["x", "w"], ["y"]), (LINES, WIDTH), "onednn "),
    "greater": (helper.make_node("Greater", ["x", "w"], ["y"]), (LINES, WIDTH), "onednn "),
    "layer_norm": (
        helper.make_node("LayerNormalization", ["x", "slope", "slope"], ["y"], axis=2),
        (LINES, WIDTH),
        "onednn ",
    ),
    "transpose": (
        helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1]),
        (WIDTH, LINES),
        "onednn ",
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_the_same_there(programs: Programs, name: str, tmp_path: Path) -> None:
    """One node a model: who computes it, and that NaN and infinities come out as from our kernels."""
    node, shape, who = STEPS[name]
    kind = TensorProto.BOOL if name in ("less", "greater") else TensorProto.FLOAT
    draws = np.random.default_rng(3)
    shapes = {"x": (LINES, WIDTH), "w": (LINES, WIDTH), "z": (1, WIDTH)}
    constants = {
        "slope": draws.random(WIDTH, dtype=np.float32) + 0.25,
        "last": np.array([2]),
        "middle": np.array([1]),
    }
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(key, TensorProto.FLOAT, ("B", *dims))
            for key, dims in shapes.items()
            if key in node.input
        ],
        [helper.make_tensor_value_info("y", kind, ("B", *shape))],
        [numpy_helper.from_array(v, k) for k, v in constants.items() if k in node.input],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "one.onnx",
    )
    plan = programs.compile(tmp_path / "one.onnx", tmp_path / "plan.bin")
    steps = programs.info(plan, "--provider", "onednn")["steps"]
    assert any(who in step["kernel"] for step in steps), [step["kernel"] for step in steps]

    rows = 37
    arrays = {
        key: draws.standard_normal((rows, *dims), dtype=np.float32)
        for key, dims in shapes.items()
        if key in node.input
    }
    for array in arrays.values():
        array[3, 0, 1], array[4, 0, 2] = np.nan, np.inf
    want = programs.score(plan, arrays, "--provider", "native")["y"]
    got = programs.score(plan, arrays, "--provider", "onednn")["y"]
    assert got.dtype == want.dtype and got.shape == want.shape
    if name == "softmax":  # NaN in its row, not all over it
        assert np.isnan(got[3, 0]).any() and np.isnan(got[4, 0]).any()
        got, want = np.delete(got, (3, 4), 0), np.delete(want, (3, 4), 0)
    same = (got == want) | (np.isnan(got) & np.isnan(want)) if kind == TensorProto.FLOAT else got == want
    assert difference(np.where(same, 0, got).astype(np.float64), np.where(same, 0, want)) <= 1e-5
