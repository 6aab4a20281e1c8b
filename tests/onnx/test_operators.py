"""Every operator that we import, from ONNX to scores, in the forms that its attributes, operands, shapes and opsets
allow. The cases of one operator and opset share a model, which is taken apart where something is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import onnx
import tests.onnx.cases_of_picks  # noqa: F401 (they register themselves)
from onnx import TensorProto, helper, numpy_helper
from tests.harness import Programs
from tests.onnx.builder import Builder, Spec
from tests.onnx.cases import BOOL, CASES, F16, I8, I32, I64, NEWEST, U8, Case, add, graph, ints, k, x
from tests.onnx.differential import Refused, check_model
from tests.onnx.support import supported_operators

RUNS = ((1, ()), (70, ("--tile-rows", "16")))


# --- element-wise, one operand ----------------------------------------------------------------------------------------

SHAPES = [x(), x(5), x(2, 3), x(2, 1, 3, 7)]
for name in (
    "Abs",
    "Neg",
    "Sign",
    "Exp",
    "Erf",
    "Floor",
    "Ceil",
    "Round",
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "IsNaN",
    "Reciprocal",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Elu",
    "Celu",
    "Selu",
    "Mish",
    "ThresholdedRelu",
    "Swish",
    "Gelu",
    "Identity",
):
    first = {"Celu": 12, "HardSwish": 14, "Mish": 18, "Swish": 24, "Gelu": 20}.get(name, 11)
    for spec in SHAPES:
        add(name, spec if name != "Reciprocal" else Spec(spec.dims, low=0.5, high=2), since=first)
    add(name, x(3, low=10, high=60) if name != "Exp" else x(3, low=-90, high=-20), since=first)
    add(name, x(3, low=-60, high=-10) if name != "Exp" else x(3, low=-3, high=1), since=first)
for name in ("Log", "Sqrt"):
    for spec in SHAPES:
        add(name, Spec(spec.dims, low=0.1, high=50))
for name in ("Abs", "Neg", "Sign", "Identity"):
    for dtype in (I32, I64):
        add(name, x(3, dtype=dtype), since=13 if name == "Sign" else 11)
for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
    for dtype in (I32, I64):
        add(name, x(3, dtype=dtype), x(1, dtype=dtype), since=18)
for dtype in (I32, I64):
    add("BitwiseNot", x(3, dtype=dtype), since=18)


@graph("BitShift")
def shifts(b: Builder) -> list[str]:
    """Of the bits of int64, as hashes have it: there and back through uint64, and through uint32."""
    ids = b.input(x(4, dtype=I64, low=-(2**62), high=2**62))
    found = []
    for direction, kind, amount in (("RIGHT", np.uint64, 16), ("LEFT", np.uint64, 7), ("LEFT", np.uint32, 5), ("RIGHT", np.uint32, 3)):
        code = 13 if kind is np.uint64 else 12
        shifted = b.node("BitShift", b.node("Cast", ids, to=code), b.const(amount, kind), direction=direction)
        found.append(b.node("Cast", shifted, to=7))
    return found


@graph("BitShift", since=28)
def signed_shifts(b: Builder) -> list[str]:
    """The sign comes in on the right of numbers below 0."""
    ids = b.input(x(4, dtype=I64, low=-(2**62), high=2**62))
    amount = b.input(x(4, dtype=I64, low=0, high=63))
    return [b.node("BitShift", ids, amount, direction=direction) for direction in ("RIGHT", "LEFT")]


add("Relu", x(3, dtype=I32), since=14)
add("Identity", x(3, dtype=BOOL))
for name, values in {
    "Elu": [0.5, 2.0],
    "Celu": [0.5, 2.0],
    "LeakyRelu": [0.3, 1.5, -0.2],
    "ThresholdedRelu": [0.0, 0.7],
    "Swish": [0.5, 2.0],
}.items():
    for number in values:
        add(name, x(6), alpha=number, since={"Celu": 12, "Swish": 24}.get(name, 11))
add("HardSigmoid", x(6), alpha=0.4, beta=0.3)
add("Selu", x(6), alpha=1.3, gamma=0.7)
add("Gelu", x(6), approximate="tanh", since=20)
add("IsInf", x(4), since=20)


@graph("IsInf")
def of_infinities(b: Builder) -> list[str]:
    big = b.node("Div", b.input(x(4)), b.const(0.0))
    return [b.node("IsInf", big), b.node("IsNaN", big), b.node("Where", b.node("IsInf", big), b.const(1.0), big)]


for low, high in itertools.product((-0.5, None), (0.75, None)):
    bounds = [None if bound is None else np.float32(bound) for bound in (low, high)]
    add("Clip", x(6), *(None if bound is None else np.asarray(bound) for bound in bounds))
add("Clip", x(6, dtype=I32), np.asarray(-2, I32), np.asarray(3, I32), since=12)
add("Clip", x(6, dtype=I64), np.asarray(-2), None, since=12)
add("Clip", x(6), np.asarray(2, np.float32), np.asarray(1, np.float32))  # max wins


@graph("Clip")
def computed_bounds(b: Builder) -> list[str]:
    low = b.node("Neg", b.const(0.5))
    row_bound = b.node("ReduceMax", b.const([0.1, 0.4]), keepdims=0)
    return [b.node("Clip", b.input(x(6)), low, row_bound)]


add("Not", x(3, dtype=BOOL))
for to, spec in itertools.product(
    (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL),
    (x(5, low=-4, high=4), x(5, dtype=I64), x(5, dtype=I32), x(5, dtype=BOOL)),
):
    add("Cast", spec, to=to)
add("Cast", x(5, dtype=F16), to=TensorProto.FLOAT)
add("Cast", x(5, dtype=U8), to=TensorProto.FLOAT)
add("Cast", x(5, low=0, high=200), to=TensorProto.UINT8)
add("CastLike", x(5, low=-4, high=4), ints(0), since=15)
add("CastLike", x(5, dtype=I64), k(1), since=15)

# --- element-wise, several operands -----------------------------------------------------------------------------------

# Pairs: same, row with constant, scalar on either side, [1], trailing, outer, higher rank constants, two inputs.
PAIRS = [
    (x(4), x(4)),
    (x(4), k(4)),
    (k(4), x(4)),
    (x(4), k()),
    (k(), x(4)),
    (x(4), k(1)),
    (x(3, 4), k(3, 1)),
    (x(3, 1), k(4)),
    (x(3, 4), x(1, 4)),
    (x(1, 4), x(3, 1)),
    (x(4), k(1, 1, 4)),
    (k(2, 1, 4), x(4)),
    (x(3, 4), k(1, 3, 4)),
    (x(), k()),
    (x(), k(1)),
    (x(2, 1, 3, 2), k(5, 1, 2)),
    (x(1), x(4)),
    (x(4), k(1, 4)),
]


def like(operand: Spec | np.ndarray, dtype: type, low: float, high: float) -> Spec | np.ndarray:
    if isinstance(operand, Spec):
        return Spec(operand.dims, dtype, low, high)
    if dtype is BOOL:
        return np.random.default_rng(3).random(operand.shape) < 0.5
    return np.asarray(np.random.default_rng(4).uniform(low, high, operand.shape), dtype)


for left, right in PAIRS:
    for name in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        add(name, left, right, since=12 if name.endswith("OrEqual") else 11)
    add("Div", left, like(right, np.float32, 0.5, 2))
    add("Pow", like(left, np.float32, 0.2, 2), like(right, np.float32, -2, 3))
    add("Mod", like(left, np.float32, -5, 5), like(right, np.float32, 0.7, 3), fmod=1)
    for name in ("And", "Or", "Xor", "Equal"):
        add(name, like(left, BOOL, 0, 0), like(right, BOOL, 0, 0))
    for name in ("Add", "Sub", "Mul", "Equal", "Less"):
        add(name, like(left, I64, -5, 5), like(right, I64, -5, 5))
    add("Div", like(left, I32, -20, 20), like(right, I32, 1, 5))
    add("Mod", like(left, I64, -20, 20), like(right, I64, 1, 5))
    add("Where", like(left, BOOL, 0, 0), right, k())
    add("Where", like(right, BOOL, 0, 0), k(1), left)
for spec, slope in (
    (x(4), k(4)),
    (x(4), k(1)),
    (x(4), k()),
    (x(3, 4), k(3, 1)),
    (x(3, 4), k(4)),
    (x(3, 4), k(1, 1)),
    (x(4), x(4)),
):
    add("PRelu", spec, slope)
for name in ("Max", "Min", "Sum", "Mean"):
    for operands in ((x(4),), (x(4), x(4), k(4)), (x(4), k(), x(1), k(1, 4), x(4))):
        add(name, *operands)
for name in ("Max", "Min"):
    add(name, x(4, dtype=I64), x(4, dtype=I64), since=12)
    add(name, x(4, dtype=I32), ints(2, dtype=I32), since=12)
for exponent in (2.0, 0.5, -1.0, 3.0, 1.0, 0.0):
    add("Pow", x(4, low=0.3, high=3), np.asarray(exponent, np.float32))
add("Pow", x(4), np.asarray(2, I64), since=12)
add("Pow", x(4), np.asarray(3, I32), since=12)
add("Pow", x(4), np.asarray(2, np.float32))
add("Pow", x(4), np.asarray(3, np.float32))
add("Pow", x(4, dtype=I64), np.asarray(2, I64), since=12)
add("Mod", x(4, dtype=I32), ints(-3, dtype=I32))
add("Mod", x(4, dtype=I32), ints(-3, dtype=I32), fmod=1)
add("Where", x(4, dtype=BOOL), x(4, dtype=I64), x(4, dtype=I64))
add("Where", x(1, dtype=BOOL), x(4), np.asarray(-1e9, np.float32))
add("Where", k(4) > 0, x(4), x(4))

# --- shapes -----------------------------------------------------------------------------------------------------------

for zero in (
    ints(0, 2, 12),
    ints(-1, 2, 12),
    ints(0, -1),
    ints(0, 4, 6),
    ints(-1, 24),
    ints(0, 0, 2, 1, 3),
    ints(0, 24, 1, 1),
    ints(-1, 4, 3, 2),
    ints(
        -1,
    ),
    ints(-1, 6),
    ints(-1, 1),
):
    add("Reshape", x(4, 6), zero)
add("Reshape", x(4, 6), ints(-1, 6, 4), allowzero=1, since=14)
add("Reshape", x(), ints(-1, 1))
add("Reshape", x(1), ints(-1))
for perm in itertools.permutations(range(3)):
    add("Transpose", x(4, 6), perm=perm)
add("Transpose", x(4, 6))
add("Transpose", x())
add("Transpose", x(2, 3, 4, 5), perm=(0, 3, 1, 4, 2))
add("Transpose", x(2, 3, 4, 5), perm=(3, 1, 0, 4, 2))
for axis in (0, 1, 2, 3, -1, -2, -3):
    add("Flatten", x(2, 3), axis=axis)
add("Flatten", x(2, 3))
add("Flatten", x())
for axes in ((1,), (-1,), (1, 3), (-1, 1), (3, 1)):
    add("Squeeze", x(1, 4, 1), ints(*axes), since=13)
    if min(axes) > 0:  # the reference for opset 11 takes neither negative axes nor unsorted ones
        add("Squeeze", x(1, 4, 1), axes=sorted(axes), until=12)
add("Squeeze", x(1, 1, 4), reference=lambda array: array.reshape(-1, 4))  # never the axis of the candidates
add("Squeeze", x(3, 1), axes=[-1], until=12)
for axes in ((1,), (0,), (-1,), (1, 3), (-1, 1), (3, 1), (0, 4)):
    add("Unsqueeze", x(3, 4), axes=sorted(axes), until=12)
    add("Unsqueeze", x(3, 4), ints(*axes), since=13)
add("Unsqueeze", x(), ints(1), since=13)
add("Unsqueeze", x(), axes=[1], until=12)
for axis in (1, 2, -1, -2):
    add("Concat", x(4, 6), x(4, 6), axis=axis)
    add("Concat", x(4, 6), axis=axis)
add("Concat", x(4, 6), x(4, 6), axis=0)
add("Concat", x(2), x(3), x(1), x(5), axis=1)
add("Concat", x(2, dtype=I64), x(3, dtype=I64), axis=-1)
add("Concat", x(), x(), axis=0)
for starts, ends, axes, steps in (
    ([1], [3], [1], None),
    ([-2], [2**63 - 1], [1], None),
    ([0], [-1], [2], [2]),
    ([5], [-100], [2], [-2]),
    ([-1], [-(2**63)], [-1], [-1]),
    ([1, 2], [3, 5], [1, 2], None),
    ([1, 2], [3, 5], [2, 1], [1, 1]),
    ([0, 0, 1], [2**31 - 1, 2, 3], None, None),
    ([-(2**31)], [100], [1], [3]),
    ([2], [3], [-2], [1]),
):
    for dtype in (I64, I32):
        if max(abs(number) for number in starts + ends) <= 2**31 or dtype is I64:
            pad = [] if axes is None and steps is None else [None if axes is None else ints(*axes, dtype=dtype)]
            limited = [min(number, 2**31 - 1) for number in ends] if dtype is I32 else ends
            pad += [] if steps is None else [ints(*steps, dtype=dtype)]
            add("Slice", x(4, 6), ints(*starts, dtype=dtype), ints(*limited, dtype=dtype), *pad)
add("Slice", x(4, 6), ints(0), ints(1), ints(0))  # of the first candidate
for axis in (1, 2, -1, -2):
    add("Gather", x(4, 6), np.asarray(1), axis=axis)
    add("Gather", x(4, 6), ints(3, -1, 0), axis=axis)
    add("Gather", x(4, 6), ints(0, 1, 2, 3, dtype=I32).reshape(2, 2), axis=axis)
    add("Gather", x(4, 6), ints(-2), axis=axis)
add("Gather", x(4, 6), np.asarray(0), axis=0)
add("Gather", x(4, 6), np.asarray(-1), axis=0)
for ids in (
    x(dtype=I64, low=0, high=9),
    x(3, dtype=I32, low=-9, high=9),
    x(2, 2, dtype=I64, low=0, high=9),
    x(1, dtype=I64, low=0, high=9),
):
    add("Gather", k(9, 5), ids)
    add("Gather", k(9), ids)
    add("Gather", k(4, 9, 2), ids, axis=1)
    add("Gather", k(4, 9), ids, axis=-1)
for axis in (1, -1):
    add("Split", x(6), outs=2, axis=axis, until=17)
    add("Split", x(6), outs=3, axis=axis, split=[1, 3, 2], until=12)
    add("Split", x(6), ints(1, 3, 2), outs=3, axis=axis, since=13)
    add("Split", x(6), outs=3, axis=axis, num_outputs=3, since=18)
    add("Split", x(7), outs=3, axis=axis, num_outputs=3, since=18)
add("Split", x(2, 6), outs=2, axis=-1, until=17)
add("Split", x(2, 6), ints(6), outs=1, axis=2, since=13)
for shape in (ints(3, 1, 1), ints(1, 4), ints(1), ints(2, 1, 1, 4), ints(1, 5, 1)):
    add("Expand", x(1, 4) if shape[0] != 3 else x(4), shape)
for repeats in (ints(1, 1, 2), ints(1, 3, 1), ints(1, 2, 3), ints(2, 1, 1), ints(2, 2, 2)):
    add("Tile", x(2, 3), repeats)
    add("Tile", x(1, 3), repeats)
add("Tile", x(), ints(3))
for attributes in ({}, {"start": 1}, {"end": 2}, {"start": -1}, {"start": -2, "end": -1}, {"start": 1, "end": 9}):
    add("Shape", x(3, 4), **attributes, since=15 if attributes else 11)
add("Size", x(3, 4))
add("Size", k(3))
add("Range", ints(2)[0], ints(9)[0], ints(3)[0])
add("Range", np.float32(0.5), np.float32(3), np.float32(0.5))
add("Range", np.asarray(9), np.asarray(0), np.asarray(-2))


@graph("Range")
def positions(b: Builder) -> list[str]:
    ids = b.input(x(3, dtype=I64))
    count = b.node("Gather", b.node("Shape", ids), b.const(1, I64))
    steps = b.node("Range", b.const(0, I64), count, b.const(1, I64))
    return [b.node("Add", ids, steps)]


@graph("ConstantOfShape")
def filled(b: Builder) -> list[str]:
    like_x = b.node("ConstantOfShape", b.node("Shape", b.input(x(3))))
    ones = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.5])
    whole = b.node("ConstantOfShape", b.ints(2, 3), value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
    added = b.node("Add", b.node("ConstantOfShape", b.ints(3), value=ones), b.input(x(3)))
    scalar = b.node("ConstantOfShape", b.const([], I64), value=ones)
    return [like_x, whole, added, scalar]


@graph("Constant", since=12)
def of_attributes(b: Builder) -> list[str]:
    sources = [
        {"value_float": 0.1},
        {"value_floats": [0.1, 0.2, 0.3]},
        {"value": helper.make_tensor("v", 1, [1, 3], [1.0, 2.0, 3.0])},
    ]
    inputs = b.input(x(3))
    whole = [b.node("Constant", value_ints=[1, 2, 3]), b.node("Constant", value_int=4)]
    ids = b.input(x(3, dtype=I64))
    return (
        [b.node("Add", inputs, b.node("Constant", **source)) for source in sources]
        + [b.node("Add", ids, one) for one in whole]
        + whole
    )


@graph("Constant", until=11)
def of_tensors(b: Builder) -> list[str]:
    return [b.node("Add", b.input(x(3)), b.node("Constant", value=helper.make_tensor("v", 1, [3], [1.0, 2.0, 3.0])))]


@graph("If")
def chosen_branch(b: Builder) -> list[str]:
    inputs = b.input(x(3))

    def branch(op: str) -> onnx.GraphProto:
        node = helper.make_node(op, [inputs], [f"{op}_result"])
        return helper.make_graph([node], op, [], [onnx.ValueInfoProto(name=f"{op}_result")])

    rank = b.node("Size", b.node("Shape", inputs))
    condition = b.node("Equal", rank, b.const(2, I64))
    return [
        b.node("If", condition, then_branch=branch("Tanh"), else_branch=branch("Exp")),
        b.node("If", b.const(False, BOOL), then_branch=branch("Neg"), else_branch=branch("Sigmoid")),
    ]


@graph("Expand")
def to_the_candidates(b: Builder) -> list[str]:
    inputs = b.input(x(4))
    count = b.node("Slice", b.node("Shape", inputs), b.ints(0), b.ints(1))
    shape = b.node("Concat", count, b.ints(3, 4), axis=0)
    token = b.node("Expand", b.const(k(1, 3, 4)), shape)
    return [token, b.node("Add", token, b.node("Reshape", inputs, b.ints(-1, 1, 4)))]


# --- along axes -------------------------------------------------------------------------------------------------------


def softmax_before_13(axis: int, log: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Up to opset 12 all axes from `axis` on are one."""

    def compute(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(int(np.prod(array.shape[: axis % array.ndim])), -1)
        shifted = flat - flat.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return (logs if log else np.exp(logs)).reshape(array.shape)

    return compute


for name in ("Softmax", "LogSoftmax"):
    for axis in (None, 1, 2, -1, -2, 0):
        given = {} if axis is None else {"axis": axis}
        add(
            name,
            x(4, 6),
            **given,
            until=12,
            reference=softmax_before_13(1 if axis is None else axis, name != "Softmax"),
        )
        add(name, x(4, 6), **given, since=13)
    add(name, x(5, low=-60, high=60), axis=1, since=13)
    add(name, x(1), axis=-1, since=13)
    add(name, x(2, 3, 4, 2), axis=2, since=13)
REDUCTIONS = (
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
)
for name in REDUCTIONS:
    moved = 13 if name == "ReduceSum" else 18  # from then on the axes are an operand
    spec = x(3, 4, 2, low=0.3, high=1.5)
    for axes, keepdims in itertools.product(
        ((1,), (-1,), (1, 2), (-1, 1), (2, 3), (1, 2, 3), (0,), (0, 2), None), (0, 1)
    ):
        given = {} if axes is None else {"axes": axes}
        add(name, spec, keepdims=keepdims, until=moved - 1, **given)
        operand = [] if axes is None else [ints(*axes)]
        add(name, spec, *operand, keepdims=keepdims, since=moved)
    for noop in (0, 1) if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd") else (0,):
        add(name, spec, None, noop_with_empty_axes=noop, since=moved)
        add(name, spec, ints(), noop_with_empty_axes=noop, since=moved)
    add(name, x(low=0.3, high=1.5), keepdims=1)
    add(name, x(1, low=0.3, high=1.5), keepdims=0)
add("ReduceMax", x(5, dtype=I64), keepdims=1, axes=[1], until=17)
add("ReduceMin", x(5, dtype=I32), ints(1), since=18)
add("ReduceSum", x(5, dtype=I64), ints(1), since=13)
add("ReduceSum", x(5, dtype=I32), ints(-1), keepdims=0, since=13)
for axis, exclusive, reverse in itertools.product((1, -1, 0), (0, 1), (0, 1)):
    add("CumSum", k(4, 3), np.asarray(axis, I32 if axis == 1 else I64), exclusive=exclusive, reverse=reverse)
    given = np.asarray(axis, I32 if axis == 1 else I64)
    for spec in (x(3), x(4, 5), x(3, 2, 17), x(6, dtype=I64), x(2, 3, dtype=I32)):
        add("CumSum", spec, given, exclusive=exclusive, reverse=reverse)
for axis, spec in ((-1, x(6)), (1, x(6)), (-1, x(3, 6)), (-2, x(3, 6)), (2, x(2, 3, 4)), (1, x(2, 3))):
    shape = (0, *spec.dims)[axis:] if axis > 0 else spec.dims[axis:]
    add("LayerNormalization", spec, k(*shape), axis=axis, since=17)
    add("LayerNormalization", spec, k(*shape), k(*shape, seed=2), axis=axis, epsilon=1e-2, since=17)
    add("RMSNormalization", spec, k(*shape), axis=axis, since=23)
    add("RMSNormalization", spec, k(*shape), axis=axis, epsilon=1e-2, since=23)
add("LayerNormalization", x(6), k(6), None, stash_type=1, since=17)
for channels, dims in ((4, (4,)), (4, (4, 3)), (4, (4, 2, 3)), (1, (1,))):
    operands = [k(channels), k(channels, seed=2), k(channels, seed=3), k(channels, low=0.2, high=3)]
    add("BatchNormalization", x(*dims), *operands, epsilon=1e-3, momentum=0.5)
add("Dropout", x(4), ratio=0.3, until=11)
add("Dropout", x(4), since=12)
add("Dropout", x(4), np.float32(0.3), since=12)
add("Dropout", x(4), np.float32(0.3), np.asarray(False), seed=3, since=12)
add("Dropout", x(4), None, np.asarray(False), since=12)

# --- products ---------------------------------------------------------------------------------------------------------

for left, right in (
    (x(4), k(4, 3)),
    (x(4), k(4)),
    (k(5, 2), x(2, 3)),
    (x(2, 4), k(4, 3)),
    (x(2, 4), x(4, 3)),
    (x(1, 4), x(4, 3)),
    (x(3, 2, 4), k(3, 4, 5)),
    (x(3, 2, 4), k(1, 3, 4, 5)),
    (x(2, 4), k(1, 4, 3)),
    (x(3, 2, 4), x(3, 4, 2)),
    (x(3, 2, 4), x(1, 4, 2)),
    (k(2), x(2, 3)),
    (k(4, 4), x(4, 1)),
    (k(2, 1, 5, 4), x(4, 3)),
    (x(1, 2, 4), k(5, 4, 3)),
    (x(2, 4), k(4)),
    (x(17), k(17, 33)),
    (k(1, 4), x(4, 3)),
):
    add("MatMul", left, right)


@graph("MatMul")
def of_candidates(b: Builder) -> list[str]:
    inputs = b.input(x(4))
    turned = b.node("Transpose", inputs, perm=(1, 0))
    return [b.node("MatMul", turned, inputs), b.node("MatMul", b.const(k(3, 4)), turned)]


for trans_a, trans_b, alpha, beta in itertools.product((0, 1), (0, 1), (1.0, 0.5), (1.0, -2.0)):
    weight = k(3, 4) if trans_b else k(4, 3)
    scales = {"transB": trans_b, "alpha": alpha, "beta": beta}
    if trans_a == 0:
        for bias in (k(3), k(1, 3), k(1), k(), k(1, 1), None, x(3), x(1)):
            add("Gemm", x(4), weight, *([] if bias is None else [bias]), **scales)
        add("Gemm", k(5, 4), x(4), k(5, 1), **{**scales, "transB": 1})
    else:
        add("Gemm", k(4, 2), weight, k(3), transA=1, **scales)


@graph("Gemm")
def transposed_operand(b: Builder) -> list[str]:
    turned = b.node("Transpose", b.input(x(4)), perm=(1, 0))
    return [
        b.node("Gemm", turned, b.const(k(4, 3)), b.const(k(3)), transA=1),
        b.node("Gemm", b.const(k(3, 4)), turned, b.const(k(3, 1)), alpha=0.5),
        b.node("Gemm", b.input(x(4)), b.const(k(4, 3)), None),
    ]


for equation, operands in {
    "be,beh->bh": (x(3), x(3, 4)),
    "bte,beh->bth": (x(2, 3), x(3, 4)),
    "bd,edh->beh": (x(4), k(3, 4, 5)),
    "bd,dh->bh": (x(4), k(4, 3)),
    "bd,hd": (x(4), k(3, 4)),
    "...d,dh->...h": (x(2, 4), k(4, 3)),
    "bd->b": (x(4),),
    "bij->bji": (x(2, 3),),
    "bd,bd->b": (x(4), x(4)),
    "bi,bj->bij": (x(2), x(3)),
    "bd,ed->eb": (x(4), k(3, 4)),
    "beh,eho->beo": (x(3, 4), k(3, 4, 2)),
    "bse,bsd,d->be": (x(2, 3), x(2, 4), k(4)),
    "b...,b...->b...": (x(4), x(4)),
    " b d , d h -> b h ": (x(4), k(4, 3)),
    "bihd,bjhd->bhij": (x(2, 3, 4), x(5, 3, 4)),
    "tu,bud->btd": (k(2, 2), x(2, 4)),
    "bd->": (x(4),),
    "bd,d->bd": (x(4), k(4)),
}.items():
    add("Einsum", *operands, equation=equation, since=12)


# --- what is refused --------------------------------------------------------------------------------------------------

# Nodes that the standard allows and we do not, or not yet, and words of the message.
REFUSED = [
    ("CumSum", [x(4), x(dtype=I64)], {}, NEWEST, "depends on data"),
    ("CumSum", [x(4, dtype=np.uint32), np.asarray(1)], {}, NEWEST, "uint32"),
    ("Slice", [x(4), ints(-1), ints(2**31), ints(0)], {}, NEWEST, "the number of candidates"),
    ("Concat", [x(4), k(1, 4)], {"axis": 0}, NEWEST, "B+1"),
    ("ReduceL1", [x(4)], {"noop_with_empty_axes": 1}, NEWEST, "noop_with_empty_axes"),
    ("ReduceMax", [x(4, dtype=BOOL), ints(1)], {}, NEWEST, "bool"),
    ("LayerNormalization", [x(6), k(1)], {}, NEWEST, "the scale"),
    ("LayerNormalization", [x(6), x(6)], {}, NEWEST, "the scale"),
    ("Neg", [x(6, dtype=I8)], {}, NEWEST, "int8"),
    ("MatMul", [x(4, dtype=I64), ints(1, 2, 3, 4)], {}, NEWEST, "only float32 products"),
    ("Gemm", [x(4, dtype=I32), ints(1, 2, 3, 4, dtype=I32).reshape(4, 1)], {}, NEWEST, "only float32 products"),
    ("MatMul", [x(3, 4), k(2, 4, 3)], {}, NEWEST, "broadcast"),
    ("Split", [x(7)], {"axis": 0, "num_outputs": 1}, NEWEST, "axis 0 of [B, 7] is symbolic"),
    ("Squeeze", [x(1, 4), ints(0)], {}, NEWEST, "extent 1"),
    ("Tile", [x(4), x(dtype=I64)], {}, NEWEST, "depends on data"),
    ("Conv", [x(4, 2), k(3, 4, 3)], {}, NEWEST, "do not fit"),
    ("Conv", [x(4, 5), k(3, 2, 1)], {}, NEWEST, "does not fit"),
    ("TopK", [x(4), ints(5)], {"outs": 2}, NEWEST, "k 5"),
    ("TopK", [x(4), ints(1)], {"outs": 2, "axis": 0}, NEWEST, "sorts the candidates"),
    ("ArgMax", [x(4)], {"axis": 0}, NEWEST, "symbolic"),
    ("GatherElements", [x(4), x(4, dtype=I64)], {"axis": 0}, NEWEST, "picks among the candidates"),
    ("GatherElements", [x(4, 2), x(4, 3, dtype=I64)], {"axis": 1}, NEWEST, "do not fit"),
    ("GatherND", [x(4, 2), x(2, dtype=I64)], {}, NEWEST, "picks among the candidates"),
    ("OneHot", [x(dtype=I64), x(dtype=I64), k(2)], {}, NEWEST, "depends on data"),
    ("Pad", [x(3), ints(1, 0, 0, 0)], {}, NEWEST, "holds the candidates"),
    ("Pad", [x(3), ints(0, 1, 0, 0)], {"mode": "reflect"}, NEWEST, "mode 'reflect'"),
    ("Pad", [x(3), ints(0, -2, 0, -2)], {}, NEWEST, "cannot lose"),
]


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "opset", "words"), REFUSED, ids=[f"{r[0]}-{r[4]}" for r in REFUSED]
)
def test_refused(
    op: str,
    operands: list[Spec | np.ndarray],
    attributes: dict[str, object],
    opset: int,
    words: str,
    programs: Programs,
) -> None:
    b = Builder(opset)
    names = [b.input(one) if isinstance(one, Spec) else b.const(one, one.dtype) for one in operands]
    b.output(b.node(op, *names, **attributes))
    with pytest.raises(Refused) as refused:
        check_model(programs, b.model(), b.make, RUNS)
    assert b.outputs[0] in refused.value.message and f"({op})" in refused.value.message
    assert words in refused.value.message


