"""`--param`: constants that stay open, scored with the model's numbers and with others, against onnx.reference in
float64 on the model whose initialiser was replaced."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, difference, evaluate

TASKS = 3
ROWS = (1, 5, 70)


def probabilities(b: Builder) -> str:
    """(B, 3), of a small network: what is fused below."""
    x = b.input(Spec((8,)), "x")
    w = b.const(np.random.default_rng(1).standard_normal((8, TASKS)) / 3, name="w")
    return b.node("Sigmoid", b.node("MatMul", x, w))


def tasks(b: Builder, p: str) -> list[str]:
    outs = [b.fresh("p") for _ in range(TASKS)]
    b.node("Split", p, b.ints(1, 1, 1), outs=outs, axis=1)
    return outs


def alpha(b: Builder, *shape: int) -> str:
    numbers = np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32)
    return b.const(numbers, name="alpha")


def picked_and_added(b: Builder) -> str:
    a = alpha(b, TASKS)
    terms = [
        b.node("Mul", b.node("Gather", a, b.const(t, np.int64), axis=0), p)
        for t, p in enumerate(tasks(b, probabilities(b)))
    ]
    return b.node("Add", b.node("Add", terms[0], terms[1]), terms[2])


def scalars_and_added(b: Builder) -> str:
    """The first weight only is a param; the others stay constants."""
    p0, p1, p2 = tasks(b, probabilities(b))
    terms = [b.node("Mul", alpha(b), p0), b.node("Mul", b.const(0.3), p1), b.node("Mul", b.const(0.2), p2)]
    return b.node("Sum", *terms)


def concat_matmul(b: Builder) -> str:
    return b.node("MatMul", b.node("Concat", *tasks(b, probabilities(b)), axis=1), alpha(b, TASKS, 1))


def matmul_vector(b: Builder) -> str:
    return b.node("MatMul", probabilities(b), alpha(b, TASKS))


def reduce_sum_of_mul(b: Builder) -> str:
    return b.node("ReduceSum", b.node("Mul", probabilities(b), alpha(b, 1, TASKS)), b.ints(1), keepdims=0)


def stacked(b: Builder) -> str:
    p = b.node("Unsqueeze", probabilities(b), b.ints(2))
    return b.node("ReduceSum", b.node("Mul", p, alpha(b, TASKS, 1)), b.ints(1))


def einsum(b: Builder) -> str:
    return b.node("Einsum", probabilities(b), alpha(b, TASKS), equation="bt,t->b")


def gemm(b: Builder) -> str:
    return b.node("Gemm", probabilities(b), alpha(b, 1, TASKS), b.const([0.5]), transB=1, alpha=0.5)


def powers(b: Builder) -> str:
    return b.node("ReduceProd", b.node("Pow", probabilities(b), alpha(b, TASKS)), axes=[1])


def normalised(b: Builder) -> str:
    """The weights are made from the param alone: the request program's work."""
    return b.node("MatMul", probabilities(b), b.node("Softmax", b.node("Exp", alpha(b, TASKS)), axis=0))


def temperature(b: Builder) -> str:
    x = b.input(Spec((8,)), "x")
    draws = np.random.default_rng(3)
    experts = b.node("MatMul", x, b.const(draws.standard_normal((8, 4 * 6)) / 3))
    experts = b.node("Reshape", experts, b.ints(-1, 4, 6))
    gate = b.node("Div", b.node("MatMul", x, b.const(draws.standard_normal((8, 4)))), b.const(2.5, name="alpha"))
    gate = b.node("Unsqueeze", b.node("Softmax", gate, axis=1), b.ints(2))
    return b.node("ReduceSum", b.node("Mul", gate, experts), b.ints(1), keepdims=0)


def temperature_inside(b: Builder) -> str:
    x = b.input(Spec((8,)), "x")
    gate = b.node("MatMul", x, b.const(np.random.default_rng(3).standard_normal((8, 4))))
    return b.node("Softmax", b.node("Mul", gate, b.const([0.4], name="alpha")), axis=-1)


def scalar_bias(b: Builder) -> str:
    x = b.input(Spec((8,)), "x")
    logit = b.node("MatMul", x, b.const(np.random.default_rng(4).standard_normal((8, 1))))
    return b.node("Sigmoid", b.node("Add", logit, b.const(-1.5, name="alpha")))


def layer_bias(b: Builder) -> str:
    x = b.input(Spec((8,)), "x")
    return b.node("Relu", b.node("Gemm", x, b.const(np.ones((8, 5)) / 8), alpha(b, 5)))


