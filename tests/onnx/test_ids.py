"""Lookups as exporters write them, from ONNX to scores, against `onnx.reference` in float64; and what `mtlc --ids` makes
of ids outside of their tables, against NumPy. Shapes: B rows, F fields, K columns, N rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled

N, K, F = 13, 6, 3
ROWS = (1, 2, 65)
INT64 = np.iinfo(np.int64)


def table(rows: int = N, seed: int = 0, width: int = K) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width))


class Fields(Builder):
    def __init__(self) -> None:
        super().__init__(17)
        self.tables = [self.const(table(seed=i), name=f"t{i}") for i in range(F)]

    def one(self, i: int, ids: str) -> str:
        return self.node("Gather", self.tables[i], ids)

    def head(self, x: str, width: int) -> None:
        self.output(self.node("Gemm", x, self.const(table(width, 9, 4))))


def ids_input(b: Builder, *dims: int, dtype: type = np.int64, low: int = 0, high: int = N, name: str = "ids") -> str:
    return b.input(Spec(dims, dtype, low, high), name)


def separate(b: Fields, dims: tuple[int, ...], dtype: type) -> None:
    """One input a field, (B) or (B, 1)."""
    parts = []
    for i in range(F):
        part = b.one(i, ids_input(b, *dims, dtype=dtype, name=f"f{i}"))
        parts.append(b.node("Squeeze", part, b.ints(1)) if dims else part)
    b.head(b.node("Concat", *parts, axis=1), F * K)


def matrix(b: Fields, dtype: type) -> None:
    """(B, F), a column a field."""
    ids = ids_input(b, F, dtype=dtype)
    parts = [b.one(i, b.node("Gather", ids, b.const(i, np.int64), axis=1)) for i in range(F)]
    b.head(b.node("Concat", *parts, axis=1), F * K)


def sliced(b: Fields, dtype: type) -> None:
    """x[:, i : i + 1], flattened in the end."""
    ids = ids_input(b, F, dtype=dtype)
    parts = [b.one(i, b.node("Slice", ids, b.ints(i), b.ints(i + 1), b.ints(1))) for i in range(F)]
    b.head(b.node("Flatten", b.node("Concat", *parts, axis=2)), F * K)


def floats(b: Fields) -> None:
    """One matrix of numbers, ids among them; ids are cast column by column, dense features are read beside them."""
    x = ids_input(b, F + 2, dtype=np.float32)
    parts = []
    for i in range(F):
        column = b.node("Slice", x, b.ints(i), b.ints(i + 1), b.ints(1))
        parts.append(b.one(i, b.node("Squeeze", b.node("Cast", column, to=7), b.ints(1))))
    parts.append(b.node("Slice", x, b.ints(F), b.ints(F + 2), b.ints(1)))
    b.head(b.node("Concat", *parts, axis=1), F * K + 2)


def offsets(b: Builder) -> None:
    """One table, with an offset for each field."""
    ids = ids_input(b, F)
    rows = b.node("Gather", b.const(table(F * N), name="all"), b.node("Add", ids, b.ints(0, N, 2 * N)))
    b.output(b.node("Gemm", b.node("Flatten", rows), b.const(table(F * K, 9, 4))))


def hashed(b: Builder) -> None:
    ids = b.input(Spec((), np.int64, -(2**62), 2**62), "ids")
    mixed = b.node("Add", b.node("Mul", ids, b.const(2654435761, np.int64)), b.const(12345, np.int64))
    b.output(b.node("Gather", b.const(table()), b.node("Mod", mixed, b.const(N, np.int64))))


def sequence(b: Builder) -> None:
    """(B, L) -> (B, L, K), which stays."""
    b.output(b.node("Tanh", b.node("Gather", b.const(table()), ids_input(b, 5))))


def wide(b: Builder) -> None:
    """STEM: a table of T + 1 vectors a row, which are split."""
    rows = b.node("Gather", b.const(table(width=4 * K)), ids_input(b))
    parts = [b.node("Slice", rows, b.ints(i * K), b.ints(i * K + K), b.ints(1)) for i in range(4)]
    for i, part in enumerate(parts):
        b.output(b.node("Gemm", part, b.const(table(K, i, 2))))


LAYOUTS: list[tuple[str, Callable[[Fields], None], int]] = [  # and the steps that it may take
    ("separate", lambda b: separate(b, (), np.int64), F + 1),
    ("separate int32", lambda b: separate(b, (), np.int32), F + 1),
    ("separate (B, 1)", lambda b: separate(b, (1,), np.int64), F + 1),
    ("matrix", lambda b: matrix(b, np.int64), F + 1),
    ("matrix int32", lambda b: matrix(b, np.int32), F + 1),
    ("sliced", lambda b: sliced(b, np.int64), F + 1),
    ("floats", floats, 2 * F + 2),
    ("offsets", offsets, 3),
    ("hashed", hashed, 4),
    ("sequence", sequence, 2),
    ("wide", wide, 5),
]


@pytest.mark.parametrize(("build", "most"), [case[1:] for case in LAYOUTS], ids=[case[0] for case in LAYOUTS])
def test_layout(programs: Programs, tmp_path: Path, build: Callable[[Fields], None], most: int) -> None:
    b = Fields()
    build(b)
    compiled = Compiled(programs, b.model(), tmp_path)
    steps = [step["op"] for step in programs.info(compiled.plan)["steps"]]
    assert len(steps) <= most, steps
    for rows in ROWS:
        compiled.check(b.make(rows), "--tile-rows", "16")


# --- ids outside of their tables --------------------------------------------------------------------------------------

OUTSIDE = np.array([0, 5, N, -1, N - 1, INT64.max, INT64.min, -N, 2**40, -(2**40)], np.int64)


def expected(rows: np.ndarray, ids: np.ndarray, policy: str) -> np.ndarray:
    good = (ids >= 0) & (ids < len(rows))
    found = rows[np.clip(ids, 0, len(rows) - 1)]
    if policy == "clamp":
        return found
    other = rows[int(policy[4:])] if policy.startswith("row:") else np.zeros(rows.shape[1])
    return np.where(good[..., None], found, other)


def one_lookup(dims: tuple[int, ...] = ()) -> Builder:
    b = Builder(17)
    b.output(b.node("Gather", b.const(table(), name="emb.weight"), ids_input(b, *dims, name="user")))
    return b


def score(programs: Programs, compiled: Compiled, inputs: dict[str, np.ndarray], *options: str) -> tuple[dict[str, np.ndarray], str]:
    """Outputs, and what was said on standard error."""
    np.savez(compiled.folder / "in.npz", **inputs)
    done = programs.run(
        programs.mtlrun, "score", compiled.plan, "-i", compiled.folder / "in.npz", "-o", compiled.folder / "out.npz", *options
    )
    if done.returncode != 0:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return {}, done.stderr
    with np.load(compiled.folder / "out.npz") as outputs:
        return dict(outputs), done.stderr


@pytest.mark.parametrize("dims", [(), (2,)], ids=str)
@pytest.mark.parametrize("name", ["user", "emb.weight", "*"])
@pytest.mark.parametrize("policy", ["clamp", "zero", "row:3", "row:0"])
def test_policy(programs: Programs, tmp_path: Path, policy: str, name: str, dims: tuple[int, ...]) -> None:
    b = one_lookup(dims)
    compiled = Compiled(programs, b.model(), tmp_path, "--ids", f"{name}={policy}")
    ids = np.resize(OUTSIDE, (40, *dims))
    for options in ((), ("--tile-rows", "16", "--threads", "2", "--rows-per-thread", "1")):
        outputs, said = score(programs, compiled, {"user": ids}, *options)
        np.testing.assert_allclose(outputs[b.outputs[0]], expected(table(), ids, policy), rtol=1e-6)
        outside = int(((ids < 0) | (ids >= N)).sum())
        assert f"input 'user', table 'emb.weight': ids outside 0..{N - 1}: {outside}, taken as" in said
    info = programs.info(compiled.plan)["ids"]
    assert info == [{"step": 0, "input": "user", "table": "emb.weight", "rows": N, "policy": policy}]


def test_nothing_is_said_of_good_ids(programs: Programs, tmp_path: Path) -> None:
    b = one_lookup()
    compiled = Compiled(programs, b.model(), tmp_path, "--ids", "*=zero")
    assert score(programs, compiled, {"user": np.arange(N)})[1] == ""


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(("option", "bad", "text"), [
    ((), N, f"input 'user': row 37: id {N} is outside 0..{N - 1}, or -{N}..-1 from the end"),
    ((), -N - 1, f"input 'user': row 37: id {-N - 1} is outside 0..{N - 1}, or -{N}..-1 from the end"),
    (("--ids", "*=error"), -1, f"input 'user': row 37: id -1 is outside 0..{N - 1}\n"),
    (("--ids", "*=error"), INT64.max, f"input 'user': row 37: id {INT64.max} is outside 0..{N - 1}\n"),
])  # fmt: skip
def test_error(programs: Programs, tmp_path: Path, option: tuple[str, ...], bad: int, text: str, threads: str) -> None:
    """Of the first row that fails, whatever the threads and the tiles."""
    b = one_lookup((2,))
    compiled = Compiled(programs, b.model(), tmp_path, *option)
    ids = np.ones((100, 2), np.int64)
    ids[37, 1] = ids[60:, 0] = bad
    for height in ("16", "256"):
        outputs, said = score(
            programs, compiled, {"user": ids}, "--tile-rows", height, "--threads", threads, "--rows-per-thread", "1"
        )
        assert outputs == {}
        assert said.endswith(text if text.endswith("\n") else text + "\n"), said


def test_default_counts_from_the_end(programs: Programs, tmp_path: Path) -> None:
    b = one_lookup()
    Compiled(programs, b.model(), tmp_path).check({"user": np.arange(-N, N)})


def test_names(programs: Programs, tmp_path: Path) -> None:
    """An input goes before a table, a table before all; each lookup has its counter."""
    b = Builder(17)
    shared = b.const(table(), name="items")
    b.output(b.node("Gather", shared, ids_input(b, name="item")))
    b.output(b.node("ReduceSum", b.node("Gather", shared, ids_input(b, 4, name="past")), b.ints(1), keepdims=0))
    b.output(b.node("Gather", b.const(table(), name="users"), ids_input(b, name="user")))
    options = [text for name in ("*=clamp", "items=zero", "past=row:2") for text in ("--ids", name)]
    compiled = Compiled(programs, b.model(), tmp_path, *options)
    ids = np.array([1, N, 2]), np.array([[1, 2, 3, N], [N, 99, -5, 0], [0, 0, 0, 0]]), np.array([-3, 1, 99])
    outputs, said = score(programs, compiled, dict(zip(("item", "past", "user"), ids, strict=True)))
    for name, wanted in zip(
        b.outputs,
        (
            expected(table(), ids[0], "zero"),
            expected(table(), ids[1], "row:2").sum(axis=1),
            expected(table(), ids[2], "clamp"),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(outputs[name], wanted, rtol=1e-5)
    assert f"input 'past', table 'items': ids outside 0..{N - 1}: 4, taken as row 2" in said
    assert f"input 'item', table 'items': ids outside 0..{N - 1}: 1, taken as zeros" in said
    assert f"input 'user', table 'users': ids outside 0..{N - 1}: 2, taken as the nearest row" in said


def computed(kind: str) -> tuple[Builder, Callable[[np.ndarray], np.ndarray]]:
    """Ids that are computed from the input, and NumPy's."""
    b = Builder(17)
    t = b.const(table(), name="t")
    if kind == "cast":
        ids = b.node("Cast", ids_input(b, dtype=np.float32, name="x"), to=7)
        return finish(b, t, ids), lambda x: np.nan_to_num(x.astype(np.float64), nan=-1e18).astype(np.int64)
    if kind == "cast32":
        ids = b.node("Cast", ids_input(b, dtype=np.float32, name="x"), to=6)
        return finish(b, t, ids), lambda x: np.clip(np.nan_to_num(x.astype(np.float64), nan=-1e18), -(2**31), 2**31 - 1).astype(np.int64)
    x = ids_input(b, name="x")
    if kind == "offset":
        return finish(b, t, b.node("Add", x, b.const(3, np.int64))), lambda x: x + np.int64(3)
    if kind == "where":
        known = b.node("Greater", x, b.const(2, np.int64))
        return finish(b, t, b.node("Where", known, x, b.const(N, np.int64))), lambda x: np.where(x > 2, x, N)
    rest = b.node("Mod", x, b.const(N + 4, np.int64))
    return finish(b, t, rest), lambda x: np.mod(x, N + 4)


