"""Every idiom by every exporter at every opset, exported here and now: `./dev test --export`. Needs
PyTorch.

Each model must compile, and score as PyTorch does in float64 at row counts around the edges of a
tile, by both providers; and all exports of one idiom must give the same steps and FLOPs.
"""

from __future__ import annotations

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import (
    PROVIDERS,
    ROW_COUNTS,
    WORST,
    Programs,
    Work,
    check_close,
    difference,
    tile,
    work_of,
)

torch = pytest.importorskip("torch", reason="the export sweep needs PyTorch")
pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")

from examples.zoo.export import to_newest_onnx, to_onnx, to_program  # noqa: E402
from examples.zoo.variants import Ranker, Spec, catalogue, reference  # noqa: E402

NEWEST = "newest"
EXPORTS = [("torchscript", opset) for opset in (11, 13, 17, 20, 23)] + [
    ("dynamo", opset) for opset in (18, 20, 23, NEWEST)
]
SPECS = catalogue()
ROWS = 65

WORK: dict[str, dict[str, Work]] = {}  # by spec: each export's steps


def needs_opset_12(spec: Spec) -> bool:
    """Operators that came with opset 12: Einsum and Celu."""
    einsum = "einsum" in spec.mixture or spec.expert_idiom in ("einsum", "einsum_rows", "wide")
    return einsum or spec.activation == "celu"


# Functions that some exports write out in several operators, because the operator came with a later
# opset or the exporter does not use it. Their steps are more, then, until a pass recognises them.
ONE_OPERATOR = {
    "gelu": "Gelu",
    "gelu_tanh": "Gelu",
    "hardswish": "HardSwish",
    "mish": "Mish",
    "softplus": "Softplus",
    "layer_norm": "LayerNormalization",
}


def written_out(spec: Spec, proto: onnx.ModelProto) -> bool:
    functions = (spec.activation, spec.norm, "layer_norm" if spec.input_norm else "")
    needed = {ONE_OPERATOR[function] for function in functions if function in ONE_OPERATOR}
    return not needed <= {node.op_type for node in proto.graph.node}


@functools.lru_cache(maxsize=2)  # tests of one spec follow each other
def prepared(name: str) -> tuple[Ranker, torch.export.ExportedProgram, dict, dict]:
    spec = SPECS[name]
    model, inputs = Ranker(spec), spec.made_up(ROWS)
    want = {
        key: value.numpy()
        for key, value in zip(spec.outputs(), reference(model, inputs, True), strict=True)
    }
    return (
        model,
        to_program(model, spec.made_up(3)),
        {key: value.numpy() for key, value in inputs.items()},
        want,
    )


@pytest.mark.parametrize(
    ("exporter", "opset"), EXPORTS, ids=[f"{exporter}-{opset}" for exporter, opset in EXPORTS]
)
@pytest.mark.parametrize("name", SPECS)
def test_scores_are_those_of_pytorch(
    programs: Programs, name: str, exporter: str, opset: int | str, tmp_path: Path
) -> None:
    spec = SPECS[name]
    model, program, inputs, want = prepared(name)
    few, outputs = spec.made_up(3), spec.outputs()
    if opset == 11 and needs_opset_12(spec):
        opset = 12
    if opset == NEWEST:
        proto, opset = to_newest_onnx(program, few, outputs)
    else:
        proto = to_onnx(program if exporter == "dynamo" else model, few, outputs, exporter, opset)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())

    plan = programs.compile(path, tmp_path / "plan.bin")

    def worst(provider: str, rows: int) -> float:
        got, expected = (
            programs.score(plan, tile(inputs, rows), "--provider", provider),
            tile(want, rows),
        )
        check_close(got, expected, f"{name}, {exporter} {opset}, {provider}, {rows} rows")
        return max(difference(got[key], expected[key]) for key in expected)

    runs = itertools.product(PROVIDERS, ROW_COUNTS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        WORST.setdefault((exporter, opset), []).append(max(pool.map(lambda run: worst(*run), runs)))
    if not written_out(spec, proto):
        WORK.setdefault(name, {})[f"{exporter} {opset}"] = work_of(programs.info(plan))


@pytest.mark.parametrize("name", SPECS)
def test_exports_of_one_idiom_give_the_same_steps(name: str) -> None:
    work = WORK.get(name, {})
    if len(work) < 2:
        pytest.skip("fewer than two exports of it were compiled in this run")
    (first, expected), *others = work.items()
    for other, got in others:
        assert got.steps == expected.steps, f"{name}: {other} and {first} have other steps"
        assert got.flops == expected.flops, f"{name}: {other} and {first} have other FLOPs"


def test_idioms_of_one_ranker_are_one_function() -> None:
    """The catalogue itself: what is compared must be comparable, and no ranker may score all rows
    alike."""
    from examples.zoo.variants import idioms

    for specs in idioms().values():
        outputs = [reference(Ranker(spec), spec.made_up(ROWS), double=True) for spec in specs]
        assert all(np.std(value.numpy(), axis=0).min() > 1e-3 for value in outputs[0])
        for other in outputs[1:]:
            for got, want in zip(other, outputs[0], strict=True):
                assert difference(got.numpy(), want.numpy()) < 1e-12
