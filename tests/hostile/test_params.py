"""`--param` of mtlc and mtlrun: every wrong use is one line that says what would be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.harness import FIXTURES, Programs
from tests.hostile.support import WIDTH, check_holds, check_refused, model, save, weight

node = helper.make_node


def array(name: str, numbers: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(numbers, dtype), name)


def fusion(*more: onnx.TensorProto, nodes: tuple = (), **options: object) -> onnx.ModelProto:
    """y = (x w) alpha + bias; what `more` and `nodes` make is not read."""
    chain = [
        *nodes,
        node("MatMul", ["x", "w"], ["p"], name="product"),
        node("Mul", ["p", "alpha"], ["weighted"], name="fusion"),
        node("Add", ["weighted", "bias"], ["y"], name="sum"),
    ]
    constants = [weight(), array("alpha", [0.5, 0.25, 2]), array("bias", 0.125), *more]
    return model(chain, constants, **options)


def refuse(
    programs: Programs, folder: Path, proto: onnx.ModelProto, *places: str, params: tuple[str, ...]
) -> None:
    path = save(proto, folder)
    options = [word for param in params for word in ("--param", param)]
    done = programs.run(programs.mtlc, path, "-o", folder / "plan.bin", *options)
    check_refused(done, *places)
    check_holds(folder, "model.onnx")


def test_it_works_when_it_is_right(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(fusion(), tmp_path), tmp_path / "p", "--param", "alpha")
    x = np.ones((2, WIDTH), np.float32)
    w = np.arange(1, 13, dtype=np.float32).reshape(WIDTH, 3) / 8
    want = (x @ w) * np.float32([1, 2, 3]) + np.float32(0.125)
    assert np.allclose(programs.score(plan, {"x": x}, "--param", "alpha=1,2,3")["y"], want)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("alhpa", "--param alhpa: no constant of the graph has this name; there are 'alpha', "),
        ("", "--param : no constant"),
        ("a" * 100_000, "no constant"),
        ("Alpha", "'alpha'"),
        ("x", "--param x: it is an input of the model"),
        ("p", "--param p: node 'product' (MatMul) computes it"),
        ("y", "--param y: node 'sum' (Add) computes it"),
        ("alpha\n", "no constant"),
    ],
)
def test_no_constant(programs: Programs, tmp_path: Path, name: str, place: str) -> None:
    refuse(programs, tmp_path, fusion(), place, params=(name,))


def test_a_long_list_of_constants(programs: Programs, tmp_path: Path) -> None:
    """Only near names are told then, the module path that an exporter put in front among them."""
    extra = [array(f"layers.{i}.weight", [1.0]) for i in range(40)]
    extra += [array("model.head.temperature", 1.0), array("/fusion/alpha_2", 1.0)]
    proto = fusion(*extra)
    refuse(
        programs, tmp_path, proto, "near it are 'model.head.temperature' (--print-params", params=("temperature",)
    )
    refuse(programs, tmp_path, proto, "near it are 'alpha'", params=("alphq",))
    refuse(programs, tmp_path, proto, "this name (--print-params lists them)", params=("zzzzzzzzz",))


def test_given_twice(programs: Programs, tmp_path: Path) -> None:
    refuse(programs, tmp_path, fusion(), "--param alpha: it is there twice", params=("alpha", "alpha"))


def test_too_many(programs: Programs, tmp_path: Path) -> None:
    refuse(programs, tmp_path, fusion(), "more than 256 --param", params=("alpha",) * 257)


def test_no_output_depends_on_it(programs: Programs, tmp_path: Path) -> None:
    unread = array("unread", [1.0])
    refuse(programs, tmp_path, fusion(unread), "--param unread: no output depends on it", params=("unread",))
    dead = (node("Mul", ["x", "unread"], ["dead"]),)
    refuse(
        programs, tmp_path, fusion(unread, nodes=dead), "no output depends on it", params=("alpha", "unread")
    )


def test_no_elements(programs: Programs, tmp_path: Path) -> None:
    refuse(programs, tmp_path, fusion(array("none", [])), "--param none: it has no elements", params=("none",))


def test_integers(programs: Programs, tmp_path: Path) -> None:
    nodes = (node("Reshape", ["x", "shape"], ["x2"]),)
    proto = fusion(array("shape", [-1, 2, 2], np.int64), nodes=nodes)
    refuse(programs, tmp_path, proto, "--param shape: it is int64; params are floats", params=("shape",))


def test_float64_asks_for_the_option(programs: Programs, tmp_path: Path) -> None:
    nodes = (node("Cast", ["wide"], ["narrow"], to=TensorProto.FLOAT), node("Mul", ["x", "narrow"], ["d"]))
    proto = fusion(array("wide", 1.0, np.float64), nodes=nodes)
    refuse(programs, tmp_path, proto, "--param wide: it is float64; --allow-f32", params=("wide",))


def test_a_shape_made_of_floats(programs: Programs, tmp_path: Path) -> None:
    nodes = (
        node("Cast", ["sizes"], ["shape"], to=TensorProto.INT64),
        node("Reshape", ["x", "shape"], ["x2"], name="fold"),
    )
    proto = fusion(array("sizes", [-1, 2, 2]), nodes=nodes)
    refuse(
        programs,
        tmp_path,
        proto,
        "node 'fold' (Reshape)",
        "; --param sizes leaves it open, and it is needed while compiling",
        params=("sizes",),
    )


def test_a_range_of_floats(programs: Programs, tmp_path: Path) -> None:
    nodes = (node("Range", ["start", "end", "step"], ["r"], name="range"),)
    bounds = [array("start", 0.0), array("end", 3.0), array("step", 1.0)]
    refuse(programs, tmp_path, fusion(*bounds, nodes=nodes), "'range'", "--param end", params=("end",))


def test_batch_norm_wants_its_constants(programs: Programs, tmp_path: Path) -> None:
    ones = [array(name, np.ones(3)) for name in ("scale", "shift", "mean", "var")]
    proto = model(
        [
            node("MatMul", ["x", "w"], ["p"]),
            node("BatchNormalization", ["p", "scale", "shift", "mean", "var"], ["y"], name="norm"),
        ],
        [weight(), *ones],
    )
    refuse(programs, tmp_path, proto, "'norm'", "--param scale leaves one open", params=("scale",))


def test_errors_of_other_kinds_do_not_blame_the_param(programs: Programs, tmp_path: Path) -> None:
    proto = fusion(nodes=(node("Mul", ["x", "alpha"], ["bad"], name="bad"),))  # (4) and (3)
    path = save(proto, tmp_path)
    done = programs.run(programs.mtlc, path, "-o", tmp_path / "plan.bin", "--param", "alpha")
    check_refused(done, "'bad'")
    assert "leaves it open" not in done.stderr


@pytest.mark.parametrize("command", ["score", "bench"])
@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("alpha=1,2", "--param alpha=1,2: 2 numbers, expected 3"),
        ("alpha=1", "1 number, expected 3"),
        ("alpha=1,2,3,4", "4 numbers, expected 3"),
        ("alpha=1,2,x", "expected NAME=NUMBER,NUMBER,..."),
        ("alpha=1,,2", "expected NAME=NUMBER"),
        ("alpha=1,2,3,", "expected NAME=NUMBER"),
        ("alpha=1,2,1e39", "in float32"),
        ("alpha=1,2,1e999", "in float32"),
        ("alpha=", "--param is 'alpha=', expected NAME=NUMBER"),
        ("alpha", "expected NAME=NUMBER"),
        ("=1", "expected NAME=NUMBER"),
        ("", "expected NAME=NUMBER"),
        ("beta=1", "the plan has no such param; there are 'alpha'"),
        ("x=1", "the plan has no such param; there are 'alpha'"),
    ],
)
def test_numbers_that_do_not_fit(
    programs: Programs, tmp_path: Path, command: str, option: str, place: str
) -> None:
    plan = programs.compile(save(fusion(), tmp_path), tmp_path / "p", "--param", "alpha")
    np.savez(tmp_path / "in.npz", x=np.ones((2, WIDTH), np.float32))
    files = ("-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz") if command == "score" else ("--seconds", "0.01")
    done = programs.run(programs.mtlrun, command, plan, *files, "--param", option)
    check_refused(done, place)
    check_holds(tmp_path, "in.npz", "model.onnx", "p")


@pytest.mark.parametrize(
    ("numbers", "place"),
    [
        (np.ones(2, np.float32), "param 'alpha' is float32 [2], expected float32 [3]"),
        (np.ones(3, np.float64), "param 'alpha' is float64 [3], expected float32 [3]"),
        (np.ones((1, 3), np.float32), "param 'alpha' is float32 [1, 3], expected float32 [3]"),
        (np.float32(1), "param 'alpha' is float32 [], expected float32 [3]"),
    ],
)
def test_arrays_that_do_not_fit(
    programs: Programs, tmp_path: Path, numbers: np.ndarray, place: str
) -> None:
    plan = programs.compile(save(fusion(), tmp_path), tmp_path / "p", "--param", "alpha")
    np.savez(tmp_path / "in.npz", x=np.ones((2, WIDTH), np.float32), alpha=numbers)
    done = programs.run(
        programs.mtlrun, "score", plan, "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz"
    )
    check_refused(done, "in.npz", place)
    check_holds(tmp_path, "in.npz", "model.onnx", "p")


def test_a_plan_without_params(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(fusion(), tmp_path), tmp_path / "p")
    np.savez(tmp_path / "in.npz", x=np.ones((2, WIDTH), np.float32))
    done = programs.run(
        programs.mtlrun, "score", plan, "-i", tmp_path / "in.npz", "-o", tmp_path / "o.npz", "--param", "alpha=1"
    )
    check_refused(done, "the plan has no such param; it was compiled without mtlc --param")


def test_nan_and_infinities_are_numbers(programs: Programs, tmp_path: Path) -> None:
    plan = programs.compile(save(fusion(), tmp_path), tmp_path / "p", "--param", "alpha")
    got = programs.score(plan, {"x": np.ones((1, WIDTH), np.float32)}, "--param", "alpha=nan,-inf,1e-50")["y"]
    assert np.isnan(got[0, 0]) and got[0, 1] == -np.inf and got[0, 2] == np.float32(0.125)


def test_params_of_damaged_models(programs: Programs, tmp_path: Path) -> None:
    """An initialiser that lies about its size is told as without --param, and so is one that is cut."""
    lying = array("alpha", [1.0, 2.0, 3.0])
    lying.raw_data = b"\0" * 5
    proto = fusion()
    proto.graph.initializer[1].CopyFrom(lying)
    refuse(programs, tmp_path, proto, "initializer 'alpha'", "raw_data has 5 bytes", params=("alpha",))
    path = save(proto, tmp_path)
    done = programs.run(programs.mtlc, path, "--print-params")
    assert done.returncode == 1 and "raw_data has 5 bytes" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    whole = (FIXTURES / "trained_mmoe_ts17.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = programs.run(programs.mtlc, path, "--param", "alpha", "--print-params")
    check_refused(done, "model.onnx")


def test_names_of_terminals(programs: Programs, tmp_path: Path) -> None:
    """What would move a cursor does not reach the terminal."""
    proto = fusion(array("evil\x1b[2J\nname", [1.0]))
    done = programs.run(programs.mtlc, save(proto, tmp_path), "--print-params")
    assert done.returncode == 0, done.stderr
    assert all(character.isprintable() or character == "\n" for character in done.stdout)
    assert len(done.stdout.splitlines()) == 4
