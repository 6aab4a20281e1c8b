"""Models that must be refused: by one line that names the place, exit status 1, and no plan."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import onnx
from onnx import TensorProto, helper
from tests.harness import FIXTURES, Programs
from tests.hostile.support import WIDTH, check_holds, check_refused, model, save, value, weight

node = helper.make_node


def refuse(programs: Programs, path: Path, *places: str, options: tuple[str, ...] = ()) -> None:
    before = sorted(entry.name for entry in path.parent.iterdir())
    done = programs.run(programs.mtlc, path, "-o", path.parent / "plan.bin", *options)
    check_refused(done, path.name, *places)
    check_holds(path.parent, *before)


def test_the_plain_model_compiles(programs: Programs, tmp_path: Path) -> None:
    """What the other tests break does work."""
    plan = programs.compile(save(model(), tmp_path), tmp_path / "plan.bin")
    x = np.arange(8, dtype=np.float32).reshape(2, WIDTH)
    w = np.arange(1, 13, dtype=np.float32).reshape(WIDTH, 3) / 8
    assert np.allclose(programs.score(plan, {"x": x})["y"], x @ w)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 0.99999])
def test_truncated(programs: Programs, tmp_path: Path, share: float) -> None:
    whole = (FIXTURES / "trained_mmoe_ts17.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(share * len(whole))])
    refuse(programs, path)


@pytest.mark.parametrize(
    "text", [b"PK\x03\x04" + bytes(100), b"not a model\n" * 50, bytes(1000), b"\xff" * 1000]
)
def test_not_a_model(programs: Programs, tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(text)
    refuse(programs, path)


def test_no_such_file(programs: Programs, tmp_path: Path) -> None:
    refuse(programs, tmp_path / "absent.onnx")


def test_a_folder(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    refuse(programs, tmp_path / "folder.onnx")


@pytest.mark.parametrize("dims", [(WIDTH, 4), (WIDTH, 2), (2**40, 2**40), (-4, -3), (2**62, 4)])
def test_initialiser_with_other_dims_than_data(
    programs: Programs, tmp_path: Path, dims: tuple[int, ...]
) -> None:
    tensor = weight("lying_weight")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    proto = model([node("MatMul", ["x", "lying_weight"], ["y"], name="product")], [tensor])
    refuse(programs, save(proto, tmp_path), "lying_weight")


def test_typed_field_with_too_few_numbers(programs: Programs, tmp_path: Path) -> None:
    tensor = TensorProto(
        name="short_weight", data_type=TensorProto.FLOAT, dims=[WIDTH, 3], float_data=[1.0] * 11
    )
    proto = model([node("MatMul", ["x", "short_weight"], ["y"], name="product")], [tensor])
    refuse(programs, save(proto, tmp_path), "short_weight")


def test_product_of_shapes_that_do_not_meet(programs: Programs, tmp_path: Path) -> None:
    refuse(
        programs, save(model(initializers=[weight("w", 5, 3)]), tmp_path), "product", "MatMul", "5"
    )


def test_sum_of_shapes_that_do_not_meet(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "w"], ["y"], name="sum_of_two")]
    refuse(programs, save(model(nodes, [weight("w", 3)]), tmp_path), "sum_of_two", "Add")


def test_reshape_that_does_not_fit(programs: Programs, tmp_path: Path) -> None:
    shape = onnx.numpy_helper.from_array(np.array([-1, 7], dtype=np.int64), "shape")
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("Reshape", ["p", "shape"], ["y"], name="odd_reshape"),
    ]
    refuse(programs, save(model(nodes, [weight(), shape]), tmp_path), "odd_reshape", "Reshape")


def test_axis_out_of_range(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Softmax", ["p"], ["y"], name="gate0", axis=3)]
    refuse(programs, save(model(nodes), tmp_path), "gate0", "Softmax", "3")


@pytest.mark.parametrize("domain", ["", "com.example", "org.nowhere"])
def test_unknown_operator(programs: Programs, tmp_path: Path, domain: str) -> None:
    nodes = [node("Frobnicate", ["x"], ["y"], name="strange", domain=domain)]
    refuse(programs, save(model(nodes), tmp_path), "strange", "Frobnicate")


def test_operator_that_we_do_not_compile(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("NonZero", ["x"], ["y"], name="where_not_zero")]
    proto = model(nodes, outputs=[value("y", 2, "n", dtype=TensorProto.INT64)])
    refuse(programs, save(proto, tmp_path), "where_not_zero", "NonZero")


def test_operator_of_a_later_opset(programs: Programs, tmp_path: Path) -> None:
    refuse(
        programs,
        save(model([node("Gelu", ["x"], ["y"], name="early")], opset=17), tmp_path),
        "early",
        "Gelu",
    )


@pytest.mark.parametrize("opset", [0, 6, 9999])
def test_opset_out_of_reach(programs: Programs, tmp_path: Path, opset: int) -> None:
    refuse(programs, save(model(opset=opset), tmp_path), str(opset))


def test_no_opset(programs: Programs, tmp_path: Path) -> None:
    proto = model()
    del proto.opset_import[:]
    refuse(programs, save(proto, tmp_path), "opset")


def test_no_graph(programs: Programs, tmp_path: Path) -> None:
    proto = model()
    proto.ClearField("graph")
    refuse(programs, save(proto, tmp_path), "graph")


def test_value_that_nothing_makes(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "ghost"], ["y"], name="product")]
    refuse(programs, save(model(nodes), tmp_path), "ghost")


def test_output_that_nothing_makes(programs: Programs, tmp_path: Path) -> None:
    proto = model(outputs=[value("phantom", "batch", 3)])
    refuse(programs, save(proto, tmp_path), "phantom")


def test_value_made_twice(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"], name="one"), node("Relu", ["x"], ["y"], name="two")]
    refuse(programs, save(model(nodes), tmp_path), "y")


def test_circle(programs: Programs, tmp_path: Path) -> None:
    nodes = [
        node("Add", ["x", "b"], ["a"], name="hen"),
        node("Add", ["x", "a"], ["b"], name="egg"),
        node("Relu", ["b"], ["y"]),
    ]
    refuse(programs, save(model(nodes), tmp_path))


def test_attribute_of_the_wrong_type(programs: Programs, tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("Softmax", ["p"], ["y"], name="gate0", axis="last"),
    ]
    refuse(programs, save(model(nodes), tmp_path), "gate0", "axis")


def test_unknown_attribute(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"], name="product", colour=3)]
    refuse(programs, save(model(nodes), tmp_path), "product", "colour")


def test_too_many_inputs(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w", "w"], ["y"], name="product")]
    refuse(programs, save(model(nodes), tmp_path), "product", "MatMul")


def test_fixed_batch_names_the_fix(programs: Programs, tmp_path: Path) -> None:
    proto = model(inputs=[value("x", 3, WIDTH)], outputs=[value("y", 3, 3)])
    refuse(programs, save(proto, tmp_path), "--batch-axis0")


def test_other_symbolic_dim_names_the_fix(programs: Programs, tmp_path: Path) -> None:
    proto = model(
        [node("Relu", ["x"], ["y"])], [], [value("x", "batch", "L")], [value("y", "batch", "L")]
    )
    refuse(programs, save(proto, tmp_path), "--dim", "L")


def test_float64_names_the_fix(programs: Programs, tmp_path: Path) -> None:
    double = {"dtype": TensorProto.DOUBLE}
    proto = model(
        [node("Relu", ["x"], ["y"])],
        [],
        [value("x", "batch", 4, **double)],
        [value("y", "batch", 4, **double)],
    )
    refuse(programs, save(proto, tmp_path), "--allow-f32")


def test_nul_in_a_name(programs: Programs, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y\0z"], name="product"), node("Relu", ["y"], ["y"])]
    refuse(programs, save(model(nodes), tmp_path))


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def nested(depth: int) -> bytes:
    """A ModelProto with messages so deep: graph, node, attribute, graph, node, ... (fields 7; 1, 5,
    6)."""
    fields = [7] + [(1, 5, 6)[i % 3] for i in range(depth - 1)]
    headers, size = [], 0
    for field in reversed(fields):
        headers.append(varint(field << 3 | 2) + varint(size))
        size += len(headers[-1])
    return b"\x08\x08" + b"".join(reversed(headers))  # ir_version 8 first


@pytest.mark.parametrize("depth", [100, 10_000, 1_000_000])
def test_nesting(programs: Programs, tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.onnx"
    path.write_bytes(nested(depth))
    refuse(programs, path, "64")


def test_groups_do_not_hide_nesting(programs: Programs, tmp_path: Path) -> None:
    """Start-group tags nest too, and have no length."""
    path = tmp_path / "groups.onnx"
    path.write_bytes(b"\x08\x08" + varint(99 << 3 | 3) * 10_000 + varint(99 << 3 | 4) * 10_000)
    refuse(programs, path)


def test_length_beyond_the_end(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "long.onnx"
    path.write_bytes(b"\x08\x08" + varint(7 << 3 | 2) + varint(2**63) + b"\x0a\x00")
    refuse(programs, path)


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bits_never_crash(programs: Programs, tmp_path: Path, seed: int) -> None:
    """A damaged model may still be a model; then it compiles. Anything else is a refusal, never a
    crash."""
    draws = np.random.default_rng(seed)
    data = bytearray((FIXTURES / "mmoe-list-stack_sum_dyn18.onnx").read_bytes())
    for _ in range(1 + seed % 4):
        data[draws.integers(len(data))] ^= 1 << draws.integers(8)
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(data))
    done = programs.run(programs.mtlc, path, "-o", tmp_path / "plan.bin")
    if done.returncode != 0:
        check_refused(done, path.name)
        check_holds(tmp_path, path.name)


def external(location: str, folder: Path, name: str = "model.onnx", **where: int) -> Path:
    """A model whose weight is 48 bytes at `location`."""
    proto = copy.deepcopy(model())
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(entry))
    return save(proto, folder, name)


BYTES = np.arange(12, dtype=np.float32).tobytes()


class TestExternalData:
    """The model is in `inner`; what it must not reach is beside that folder."""

    @pytest.fixture
    def inner(self, tmp_path: Path) -> Path:
        (tmp_path / "secret.bin").write_bytes(BYTES)
        (tmp_path / "inner").mkdir()
        return tmp_path / "inner"

    def test_beside_the_model(self, programs: Programs, inner: Path) -> None:
        (inner / "weights.bin").write_bytes(b"pad!" + BYTES)
        path = external("weights.bin", inner, offset=4, length=48)
        plan = programs.compile(path, inner / "plan.bin")
        ones = np.ones((1, WIDTH), dtype=np.float32)
        assert programs.score(plan, {"x": ones})["y"].tolist() == [[18.0, 22.0, 26.0]]

    def test_link_inside(self, programs: Programs, inner: Path) -> None:
        (inner / "blob").write_bytes(BYTES)
        (inner / "weights.bin").symlink_to("blob")
        programs.compile(external("weights.bin", inner), inner / "plan.bin")

    def test_folder_below(self, programs: Programs, inner: Path) -> None:
        (inner / "data").mkdir()
        (inner / "data" / "weights.bin").write_bytes(BYTES)
        programs.compile(external("data/weights.bin", inner), inner / "plan.bin")

    def test_model_reached_by_a_link(self, programs: Programs, inner: Path) -> None:
        """Model stores link each file to a blob elsewhere; what counts is where the model really
        is."""
        (inner / "weights.bin").write_bytes(BYTES)
        external("weights.bin", inner)
        (inner.parent / "model.onnx").symlink_to("inner/model.onnx")
        programs.compile(inner.parent / "model.onnx", inner.parent / "plan.bin")

    def test_missing(self, programs: Programs, inner: Path) -> None:
        refuse(programs, external("absent.bin", inner), "absent.bin", "'w'")

    @pytest.mark.parametrize(
        "location", ["../secret.bin", "./../secret.bin", "data/../../secret.bin", "..", ""]
    )
    def test_path_that_escapes(self, programs: Programs, inner: Path, location: str) -> None:
        (inner / "data").mkdir()
        refuse(programs, external(location, inner), location, "'w'")

    def test_absolute_path(self, programs: Programs, inner: Path) -> None:
        refuse(programs, external(str(inner.parent / "secret.bin"), inner), "secret.bin", "'w'")

    def test_absolute_path_inside(self, programs: Programs, inner: Path) -> None:
        (inner / "weights.bin").write_bytes(BYTES)
        refuse(programs, external(str(inner / "weights.bin"), inner), "weights.bin", "'w'")

    def test_link_that_escapes(self, programs: Programs, inner: Path) -> None:
        (inner / "weights.bin").symlink_to("../secret.bin")
        refuse(programs, external("weights.bin", inner), "weights.bin", "'w'")

    def test_folder_link_that_escapes(self, programs: Programs, inner: Path) -> None:
        (inner / "data").symlink_to("..")
        refuse(programs, external("data/secret.bin", inner), "data/secret.bin", "'w'")

    def test_sibling_folder_with_the_same_beginning(self, programs: Programs, inner: Path) -> None:
        other = inner.parent / "inner-other"
        other.mkdir()
        (other / "weights.bin").write_bytes(BYTES)
        (inner / "weights.bin").symlink_to("../inner-other/weights.bin")
        refuse(programs, external("weights.bin", inner), "weights.bin", "'w'")

    def test_a_folder(self, programs: Programs, inner: Path) -> None:
        (inner / "weights.bin").mkdir()
        refuse(programs, external("weights.bin", inner), "weights.bin", "'w'")

    @pytest.mark.parametrize(
        "where",
        [
            {"offset": 4},
            {"offset": 49},
            {"length": 52},
            {"length": 44},
            {"offset": -4},
            {"offset": 2**63},
            {"offset": 2**64 - 4, "length": 48},
            {"offset": 4, "length": 48},
        ],
    )
    def test_beyond_the_file(self, programs: Programs, inner: Path, where: dict[str, int]) -> None:
        (inner / "weights.bin").write_bytes(BYTES)
        refuse(programs, external("weights.bin", inner, **where), "'w'")
