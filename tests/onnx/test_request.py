"""What the user declares to be the same for all candidates: names, globs, columns, files, the model's own hint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.onnx.support import Probe, constant, model, value

RNG = np.random.default_rng(6)
W = RNG.standard_normal((8, 3))


def ranker(*inputs: tuple[str, int], batch: str = "batch") -> ModelProto:
    """(B, n) inputs, concatenated, Gemm, sigmoid: 8 columns in all."""
    nodes = [
        helper.make_node("Concat", [name for name, _ in inputs], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w"], ["h"], name="mix"),
        helper.make_node("Sigmoid", ["h"], ["y"]),
    ]
    return model(nodes, [constant("w", W)], [value(name, batch, width) for name, width in inputs])


THREE = ranker(("user_id", 2), ("user_age", 3), ("item", 3))
WIDE = ranker(("x", 8))


def signature(text: str) -> dict[str, str]:
    """Inputs of a printed graph: name to type and what stands behind it."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("input %")]
    return dict(line.removeprefix("input %").split(" : ") for line in lines)


def declared(probe: Probe, graph: ModelProto, *options: str) -> list[str]:
    found = signature(probe.text(graph, *(o for text in options for o in ("--request", text))))
    return [name for name, text in found.items() if text.endswith(" per_user")]


@pytest.mark.parametrize(("options", "names"), [
    (["user_id"], ["user_id"]),
    (["user_id,user_age"], ["user_id", "user_age"]),
    (["user_id", "user_age"], ["user_id", "user_age"]),
    (["user_*"], ["user_id", "user_age"]),
    (["user_id,user_*"], ["user_id", "user_age"]),
    (["user_*,*_id"], ["user_id", "user_age"]),
    (["*e*r_?d"], ["user_id"]),
    (["u*a*e"], ["user_age"]),
    (["????"], ["item"]),
    ([" item , user_age"], ["user_age", "item"]),
    (["user_id[:,:]"], ["user_id"]),
    (["user_id[:,0:1],user_id[:,1:]"], ["user_id"]),
    (["none"], []),
    ([], []),
])  # fmt: skip
def test_names(probe: Probe, options: list[str], names: list[str]) -> None:
    assert declared(probe, THREE, *options) == names