# --- running them -----------------------------------------------------------------------------------------------------

GROUPS: dict[tuple[str, int], list[Case]] = {}
for case in CASES:
    for opset in case.opsets():
        GROUPS.setdefault((case.op, opset), []).append(case)


ELSEWHERE = {"Attention", "GRU", "LSTM", "RNN"}  # tested in files of their own


def test_every_operator_has_cases() -> None:
    assert {case.op for case in CASES} | ELSEWHERE == supported_operators()


def build(cases: list[Case], opset: int) -> Builder:
    """A model of all the cases. Another input brings the candidates where no operand has them."""
    b = Builder(opset)
    for case in cases:
        for name in case.build(b):
            b.output(name)
    b.input(x(), "candidates")
    return b


def check(programs: Programs, cases: list[Case], opset: int) -> None:
    b = build(cases, opset)
    reference = cases[0].reference
    if reference is not None:
        own, (node,) = reference, b.nodes

        def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            arrays = {**inputs, **{tensor.name: numpy_helper.to_array(tensor) for tensor in b.initializers}}
            return {node.output[0]: own(*(arrays[name].astype(np.float64) for name in node.input))}

    check_model(programs, b.model(), b.make, RUNS, reference=reference)


@pytest.mark.parametrize(("op", "opset"), GROUPS, ids=[f"{op}-{opset}" for op, opset in GROUPS])
def test_operator(op: str, opset: int, programs: Programs) -> None:
    together = [case for case in GROUPS[op, opset] if case.reference is None]
    alone = [case for case in GROUPS[op, opset] if case.reference is not None]
    try:
        if together:
            check(programs, together, opset)
    except (AssertionError, Refused):
        alone = [*together, *alone]
    wrong = []
    for case in alone:
        try:
            check(programs, [case], opset)
        except (AssertionError, Refused) as error:
            b = build([case], opset)
            wrong.append(f"{[helper.printable_node(node) for node in b.nodes]} of {b.inputs}: {error}")
    assert not wrong, "\n".join(wrong)
