"""Plans whose inputs are declared the same for all candidates of a user, from the command line: one
user, several, and what `--check-request` says of arrays that are not what was declared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.harness import Programs, check_close, check_same_bits
from tests.hostile.support import check_refused, save
from tests.onnx.support import constant, model, value

USERS, ROWS, TABLE, WIDTH = 4, 50, 20, 6
DRAWS = np.random.default_rng(11)


def ranker(dtype: type = np.float32) -> ModelProto:
    """A user's id and history, both looked up, and an item's features, in layers and a product."""
    draws = np.random.default_rng(12)
    kind = TensorProto.FLOAT if dtype is np.float32 else TensorProto.DOUBLE

    def weight(name: str, *shape: int) -> TensorProto:
        return constant(name, draws.standard_normal(shape), dtype)

    nodes = [
        helper.make_node("Gather", ["users", "user"], ["u"]),
        helper.make_node("Gather", ["items", "history"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["p"], axes=[1], keepdims=0),
        helper.make_node("Concat", ["p", "x", "u"], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w0", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w1"], ["h2"]),
        helper.make_node("Sigmoid", ["u"], ["mask"]),
        helper.make_node("Mul", ["h2", "mask"], ["y"]),
    ]
    weights = [weight("users", TABLE, WIDTH), weight("items", TABLE, WIDTH), weight("w0", 3 * WIDTH, 32)]
    weights += [weight("b0", 32), weight("w1", 32, WIDTH)]
    inputs = [
        value("user", "batch", dtype=TensorProto.INT64),
        value("history", "batch", 5, dtype=TensorProto.INT64),
        value("x", "batch", WIDTH, dtype=kind),
    ]
    return model(nodes, weights, inputs)


def arrays() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """What the plan takes, the same with every candidate's rows, and whose each candidate is."""
    whose = np.concatenate([np.arange(USERS), DRAWS.integers(USERS, size=ROWS - USERS)])
    user, history = DRAWS.integers(TABLE, size=USERS), DRAWS.integers(TABLE, size=(USERS, 5))
    x = DRAWS.standard_normal((ROWS, WIDTH), dtype=np.float32)
    given = {"user": user, "history": history, "x": x}
    return given, {"user": user[whose], "history": history[whose], "x": x}, whose


@pytest.fixture
def plan(programs: Programs, tmp_path: Path) -> Path:
    return programs.compile(
        save(ranker(), tmp_path), tmp_path / "plan.bin", "--request", "user,history"
    )


def test_users_are_scored_as_their_candidates_are(
    programs: Programs, plan: Path, tmp_path: Path
) -> None:
    given, whole, whose = arrays()
    inputs = {name: array.astype(np.float64) if array.dtype == np.float32 else array
              for name, array in whole.items()}  # fmt: skip
    want = {"y": ReferenceEvaluator(ranker(np.float64)).run(None, inputs)[0]}
    for dtype in (np.int32, np.int64):
        got = programs.score(plan, {**given, "whose": whose.astype(dtype)}, "--users", "whose")
        check_close(got, want, str(dtype))
    unsplit = programs.score(
        programs.compile(save(ranker(), tmp_path), tmp_path / "unsplit.bin"), whole
    )
    check_close(unsplit, want, "not declared")
    checked = programs.score(
        plan, {**whole, "whose": whose}, "--users", "whose", "--check-request"
    )
    check_same_bits(checked, got, "--check-request")
    for tile, threads in ((16, 1), (32, 2)):
        options = ("--tile-rows", str(tile), "--threads", str(threads), "--rows-per-thread", "8")
        again = programs.score(plan, {**given, "whose": whose}, "--users", "whose", *options)
        check_same_bits(again, got, f"tiles of {tile}, {threads} threads")
    for row in range(0, ROWS, 7):
        one = {name: array[whose[row] : whose[row] + 1] for name, array in given.items()}
        one["x"] = given["x"][row : row + 1]
        check_same_bits(
            programs.score(plan, one), {"y": got["y"][row : row + 1]}, f"row {row} alone"
        )