def finish(b: Builder, t: str, ids: str) -> Builder:
    b.output(b.node("Gather", t, ids))
    return b


@pytest.mark.parametrize("policy", ["clamp", "zero", "row:5", "error"])
@pytest.mark.parametrize("kind", ["cast", "cast32", "offset", "where", "mod"])
def test_computed_ids(programs: Programs, tmp_path: Path, kind: str, policy: str) -> None:
    """The policy is chosen by the input that they come from, and errors name it."""
    b, ids = computed(kind)
    compiled = Compiled(programs, b.model(), tmp_path, "--ids", f"x={policy}")
    if kind.startswith("cast"):
        x = np.array([0, 5.9, np.nan, np.inf, -np.inf, 1e18, -1e18, 12, 13, -0.5, 3e9, -3e9], np.float32)
    else:
        x = np.array([0, 5, 9, 10, 12, 13, 16, -1, -4, 2**40], np.int64)
    with np.errstate(all="ignore"):
        wanted = ids(x)
    if kind == "cast":
        wanted = np.where(np.isposinf(x), INT64.max, wanted)
    outputs, said = score(programs, compiled, {"x": x})
    if policy == "error":
        first = int(np.argmax((wanted < 0) | (wanted >= N)))
        assert f"input 'x': row {first}: id " in said
        assert f"is outside 0..{N - 1}\n" in said
    else:
        np.testing.assert_allclose(outputs[b.outputs[0]], expected(table(), wanted, policy), rtol=1e-6)


