"""The cases of test_operators.py: small graphs around one operator each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import onnx
from tests.onnx.builder import Builder, Spec

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (11, 13, 18, 21, NEWEST)
I64, I32, I8, U8, F16, BOOL = np.int64, np.int32, np.int8, np.uint8, np.float16, np.bool_


@dataclass(frozen=True)
class Case:
    op: str
    build: Callable[[Builder], list[str]]  # the outputs
    since: int = 11
    until: int = NEWEST
    reference: Callable[..., object] | None = None  # of the operands' arrays, where onnx.reference is wrong

    def opsets(self) -> list[int]:
        """One opset for each version of the operator, the first of OPSETS that has it, and the newest."""
        chosen: dict[int, int] = {}
        fitting = [opset for opset in OPSETS if self.since <= opset <= self.until]
        fitting = fitting or [self.since]
        for opset in fitting:
            chosen.setdefault(onnx.defs.get_schema(self.op, opset).since_version, opset)
        return sorted({*chosen.values(), fitting[-1]})


CASES: list[Case] = []


def add(
    op: str,
    *operands: Spec | np.ndarray | None,
    outs: int = 1,
    since: int = 11,
    until: int = NEWEST,
    reference: Callable[..., object] | None = None,
    **attributes: object,
) -> None:
    """One node: Specs are inputs, arrays are initialisers."""

    def build(b: Builder) -> list[str]:
        names = []
        for operand in operands:
            if isinstance(operand, Spec):
                names.append(b.input(operand))
            else:
                names.append(None if operand is None else b.const(operand, operand.dtype))
        name = b.node(op, *names, outs=outs, **attributes)
        return [name, *(f"{name}.{i}" for i in range(1, outs))]

    CASES.append(Case(op, build, since, until, reference))


def graph(op: str, since: int = 11, until: int = NEWEST) -> Callable[[Callable[[Builder], list[str]]], object]:
    """Several nodes: decorates a function that builds them and returns the outputs."""
    return lambda build: CASES.append(Case(op, build, since, until))


def x(*dims: int, dtype: type = np.float32, low: float | None = None, high: float | None = None) -> Spec:
    return Spec(dims, dtype, low, high)


def k(*shape: int, seed: int = 1, low: float = -1.0, high: float = 1.0, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def ints(*numbers: int, dtype: type = np.int64) -> np.ndarray:
    return np.asarray(numbers, dtype)