def test_one_user_needs_no_index(programs: Programs, plan: Path) -> None:
    given, whole, _ = arrays()
    first = {"user": given["user"][:1], "history": given["history"][:1], "x": given["x"]}
    got = programs.score(plan, first)
    same = {name: np.repeat(array, ROWS, axis=0) if len(array) == 1 else array
            for name, array in first.items()}  # fmt: skip
    check_same_bits(programs.score(plan, same, "--check-request"), got, "--check-request")
    shapes = {tensor["name"]: tensor["shape"] for tensor in programs.info(plan)["inputs"]}
    assert shapes == {"user": ["U"], "history": ["U", 5], "x": ["B", WIDTH]}
    assert whole["user"].shape == (ROWS,)


def refuse(programs: Programs, plan: Path, inputs: dict, *options: str, places: tuple[str, ...]):
    given, got = plan.with_name("in.npz"), plan.with_name("out.npz")
    np.savez(given, **inputs)
    done = programs.run(
        programs.mtlrun, "score", plan, "--inputs", given, "--outputs", got, *options
    )
    check_refused(done, *places)
    assert not got.exists()


def test_wrong_arrays_are_refused(programs: Programs, plan: Path) -> None:
    given, whole, whose = arrays()
    index = {"whose": whose}
    users = ("--users", "whose")
    check = (*users, "--check-request")

    def no(inputs: dict, *options: str, places: tuple[str, ...]) -> None:
        refuse(programs, plan, inputs, *options, places=places)

    no(given, places=("4 users", "no --users says whose"))
    no(whole, places=("50 users", "no --users says whose"))
    no(given, *users, places=("no array 'whose'", "--users"))
    no({**given, **index}, places=("'whose' is no input",))
    no({**given, "whose": whose[:-1]}, *users, places=("'whose' is int64 [49]", "[50]"))
    no({**given, "whose": whose.astype(np.float32)}, *users, places=("'whose' is float32 [50]",))
    outside = whose.copy()
    outside[7] = USERS
    no({**given, "whose": outside}, *users, places=("row 7: user 4 is outside 0..3",))
    outside[7] = -(2**40)
    no({**given, "whose": outside}, *users, places=("row 7: user -1 is outside 0..3",))
    short = {**given, **index, "history": given["history"][:3]}
    no(short, *users, places=("input 'history' has 3 users, but input 'user' has 4",))
    no(
        {**given, **index, "user": given["user"].astype(np.int32)}, *users,
        places=("input 'user' is int32 [4], expected int64 [users]",),
    )  # fmt: skip
    wrong = {**whole, **index, "history": whole["history"].copy()}
    wrong["history"][20, 3] += 1
    first = int(np.argmax(whose == whose[20]))
    no(
        wrong, *check,
        places=("'history' differs", "element 3 of row 20 is not that of row " + str(first)),
    )  # fmt: skip
    no({**whole, "x": given["x"][:10], **index}, *check, places=("10 rows",))
    hole = np.where(whose == 1, 0, whose)
    no({**whole, "whose": hole}, *check, places=("user 1 of 4 has no candidate",))
    np_ids = {**given, **index, "user": np.full(USERS, TABLE)}
    no(np_ids, *users, places=("input 'user': user 0: id 20 is outside 0..19",))


def test_columns_are_found_in_the_whole(programs: Programs, tmp_path: Path) -> None:
    draws = np.random.default_rng(13)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    wide = model(
        nodes, [constant("w", draws.standard_normal((10, 3)))], [value("x", "batch", 10)]
    )
    plan = programs.compile(
        save(wide, tmp_path), tmp_path / "plan.bin", "--request", "x[:,1:3,6:9]"
    )
    x = draws.standard_normal((ROWS, 10), dtype=np.float32)
    mine = [1, 2, 6, 7, 8]
    x[:, mine] = x[0, mine]
    cut = {"x.request": x[:1, mine], "x.row": np.delete(x, mine, axis=1)}
    want = programs.score(plan, cut)
    check_close(want, {"y": x.astype(np.float64) @ np.asarray(
        ReferenceEvaluator(wide).run(None, {"x": np.eye(10, dtype=np.float32)})[0], np.float64
    )}, "columns")  # fmt: skip
    check_same_bits(programs.score(plan, {"x": x}, "--check-request"), want, "the whole")
    x[3, 7] += 1
    refuse(
        programs, plan, {"x": x}, "--check-request",
        places=("input 'x.request' differs", "element 3 of row 3"),
    )  # fmt: skip
    refuse(programs, plan, {"x": x}, places=("input 'x.request' is missing", "'x' is no input"))
    refuse(
        programs, plan, {"x": x[:, :9]}, "--check-request",
        places=("input 'x.request' is missing",),
    )  # fmt: skip