@pytest.mark.parametrize("policy", ["clamp", "zero", "row:5"])
@pytest.mark.parametrize("function", ["sum", "mean", "max"])
def test_policies_of_bags(programs: Programs, tmp_path: Path, function: str, policy: str) -> None:
    b = Builder(17)
    ids = ids_input(b, 4)
    rows = b.node("Gather", b.const(table(), name="t"), ids)
    some = b.node("Unsqueeze", b.node("Not", b.node("Equal", ids, b.const(0, np.int64))), b.ints(2))
    if function == "max":
        y = b.node("ReduceMax", b.node("Where", some, rows, b.const(-9.0)), axes=[1], keepdims=0)
    else:
        mask = b.node("Cast", some, to=1)
        y = b.node("ReduceSum", b.node("Mul", rows, mask), b.ints(1), keepdims=0)
        if function == "mean":
            y = b.node("Div", y, b.node("Clip", b.node("ReduceSum", mask, b.ints(1), keepdims=0), b.const(1.0)))
    b.output(y)
    compiled = Compiled(programs, b.model(), tmp_path, "--ids", f"*={policy}")
    assert [step["op"] for step in programs.info(compiled.plan)["steps"]] == ["bag"]
    given = np.array([[1, N, 0, -1], [0, 0, 0, 0], [INT64.max, INT64.min, 0, 3], [-1, -2, -3, 99]], np.int64)
    found, kept = expected(table(), given, policy), (given != 0)[..., None]
    wanted = np.where(kept, found, -9.0).max(axis=1) if function == "max" else (found * kept).sum(axis=1)
    if function == "mean":
        wanted /= np.maximum(kept.sum(axis=1), 1)
    outputs, said = score(programs, compiled, {"ids": given})
    np.testing.assert_allclose(outputs[b.outputs[0]], wanted, rtol=1e-5, atol=1e-6)
    assert "outside 0..12: 8, taken as" in said


