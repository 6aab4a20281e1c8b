"""What the importer refuses, and in which words; what it makes of symbolic dims, functions, If, and old opsets."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.onnx.support import ROOT, Probe, constant, model, value

node = helper.make_node
F32, F64, F16, BF16 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16
INT64_MAX = 2**63 - 1


def check(probe: Probe, proto: onnx.ModelProto, inputs: dict[str, np.ndarray], *options: str) -> str:
    """The evaluated outputs equal those of onnx.reference; returns the graph's text."""
    wanted = ReferenceEvaluator(proto).run(None, inputs)
    names = [info.name for info in proto.graph.input if info.name in inputs]
    rows = len(next(iter(inputs.values())))
    got = probe.evaluate(proto, [inputs[name] for name in names], rows, *options)
    for info, want in zip(proto.graph.output, wanted, strict=True):
        assert got[info.name].shape == want.shape, info.name
        np.testing.assert_allclose(got[info.name], want, rtol=1e-5, atol=1e-6)
    return probe.text(proto, *options)


def rows_of(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def test_operators_page_is_current() -> None:
    command = [sys.executable, ROOT / "onnx" / "gen_operators.py", "--check", ROOT / "docs" / "operators.md"]
    subprocess.run(command, check=True)


class TestDims:
    def relu(self, *inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
        nodes = [node("Relu", [info.name], [f"y{i}"]) for i, info in enumerate(inputs)]
        outputs = [onnx.ValueInfoProto(name=f"y{i}") for i in range(len(inputs))]
        return model(nodes, inputs=list(inputs), outputs=outputs)

    def test_first_axes_are_one(self, probe: Probe) -> None:
        text = probe.text(self.relu(value("a", "n", 2), value("b", "m", 3), value("c", None, 4)))
        assert "f32[n, 2]" in text and "f32[n, 3]" in text and "f32[n, 4]" in text

    def test_row_separates(self, probe: Probe) -> None:
        proto = self.relu(value("a", "n", 2), value("b", "m", 3))
        text = probe.text(proto, "--dim", "m=row", "--dim", "n=5")
        assert "f32[5, 2]" in text and "f32[m, 3]" in text
        probe.refuse(proto, "'a'", "axis 0", "--dim n=NUMBER", options=("--dim", "m=row"))

    def test_other_symbolic(self, probe: Probe) -> None:
        proto = self.relu(value("seq", "n", "L"))
        probe.refuse(proto, "'seq'", "axis 1", "'L'", "--dim L=NUMBER")
        assert "f32[n, 50]" in probe.text(proto, "--dim", "L=50")
        assert "f32[n, 7]" in probe.text(proto, "--dim", "seq:1=7")

    def test_unnamed(self, probe: Probe) -> None:
        proto = self.relu(value("seq", "n", None))
        probe.refuse(proto, "'seq'", "axis 1", "--dim seq:1=NUMBER")
        assert "f32[n, 7]" in probe.text(proto, "--dim", "seq:1=7")

    def test_candidates_on_a_later_axis(self, probe: Probe) -> None:
        assert "f32[3, n]" in probe.text(self.relu(value("a", "n", 2), value("b", 3, "n")))
        both = self.relu(value("a", "n", 2), value("b", "m", "n"))
        probe.refuse(both, "'b'", "axis 1", "--dim n=NUMBER")

    def test_multiples(self, probe: Probe) -> None:
        assert "f32[4*n, 2]" in probe.text(self.relu(value("a", "n", 2), value("b", "4*n", 2)))
        probe.refuse(self.relu(value("a", "n", 2), value("b", "n + 1", 2)), "'b'", "n + 1")

    def test_fixed_beside_symbolic(self, probe: Probe) -> None:
        text = probe.text(self.relu(value("a", "n", 2), value("user", 1, 3)))
        assert "f32[n, 2]" in text and "f32[1, 3]" in text

    def test_all_fixed(self, probe: Probe) -> None:
        proto = self.relu(value("a", 32, 2), value("b", 32, 3))
        probe.refuse(proto, "'a'", "32", "dynamic batch", "--batch-axis0")
        text = probe.text(proto, "--batch-axis0")
        assert "f32[B, 2]" in text and "f32[B, 3]" in text

    def test_frozen_sizes_differ(self, probe: Probe) -> None:
        proto = self.relu(value("a", 32, 2), value("user", 1, 3))
        probe.refuse(proto, "'a'", "'user'", "--dim user:0=1", options=("--batch-axis0",))
        text = probe.text(proto, "--batch-axis0", "--dim", "user:0=1")
        assert "f32[B, 2]" in text and "f32[1, 3]" in text

    @pytest.mark.parametrize("option", ["L", "=3", "L=", "L=x", "L=0", "L=-1", "L=99999999999999999999"])
    def test_malformed_option(self, probe: Probe, option: str) -> None:
        probe.refuse(self.relu(value("a", "n", 2)), option, "expected NAME=NUMBER", options=("--dim", option))

    def test_option_without_use(self, probe: Probe) -> None:
        probe.refuse(self.relu(value("a", "n", 2)), "no input has a dim 'L'", options=("--dim", "L=3"))
        probe.refuse(self.relu(value("a", "n", 2)), "fixed at 2", options=("--dim", "a:1=3"))

    def test_initializer_among_inputs(self, probe: Probe) -> None:
        proto = model([node("Add", ["x", "c"], ["y"])], [constant("c", [1, 2, 3, 4])],
                      inputs=[value("x", "batch", 4), value("c", 4)])  # fmt: skip
        assert probe.text(proto).count("input") == 1

    def test_declared_shapes_are_hints(self, probe: Probe) -> None:
        proto = model([node("Relu", ["x"], ["y"])], outputs=[value("y", 7, 7, 7)])
        assert "f32[batch, 4]" in probe.text(proto)

    def test_no_shape(self, probe: Probe) -> None:
        info = helper.make_tensor_value_info("x", F32, None)
        probe.refuse(model([node("Relu", ["x"], ["y"])], inputs=[info]), "'x'", "rank")


class TestFrozenBatch:
    """A batch size that the exporter froze into shapes."""

    def reshaped(self, *shape: int, frozen: int = 32) -> onnx.ModelProto:
        nodes = [node("Reshape", ["x", "shape"], ["y"], name="view")]
        return model(nodes, [constant("shape", shape, np.int64)], inputs=[value("x", frozen, 8)])

    @pytest.mark.parametrize("shape", [(32, -1), (32, 8), (32, 2, 4), (-1, 32), (2, -1), (8, -1), (4, -1, 2)])
    def test_refused(self, probe: Probe, shape: tuple[int, ...]) -> None:
        probe.refuse(self.reshaped(*shape), "'view' (Reshape)", options=("--batch-axis0",))

    @pytest.mark.parametrize("shape", [(1, -1), (1, 8), (1, 2, 4), (8, -1)])
    def test_refused_one(self, probe: Probe, shape: tuple[int, ...]) -> None:
        probe.refuse(self.reshaped(*shape, frozen=1), "'view' (Reshape)", options=("--batch-axis0",))

    @pytest.mark.parametrize("shape", [(-1, 8), (-1, 2, 4), (0, -1), (0, 2, 4), (-1, 4)])
    def test_fine(self, probe: Probe, shape: tuple[int, ...]) -> None:
        proto = self.reshaped(*shape)
        probe.text(proto, "--batch-axis0")

    def test_selection_from_the_batch(self, probe: Probe) -> None:
        nodes = [node("Gather", ["x", "zero"], ["y"], name="first_row")]
        proto = model(nodes, [constant("zero", 0, np.int64)], inputs=[value("x", 1, 8)])
        probe.refuse(proto, "'first_row' (Gather)", "--batch-axis0", options=("--batch-axis0",))

    def test_squeeze_keeps_the_candidates(self, probe: Probe) -> None:
        nodes = [node("Squeeze", ["x"], ["y"])]
        text = probe.text(model(nodes, inputs=[value("x", 1, 1)]), "--batch-axis0")
        assert "f32[B] = reshape" in text
        dynamic = model(nodes, inputs=[value("x", "n", 1)])
        assert "f32[n] = reshape" in probe.text(dynamic)
        assert "keeps that of the candidates" in probe.run(dynamic, "--sources").stdout


    def test_squeeze_of_pytorch_keeps_other_axes(self, probe: Probe) -> None:
        """Its dynamo exporter writes a squeeze that does nothing as a Squeeze, which the standard refuses."""
        squeeze = model([node("Squeeze", ["x", "axes"], ["y"])], [constant("axes", [1], np.int64)])
        probe.refuse(squeeze, "not of extent 1")
        squeeze.producer_name = "pytorch"
        assert "f32[batch, 4]" in probe.text(squeeze)
        assert "keeps an axis" in probe.run(squeeze, "--sources").stdout

    def test_pads_computed_from_constants(self, probe: Probe) -> None:
        """As the TorchScript exporter writes F.pad: through a matrix, turned round."""
        consts = [constant("p", [3, 1], np.int64), constant("s", [-1, 2], np.int64), constant("f", [-1], np.int64),
                  constant("o", [0, 0], np.int64), constant("a", [1], np.int64), constant("b", [-1], np.int64),
                  constant("e", [-2**31], np.int64)]  # fmt: skip
        nodes = [
            node("Concat", ["p", "o"], ["all"], axis=0),
            node("Reshape", ["all", "s"], ["pairs"]),
            node("Slice", ["pairs", "b", "e", "o1", "b"], ["turned"]),
            node("Transpose", ["turned"], ["sides"], perm=[1, 0]),
            node("Reshape", ["sides", "f"], ["pads"]),
            node("Pad", ["x", "pads"], ["y"]),
        ]
        consts.append(constant("o1", [0], np.int64))
        assert "f32[batch, 8]" in probe.text(model(nodes, consts))


class TestNodes:
    @pytest.mark.parametrize("op", ["MaxPool", "Loop", "Scan", "Resize"])
    def test_not_supported(self, probe: Probe, op: str) -> None:
        probe.refuse(model([node(op, ["x"], ["y"], name="n")]), f"node 'n' ({op}): the operator is not supported")

    @pytest.mark.parametrize(
        ("op", "why"),
        {
            "NonZero": "the extents of its result depend on data",
            "Unique": "the extents of its result depend on data",
            "RandomNormalLike": "it draws random numbers",
        }.items(),
    )
    def test_never_supported(self, probe: Probe, op: str, why: str) -> None:
        probe.refuse(model([node(op, ["x"], ["y"], name="n")]), f"node 'n' ({op}): {why}")

    @pytest.mark.parametrize("op", ["Loop", "SequenceEmpty"])
    def test_loops_of_bags(self, probe: Probe, op: str) -> None:
        """What exporters make of nn.EmbeddingBag: the message says what to write instead."""
        probe.refuse(model([node(op, [], ["y"], name="n")]), "nn.EmbeddingBag", "nn.Embedding and a sum")

    def test_made_up_name(self, probe: Probe) -> None:
        probe.refuse(model([node("Relu", ["x"], ["h"]), node("MaxPool", ["h"], ["y"])]), "node 'MaxPool_1' (MaxPool)")

    @pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml"])
    def test_domain(self, probe: Probe, domain: str) -> None:
        probe.refuse(model([node("FusedMatMul", ["x"], ["y"], name="n", domain=domain)]), "'n'", domain)

    def test_default_domain_by_name(self, probe: Probe) -> None:
        probe.text(model([node("Relu", ["x"], ["y"], domain="ai.onnx")]))

    def test_unknown(self, probe: Probe) -> None:
        probe.refuse(model([node("Relo", ["x"], ["y"], name="n")]), "'n' (Relo)", "unknown")

    def test_later_opset(self, probe: Probe) -> None:
        probe.refuse(model([node("Gelu", ["x"], ["y"], name="n")], opset=19), "'n' (Gelu)", "opset 20")

    @pytest.mark.parametrize("opset", [1, 10])
    def test_old_opset(self, probe: Probe, opset: int) -> None:
        probe.refuse(model([node("Relu", ["x"], ["y"])], opset=opset), f"opset {opset}", "11")

    def test_newer_opset(self, probe: Probe) -> None:
        newest = onnx.defs.onnx_opset_version()
        probe.text(model([node("Relu", ["x"], ["y"])], opset=newest))
        probe.refuse(model([node("Relu", ["x"], ["y"])], opset=newest + 1), str(newest + 1), "newest")

    def test_newer_ir_version(self, probe: Probe) -> None:
        proto = model([node("Relu", ["x"], ["y"])])
        proto.ir_version = 999
        probe.text(proto)

    def test_attributes(self, probe: Probe) -> None:
        probe.refuse(model([node("Relu", ["x"], ["y"], name="n", alpha=1.0)]), "'n'", "'alpha'")
        probe.refuse(model([node("Softmax", ["x"], ["y"], name="n", axis="1")]), "'n'", "'axis'", "string", "int")
        probe.refuse(model([node("Concat", ["x", "x"], ["y"], name="n")]), "'n'", "'axis'", "missing")
        probe.refuse(model([node("Cast", ["x"], ["y"], name="n", to=8)]), "'n'", "string")
        probe.refuse(model([node("Cast", ["x"], ["y"], name="n", to=99)]), "'n'", "unknown")

    def test_operands(self, probe: Probe) -> None:
        probe.refuse(model([node("Relu", ["x", "x"], ["y"], name="n")]), "'n'", "2 inputs")
        probe.refuse(model([node("Add", ["x"], ["y"], name="n")]), "'n'", "input 1 (B) is missing")
        probe.refuse(model([node("Add", ["", "x"], ["y"], name="n")]), "'n'", "input 0 (A) is missing")
        probe.refuse(model([node("Relu", ["x"], ["y", "z"], name="n")]), "'n'", "2 outputs")
        ints = [constant("i", [1, 2, 3, 4], np.int64)]
        probe.refuse(model([node("Add", ["x", "i"], ["y"], name="n")], ints), "'n'", "int64", "float32")
        probe.refuse(model([node("Sqrt", ["i"], ["y"], name="n")], ints), "'n'", "int64", "float32")

    def test_order(self, probe: Probe) -> None:
        nodes = [node("Relu", ["b"], ["y"], name="late"), node("Relu", ["x"], ["b"])]
        probe.refuse(model(nodes), "'late'", "'b'")

    def test_names_taken(self, probe: Probe) -> None:
        probe.refuse(model([node("Relu", ["x"], ["x"], name="n")]), "'n'", "'x'", "taken")
        twice = [constant("c", 1), constant("c", 2)]
        probe.refuse(model([node("Add", ["x", "c"], ["y"])], twice), "'c'", "taken")
        inputs = [value("x", "batch", 4), value("x", "batch", 4)]
        probe.refuse(model([node("Relu", ["x"], ["y"])], inputs=inputs), "'x'", "taken")

    def test_unused_outputs(self, probe: Probe) -> None:
        nodes = [node("Dropout", ["x"], ["y", "mask"], name="d")]
        assert "identity" in probe.text(model(nodes))
        probe.refuse(model([*nodes, node("Not", ["mask"], ["z"], name="n")]), "'n'", "'mask'", "'d' (Dropout)")

    def test_sources(self, probe: Probe) -> None:
        done = probe.run(model([node("Constant", [], ["c"], value_float=1.0), node("Add", ["x", "c"], ["y"])]),
                         "--sources")  # fmt: skip
        assert "source Constant_0 Constant a constant" in done.stdout
        assert "source Add_1 Add -" in done.stdout

    def test_depends_on_data(self, probe: Probe) -> None:
        nodes = [node("Cast", ["x"], ["shape"], to=TensorProto.INT64), node("Squeeze", ["shape"], ["s"]),
                 node("Reshape", ["w", "s"], ["y"], name="n")]  # fmt: skip
        proto = model(nodes, [constant("w", np.ones(12))], inputs=[value("x", "batch")])
        probe.refuse(proto, "'n'", "depends on data")


class TestTensors:
    KINDS = [("float_data", F32, [1.5, -2.0]), ("double_data", F64, [1.5, -2.0]),
             ("int64_data", TensorProto.INT64, [3, -4]),
             ("int32_data", TensorProto.INT32, [3, -4]), ("int32_data", TensorProto.INT16, [3, -4]),
             ("int32_data", TensorProto.INT8, [3, -4]), ("int32_data", TensorProto.UINT8, [3, 250]),
             ("int32_data", TensorProto.UINT16, [3, 65000]), ("uint64_data", TensorProto.UINT32, [3, 2**32 - 1]),
             ("uint64_data", TensorProto.UINT64, [3, 2**53]), ("int32_data", TensorProto.BOOL, [1, 0]),
             ("int32_data", F16, [0x3E00, 0xC000]), ("int32_data", BF16, [0x3FC0, 0xC000])]  # fmt: skip

    @pytest.mark.parametrize(("field", "elem", "numbers"), KINDS)
    @pytest.mark.parametrize("raw", [False, True])
    def test_encodings(self, probe: Probe, field: str, elem: int, numbers: list[float], raw: bool) -> None:
        tensor = TensorProto(name="c", data_type=elem, dims=[2])
        getattr(tensor, field).extend(numbers)
        want = numpy_helper.to_array(tensor).astype(np.float64)
        if raw:
            tensor = TensorProto(name="c", data_type=elem, dims=[2], raw_data=numpy_helper.to_array(tensor).tobytes())
        nodes = [node("Cast", ["c"], ["f"], to=F32), node("Add", ["x", "f"], ["y"])]
        got = probe.evaluate(model(nodes, [tensor], [value("x", "batch", 2)]), [np.zeros((1, 2), np.float32)])
        np.testing.assert_array_equal(got["y"][0], want.astype(np.float32))

    def test_too_few(self, probe: Probe) -> None:
        tensor = TensorProto(name="c", data_type=F32, dims=[4], float_data=[1, 2, 3])
        probe.refuse(model([node("Add", ["x", "c"], ["y"])], [tensor]), "'c'", "float_data", "3", "4")
        tensor = TensorProto(name="c", data_type=F32, dims=[4], raw_data=bytes(15))
        probe.refuse(model([node("Add", ["x", "c"], ["y"])], [tensor]), "'c'", "15", "16")

    @pytest.mark.parametrize("dims", [[2**32, 2**32], [2**62, 4], [-1]])
    def test_dims(self, probe: Probe, dims: list[int]) -> None:
        tensor = TensorProto(name="c", data_type=F32, dims=dims)
        probe.refuse(model([node("Add", ["x", "c"], ["y"])], [tensor]), "'c'")

    @pytest.mark.parametrize(
        "elem", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E5M2, TensorProto.INT4]
    )
    def test_types(self, probe: Probe, elem: int) -> None:
        tensor = TensorProto(name="c", data_type=elem, dims=[4], raw_data=bytes(64))
        probe.text(model([node("Relu", ["x"], ["y"])], [tensor]))  # nobody uses it
        probe.refuse(model([node("Identity", ["c"], ["y"])], [tensor]), "'c'", "not supported")

    def test_sparse(self, probe: Probe) -> None:
        proto = model([node("Relu", ["x"], ["y"])])
        proto.graph.sparse_initializer.add().values.name = "s"
        probe.refuse(proto, "'s'", "sparse")


class TestFloats:
    def test_half_inside(self, probe: Probe) -> None:
        """Computed in float32, rounded at the output."""
        nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
        proto = model(nodes, [constant("w", np.ones((4, 3)), np.float16)], [value("x", "batch", 4, dtype=F16)],
                      [value("y", "batch", 3, dtype=F16)])  # fmt: skip
        text = probe.text(proto)
        assert "f16[batch, 4]" in text and "f32[batch, 3] = matmul" in text and "f16[batch, 3] = cast" in text
        x = rows_of(3, 4).astype(np.float16)
        want = np.maximum(x.astype(np.float64).sum(1), 0).astype(np.float16)
        np.testing.assert_array_equal(probe.evaluate(proto, [x], 3)["y"][:, 0], want)

    def test_casts_between_floats(self, probe: Probe) -> None:
        nodes = [node("Cast", ["x"], ["h"], to=F16), node("Cast", ["h"], ["y"], to=F32)]
        assert "cast" not in probe.text(model(nodes))

    def test_double(self, probe: Probe) -> None:
        proto = model([node("Relu", ["x"], ["y"])], [], [value("x", "batch", 4, dtype=F64)], [value("y", dtype=F64)])
        probe.refuse(proto, "'x'", "float64", "--allow-f32")
        x = rows_of(3, 4).astype(np.float64)
        assert probe.evaluate(proto, [x], 3, "--allow-f32")["y"].dtype == np.float64

    def test_double_within(self, probe: Probe) -> None:
        nodes = [node("Cast", ["x"], ["d"], to=F64, name="up"), node("Cast", ["d"], ["y"], to=F32)]
        probe.refuse(model(nodes), "'up' (Cast)", "float64", "--allow-f32")
        probe.text(model(nodes), "--allow-f32")

    def test_double_constants_only(self, probe: Probe) -> None:
        """A number in float64 that is cast down before it meets the inputs is no float64 graph."""
        nodes = [node("Sqrt", ["c"], ["s"]), node("Cast", ["s"], ["f"], to=F32), node("Mul", ["x", "f"], ["y"])]
        proto = model(nodes, [constant("c", 3.0, np.float64)], outputs=[value("y", "batch", 4)])
        check(probe, proto, {"x": rows_of(2, 4)})

    def test_declared_type(self, probe: Probe) -> None:
        outputs = [value("y", "batch", 4, dtype=TensorProto.INT64)]
        probe.refuse(model([node("Relu", ["x"], ["y"])], outputs=outputs), "'y'", "int64", "float32")


class TestFunctions:
    def function(self, name: str, nodes: list[onnx.NodeProto], attributes: tuple[str, ...] = (), **more: object):
        return helper.make_function("local", name, ["a", "b"], ["c"], nodes, [helper.make_opsetid("", 17)],
                                    list(attributes), **more)  # fmt: skip

    def call(self, *functions: onnx.FunctionProto, **attributes: object) -> onnx.ModelProto:
        proto = model([node("F", ["x", "k"], ["y"], name="call", domain="local", **attributes)],
                      [constant("k", [1, 2, 3, 4])], outputs=[value("y", "batch", 4)],
                      functions=list(functions))  # fmt: skip
        proto.opset_import.append(helper.make_opsetid("local", 1))
        return proto

    def leaky(self) -> list[onnx.NodeProto]:
        leaky = node("LeakyRelu", ["a"], ["h"], name="inner")
        leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
        return [leaky, node("Add", ["h", "b"], ["c"])]

    def test_inlined(self, probe: Probe) -> None:
        proto = self.call(self.function("F", self.leaky(), ("slope",)), slope=0.25)
        assert "alpha=0.25" in probe.text(proto)
        x = rows_of(3, 4)
        want = np.where(x < 0, 0.25 * x, x) + [1, 2, 3, 4]
        np.testing.assert_allclose(probe.evaluate(proto, [x], 3)["y"], want, rtol=1e-6)
        done = probe.run(proto, "--sources")
        assert "source call/inner LeakyRelu" in done.stdout and "source call F inlined" in done.stdout

    def test_default_attribute(self, probe: Probe) -> None:
        default = helper.make_attribute("slope", 0.5)
        assert "alpha=0.5" in probe.text(self.call(self.function("F", self.leaky(), attribute_protos=[default])))

    def test_nested(self, probe: Probe) -> None:
        inner = node("G", ["a", "b"], ["c"], name="deep", domain="local")
        inner.attribute.add(name="slope", ref_attr_name="steep", type=onnx.AttributeProto.FLOAT)
        outer = self.function("F", [inner], ("steep",))
        outer.opset_import.append(helper.make_opsetid("local", 1))
        proto = self.call(outer, self.function("G", self.leaky(), ("slope",)), steep=0.125)
        assert "alpha=0.125" in probe.text(proto)
        assert "call/deep/inner" in probe.run(proto, "--sources").stdout

    def test_error_names_the_way(self, probe: Probe) -> None:
        proto = self.call(self.function("F", [node("TopK", ["a"], ["c"], name="inner")]))
        probe.refuse(proto, "node 'call/inner' (TopK)")

    def test_recursion(self, probe: Probe) -> None:
        proto = self.call(self.function("F", [node("F", ["a", "b"], ["c"], name="again", domain="local")]))
        probe.refuse(proto, "'call/again'", "calls itself")

    def test_absent_operand(self, probe: Probe) -> None:
        """An operand that the call leaves out is absent in the body."""
        function = self.function("F", [node("Clip", ["a", "", "b"], ["c"])])
        proto = self.call(function)
        del proto.graph.node[0].input[1]
        np.testing.assert_array_equal(probe.evaluate(proto, [np.float32([[1, 2, 3, 4]])])["y"], [[1, 2, 3, 4]])

    def test_mistakes(self, probe: Probe) -> None:
        probe.refuse(self.call(self.function("F", self.leaky(), ("slope",)), slope=0.5, colour=1), "'colour'")
        twice = self.function("F", self.leaky(), ("slope",))
        probe.refuse(self.call(twice, twice), "'F'", "twice")
        outside = model(self.leaky()[:1], inputs=[value("a", "batch", 4)], outputs=[onnx.ValueInfoProto(name="h")])
        probe.refuse(outside, "'inner'", "outside of a function")

    def test_bomb(self, probe: Probe) -> None:
        """Twenty-four levels that call the next one twice: 2^24 nodes."""
        functions = []
        for level in range(24):
            body = [node(f"F{level + 1}", ["a", "b"], ["h"], domain="local"),
                    node(f"F{level + 1}", ["h", "b"], ["c"], domain="local")]  # fmt: skip
            functions.append(self.function(f"F{level}" if level else "F", body))
        functions.append(self.function("F24", [node("Add", ["a", "b"], ["c"])]))
        probe.refuse(self.call(*functions), "nodes")


class TestIf:
    def proto(self, condition: list[onnx.NodeProto], constants: list[TensorProto] = ()) -> onnx.ModelProto:
        result = onnx.ValueInfoProto(name="r")
        then = helper.make_graph([node("Relu", ["x"], ["r"], name="taken")], "then", [], [result])
        other = helper.make_graph([node("TopK", ["x"], ["r"])], "else", [], [result])
        branch = node("If", ["cond"], ["y"], name="branch", then_branch=then, else_branch=other)
        return model([*condition, branch], constants, outputs=[value("y", "batch", 4)])

    def test_constant(self, probe: Probe) -> None:
        proto = self.proto([], [constant("cond", True, np.bool_)])
        assert "relu" in probe.text(proto)
        assert "branch/taken" in probe.run(proto, "--sources").stdout

    def test_known_from_shapes(self, probe: Probe) -> None:
        """As PyTorch exports squeeze(1): whether axis 1 has extent 4 is known."""
        nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "one"], ["d"]),
                 node("Equal", ["d", "four"], ["cond"])]  # fmt: skip
        constants = [constant("one", 1, np.int64), constant("four", 4, np.int64)]
        assert "relu" in probe.text(self.proto(nodes, constants))

    def test_other_branch(self, probe: Probe) -> None:
        probe.refuse(self.proto([], [constant("cond", False, np.bool_)]), "'branch/TopK_0'")

    def test_data(self, probe: Probe) -> None:
        nodes = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Cast", ["s"], ["cond"], to=TensorProto.BOOL)]
        probe.refuse(self.proto(nodes), "'branch' (If)", "depends on data")


