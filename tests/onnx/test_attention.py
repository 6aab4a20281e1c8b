"""Attention, from ONNX to scores, against `onnx.reference` in float64: the operator, and the spellings that exporters
and people write. Shapes: B rows, L queries, M keys, H heads, D width of a head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import Compiled, Refused

ROWS = (1, 3, 33)


def inputs(builder: Builder, rows: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: spec.make(rows, rng) for name, spec in builder.inputs.items()}


def check(programs: Programs, builder: Builder, folder: Path, seed: int = 0) -> Compiled:
    compiled = Compiled(programs, builder.model(), folder)
    for rows in ROWS:
        compiled.check(inputs(builder, rows, seed + rows))
    return compiled


def operator(opset: int, flat: bool, **attributes: object) -> tuple[Builder, list[str]]:
    """Q, K, V of 4 heads of width 8, 5 queries and 7 keys, as inputs: (B, L, H D) or (B, H, L, D)."""
    builder = Builder(opset)
    heads = int(attributes.pop("kv_heads", 4))
    shapes = [(5, 32), (7, 8 * heads), (7, 8 * heads)] if flat else [(4, 5, 8), (heads, 7, 8), (heads, 7, 8)]
    return builder, [builder.input(Spec(shape)) for shape in shapes]


HEADS = {"q_num_heads": 4, "kv_num_heads": 4}
ATTRIBUTES = ({}, {"scale": 0.3}, {"softcap": 2.0}, {"is_causal": 1}, {"scale": 0.2, "softcap": 0.5, "is_causal": 1})


@pytest.mark.parametrize("opset", [23, 24, 25])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_operator(programs: Programs, tmp_path: Path, opset: int, flat: bool, attributes: dict[str, float]) -> None:
    builder, operands = operator(opset, flat)
    builder.output(builder.node("Attention", *operands, **attributes, **(HEADS if flat else {})))
    check(programs, builder, tmp_path)


MASKS = ((5, 7), (1, 7), (4, 5, 7), (1, 1, 5, 7), (1, 4, 5, 7), (1, 4, 1, 7))


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_constant_masks(programs: Programs, tmp_path: Path, dtype: type, shape: tuple[int, ...], causal: int) -> None:
    if causal and shape[-2] == 1:
        pytest.skip("onnx.reference takes the queries of is_causal from the mask")
    rng = np.random.default_rng(1)
    mask = rng.random(shape) < 0.6 if dtype is np.bool_ else rng.standard_normal(shape)
    builder, operands = operator(23, False)
    builder.output(builder.node("Attention", *operands, builder.const(mask, dtype), is_causal=causal))
    check(programs, builder, tmp_path)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dims", [(1, 1, 7), (1, 5, 7), (4, 5, 7), (4, 1, 7)])
@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_masks_of_rows(programs: Programs, tmp_path: Path, dtype: type, dims: tuple[int, ...], flat: bool) -> None:
    builder, operands = operator(23, flat)
    mask = builder.input(Spec(dims, dtype))
    builder.output(builder.node("Attention", *operands, mask, **(HEADS if flat else {})))
    compiled = check(programs, builder, tmp_path)
    given = inputs(builder, 3, 9)
    given[mask][1] = False if dtype is np.bool_ else -np.inf  # no key at all: zeros
    scores = compiled.check(given)
    assert not np.any(next(iter(scores.values()))[1])


@pytest.mark.parametrize("flat", [False, True])
def test_shared_heads(programs: Programs, tmp_path: Path, flat: bool) -> None:
    builder, operands = operator(23, flat, kv_heads=2)
    heads = {"q_num_heads": 4, "kv_num_heads": 2} if flat else {}
    builder.output(builder.node("Attention", *operands, **heads))
    check(programs, builder, tmp_path)


@pytest.mark.parametrize("windows", [(2, 0), (-1, 1), (0, 0), (3, -1)])
@pytest.mark.parametrize("causal", [0, 1])
def test_windows(programs: Programs, tmp_path: Path, windows: tuple[int, int], causal: int) -> None:
    builder, operands = operator(25, False)
    left, right = windows
    y = builder.node("Attention", *operands, left_window_size=left, right_window_size=right, is_causal=causal)
    builder.output(y)
    check(programs, builder, tmp_path)


def test_lengths(programs: Programs, tmp_path: Path) -> None:
    builder, operands = operator(24, False)
    lengths = builder.input(Spec((), np.int64, low=0, high=8))
    builder.output(builder.node("Attention", *operands, None, None, None, lengths))
    check(programs, builder, tmp_path)


def test_refusals(programs: Programs, tmp_path: Path) -> None:
    cache, operands = operator(23, False)
    past = [cache.input(Spec((4, 2, 8))) for _ in range(2)]
    cache.output(cache.node("Attention", *operands, None, *past, outs=3))
    with pytest.raises(Refused, match=r"past_key.*not supported"):
        Compiled(programs, cache.model(), tmp_path)
    short, operands = operator(24, False)
    short.output(short.node("Attention", *operands, short.const(np.ones((5, 6)), np.bool_)))
    with pytest.raises(Refused, match="shorter than the keys"):
        Compiled(programs, short.model(), tmp_path)
    debug, operands = operator(23, False)
    scores = [debug.fresh("y"), debug.fresh("k"), debug.fresh("v"), debug.fresh("qk")]
    debug.node("Attention", *operands, outs=scores)
    debug.output(scores[3])
    with pytest.raises(Refused, match="debugging"):
        Compiled(programs, debug.model(), tmp_path)
    heads, operands = operator(23, True)
    heads.output(heads.node("Attention", *operands, q_num_heads=5, kv_num_heads=4))
    with pytest.raises(Refused, match="q_num_heads is 5"):
        Compiled(programs, heads.model(), tmp_path)


# --- spellings -----------------------------------------------------------------------------------------------------


class Spelled(Builder):
    """Self-attention over x (B, 6, 12), 3 heads of 4, in one of the ways that exporters and people write it."""

    def __init__(self, seed: int) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng(seed)
        self.x = self.input(Spec((6, 12)))
        self.mask = self.input(Spec((6,), np.bool_), "mask")

    def one_of(self, *ways: object) -> object:
        return ways[int(self.rng.integers(len(ways)))]

    def layer(self, x: str) -> str:
        weights = self.const(self.rng.standard_normal((12, 12)) * 0.3)
        return self.node("Add", self.node("MatMul", x, weights), self.const(self.rng.standard_normal(12)))

    def turn(self, x: str, *perm: int) -> str:
        return self.node("Transpose", x, perm=perm)

    def heads(self, x: str, merged: bool) -> str:
        """(B, 6, 12) to (B, 3, 6, 4), or (3 B, 6, 4)."""
        x = self.turn(self.node("Reshape", x, self.ints(-1, 6, 3, 4)), 0, 2, 1, 3)
        return self.node("Reshape", x, self.ints(-1, 6, 4)) if merged else x

    def masked(self, scores: str, merged: bool) -> str:
        fill = float(self.one_of(-1e9, -1e4, -np.inf))
        mask = self.node("Reshape", self.mask, self.ints(-1, 1, 1, 6))
        if merged:
            shape = self.node("Concat", self.node("Shape", self.mask, end=1), self.ints(3, 1, 6), axis=0)
            mask = self.node("Reshape", self.node("Expand", mask, shape), self.ints(-1, 1, 6))
        way = self.one_of("keep", "fill", "add")
        if way == "keep":
            return self.node("Where", mask, scores, self.const(fill))
        if way == "fill":
            return self.node("Where", self.node("Not", mask), self.const(fill), scores)
        return self.node("Add", scores, self.node("Where", mask, self.const(0), self.const(fill)))

    def attention(self, merged: bool) -> str:
        q, k, v = (self.heads(self.layer(self.x), merged) for _ in range(3))
        turned = (0, 2, 1) if merged else (0, 1, 3, 2)
        way = self.one_of("scores", "queries", "both")
        root = self.const(0.25 if way == "both" else 0.5)
        if way != "scores":
            q = self.node("Mul", q, self.const(0.5))
        k = self.turn(k, *turned)
        if way == "both":
            k = self.node("Div", k, root)
        scores = self.node("MatMul", q, k)
        if way == "scores":
            scores = self.one_of(self.node("Mul", scores, root), self.node("Div", scores, self.const(2)))
        shares = self.node("Softmax", self.masked(scores, merged), axis=-1)
        y = self.node("MatMul", shares, v)
        if merged:
            y = self.node("Reshape", y, self.ints(-1, 3, 6, 4))
        return self.layer(self.node("Reshape", self.turn(y, 0, 2, 1, 3), self.ints(-1, 6, 12)))


def steps(programs: Programs, plan: Path) -> list[str]:
    described = json.loads(programs.ok(programs.mtlrun, "info", plan, "--json"))
    return [step["op"] for step in described["steps"]]


@pytest.mark.parametrize("seed", range(24))
def test_spellings(programs: Programs, tmp_path: Path, seed: int) -> None:
    builder = Spelled(seed)
    builder.output(builder.attention(merged=seed % 2 == 1))
    compiled = Compiled(programs, builder.model(), tmp_path)
    ops = steps(programs, compiled.plan)
    assert ops.count("attention") == 1 and ops.count("linear") == 2, ops
    assert not {"matmul", "softmax", "transpose", "copy", "slice"} & set(ops), ops
    for rows in ROWS:
        given = inputs(builder, rows, seed)
        given["mask"][:, 0] = True  # a query without keys is NaN under -inf, and that is tested above
        compiled.check(given)
        compiled.check(given, "--provider", "onednn")