@pytest.mark.parametrize(("options", "text"), [
    (("usr=clamp",), "--ids usr=clamp: no input whose ids are looked up, and no table, has that name; there are 'user', 'emb.weight'"),
    (("user=wrap",), "--ids user=wrap: expected NAME=error, NAME=clamp, NAME=zero or NAME=row:NUMBER"),
    (("user",), "--ids user: expected NAME=error"),
    (("=clamp",), "--ids =clamp: expected NAME=error"),
    (("user=row",), "--ids user=row: expected"),
    (("user=row:",), "--ids user=row:: expected"),
    (("user=row:1x",), "--ids user=row:1x: expected"),
    (("user=row:-1",), "--ids user=row:-1: expected"),
    (("user=row:99999999999999999999",), "expected NAME=error"),
    ((f"user=row:{N}",), f"--ids user=row:{N}: table 'emb.weight' has rows 0..{N - 1}"),
    (("user=zero", "user=clamp"), "--ids user=clamp: the name is there twice"),
])  # fmt: skip
def test_options_are_refused(programs: Programs, tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    arguments = [part for option in options for part in ("--ids", option)]
    path = tmp_path / "m.onnx"
    path.write_bytes(one_lookup().model().SerializeToString())
    done = programs.run(programs.mtlc, path, "-o", tmp_path / "p.bin", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert text in done.stderr
    assert not (tmp_path / "p.bin").exists()


def test_no_lookups(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    b.output(b.node("Relu", b.input(Spec((3,)), "x")))
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    done = programs.run(programs.mtlc, tmp_path / "m.onnx", "-o", tmp_path / "p.bin", "--ids", "*=zero")
    assert done.returncode == 1
    assert done.stderr.endswith("--ids *=zero: the model looks nothing up in a table\n")


def test_evaluate_takes_policies(programs: Programs, tmp_path: Path) -> None:
    b = one_lookup()
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    np.savez(tmp_path / "in.npz", user=OUTSIDE)
    programs.ok(
        programs.mtlc, tmp_path / "m.onnx", "--evaluate", tmp_path / "in.npz", "-o", tmp_path / "out.npz",
        "--ids", "user=row:4",
    )  # fmt: skip
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs[b.outputs[0]], expected(table(), OUTSIDE, "row:4"))
