"""Bags of embeddings in the spellings that people write them, from ONNX to scores, against `onnx.reference` in float64;
that each became one step, and that none did that is no bag. Shapes: B rows, L ids of a bag, K columns, N rows of the
table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled

ROWS = (1, 3, 70)
N, L, K = 11, 5, 7


class Bags(Builder):
    """One table, and ids of which about a third are 0."""

    def __init__(self, opset: int = 17, dtype: type = np.int64, ids: tuple[int, ...] = (L,), zero_row: bool = False):
        super().__init__(opset)
        rng = np.random.default_rng(3)
        table = rng.standard_normal((N, K))
        table[0] = 0 if zero_row else table[0]
        self.table = self.const(table, name="table")
        self.ids = self.input(Padded(ids, dtype, 0, N), "ids")
        self.axis = len(ids)
        self.rows = self.node("Gather", self.table, self.ids)

    def i(self, number: int) -> str:
        return self.const(number, self.inputs["ids"].dtype)

    def unsqueeze(self, x: str, axis: int = -1) -> str:
        return self.node("Unsqueeze", x, self.ints(axis))

    def squeeze(self, x: str, axis: int) -> str:
        return self.node("Squeeze", x, self.ints(axis))

    def is_some(self) -> str:
        """bool (B, L): not padding."""
        return self.node("Not", self.node("Equal", self.ids, self.i(0)))

    def number(self, x: str) -> str:
        return self.node("Cast", x, to=1)

    def mask(self) -> str:
        """float (B, L, 1)."""
        return self.unsqueeze(self.number(self.is_some()))

    def mul(self, a: str, b: str) -> str:
        return self.node("Mul", a, b)

    def sum(self, x: str, keepdims: int = 0) -> str:
        return self.node("ReduceSum", x, self.ints(self.axis), keepdims=keepdims)

    def reduce(self, op: str, x: str) -> str:
        """ReduceMax and ReduceMean take axes as an attribute up to opset 17."""
        return self.node(op, x, axes=[self.axis], keepdims=0)

    def masked(self) -> str:
        return self.mul(self.rows, self.mask())

    def at_least_one(self, count: str) -> str:
        return self.node("Clip", count, self.const(1.0))


@dataclass(frozen=True)
class Padded(Spec):
    """Ids of which some are 0, in some rows all."""

    def make(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        ids = super().make(rows, rng)
        ids[rng.random(ids.shape) < 0.3] = 0
        ids[rng.random(rows) < 0.2] = 0
        return ids


def plain_sum(b: Bags) -> str:
    return b.sum(b.rows)


def plain_mean(b: Bags) -> str:
    return b.reduce("ReduceMean", b.rows)


def plain_max(b: Bags) -> str:
    return b.reduce("ReduceMax", b.rows)


def masked_sum(b: Bags) -> str:
    return b.sum(b.masked())


def masked_sum_greater(b: Bags) -> str:
    return b.sum(b.mul(b.unsqueeze(b.number(b.node("Greater", b.ids, b.i(0)))), b.rows))


def masked_sum_late_cast(b: Bags) -> str:
    return b.sum(b.mul(b.rows, b.number(b.unsqueeze(b.is_some()))))


def masked_sum_bool_of_ids(b: Bags) -> str:
    return b.sum(b.mul(b.rows, b.unsqueeze(b.number(b.node("Cast", b.ids, to=9)))))


def masked_sum_of_both_signs(b: Bags) -> str:
    """1 - padding."""
    padding = b.number(b.node("Equal", b.ids, b.i(0)))
    return b.sum(b.mul(b.rows, b.unsqueeze(b.node("Sub", b.const(1.0), padding))))


def masked_sum_expanded(b: Bags) -> str:
    shape = b.node("Shape", b.rows)
    return b.sum(b.mul(b.rows, b.node("Expand", b.mask(), shape)))


def where_sum(b: Bags) -> str:
    return b.sum(b.node("Where", b.unsqueeze(b.is_some()), b.rows, b.const(0.0)))


def where_sum_turned(b: Bags) -> str:
    return b.sum(b.node("Where", b.unsqueeze(b.node("Equal", b.ids, b.i(0))), b.const(0.0), b.rows))


def last_is_padding(b: Bags) -> str:
    some = b.node("Less", b.ids, b.i(N - 1))
    return b.sum(b.mul(b.rows, b.unsqueeze(b.number(some))))


def mean_clamped(b: Bags) -> str:
    mask = b.mask()
    return b.node("Div", b.sum(b.mul(b.rows, mask)), b.at_least_one(b.sum(mask)))


def mean_clamped_early(b: Bags) -> str:
    """The count of a (B, L) mask, with an axis put behind it afterwards."""
    some = b.number(b.is_some())
    count = b.at_least_one(b.sum(some))
    return b.node("Div", b.sum(b.mul(b.rows, b.unsqueeze(some))), b.unsqueeze(count))


def mean_of_integers(b: Bags) -> str:
    """ids.ne(0).sum(1, keepdim=True).clamp(min=1)."""
    some = b.is_some()
    count = b.sum(b.node("Cast", some, to=7), 1)
    count = b.number(b.node("Max", count, b.const(1, np.int64)))
    return b.node("Div", b.sum(b.mul(b.rows, b.unsqueeze(b.number(some)))), count)


def mean_epsilon(b: Bags) -> str:
    mask = b.mask()
    return b.node("Div", b.sum(b.mul(b.rows, mask)), b.node("Add", b.sum(mask), b.const(1e-8)))


def mean_large_epsilon(b: Bags) -> str:
    mask = b.mask()
    return b.node("Div", b.sum(b.mul(b.rows, mask)), b.node("Add", b.const(0.5), b.sum(mask)))


def mean_unguarded(b: Bags) -> str:
    """0 / 0 where there is nothing."""
    mask = b.mask()
    return b.node("Div", b.sum(b.mul(b.rows, mask)), b.sum(mask))


def mean_kept_axes(b: Bags) -> str:
    mask = b.mask()
    return b.squeeze(b.node("Div", b.sum(b.mul(b.rows, mask), 1), b.at_least_one(b.sum(mask, 1))), b.axis)


def mean_over_all(b: Bags) -> str:
    """The sum of what is kept over L."""
    return b.reduce("ReduceMean", b.masked())


def mean_zero_row(b: Bags) -> str:
    """padding_idx: the row of padding is zeros, and only the count knows the mask."""
    return b.node("Div", b.sum(b.rows), b.at_least_one(b.sum(b.mask())))


def max_where(b: Bags) -> str:
    return b.reduce("ReduceMax", b.node("Where", b.unsqueeze(b.is_some()), b.rows, b.const(-1e9)))


def max_infinite(b: Bags) -> str:
    empty = b.unsqueeze(b.node("Equal", b.ids, b.i(0)))
    return b.reduce("ReduceMax", b.node("Where", empty, b.const(-np.inf), b.rows))


def max_added(b: Bags) -> str:
    """x - (1 - mask) 1e9."""
    far = b.mul(b.node("Sub", b.const(1.0), b.mask()), b.const(1e9))
    return b.reduce("ReduceMax", b.node("Sub", b.rows, far))


def max_both(b: Bags) -> str:
    """x mask + (1 - mask) -1e9."""
    mask = b.mask()
    far = b.mul(b.node("Sub", b.const(1.0), mask), b.const(-1e9))
    return b.reduce("ReduceMax", b.node("Add", b.mul(b.rows, mask), far))


def max_of_zeros(b: Bags) -> str:
    """Padding counts as zeros, which may be the largest."""
    return b.reduce("ReduceMax", b.masked())


SPELLINGS: list[Callable[[Bags], str]] = [
    plain_sum, plain_mean, plain_max, masked_sum, masked_sum_greater, masked_sum_late_cast, masked_sum_bool_of_ids,
    masked_sum_of_both_signs, masked_sum_expanded, where_sum, where_sum_turned, last_is_padding, mean_clamped,
    mean_clamped_early, mean_of_integers, mean_epsilon, mean_large_epsilon, mean_unguarded, mean_kept_axes,
    mean_over_all, max_where, max_infinite, max_added, max_both, max_of_zeros,
]  # fmt: skip


def ops_of(programs: Programs, compiled: Compiled) -> list[str]:
    return [
        f"{step['op']} {step['function']}".strip() for step in programs.info(compiled.plan)["steps"] if step["op"] != "copy"
    ]


def check(compiled: Compiled, b: Builder, *options: str) -> None:
    for rows in ROWS:
        compiled.check(b.make(rows), "--tile-rows", "16", *options)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("build", SPELLINGS, ids=lambda build: build.__name__)
def test_spelling(programs: Programs, tmp_path: Path, build: Callable[[Bags], str], dtype: type) -> None:
    b = Bags(dtype=dtype)
    b.output(build(b))
    compiled = Compiled(programs, b.model(), tmp_path)
    function = build.__name__.split("_")[0]
    function = {"plain": build.__name__.split("_")[-1], "masked": "sum", "where": "sum", "last": "sum"}.get(
        function, function
    )
    assert ops_of(programs, compiled) == [f"bag {function}"]
    check(compiled, b)


def test_zero_row(programs: Programs, tmp_path: Path) -> None:
    b = Bags(zero_row=True)
    b.output(mean_zero_row(b))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert ops_of(programs, compiled) == ["bag mean"]
    check(compiled, b)


def test_row_of_padding_is_not_zero(programs: Programs, tmp_path: Path) -> None:
    """The sum is over padding, too, and the count is not: no mean."""
    b = Bags(zero_row=False)
    b.output(mean_zero_row(b))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert ops_of(programs, compiled)[0] == "bag sum"
    assert "bag mean" not in ops_of(programs, compiled)
    check(compiled, b)


@pytest.mark.parametrize("build", [masked_sum, mean_clamped, mean_kept_axes, max_where], ids=lambda f: f.__name__)
def test_bags_of_fields(programs: Programs, tmp_path: Path, build: Callable[[Bags], str]) -> None:
    """ids (B, F, L), as a table with offsets for each field gives them."""
    b = Bags(ids=(3, L))
    b.axis = 2
    b.output(build(b))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert len(ops_of(programs, compiled)) == 1
    check(compiled, b)


def with_lengths(b: Bags) -> str:
    """bool (B, L): position < length."""
    lengths = b.input(Spec((1,), np.int64, 0, L + 1), "lengths")
    return b.node("Less", b.const(np.arange(L), np.int64), lengths)


@pytest.mark.parametrize("kind", ["mul", "where", "max", "mean", "matmul"])
def test_lengths(programs: Programs, tmp_path: Path, kind: str) -> None:
    """A mask that the ids do not show becomes the weights."""
    b = Bags()
    some = with_lengths(b)
    if kind == "where":
        y = b.sum(b.node("Where", b.unsqueeze(some), b.rows, b.const(0.0)))
    elif kind == "max":
        y = b.reduce("ReduceMax", b.node("Where", b.unsqueeze(b.node("Not", some)), b.const(-1e9), b.rows))
    elif kind == "matmul":
        y = b.squeeze(b.node("MatMul", b.unsqueeze(b.number(some), 1), b.rows), 1)
    else:
        y = b.sum(b.mul(b.rows, b.unsqueeze(b.number(some))))
        if kind == "mean":
            y = b.node("Div", y, b.at_least_one(b.sum(b.number(some), 1)))
    b.output(y)
    compiled = Compiled(programs, b.model(), tmp_path)
    ops = ops_of(programs, compiled)
    assert ("bag max" if kind == "max" else "bag sum") in ops
    assert not any(op.startswith("gather") for op in ops)
    check(compiled, b)


def test_weights(programs: Programs, tmp_path: Path) -> None:
    """Weights from outside, and those that another value of the model gives."""
    b = Bags()
    weights = b.input(Spec((L,)), "weights")
    b.output(b.sum(b.mul(b.rows, b.unsqueeze(weights))))
    b.output(b.squeeze(b.node("MatMul", b.unsqueeze(b.node("Softmax", weights), 1), b.rows), 1))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert sorted(ops_of(programs, compiled)) == ["bag sum", "bag sum", "softmax softmax"]
    check(compiled, b)


def test_one_lookup_many_bags(programs: Programs, tmp_path: Path) -> None:
    b = Bags()
    for build in (masked_sum, mean_clamped, max_where, plain_sum):
        b.output(build(b))
    compiled = Compiled(programs, b.model(), tmp_path)
    ops = ops_of(programs, compiled)
    assert sorted(op for op in ops if "bag" in op or "gather" in op) == ["bag max", "bag sum", "bag sum"]
    check(compiled, b)  # the mean shares the masked sum


def test_rows_that_are_needed_stay(programs: Programs, tmp_path: Path) -> None:
    """Another reader of the rows: they are there, and are looked up once."""
    b = Bags()
    b.output(masked_sum(b))
    b.output(b.node("Relu", b.rows))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert not any(op.startswith("bag") for op in ops_of(programs, compiled))
    check(compiled, b)


@pytest.mark.parametrize("kind", ["square", "axis", "scaled", "other mask", "mean by lengths", "mean of one id"])
def test_no_bags(programs: Programs, tmp_path: Path, kind: str) -> None:
    b = Bags()
    if kind == "square":
        y = b.sum(b.mul(b.rows, b.rows))
    elif kind == "axis":
        y = b.node("ReduceSum", b.rows, b.ints(2), keepdims=0)
    elif kind == "scaled":
        y = b.sum(b.mul(b.rows, b.const(2.0)))
    elif kind == "mean by lengths":  # over L, with weights, which no mean has
        y = b.reduce("ReduceMean", b.mul(b.rows, b.unsqueeze(b.number(with_lengths(b)))))
    elif kind == "mean of one id":  # what is left out is not one run of ids
        y = b.reduce("ReduceMean", b.mul(b.rows, b.unsqueeze(b.number(b.node("Equal", b.ids, b.i(2))))))
    else:  # kept where one mask is set, counted where another is
        mask = b.mask()
        other = b.unsqueeze(b.number(b.node("Greater", b.ids, b.i(3))))
        y = b.node("Div", b.sum(b.mul(b.rows, mask)), b.at_least_one(b.sum(other)))
    b.output(y)
    compiled = Compiled(programs, b.model(), tmp_path)
    ops = ops_of(programs, compiled)
    assert "bag mean" not in ops
    assert kind == "other mask" or not any(op.startswith("bag") for op in ops)
    check(compiled, b)


def test_windows(programs: Programs, tmp_path: Path) -> None:
    """Bags and lookups of several fields are computed where the concatenation has them; ids are columns of one input."""
    b = Builder(17)
    ids = b.input(Padded((4 + L,), np.int64, 0, N), "ids")
    table = b.const(np.random.default_rng(0).standard_normal((N, K)), name="table")
    parts = [b.node("Gather", table, b.node("Gather", ids, b.const(i, np.int64), axis=1)) for i in range(4)]
    bag = b.node("Slice", ids, b.ints(4), b.ints(4 + L), b.ints(1))
    mask = b.node("Unsqueeze", b.node("Cast", b.node("Not", b.node("Equal", bag, b.const(0, np.int64))), to=1), b.ints(2))
    rows = b.node("Mul", b.node("Gather", table, bag), mask)
    total = b.node("ReduceSum", rows, b.ints(1), keepdims=0)
    x = b.node("Concat", *parts, total, axis=1)
    b.output(b.node("Gemm", x, b.const(np.random.default_rng(1).standard_normal((5 * K, 3)))))
    compiled = Compiled(programs, b.model(), tmp_path)
    ops = ops_of(programs, compiled)
    assert sorted(op.split()[0] for op in ops) == ["bag", "gather", "gather", "gather", "gather", "linear"]
    check(compiled, b)
    for isa in ("generic", "avx2", "avx512"):
        if programs.run(programs.mtlrun, "info", compiled.plan, "--isa", isa).returncode == 0:
            check(compiled, b, "--isa", isa)


def test_long_bags(programs: Programs, tmp_path: Path) -> None:
    """Bags longer than a chunk, of wide rows, in a table that is larger than the caches near a core."""
    b = Builder(17)
    ids = b.input(Padded((333,), np.int64, 0, 5000), "ids")
    table = b.const(np.random.default_rng(0).standard_normal((5000, 65)), name="table")
    rows = b.node("Gather", table, ids)
    mask = b.node("Unsqueeze", b.node("Cast", b.node("Not", b.node("Equal", ids, b.const(0, np.int64))), to=1), b.ints(2))
    count = b.node("Clip", b.node("ReduceSum", mask, b.ints(1), keepdims=0), b.const(1.0))
    b.output(b.node("Div", b.node("ReduceSum", b.node("Mul", rows, mask), b.ints(1), keepdims=0), count))
    some = b.node("Where", b.node("Equal", mask, b.const(0.0)), b.const(-7.0), rows)
    b.output(b.node("ReduceMax", some, axes=[1], keepdims=0))
    compiled = Compiled(programs, b.model(), tmp_path)
    assert "bag mean" in ops_of(programs, compiled)
    check(compiled, b)