def layer_weights(b: Builder) -> str:
    return b.node("Relu", b.node("Gemm", b.input(Spec((8,)), "x"), alpha(b, 8, 20), b.const(np.ones(20))))


def layer_norm_scale(b: Builder) -> str:
    return b.node("LayerNormalization", b.input(Spec((8,)), "x"), alpha(b, 8), b.const(np.ones(8)))


def clip_bound(b: Builder) -> str:
    return b.node("Clip", b.input(Spec((8,)), "x"), b.const(-0.25, name="alpha"), b.const(0.5))


def threshold(b: Builder) -> str:
    x = b.input(Spec((8,)), "x")
    return b.node("Where", b.node("Greater", x, b.const(0.1, name="alpha")), x, b.const(0.0))


def slopes(b: Builder) -> str:
    return b.node("PRelu", b.input(Spec((8,)), "x"), alpha(b, 8))


def table(b: Builder) -> str:
    ids = b.input(Spec((2,), np.int64, 0, 9), "x")
    return b.node("ReduceSum", b.node("Gather", alpha(b, 9, 4), ids), b.ints(1), keepdims=0)


def many_axes(b: Builder) -> str:
    return b.node("Add", b.node("Reshape", probabilities(b), b.ints(-1, 1, 1, 3)), alpha(b, 5, 7, 3))


SPELLINGS = [
    picked_and_added, scalars_and_added, concat_matmul, matmul_vector, reduce_sum_of_mul, stacked, einsum, gemm, powers,
    normalised, temperature, temperature_inside, scalar_bias, layer_bias, layer_weights, layer_norm_scale, clip_bound, threshold, slopes, table, many_axes,
]  # fmt: skip


def model_of(spelling: Callable[[Builder], str]) -> Builder:
    b = Builder(17)
    b.output(spelling(b))
    return b


def replaced(model: onnx.ModelProto, numbers: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The float64 model with other numbers in its initialisers."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        if tensor.name in numbers:
            wide = numbers[tensor.name].astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    return other


def text_of(numbers: np.ndarray) -> str:
    return ",".join(f"{number:.9g}" for number in numbers.ravel())


def check(compiled: Compiled, inputs: dict, want_model: onnx.ModelProto, *options: str, **arrays: np.ndarray) -> None:
    want = evaluate(want_model, inputs)
    got = compiled.score(inputs | arrays, *options)
    assert sorted(got) == sorted(want)
    wrong = [f"{name}: {text}" for name in want if (text := difference(got[name], want[name]))]
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=[spelling.__name__ for spelling in SPELLINGS])
@pytest.mark.parametrize("provider", ["native", "onednn"])
def test_scores_follow_the_param(
    programs: Programs, spelling: Callable[[Builder], str], provider: str, tmp_path: Path
) -> None:
    b = model_of(spelling)
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "alpha")
    own = next(numpy_helper.to_array(t) for t in b.initializers if t.name == "alpha")
    info = programs.info(compiled.plan)
    assert [(p["name"], p["dtype"], tuple(p["shape"])) for p in info["params"]] == [("alpha", "float32", own.shape)]
    if own.size <= 16:
        assert np.array_equal(np.asarray(info["params"][0]["default"], np.float32), own.ravel())
    draws = np.random.default_rng(7)
    for rows in ROWS:
        inputs = b.make(rows)
        check(compiled, inputs, compiled.wide, "--provider", provider)
        for turn in range(2):
            new = draws.uniform(0.1, 2, own.shape).astype(np.float32)
            other = replaced(compiled.wide, {"alpha": new})
            if turn == 0:
                check(compiled, inputs, other, "--provider", provider, "--param", f"alpha={text_of(new)}")
            else:
                check(compiled, inputs, other, "--provider", provider, alpha=new)
        assert difference(evaluate(other, inputs)[b.outputs[0]], evaluate(compiled.wide, inputs)[b.outputs[0]]), (
            "the param makes no difference: the test shows nothing"
        )


def test_a_plan_of_the_new_numbers_scores_alike(programs: Programs, tmp_path: Path) -> None:
    """A param set to x is the model compiled with x for a default, bit by bit."""
    b = model_of(temperature)
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "alpha")
    inputs = b.make(70)
    set_now = compiled.score(inputs, "--param", "alpha=0.75")
    for tensor in compiled.model.graph.initializer:
        if tensor.name == "alpha":
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(0.75, np.float32), "alpha"))
    other = Compiled(programs, compiled.model, tmp_path, "--param", "alpha")
    assert set_now[b.outputs[0]].tobytes() == other.score(inputs)[b.outputs[0]].tobytes()