@pytest.mark.parametrize(("columns", "mine"), [
    ("0:3", [0, 1, 2]),
    (":3", [0, 1, 2]),
    ("5:", [5, 6, 7]),
    ("-3:", [5, 6, 7]),
    (":-6", [0, 1]),
    ("-1", [7]),
    ("3", [3]),
    ("0", [0]),
    (" 2 : 4 ", [2, 3]),
    ("0:2,4:6", [0, 1, 4, 5]),
    ("4:6,0:2", [0, 1, 4, 5]),
    ("0:2,2:4", [0, 1, 2, 3]),
    ("1:2,3:4,5:6,7", [1, 3, 5, 7]),
    ("0:7", [0, 1, 2, 3, 4, 5, 6]),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_columns(probe: Probe, columns: str, mine: list[int], dtype: int) -> None:
    """x becomes x.request and x.row, and the scores are those of x with the columns in their order."""
    graph = ranker(("x", 8)) if dtype == TensorProto.FLOAT else model(
        [helper.make_node("Cast", ["x"], ["c"], to=1), helper.make_node("Gemm", ["c", "w"], ["h"]),
         helper.make_node("Sigmoid", ["h"], ["y"])],
        [constant("w", W)], [value("x", "batch", 8, dtype=dtype)])  # fmt: skip
    short = "f32" if dtype == TensorProto.FLOAT else "f16"
    options = ("--request", f"x[:,{columns}]")
    assert signature(probe.text(graph, *options)) == {
        "x.request": f"{short}[batch, {len(mine)}] per_user",
        "x.row": f"{short}[batch, {8 - len(mine)}]",
    }
    x = RNG.standard_normal((5, 8)).astype(np.float32 if short == "f32" else np.float16)
    rest = [column for column in range(8) if column not in mine]
    found = probe.evaluate(graph, [x[:, mine], x[:, rest]], 5, *options)
    np.testing.assert_allclose(found["y"], ReferenceEvaluator(graph).run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_columns_of_several_declarations(probe: Probe) -> None:
    options = ("--request", "x[:,0:2]", "--request", "x[:,6:8],x[:,2]")
    assert signature(probe.text(WIDE, *options)) == {
        "x.request": "f32[batch, 5] per_user",
        "x.row": "f32[batch, 3]",
    }


def test_columns_of_the_last_axis(probe: Probe) -> None:
    """(B, 2, 4): the columns are those of axis 2."""
    graph = model([helper.make_node("Tanh", ["x"], ["y"])], [], [value("x", "batch", 2, 4)])
    options = ("--request", "x[:,:,1:2,3]")
    x = RNG.standard_normal((3, 2, 4)).astype(np.float32)
    assert signature(probe.text(graph, *options))["x.request"] == "f32[batch, 2, 2] per_user"
    found = probe.evaluate(graph, [x[..., [1, 3]], x[..., [0, 2]]], 3, *options)
    np.testing.assert_allclose(found["y"], np.tanh(x), rtol=1e-6)


def test_ids_in_columns(probe: Probe) -> None:
    """Lookups by columns of a matrix of ids."""
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axes"], ["y"], keepdims=0),
    ]
    table = RNG.standard_normal((6, 2)).astype(np.float32)
    constants = [constant("t", table), constant("axes", [1], np.int64)]
    graph = model(nodes, constants, [value("x", "batch", 3, dtype=TensorProto.INT64)])
    x = RNG.integers(0, 6, (4, 3))
    found = probe.evaluate(graph, [x[:, [0, 2]], x[:, [1]]], 4, "--request", "x[:,0,2]")
    np.testing.assert_allclose(found["y"], table[x].sum(axis=1), rtol=1e-6)


ONE = model(
    [helper.make_node("Expand", ["u", "shape"], ["c"], name="copies"), helper.make_node("Add", ["c", "x"], ["y"])],
    [constant("shape", [1, 4], np.int64)],
    [value("u", 1, 4), value("x", "batch", 4)],
)


def test_first_axis_of_one(probe: Probe) -> None:
    """A declared input that the model has once: the plan takes it once a user."""
    assert signature(probe.text(ONE, "--request", "u")) == {"u": "f32[batch, 4] per_user", "x": "f32[batch, 4]"}


def test_own_symbol(probe: Probe) -> None:
    """The users' axis has a name of its own, and the candidates' is fixed by none."""
    graph = model(
        [helper.make_node("Add", ["u", "x"], ["y"])], [], [value("u", "users", 4), value("x", "batch", 4)]
    )
    assert signature(probe.text(graph, "--request", "u")) == {"u": "f32[batch, 4] per_user", "x": "f32[batch, 4]"}
    assert signature(probe.text(graph, "--request", "u", "--dim", "batch=row"))["u"] == "f32[batch, 4] per_user"


def test_frozen(probe: Probe) -> None:
    graph = model([helper.make_node("Add", ["u", "x"], ["y"])], [], [value("u", 1, 4), value("x", 32, 4)])
    found = signature(probe.text(graph, "--request", "u", "--batch-axis0"))
    assert found == {"u": "f32[B, 4] per_user", "x": "f32[B, 4]"}
    probe.refuse(graph, "differ; keep one fixed", "or if the 1 is a user, use --request u", options=("--batch-axis0",))


# --- files and hints --------------------------------------------------------------------------------------------------

TEXT = """# what the service knows before it knows the candidates
user_id   # the account

  user_a* , item[:,0:1]\r
#item"""


def test_file(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "request.txt").write_text(TEXT)
    names = ["user_id", "user_age", "item.request"]
    assert declared(probe, THREE, f"@{tmp_path}/request.txt") == names
    (tmp_path / "request.txt").write_text("user_id")
    assert declared(probe, THREE, f"@{tmp_path}/request.txt", "user_age") == names[:2]
    (tmp_path / "request.txt").write_text("")
    assert declared(probe, THREE, f"@{tmp_path}/request.txt") == []


def test_hint(probe: Probe) -> None:
    graph = ModelProto()
    graph.CopyFrom(THREE)
    helper.set_model_props(graph, {"mtlc.request": TEXT, "other": "nobody"})
    assert declared(probe, graph) == ["user_id", "user_age", "item.request"]
    assert declared(probe, graph, "user_age") == ["user_age"]
    assert declared(probe, graph, "none") == []


# --- errors -----------------------------------------------------------------------------------------------------------

FORM = "expected NAME or NAME[:,FROM:TO,...], with the columns as Python's slices without a step"


@pytest.mark.parametrize(("options", "text"), [
    (["user"], "--request 'user': no input has this name; there are 'user_id', 'user_age', 'item'"),
    (["user_id,itme"], "--request 'itme': no input has this name; there are 'item', "),
    (["user_id,cat_*"], "--request 'cat_*': it matches no input; there are "),
    (["y"], "--request 'y': no input has this name"),
    (["w"], "--request 'w': no input has this name"),
    ([""], "--request '': expected the name of an input"),
    (["user_id,"], "--request '': expected the name of an input"),
    (["[:,1]"], "--request '[:,1]': expected the name of an input"),
    (["user_id", "user_id"], "--request 'user_id': input 'user_id' is declared already, by 'user_id'"),
    (["user_*,user_id,user_id"], "input 'user_id' is declared already"),
    (["user_id,user_id[:,0]"], "input 'user_id' is declared already, by 'user_id'; either as a whole, or columns of it"),
    (["user_id[:,0],user_*"], "declared already, by 'user_id[:,0]'; either as a whole, or columns of it"),
    (["*"], "--request '*': then no input differs between candidates"),
    (["user_*,item[:,:]"], "--request 'user_*': then no input differs between candidates"),
    (["none", "user_id"], "--request none goes alone"),
    (["@/nowhere/request.txt"], "/nowhere/request.txt"),
    (["user_id[:,0:1"], FORM),
    (["user_id[:,0:1]x"], FORM),
    (["user_id[:,0:1:1]"], FORM),
    (["user_id[]"], FORM),
    (["user_id[:,]"], FORM),
    (["user_id[:,a]"], FORM),
    (["user_id[:,9999999999999999999]"], FORM),
    (["item[:,0:4]"], "--request 'item[:,0:4]': column 4 is outside of 0..3"),
    (["item[:,3]"], "column 4 is outside of 0..3"),
    (["item[:,-4:]"], "column -4 is outside of 0..3"),
    (["item[:,-4]"], "column -4 is outside of 0..3"),
    (["item[:,2:2]"], "columns 2:2 are empty"),
    (["item[:,2:1]"], "columns 2:1 are empty"),
    (["item[:,3:]"], "columns 3:3 are empty"),
    (["item[:,0:2,1:3]"], "column 1 of input 'item' is declared twice"),
    (["item[:,0:2],item[:,0]"], "column 0 of input 'item' is declared twice"),
    (["item[0:2]"], "columns are along the last of the 2 axes of input 'item': expected 1 x ':' and then slices"),
    (["item[:]"], "columns are along the last of the 2 axes"),
    (["item[0:1,0:1]"], "columns are along the last of the 2 axes"),
])  # fmt: skip
def test_errors(probe: Probe, options: list[str], text: str) -> None:
    probe.refuse(THREE, text, options=tuple(o for option in options for o in ("--request", option)))


def one_input(*shape: int | str | None) -> ModelProto:
    nodes = [helper.make_node("Tanh", ["u"], ["v"]), helper.make_node("Tanh", ["x"], ["y"])]
    return model(nodes, [], [value("u", *shape), value("x", "batch", 4)])


@pytest.mark.parametrize(("shape", "declaration", "text"), [
    ((), "u", "input 'u' is f32; expected the candidates, or 1, as its first axis, and nowhere else"),
    ((5, 4), "u", "input 'u' is f32[5, 4]; expected the candidates"),
    ((5, "batch"), "u", "input 'u' is f32[5, batch]; expected the candidates"),
    (("batch", "batch"), "u", "input 'u' is f32[batch, batch]; expected the candidates"),
    (("2*batch", 4), "u", "input 'u' is f32[2*batch, 4]; expected the candidates"),
    (("batch",), "u[:,0]", "'u[:,0]': input 'u' has 1 axis, columns need 2"),
    ((1, 4), "u[:,0]", "input 'u' is f32[1, 4]; expected the candidates"),
])  # fmt: skip
def test_shapes(probe: Probe, shape: tuple[int | str, ...], declaration: str, text: str) -> None:
    probe.refuse(one_input(*shape), text, options=("--request", declaration))


def test_first_axis_fixed_by_option(probe: Probe) -> None:
    graph = one_input("users", 4)
    probe.refuse(graph, "input 'u' is f32[7, 4]", options=("--dim", "users=7", "--request", "u"))


def test_name_of_a_half_is_taken(probe: Probe) -> None:
    text = "the columns of input 'x' need the name 'x.r"
    for other in ("x.request", "x.row"):
        probe.refuse(ranker(("x", 4), (other, 4)), text, options=("--request", "x[:,0:2]"))


def test_errors_of_files_and_hints(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "r").write_text("user_id\n\n# fine\nuser_ag\n")
    probe.refuse(THREE, f"--request @{tmp_path}/r:4 'user_ag': no input", options=("--request", f"@{tmp_path}/r"))
    (tmp_path / "r").write_bytes(b"user_id\0")
    probe.refuse(THREE, "expected text, found a byte 0", options=("--request", f"@{tmp_path}/r"))
    graph = ModelProto()
    graph.CopyFrom(THREE)
    helper.set_model_props(graph, {"mtlc.request": "user_id\n@/etc/passwd"})
    probe.refuse(graph, "invalid data", "metadata mtlc.request:2 '@/etc/passwd': no input has this name")
    helper.set_model_props(graph, {"mtlc.request": "\n".join(["*_*"] * 5000)})
    probe.refuse(graph, "metadata mtlc.request:4097: more than 4096 declarations")


def test_hints_that_ask_for_much(probe: Probe) -> None:
    """A small file whose patterns name many inputs many times."""
    graph = ranker(*((f"c{i}", 1) for i in range(8)))
    graph.graph.input.extend([value(f"more_{i}", "batch", 4) for i in range(500)])
    helper.set_model_props(graph, {"mtlc.request": "\n".join(f"more_*[:,{i % 4}]" for i in range(4096))})
    probe.refuse(graph, "the declarations name inputs more than 1048576 times")


def test_near_names(probe: Probe) -> None:
    """Of many inputs an error lists those that are near."""
    graph = ranker(*((f"column_{i}", 1) for i in range(7)), ("city", 1))
    more = ModelProto()
    more.CopyFrom(graph)
    more.graph.input.extend([value(f"more_{i}", "batch", 1) for i in range(20)])
    probe.refuse(more, "no input has this name; near it are 'city'", options=("--request", "cyti"))
    assert "; " not in probe.refuse(more, "no input has this name", options=("--request", "zzzzzz"))


# --- inputs that the model has once -----------------------------------------------------------------------------------


def node(op: str, *operands: str, to: str, **attributes: object) -> NodeProto:
    return helper.make_node(op, operands, [to], name=to, **attributes)


K = {
    "four": constant("four", [1, 4], np.int64),
    "zero": constant("zero", [0], np.int64),
    "one": constant("one", [1], np.int64),
    "first": constant("first", 0, np.int64),
    "two": constant("two", [1, 2, 2], np.int64),
    "flat": constant("flat", [-1, 2], np.int64),
    "open": constant("open", [1, -1], np.int64),
    "all": constant("all", [-1], np.int64),
    "heads": constant("heads", [2, 2, 1], np.int64),
    "places_first": constant("places_first", [2, 1, 2], np.int64),
    "four_axes": constant("four_axes", [2, 1, 1, 2], np.int64),
    "end": constant("end", [2], np.int64),
    "cls": constant("cls", RNG.standard_normal((1, 1, 2))),
    "w": constant("w", RNG.standard_normal((4, 4))),
    "v": constant("v", RNG.standard_normal((2, 2))),
    "q": constant("q", RNG.standard_normal((8, 3))),
}
ROWS = [node("Shape", "x", to="s"), node("Slice", "s", "zero", "one", to="B")]
EXPANDED = [*ROWS, node("Concat", "B", "one", to="shape", axis=0)]
HEAD = [node("Concat", "copies", "x", to="both", axis=1), node("MatMul", "both", "q", to="y")]

# From u (1, 4), and x (B, 4), to copies (B, 4), or to y.
ONCE: dict[str, list[NodeProto]] = {
    "expand": [*EXPANDED, node("Expand", "u", "shape", to="copies"), *HEAD],
    "expand_to_x": [*ROWS, node("Expand", "u", "s", to="copies"), *HEAD],
    "tile": [*EXPANDED, node("Tile", "u", "shape", to="copies"), *HEAD],
    "tower": [
        *EXPANDED, node("MatMul", "u", "w", to="h"), node("Relu", "h", to="r"), node("Softmax", "r", to="p", axis=1),
        node("Expand", "p", "shape", to="copies"), *HEAD,
    ],
    "reshaped": [
        *EXPANDED, node("Reshape", "u", "two", to="a"), node("MatMul", "a", "v", to="b"), node("Relu", "b", to="r"),
        node("Reshape", "r", "open", to="c"), node("Expand", "c", "shape", to="copies"), *HEAD,
    ],
    "flattened": [
        *EXPANDED, node("Reshape", "u", "flat", to="a"), node("MatMul", "a", "v", to="b"),
        node("Reshape", "b", "four", to="c"), node("Expand", "c", "shape", to="copies"), *HEAD,
    ],
    "own_extents": [  # of u, where they cancel
        *EXPANDED, node("Shape", "u", to="su"), node("Reshape", "u", "su", to="a"),
        node("Gather", "su", "first", to="n"), node("Unsqueeze", "n", "zero", to="n1"), node("Div", "B", "n1", to="times"),
        node("Concat", "times", "one", to="repeats", axis=0), node("Tile", "a", "repeats", to="copies"), *HEAD,
    ],
    "heads": [  # (1, 4) as 2 places of 2, as nn.MultiheadAttention has them: places first, users and heads in one axis
        *EXPANDED, node("Reshape", "u", "two", to="a"), node("Transpose", "a", to="p", perm=[1, 0, 2]),
        node("Reshape", "p", "heads", to="h"), node("Transpose", "h", to="t", perm=[1, 0, 2]),
        node("Transpose", "t", to="k", perm=[0, 2, 1]), node("MatMul", "t", "k", to="scores"),
        node("Softmax", "scores", to="weights", axis=-1), node("MatMul", "weights", "t", to="o"),
        node("Transpose", "o", to="places", perm=[1, 0, 2]), node("Reshape", "places", "flat", to="m"),
        node("MatMul", "m", "v", to="mv"), node("Reshape", "mv", "places_first", to="back"),
        node("Transpose", "back", to="again", perm=[1, 0, 2]), node("Reshape", "again", "open", to="c"),
        node("Expand", "c", "shape", to="copies"), *HEAD,
    ],
    "heads_apart": [  # users, heads
        *EXPANDED, node("Reshape", "u", "two", to="a"), node("Transpose", "a", to="p", perm=[1, 0, 2]),
        node("Reshape", "p", "four_axes", to="h"), node("Softmax", "h", to="soft", axis=3),
        node("Transpose", "soft", to="t", perm=[1, 0, 2, 3]), node("Reshape", "t", "four", to="c"),
        node("Expand", "c", "shape", to="copies"), *HEAD,
    ],
    "scaled_by_width": [  # a number of its shape that is the model's
        *EXPANDED, node("Shape", "u", to="su"), node("Slice", "su", "one", "end", to="n"),
        node("Cast", "n", to="nf", to_=1), node("Sqrt", "nf", to="root"), node("Div", "u", "root", to="d"),
        node("Expand", "d", "shape", to="copies"), *HEAD,
    ],
    "ones_like": [
        *EXPANDED, node("Shape", "u", to="su"), node("ConstantOfShape", "su", to="zeros"), node("Exp", "zeros", to="ones"),
        node("Add", "u", "ones", to="a"), node("Expand", "a", "shape", to="copies"), *HEAD,
    ],
    "in_front": [  # a vector of the model's before the user's places
        *EXPANDED, node("Reshape", "u", "two", to="a"), node("Concat", "cls", "a", to="places", axis=1),
        node("ReduceMean", "places", to="m", axes=[1], keepdims=0), node("Concat", "m", "m", to="c", axis=1),
        node("Expand", "c", "shape", to="copies"), *HEAD,
    ],
    "added_too": [
        *EXPANDED, node("Expand", "u", "shape", to="copies"), node("Mul", "u", "x", to="m"),
        node("Concat", "copies", "m", to="both", axis=1), node("MatMul", "both", "q", to="y"),
    ],
}  # fmt: skip
# Where the 1 matters.
NOT_ONCE: dict[str, tuple[list[NodeProto], str]] = {
    "summed": (
        [*EXPANDED, node("ReduceSum", "u", "zero", to="h", keepdims=1), node("Expand", "h", "shape", to="copies"), *HEAD],
        "node 'h' (ReduceSum): it does not keep users apart",
    ),
    "squeezed": (
        [*EXPANDED, node("Squeeze", "u", "zero", to="h"), node("Expand", "h", "s", to="copies"), *HEAD],
        "node 'h' (Squeeze)",
    ),
    "squeezed_at_will": (
        [
            *EXPANDED, node("Expand", "u", "shape", to="e"), node("Reshape", "u", "two", to="a"),
            node("Squeeze", "a", to="h"), node("ReduceSum", "h", "one", to="sum", keepdims=0),
            node("ReduceSum", "sum", "zero", to="n", keepdims=0), node("Mul", "e", "n", to="copies"), *HEAD,
        ],
        "node 'h' (Squeeze): it takes away the axis 0 of extent 1",
    ),
    "summed_places": (
        [
            *EXPANDED, node("Reshape", "u", "flat", to="h"), node("ReduceSum", "h", "zero", to="sum", keepdims=1),
            node("Concat", "sum", "sum", to="c", axis=1), node("Expand", "c", "shape", to="copies"), *HEAD,
        ],
        "(ReduceSum): it does not keep users apart",
    ),
    "first_of_all": (
        [
            *EXPANDED, node("Gather", "u", "first", to="h", axis=0), node("Expand", "h", "s", to="copies"), *HEAD,
        ],
        "(Gather): it does not keep users apart",
    ),
    "product": (
        [
            *EXPANDED, node("Expand", "u", "shape", to="e"), node("Transpose", "u", to="t", perm=[1, 0]),
            node("MatMul", "x", "t", to="h"), node("ReduceSum", "h", "one", to="sum", keepdims=1),
            node("Mul", "e", "sum", to="y"),
        ],
        "(MatMul): it does not keep users apart",
    ),
    "normalised": (
        [*EXPANDED, node("Softmax", "u", to="h", axis=0), node("Expand", "h", "shape", to="copies"), *HEAD],
        "node 'h' (Softmax): it does not keep users apart",
    ),
    "counted": (
        [
            *EXPANDED, node("Expand", "u", "shape", to="e"), node("Shape", "u", to="su"),
            node("Cast", "su", to="f", to_=1), node("Slice", "f", "zero", "one", to="n"),
            node("Mul", "e", "n", to="copies"), *HEAD,
        ],
        "it computes with the extent 1",
    ),
    "shape_for_others": (
        [
            *EXPANDED, node("Expand", "u", "shape", to="e"), node("Shape", "u", to="su"),
            node("Slice", "su", "zero", "one", to="n"), node("Concat", "n", "all", to="sx", axis=0),
            node("Reshape", "x", "sx", to="row"), node("ReduceSum", "row", "one", to="sum", keepdims=1),
            node("Mul", "e", "sum", to="copies"), *HEAD,
        ],
        "node 'row' (Reshape): input 1 (shape) is computed from the extent 1",
    ),
    "stacked": (
        [
            *EXPANDED, node("Expand", "u", "shape", to="e"), node("Concat", "u", "x", to="two_b", axis=0),
            node("ReduceSum", "two_b", "zero", to="h", keepdims=1), node("Add", "e", "h", to="copies"), *HEAD,
        ],
        "node 'two_b' (Concat): it does not keep users apart",
    ),
}  # fmt: skip


def once(nodes: list[NodeProto], first: int | str = 1) -> ModelProto:
    for item in nodes:  # make_node's `to` is the name of ours
        for attribute in item.attribute:
            attribute.name = "to" if attribute.name == "to_" else attribute.name
    return model(nodes, list(K.values()), [value("u", first, 4), value("x", "batch", 4)])


@pytest.mark.parametrize("options", [(), ("--request", "u")], ids=["found", "declared"])
@pytest.mark.parametrize("name", ONCE)
def test_once(probe: Probe, name: str, options: tuple[str, ...]) -> None:
    """What is copied to the candidates is taken once a user, and candidates of one user have the model's scores."""
    graph = once(ONCE[name])
    assert signature(probe.text(graph, *options)) == {"u": "f32[batch, 4] per_user", "x": "f32[batch, 4]"}
    x, users = RNG.standard_normal((5, 4)).astype(np.float32), RNG.standard_normal((2, 4)).astype(np.float32)
    user = np.array([1, 0, 0, 1, 1])
    found = probe.evaluate(graph, [users[user], x], 5, *options)["y"]
    for index in range(2):
        mine = ReferenceEvaluator(graph).run(None, {"u": users[[index]], "x": x})[0]
        np.testing.assert_allclose(found[user == index], mine[user == index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NOT_ONCE)
def test_not_once(probe: Probe, name: str) -> None:
    """Found: the model stays as it is. Declared: the error names the node."""
    nodes, text = NOT_ONCE[name]
    graph = once(nodes)
    x, u = RNG.standard_normal((5, 4)).astype(np.float32), RNG.standard_normal((1, 4)).astype(np.float32)
    assert signature(probe.text(graph)) == {"u": "f32[1, 4]", "x": "f32[batch, 4]"}
    wanted = ReferenceEvaluator(graph).run(None, {"u": u, "x": x})[0]
    np.testing.assert_allclose(probe.evaluate(graph, [u, x], 5)["y"], wanted, rtol=1e-5, atol=1e-6)
    probe.refuse(graph, "--request 'u': its first axis cannot be the candidates: ", text, options=("--request", "u"))


def test_not_expanded(probe: Probe) -> None:
    """What is broadcast by element-wise operators alone is left: it costs nothing."""
    graph = once([node("Add", "u", "x", to="y")])
    assert signature(probe.text(graph))["u"] == "f32[1, 4]"
    assert signature(probe.text(graph, "--request", "u"))["u"] == "f32[batch, 4] per_user"


def test_none_leaves_all(probe: Probe) -> None:
    assert signature(probe.text(once(ONCE["expand"]), "--request", "none"))["u"] == "f32[1, 4]"


def test_output_of_users(probe: Probe) -> None:
    """An output that has 1 row in the model would have B."""
    graph = once(ONCE["tower"])
    graph.graph.output.append(onnx.ValueInfoProto(name="p"))
    assert signature(probe.text(graph))["u"] == "f32[1, 4]"
    assert signature(probe.text(graph, "--request", "u"))["u"] == "f32[batch, 4] per_user"


def test_one_of_two(probe: Probe) -> None:
    """Where one of two inputs cannot, the other still is."""
    nodes = [
        *EXPANDED, node("Expand", "u", "shape", to="copies"), node("ReduceSum", "k", "zero", to="sum", keepdims=1),
        node("Expand", "sum", "shape", to="more"), node("Add", "copies", "more", to="a"), node("Add", "a", "x", to="y"),
    ]  # fmt: skip
    graph = model(nodes, list(K.values()), [value("k", 1, 4), value("u", 1, 4), value("x", "batch", 4)])
    assert signature(probe.text(graph)) == {
        "k": "f32[1, 4]", "u": "f32[batch, 4] per_user", "x": "f32[batch, 4]",
    }  # fmt: skip


def test_own_symbol_expanded(probe: Probe) -> None:
    graph = once(ONCE["expand"], first="users")
    assert signature(probe.text(graph, "--request", "u"))["u"] == "f32[batch, 4] per_user"
