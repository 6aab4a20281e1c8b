"""Cases of operators that see windows of an axis, and of those that choose by data."""

from __future__ import annotations

import numpy as np

from tests.onnx.builder import Builder
from tests.onnx.cases import I32, I64, add, graph, ints, k, x

# --- windows ----------------------------------------------------------------------------------------------------------

add("Conv", x(4, 5), k(3, 4, 1))
add("Conv", x(4, 5), k(3, 4, 1), k(3))
add("Conv", x(4, 5), k(6, 2, 3), k(6), group=2, pads=[1, 2])
add("Conv", x(4, 9), k(8, 1, 3), k(8), group=4, strides=[2], dilations=[2], pads=[3, 1])
add("Conv", x(1, 6, 4), k(3, 1, 3, 1), k(3))
add("Conv", x(2, 6, 5), k(3, 2, 3, 2), k(3), strides=[2, 1], pads=[1, 0, 2, 1])
add("Conv", x(2, 6, 5), k(3, 2, 2, 4), auto_pad="SAME_UPPER", strides=[1, 2])
add("Conv", x(2, 6, 5), k(3, 2, 2, 4), auto_pad="SAME_LOWER")
add("Conv", x(2, 6, 5), k(3, 2, 3, 3), auto_pad="VALID", strides=[3, 2])
add("Conv", x(2, 3, 4, 5), k(4, 2, 2, 2, 3), k(4), pads=[1, 0, 0, 0, 1, 0])
for dims in ((3, 5), (2, 3, 4)):
    add("GlobalAveragePool", x(*dims))
    add("GlobalMaxPool", x(*dims), reference=lambda a: a.max(tuple(range(2, a.ndim)), keepdims=True))
add("Pad", x(3), ints(0, 2, 0, 1))
add("Pad", x(3, 4), ints(0, 0, 2, 0, 3, 0), np.asarray(1.5, np.float32))
add(
    "Pad",
    x(3, 4),
    ints(0, -1, 2, 0, 3, -3),
    reference=lambda a, pads: np.pad(a[:, 1:, :1], ((0, 0), (0, 3), (2, 0))),
)
add("Pad", x(3, dtype=I64), ints(0, 2, 0, 1), np.asarray(7, I64))
add("Pad", x(3, dtype=I64), ints(0, 1, 0, 0))
add("Pad", x(3, 4), ints(0, 2, 1, 0, 1, 2), mode="edge")
add("Pad", x(3, 4), ints(1, 2, 0, 3), np.asarray(-1, np.float32), ints(-1, 1), since=18)
add("Pad", x(3), ints(0, 0, 0, 0))


# --- chosen by data ---------------------------------------------------------------------------------------------------

for name in ("ArgMax", "ArgMin"):
    add(name, x(4, 3), axis=1)
    add(name, x(4, 3), axis=-1, keepdims=0)
    add(name, x(5, dtype=I32, low=-2, high=2), axis=1)
    add(name, x(5, dtype=I64, low=-2, high=2), axis=1, select_last_index=1, since=12)
    add(name, x(2, 7, 3), axis=2, keepdims=0, select_last_index=1, since=12)
add("TopK", x(9), ints(3), outs=2)
add("TopK", x(4, 6), ints(4), outs=2, axis=1)
add("TopK", x(4, 6), ints(6), outs=2, largest=0)
add("TopK", x(4, 6, dtype=I64, low=-3, high=3), ints(2), outs=2, largest=0, axis=-2)
add("TopK", x(7, dtype=I32, low=-3, high=3), ints(7), outs=2)
add("GatherElements", x(5), x(3, dtype=I64, low=-5, high=5), axis=1)
add("GatherElements", x(4, 3), x(6, 3, dtype=I32, low=-4, high=4), axis=1)
add(
    "GatherElements",
    x(4, 3),
    x(2, 1, dtype=I64, low=-4, high=4),
    axis=1,
    reference=lambda data, places: np.take_along_axis(data[..., :1], places.astype(I64), 1),
)
add("GatherElements", x(4, 3, dtype=I64), x(4, 2, dtype=I64, low=0, high=3), axis=2)
add("GatherElements", k(4, 3), ints(0, 3, 1, 2, 2, 0).reshape(2, 3))
add("GatherND", x(4, 3), x(1, dtype=I64, low=-4, high=4), batch_dims=1, since=12)
add("GatherND", x(4, 3, 2), x(5, 2, dtype=I64, low=-3, high=3), batch_dims=1, since=12)
add("GatherND", x(4, 3, 2), x(4, 1, dtype=I64, low=-3, high=3), batch_dims=2, since=12)
add("GatherND", k(4, 3, 2), x(2, dtype=I64, low=-3, high=3))
add("GatherND", k(4, 3), ints(1, 2, -1, -3, 0, 1).reshape(3, 2))
add("OneHot", x(dtype=I64, low=-5, high=7), np.asarray(5, I64), k(2))
add("OneHot", x(3, dtype=I32, low=0, high=4), np.asarray(4, I64), ints(0, 1), axis=1)
add("OneHot", x(3, dtype=I32, low=-4, high=4), np.asarray(4, I64), k(2), axis=-2)
for upper in (0, 1):
    for number in (None, -2, 0, 1):
        add("Trilu", x(4, 3), None if number is None else np.asarray(number, I64), since=14, upper=upper)
add("Trilu", x(2, 3, 3, dtype=I64), since=14)


def arange(b: Builder, source: str) -> str:
    """0, 1, .. for each row of `source`."""
    rows = b.node("Gather", b.node("Shape", source), b.const(np.asarray(0), I64), axis=0)
    return b.node("Range", b.const(np.asarray(0), I64), rows, b.const(np.asarray(1), I64))


@graph("Gather", since=13)
def of_own_rows(b: Builder) -> list[str]:
    """x[arange(B), i] by the TorchScript exporter."""
    data, index = b.input(x(4, 3)), b.input(x(dtype=I64, low=0, high=4))
    places = b.node("Add", index, b.node("Mul", arange(b, data), b.const(ints(4), I64)))
    return [b.node("Gather", b.node("Reshape", data, b.const(ints(-1, 3), I64)), places, axis=0)]


@graph("GatherND", since=13)
def of_own_rows_nd(b: Builder) -> list[str]:
    """x[arange(B), i] and x[arange(B), i, j] by the dynamo exporter."""
    data, outs = b.input(x(4, 3)), []
    for highs in ((4,), (4, 3)):
        chosen = [b.input(x(dtype=I64, low=-high, high=high)) for high in highs]
        parts = [b.node("Unsqueeze", one, b.const(ints(-1), I64)) for one in (arange(b, data), *chosen)]
        outs.append(b.node("GatherND", data, b.node("Concat", *parts, axis=-1)))
    return outs