def test_rows_keep_their_bits(programs: Programs, tmp_path: Path) -> None:
    b = model_of(concat_matmul)
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "alpha")
    inputs = b.make(100)
    options = ("--param", "alpha=0.7,-0.1,0.4")
    (want,) = compiled.score(inputs, *options).values()
    for tile in ("16", "48", "96"):
        (got,) = compiled.score(inputs, *options, "--tile-rows", tile).values()
        assert got.tobytes() == want.tobytes()
    (got,) = compiled.score({"x": inputs["x"][31:]}, *options).values()
    assert got.tobytes() == want[31:].tobytes()


def test_several_params_in_the_order_of_the_options(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    p = b.node("Add", probabilities(b), b.const(0.5, name="shift"))
    b.output(b.node("MatMul", p, alpha(b, TASKS)))
    names = ["--param", "alpha", "--param", "shift"]
    compiled = Compiled(programs, b.model(), tmp_path, *names)
    info = programs.info(compiled.plan)
    assert [param["name"] for param in info["params"]] == ["alpha", "shift"]
    assert info["format"] == "1.3"
    assert info["workspace"]["param_bytes"] == 128
    assert info["workspace"]["formula"].startswith("128 + ")
    inputs = b.make(5)
    new = {"alpha": np.float32([1, 2, 3]), "shift": np.float32(-4)}
    want = replaced(compiled.wide, new)
    check(compiled, inputs, want, "--param", "shift=-4", "--param", "alpha=1,2,3")
    check(compiled, inputs, want, "--param=shift=-4", alpha=new["alpha"])
    check(compiled, inputs, want, "--param", "shift=-4", "--param", "alpha=1,2,3", alpha=np.float32([9, 9, 9]))
    text = programs.ok(programs.mtlrun, "info", compiled.plan)
    assert "params\n" in text and "shift" in text
    programs.ok(programs.mtlrun, "bench", compiled.plan, "--seconds", "0.01", "--rows", "1", "--param", "shift=1")
    back = Compiled(programs, b.model(), tmp_path, *names[2:], *names[:2])
    assert [param["name"] for param in programs.info(back.plan)["params"]] == ["shift", "alpha"]


def test_equal_initialisers_that_an_exporter_joined(programs: Programs, tmp_path: Path) -> None:
    """TorchScript stores equal ones once: the other name is an Identity of the first, and a param of its own."""
    b = Builder(17)
    p = probabilities(b)
    first = b.const(np.float32([1, 1, 1]), name="alpha")
    b.nodes.append(helper.make_node("Identity", [first], ["beta"]))
    b.output(b.node("Add", b.node("Mul", p, first), b.node("Exp", b.node("Mul", p, "beta"))))
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "beta")
    inputs = b.make(5)
    check(compiled, inputs, compiled.wide)
    other = onnx.ModelProto()
    other.CopyFrom(compiled.wide)
    other.graph.initializer.append(numpy_helper.from_array(np.float64([3, 2, -1]), "beta"))
    del other.graph.node[[node.output[0] for node in other.graph.node].index("beta")]
    check(compiled, inputs, other, "--param", "beta=3,2,-1")
    lines = programs.ok(programs.mtlc, tmp_path / "model.onnx", "--print-params").splitlines()
    assert [line.split()[0] for line in lines] == ["alpha", "beta", "w"]
    for options in (["alpha", "beta"], ["beta", "alpha"]):
        both = Compiled(programs, b.model(), tmp_path, "--param", options[0], "--param", options[1])
        new = replaced(other, {"alpha": np.float32([7, 8, 9])})
        check(both, inputs, new, "--param", "beta=3,2,-1", "--param", "alpha=7,8,9")
    alone = Compiled(programs, b.model(), tmp_path, "--param", "alpha")
    check(alone, inputs, replaced(alone.wide, {"alpha": np.float32([7, 8, 9])}), "--param", "alpha=7,8,9")


CONSTANTS = {
    "value": {"value": numpy_helper.from_array(np.float32([0.5, 0.25, 2]))},
    "value_floats": {"value_floats": [0.5, 0.25, 2.0]},
    "value_float": {"value_float": 0.5},
}