class TestLowerings:
    """Against onnx.reference, with a dynamic batch."""

    def test_softmax_of_old_opsets(self, probe: Probe) -> None:
        for axis in (1, -2):
            proto = model([node("Softmax", ["x"], ["y"], axis=axis)], [], [value("x", "n", 3, 4)], [value("y")], 11)
            x = rows_of(5, 3, 4)
            e = np.exp(x - x.max((1, 2), keepdims=True))
            got = probe.evaluate(proto, [x], 5)["y"]
            np.testing.assert_allclose(got, e / e.sum((1, 2), keepdims=True), rtol=1e-5)
        last = model([node("Softmax", ["x"], ["y"], axis=2)], [], [value("x", "n", 3, 4)], [value("y")], 11)
        assert "reshape" not in probe.text(last)

    @pytest.mark.parametrize("alpha", [1.0, 0.5])
    @pytest.mark.parametrize("beta", [1.0, 2.0, 0.0])
    @pytest.mark.parametrize("transposed", [0, 1])
    def test_gemm(self, probe: Probe, alpha: float, beta: float, transposed: int) -> None:
        w = rows_of(4, 3, seed=1)
        nodes = [node("Gemm", ["x", "w", "c"], ["y"], alpha=alpha, beta=beta, transB=transposed)]
        constants = [constant("w", w.T if transposed else w), constant("c", [1, 2, 3])]
        proto = model(nodes, constants, outputs=[value("y", "n", 3)])
        check(probe, proto, {"x": rows_of(5, 4)})

    def test_gemm_bias_that_grows(self, probe: Probe) -> None:
        constants = [constant("w", np.ones((4, 3))), constant("c", np.ones((2, 1, 3)))]
        probe.refuse(model([node("Gemm", ["x", "w", "c"], ["y"], name="n")], constants), "'n'", "C")

    def test_shape_arithmetic(self, probe: Probe) -> None:
        """reshape(x, (x.shape[0], -1, 2)) and expand(c, (x.shape[0], 3)), as TorchScript writes them."""
        nodes = [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["b"]),
            node("Unsqueeze", ["b", "axes"], ["b1"]),
            node("Concat", ["b1", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["y"]),
            node("Concat", ["b1", "three"], ["wide"], axis=0),
            node("ConstantOfShape", ["two"], ["ones"], value=constant("", [1], np.int64)),
            node("Mul", ["ones", "minus"], ["negative"]),
            node("Equal", ["wide", "negative"], ["same"]),
            node("Where", ["same", "ones", "wide"], ["final"]),
            node("Expand", ["c", "final"], ["z"]),
        ]
        ints = {"zero": 0, "axes": [0], "rest": [-1, 2], "three": [3], "two": [2], "minus": -1}
        constants = [constant(name, numbers, np.int64) for name, numbers in ints.items()]
        constants.append(constant("c", [[1, 2, 3]]))
        proto = model(nodes, constants, outputs=[value("y", "n", 2, 2), value("z", "n", 3)])
        check(probe, proto, {"x": rows_of(5, 4)})

    @pytest.mark.parametrize(
        ("starts", "ends", "axes", "steps"),
        [([0], [INT64_MAX], [0], [1]), ([1], [3], [1], [1]), ([-3], [-1], [-1], [1]), ([0], [2**31 - 1], [1], [2]),
         ([-1], [-INT64_MAX], [1], [-1]), ([3], [0], [1], [-2]), ([0, 0], [INT64_MAX, 2], [0, 1], [1, 1]),
         ([2], [100], [1], [1]), ([-100], [2], [1], [1]), ([3], [1], [1], [1])],
    )  # fmt: skip
    def test_slice(self, probe: Probe, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
        operands = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
        constants = [constant(name, numbers, np.int64) for name, numbers in operands.items()]
        proto = model([node("Slice", ["x", *operands], ["y"])], constants, outputs=[value("y", "n", "k")])
        check(probe, proto, {"x": rows_of(5, 4)})

    @pytest.mark.parametrize(("start", "end"), [(-1, INT64_MAX), (0, 3), (0, -1), (1, INT64_MAX)])
    def test_slice_of_the_candidates(self, probe: Probe, start: int, end: int) -> None:
        """Refused unless its extent is linear: B - 1 is, min(B, 3) is not, and from B - 1 on has no fixed start."""
        constants = [constant("s", [start], np.int64), constant("e", [end], np.int64), constant("a", [0], np.int64)]
        proto = model([node("Slice", ["x", "s", "e", "a"], ["y"], name="n")], constants, outputs=[value("y", "n", 4)])
        if (start, end) in ((0, -1), (1, INT64_MAX)):
            check(probe, proto, {"x": rows_of(5, 4)})
        else:
            probe.refuse(proto, "'n' (Slice)", "number of candidates")

    def test_split(self, probe: Probe) -> None:
        nodes = [node("Split", ["x", "sizes"], ["y", "z"], axis=-1)]
        outputs = [value("y", "n", 1), value("z", "n", 3)]
        check(probe, model(nodes, [constant("sizes", [1, 3], np.int64)], outputs=outputs), {"x": rows_of(5, 4)})
        uneven = [node("Split", ["x"], ["y", "z", "w"], axis=1, num_outputs=3)]
        proto = model(uneven, inputs=[value("x", "n", 7)], outputs=[value(n, "n", "k") for n in "yzw"], opset=18)
        check(probe, proto, {"x": rows_of(5, 7)})
        attribute = [node("Split", ["x"], ["y", "z"], axis=1, split=[3, 1])]
        check(probe, model(attribute, outputs=outputs, opset=11), {"x": rows_of(5, 4)})
        bad = [node("Split", ["x", "sizes"], ["y", "z"], axis=1, name="n")]
        probe.refuse(model(bad, [constant("sizes", [1, 4], np.int64)]), "'n'", "add up")

    def test_tile(self, probe: Probe) -> None:
        nodes = [node("Tile", ["x", "r"], ["y"])]
        for shape, repeats in (((3, 1), [1, 2, 5]), ((2, 3), [1, 3, 2]), ((1, 1), [2, 1, 1]), ((2, 2), [1, 1, 1])):
            inputs, outputs = [value("x", "n", *shape)], [value("y", "a", "b", "c")]
            proto = model(nodes, [constant("r", repeats, np.int64)], inputs, outputs)
            check(probe, proto, {"x": rows_of(5, *shape)})

    @pytest.mark.parametrize(
        "op", ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceMean", "ReduceMax"]
    )
    @pytest.mark.parametrize("opset", [11, 18])
    @pytest.mark.parametrize("keepdims", [0, 1])
    def test_reductions(self, probe: Probe, op: str, opset: int, keepdims: int) -> None:
        attribute = {"axes": [-1]} if opset == 11 else {}
        operands = ["x"] if opset == 11 else ["x", "axes"]
        proto = model([node(op, operands, ["y"], keepdims=keepdims, **attribute)],
                      [constant("axes", [-1], np.int64)], [value("x", "n", 3, 4)], [value("y")], opset)  # fmt: skip
        check(probe, proto, {"x": rows_of(5, 3, 4) * 50})

    def test_log_sum_exp_of_infinities(self, probe: Probe) -> None:
        proto = model([node("ReduceLogSumExp", ["x"], ["y"], axes=[1])], outputs=[value("y", "n", 1)], opset=13)
        x = np.array([[-np.inf] * 4, [1, 2, np.inf, 3], [1000, 1000, 1000, 1000]], np.float32)
        got = probe.evaluate(proto, [x], 3)["y"][:, 0]
        assert got[0] == -np.inf and got[1] == np.inf and abs(got[2] - (1000 + np.log(4))) < 1e-3

    def test_clip(self, probe: Probe) -> None:
        bounds = [constant("low", -0.5), constant("high", 0.5)]
        for operands in (["x", "low", "high"], ["x", "", "high"], ["x", "low"], ["x"]):
            proto = model([node("Clip", operands, ["y"])], bounds, outputs=[value("y", "n", 4)])
            check(probe, proto, {"x": rows_of(5, 4)})
        nodes = [node("ReduceMin", ["x"], ["low"], keepdims=0), node("Clip", ["x", "low", "high"], ["y"])]
        check(probe, model(nodes, bounds[1:], outputs=[value("y", "n", 4)]), {"x": rows_of(5, 4)})
