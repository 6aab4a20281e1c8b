"""Puts models together, node by node, with the inputs that suit them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Spec:
    """An input of shape (candidates, *dims), or `dims` alone: uniform in [low, high), or normal where they are None."""

    dims: tuple[int, ...]
    dtype: type = np.float32
    low: float | None = None
    high: float | None = None
    rows: bool = True

    def make(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        shape = (rows, *self.dims) if self.rows else self.dims
        if self.dtype is np.bool_:
            return rng.random(shape) < 0.5
        if np.issubdtype(self.dtype, np.integer):
            low = -5 if np.issubdtype(self.dtype, np.signedinteger) else 0
            return rng.integers(
                low if self.low is None else self.low, 6 if self.high is None else self.high, shape, dtype=self.dtype
            )
        if self.low is None:
            return rng.standard_normal(shape).astype(self.dtype)
        return rng.uniform(self.low, self.high, shape).astype(self.dtype)


@dataclass
class Builder:
    opset: int
    dim: str | None = "B"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    inputs: dict[str, Spec] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    made: int = 0

    def fresh(self, stem: str) -> str:
        self.made += 1
        return f"{stem}_{self.made}"

    def input(self, spec: Spec, name: str | None = None) -> str:
        name = name or self.fresh("in")
        self.inputs[name] = spec
        return name

    def const(self, array: object, dtype: type | None = np.float32, name: str | None = None) -> str:
        name = name or self.fresh("k")
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.const(numbers, np.int64)

    def node(self, op: str, *operands: str | None, outs: int | list[str] = 1, **attributes: object) -> str:
        """The first result; others are named after it with .1, .2, ..."""
        name = self.fresh(op.lower())
        results = outs if isinstance(outs, list) else [name, *(f"{name}.{i}" for i in range(1, outs))]
        operands = ["" if operand is None else operand for operand in operands]
        self.nodes.append(helper.make_node(op, operands, results, name=name, **attributes))
        return results[0]

    def output(self, name: str) -> None:
        self.outputs.append(name)

    def model(self) -> onnx.ModelProto:
        inputs = []
        for name, spec in self.inputs.items():
            shape = (self.dim, *spec.dims) if spec.rows else spec.dims
            inputs.append(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), shape)
            )
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, initializer=self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)  # types of the outputs

    def make(self, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, rows])
        return {name: spec.make(rows, rng) for name, spec in self.inputs.items()}


__all__ = ["Builder", "Spec", "TensorProto"]