@pytest.mark.parametrize("form", CONSTANTS)
def test_constant_nodes(programs: Programs, form: str, tmp_path: Path) -> None:
    b = Builder(17)
    p = probabilities(b)
    b.nodes.append(helper.make_node("Constant", [], ["/fusion/Constant_output_0"], **CONSTANTS[form]))
    b.output(b.node("Mul", p, "/fusion/Constant_output_0"))
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "/fusion/Constant_output_0")
    inputs = b.make(5)
    check(compiled, inputs, compiled.wide)
    new = np.float32(4) if form == "value_float" else np.float32([4, 5, 6])
    other = onnx.ModelProto()
    other.CopyFrom(compiled.wide)
    for node in other.graph.node:
        if node.op_type == "Constant":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(new.astype(np.float64))))
    check(compiled, inputs, other, "--param", f"/fusion/Constant_output_0={text_of(new)}")


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_float_types_become_float32(programs: Programs, dtype: int, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["alpha"], ["weights"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "weights"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])],
        initializer=[helper.make_tensor("alpha", dtype, [3], [0.5, 0.25, 2.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ("--allow-f32",) if dtype == TensorProto.DOUBLE else ()
    compiled = Compiled(programs, model, tmp_path, "--param", "alpha", *options)
    assert programs.info(compiled.plan)["params"][0] == {
        "name": "alpha", "dtype": "float32", "shape": [3], "default": [0.5, 0.25, 2.0],
    }  # fmt: skip
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(compiled.score({"x": x})["y"], x * np.float32([0.5, 0.25, 2]))
    got = compiled.score({"x": x}, "--param", "alpha=-1,0.5,8")["y"]
    assert np.array_equal(got, x * np.float32([-1, 0.5, 8]))


def test_a_param_may_be_an_output(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    b.output(b.node("Mul", probabilities(b), alpha(b, TASKS)))
    model = b.model()
    model.graph.output.append(helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [TASKS]))
    compiled = Compiled(programs, model, tmp_path, "--param", "alpha")
    assert np.array_equal(
        compiled.score(b.make(70), "--param", "alpha=1,2,3")["alpha"], np.float32([1, 2, 3])
    )


def test_plans_without_params_are_what_they_were(programs: Programs, tmp_path: Path) -> None:
    """Without a trace of params, and the same bytes with and without a look at the names."""
    b = model_of(concat_matmul)
    compiled = Compiled(programs, b.model(), tmp_path)
    info = programs.info(compiled.plan)
    assert "params" not in info and info["workspace"]["param_bytes"] == 0
    before = compiled.plan.read_bytes()
    programs.ok(programs.mtlc, tmp_path / "model.onnx", "-o", compiled.plan, "--print-params")
    assert compiled.plan.read_bytes() == before


def test_the_list_of_names(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    b.output(b.node("Mul", b.node("MatMul", probabilities(b), b.const(np.ones((3, 3)), name="big")), alpha(b, TASKS)))
    b.nodes.insert(0, helper.make_node("Constant", [], ["/c"], value_float=0.125))
    b.output(b.node("Add", b.outputs[0], "/c"))
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    lines = programs.ok(programs.mtlc, tmp_path / "m.onnx", "--print-params").splitlines()
    assert [line.split()[0] for line in lines] == ["/c", "alpha", "big", "w"], "the smallest first, floats only"
    assert lines[0].split()[1:] == ["float32", "()", "0.125"]
    assert lines[2].split()[1:] == ["float32", "(3,", "3)"]
    for line in lines:
        name = line.split()[0]
        with tempfile.TemporaryDirectory() as folder:
            Compiled(programs, b.model(), Path(folder), "--param", name)


def test_the_evaluator_takes_params_too(programs: Programs, tmp_path: Path) -> None:
    """A third opinion: mtlc --evaluate in float64, without passes or plan."""
    b = model_of(temperature)
    compiled = Compiled(programs, b.model(), tmp_path, "--param", "alpha")
    inputs, new = b.make(5), np.float32(0.3)
    for arrays, model in ({}, compiled.wide), ({"alpha": new}, replaced(compiled.wide, {"alpha": new})):
        np.savez(tmp_path / "in.npz", **inputs, **arrays)
        files = ("--evaluate", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
        programs.ok(programs.mtlc, tmp_path / "model.onnx", "--param", "alpha", *files)
        with np.load(tmp_path / "out.npz") as got:
            for name, want in evaluate(model, inputs).items():
                assert np.abs(got[name] - want).max() < 1e-12
    np.savez(tmp_path / "in.npz", **inputs, alpha=np.ones(2, np.float32))
    done = programs.run(programs.mtlc, tmp_path / "model.onnx", "--param", "alpha", *files)
    assert done.returncode == 1 and "param 'alpha' has another type or shape" in done.stderr
