"""Declarations up to the scores: what a plan takes of a user, and what `--explain` says that it saves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.harness import Programs
from tests.hostile.support import save
from tests.onnx.support import constant, model, value
from tests.onnx.test_request import ONCE, once

RNG = np.random.default_rng(66)
USERS = np.array([1, 0, 2, 2, 1, 0, 1], np.int32)


def node(op: str, *operands: str, to: str, **attributes: object) -> helper.NodeProto:
    return helper.make_node(op, operands, [to], name=to, **attributes)


def compiled(programs: Programs, graph: ModelProto, folder: Path, *request: str) -> Path:
    options = [option for text in request for option in ("--request", text)]
    return programs.compile(save(graph, folder), folder / "plan.bin", *options)


def signature(programs: Programs, plan: Path) -> dict[str, list[int | str]]:
    return {entry["name"]: entry["shape"] for entry in programs.info(plan)["inputs"]}


def score(programs: Programs, plan: Path, inputs: dict[str, np.ndarray], *options: str) -> dict[str, np.ndarray]:
    given, got = plan.with_name("in.npz"), plan.with_name("out.npz")
    np.savez(given, **inputs)
    programs.ok(programs.mtlrun, "score", plan, "-i", given, "-o", got, *options)
    with np.load(got) as outputs:
        return dict(outputs)


@pytest.mark.parametrize("request_", [(), ("u",)], ids=["found", "declared"])
@pytest.mark.parametrize("name", ONCE)
def test_once(programs: Programs, tmp_path: Path, name: str, request_: tuple[str, ...]) -> None:
    """What the model has once: the plan takes it as the model did, and for several users."""
    graph = once(ONCE[name])
    plan = compiled(programs, graph, tmp_path, *request_)
    assert signature(programs, plan) == {"u": ["U", 4], "x": ["B", 4]}
    x = RNG.standard_normal((len(USERS), 4)).astype(np.float32)
    users = RNG.standard_normal((3, 4)).astype(np.float32)
    several = score(programs, plan, {"u": users, "x": x, "whose": USERS}, "--users", "whose")["y"]
    for index in range(3):
        wanted = ReferenceEvaluator(graph).run(None, {"u": users[[index]], "x": x})[0]
        alone = score(programs, plan, {"u": users[[index]], "x": x})["y"]
        np.testing.assert_allclose(alone, wanted, rtol=1e-5, atol=1e-6)
        assert np.array_equal(alone[USERS == index], several[USERS == index])


def wide(dtype: int = TensorProto.FLOAT) -> ModelProto:
    """x (B, 12) in two layers, `hint` in the metadata."""
    nodes = [
        node("Cast", "x", to="c", to_=TensorProto.FLOAT), node("Gemm", "c", "w", to="h"), node("Relu", "h", to="r"),
        node("Gemm", "r", "v", to="y"),
    ]  # fmt: skip
    for attribute in nodes[0].attribute:
        attribute.name = "to"
    draws = np.random.default_rng(1)
    weights = [constant("w", draws.standard_normal((12, 16))), constant("v", draws.standard_normal((16, 2)))]
    graph = model(nodes, weights, [value("x", "batch", 12, dtype=dtype)])
    helper.set_model_props(graph, {"mtlc.request": "# by whoever trained it\nx[:,1:5,8]"})
    return graph


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE], ids=["f32", "f16", "f64"])
@pytest.mark.parametrize("request_", [(), ("x[:,8,1:5]",), ("@request.txt",)], ids=["hint", "words", "file"])
def test_columns(programs: Programs, tmp_path: Path, request_: tuple[str, ...], dtype: int) -> None:
    (tmp_path / "request.txt").write_text("x[:,1:5] # user\nx[:,-4]\n")
    options = ["--allow-f32"] if dtype == TensorProto.DOUBLE else []
    for text in request_:
        options += ["--request", text.replace("@", f"@{tmp_path}/")]
    graph = wide(dtype)
    plan = programs.compile(save(graph, tmp_path), tmp_path / "plan.bin", *options)
    assert signature(programs, plan) == {"x.request": ["U", 5], "x.row": ["B", 7]}
    mine, rest = [1, 2, 3, 4, 8], [0, 5, 6, 7, 9, 10, 11]
    x = RNG.standard_normal((len(USERS), 12)).astype(helper.tensor_dtype_to_np_dtype(dtype))
    users = RNG.standard_normal((3, 12)).astype(x.dtype)[:, mine]
    x[:, mine] = users[USERS]
    wanted = ReferenceEvaluator(graph).run(None, {"x": x})[0]
    got = score(programs, plan, {"x.request": users, "x.row": x[:, rest], "whose": USERS}, "--users", "whose")["y"]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    checked = {"x.request": x[:, mine], "x.row": x[:, rest], "whose": USERS}
    assert np.array_equal(score(programs, plan, checked, "--users", "whose", "--check-request")["y"], got)


def test_none_is_the_model(programs: Programs, tmp_path: Path) -> None:
    assert signature(programs, compiled(programs, wide(), tmp_path, "none")) == {"x": ["B", 12]}


# --- what --explain says ----------------------------------------------------------------------------------------------


def mixed() -> ModelProto:
    """A user's network, an item's, and a third over both."""
    draws = np.random.default_rng(2)
    weights = [("a", 24, 32), ("b", 8, 16), ("c", 48, 16), ("d", 16, 1)]
    nodes = [
        node("Gemm", "user", "a", to="ua"), node("Relu", "ua", to="ur"),
        node("Gemm", "item", "b", to="ib"), node("Relu", "ib", to="ir"),
        node("Concat", "ur", "ir", to="both", axis=1), node("Gemm", "both", "c", to="h"), node("Relu", "h", to="r"),
        node("Add", "r", "place", to="p"), node("Gemm", "p", "d", to="y"),
    ]  # fmt: skip
    inputs = [value("user", "batch", 24), value("item", "batch", 8), value("place", "batch", 16)]
    return model(nodes, [constant(name, draws.standard_normal(shape)) for name, *shape in weights], inputs)


def shares(programs: Programs, plan: Path) -> list[int]:
    """FLOPs and bytes of a call, a user and a candidate, added up from the plan's steps."""
    sums = [0] * 6
    for step in programs.info(plan)["steps"]:
        users = "U" in str(step["output"]["shape"])
        constants = [operand for operand in step["inputs"] if operand and operand["storage"] == "const"]
        assert not (users and any(operand["layout"] == "dense" for operand in constants))
        packed = sum(4 * int(np.prod([-(-extent // 16) * 16 if axis == len(operand["shape"]) - 1 else extent
                                      for axis, extent in enumerate(operand["shape"])])) for operand in constants)  # fmt: skip
        sums[1 if users else 0] += step["flops_fixed"]
        sums[2] += step["flops_per_row"]
        sums[4 if users else 3] += step["bytes_fixed"] - (packed if users else 0)
        sums[3] += packed if users else 0
        sums[5] += step["bytes_per_row"]
        if step["program"] == "row" and step["op"] != "spread":  # each candidate reads its user's
            mine = [operand["shape"] for operand in step["inputs"] if operand and "U" in str(operand["shape"])]
            read = sum(4 * int(np.prod(shape[1:])) for shape in mine)
            sums[3] -= read
            sums[5] += read
    return sums


def explained(programs: Programs, graph: ModelProto, folder: Path, *request: str) -> list[str]:
    options = [option for text in request for option in ("--request", text)]
    return programs.ok(programs.mtlc, save(graph, folder), "--explain", *options).splitlines()


def numbers(lines: list[str], name: str) -> list[int]:
    (line,) = [line for line in lines if line.strip().startswith(name)]
    return [int(number) for number in re.findall(r"\b\d+\b", line)]


def test_explain(programs: Programs, tmp_path: Path) -> None:
    """The numbers are those of real plans."""
    graph = mixed()
    lines = explained(programs, graph, tmp_path, "user")
    assert "request: 1 of 3 inputs are the same for all candidates of one user" in lines
    with_users = numbers(lines, "this plan")
    without = numbers(lines, "nothing declared")
    assert with_users == shares(programs, compiled(programs, graph, tmp_path, "user"))
    assert without == shares(programs, compiled(programs, graph, tmp_path, "none"))
    assert with_users[1] > 0
    assert without[1] == without[4] == 0
    (line,) = [line for line in lines if line.startswith("  1 user with 256 candidates: ")]
    flops = sum(with_users[:2]) + 256 * with_users[2]
    ratio = (without[0] + 256 * without[2]) / flops
    assert line.endswith(f"{flops} FLOPs, {ratio:.2f} times less than where nothing is declared")


def test_explain_names_what_holds_back(programs: Programs, tmp_path: Path) -> None:
    lines = explained(programs, mixed(), tmp_path, "user")
    holders = lines[lines.index("computed for each candidate, in FLOPs, because of") + 1 :]
    assert holders[0].split() == ["item", str(numbers(holders, "item")[0])]
    assert numbers(holders, "item")[0] >= 2 * 8 * 16
    assert numbers(holders, "several inputs")[0] > 0
    crossing = lines[lines.index("read of the user for each candidate:") + 1]
    assert re.search(r"\(U, \d+\) +\d+ bytes, by step \d+ \(\w+\)$", crossing), crossing


def test_explain_says_why_a_product_is_whole(programs: Programs, tmp_path: Path) -> None:
    """Two columns are not worth a step of their own."""
    lines = explained(programs, wide(), tmp_path, "x[:,3:5]")
    (line,) = [line for line in lines if "of 12 columns" in line]
    assert re.search(r"step \d+: linear \(.*h.*\): 2 of 12 columns, \d+ FLOPs; stays one product: ", line), line


def test_explain_says_nothing_of_users_where_there_are_none(programs: Programs, tmp_path: Path) -> None:
    assert not [line for line in explained(programs, mixed(), tmp_path) if "user" in line and "request" in line]


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sliced", [False, True])
def test_ids_in_columns_keep_the_name_of_the_input(programs: Programs, tmp_path: Path, sliced: bool) -> None:
    """Lookups by an input whose columns are declared: --ids names the model's input, and so do messages."""
    table = RNG.standard_normal((6, 2)).astype(np.float32)
    last = [node("Slice", "x", "one", "three", "one", to="part"), node("Gather", "t", "part", to="e")]
    nodes = [*(last if sliced else [node("Gather", "t", "x", to="e")]), node("Flatten", "e", to="y")]
    constants = [constant("t", table), constant("one", [1], np.int64), constant("three", [3], np.int64)]
    graph = model(nodes, constants, [value("x", "batch", 3, dtype=TensorProto.INT64)])
    options = ("--request", "x[:,0:2]", "--ids", "x=clamp")
    plan = programs.compile(save(graph, tmp_path), tmp_path / "plan.bin", *options)
    x = np.array([[1, 9, 3], [1, 9, 9], [1, 9, -2]])
    given, got = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(given, **{"x.request": x[:1, :2], "x.row": x[:, 2:]})
    done = programs.run(programs.mtlrun, "score", plan, "-i", given, "-o", got)
    assert done.returncode == 0, done.stderr
    assert "input 'x', table 't': ids outside 0..5" in done.stderr
    wanted = table[np.clip(x[:, 1:] if sliced else x, 0, 5)].reshape(3, -1)
    np.testing.assert_array_equal(np.load(got)["y"], wanted)
