"""Every idiom by every exporter at every opset, exported here and now: `./dev test --export`. Needs
PyTorch.

Each model must compile, and score as PyTorch does in float64 at row counts around the edges of a
tile, by both providers; all exports of one idiom must give the same steps and FLOPs, and so must
all idioms of one ranker.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import onnx
from tests.harness import (
    ONE_FORM,
    PROVIDERS,
    ROW_COUNTS,
    Programs,
    check_close,
    check_same_work,
    difference,
    tile,
    work_of,
)

torch = pytest.importorskip("torch", reason="the export sweep needs PyTorch")
pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")

from examples.zoo.export import to_newest_onnx, to_onnx, to_program  # noqa: E402
from examples.zoo.rankers import Small, rankers  # noqa: E402
from examples.zoo.variants import Ranker, Spec, catalogue, idioms, reference  # noqa: E402

NEWEST = "newest"
EXPORTS = [("torchscript", opset) for opset in (11, 13, 17, 20, 23)] + [
    ("dynamo", opset) for opset in (18, 20, 23, NEWEST)
]
SPECS: dict[str, Spec | Small] = {**catalogue(), **rankers()}
ROWS = 65


def first_opset(spec: Spec | Small) -> int:
    """At which TorchScript's exporter can write it: Einsum and Celu came with opset 12."""
    if isinstance(spec, Small):
        return spec.opset
    einsum = "einsum" in spec.mixture or spec.expert_idiom in ("einsum", "einsum_rows", "wide")
    return 12 if einsum or spec.activation == "celu" else 11


class Exporter:
    """One spec's module, and its exports."""

    def __init__(self, spec: Spec | Small) -> None:
        self.spec, self.model = spec, spec.module()
        self.program: torch.export.ExportedProgram | None = None

    def export(self, exporter: str, opset: int | str) -> tuple[onnx.ModelProto, int]:
        """The model, and the opset that it has."""
        few, outputs = self.spec.made_up(3), self.spec.outputs()
        if exporter == "torchscript":
            opset = max(opset, first_opset(self.spec))
            return to_onnx(self.model, few, outputs, exporter, opset), opset
        if self.program is None:
            self.program = to_program(self.model, few)
        if opset == NEWEST:
            return to_newest_onnx(self.program, few, outputs)
        return to_onnx(self.program, few, outputs, exporter, opset), opset


def compile_proto(programs: Programs, proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return programs.compile(path, folder / "plan.bin")


@pytest.mark.parametrize("name", SPECS)
def test_every_export_scores_as_pytorch_does(
    programs: Programs,
    name: str,
    tmp_path: Path,
    record_property: Callable[[str, tuple[str, int, float]], None],
) -> None:
    spec = SPECS[name]
    exports, inputs = Exporter(spec), spec.made_up(ROWS)
    outputs = reference(exports.model, inputs, double=True)
    want = {key: value.numpy() for key, value in zip(spec.outputs(), outputs, strict=True)}
    given = {key: value.numpy() for key, value in inputs.items()}
    work, failures = {}, []

    def worst(plan: Path, provider: str, rows: int) -> float:
        got = programs.score(plan, tile(given, rows), "--provider", provider)
        expected = tile(want, rows)
        check_close(got, expected, f"{provider}, {rows} rows")
        return max(difference(got[key], expected[key]) for key in expected)

    for exporter, wish in EXPORTS:
        where = f"{exporter} {wish}"
        try:
            proto, opset = exports.export(exporter, wish)
            plan = compile_proto(programs, proto, tmp_path)
            work[where] = work_of(programs.info(plan))
            runs = [(plan, *run) for run in itertools.product(PROVIDERS, ROW_COUNTS)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                off = max(pool.map(lambda run: worst(*run), runs))
            record_property("worst", (exporter, opset, off))
        except (AssertionError, ValueError) as error:  # the other exports are worth knowing about
            failures.append(f"{where}: {error}")
    assert not failures, f"{name}: " + "\n".join(failures)
    check_same_work(work, name)


@pytest.mark.parametrize("group", ONE_FORM)
def test_idioms_of_one_form_give_the_same_steps(
    programs: Programs, group: str, tmp_path: Path
) -> None:
    work = {}
    for name in ONE_FORM[group]:
        proto, _ = Exporter(SPECS[name]).export("torchscript", 17)
        work[name] = work_of(programs.info(compile_proto(programs, proto, tmp_path)))
    check_same_work(work, group)


def test_every_idiom_has_its_place() -> None:
    """In a group of one form."""
    idiomatic = {spec for specs in idioms().values() for spec in specs}
    written = {name for name, spec in SPECS.items() if spec in idiomatic}
    grouped = {name for names in ONE_FORM.values() for name in names}
    assert written <= grouped <= set(SPECS)


def test_idioms_of_one_ranker_are_one_function() -> None:
    """The catalogue itself: what is compared must be comparable, and no ranker may score all rows
    alike."""
    for specs in idioms().values():
        outputs = [reference(Ranker(spec), spec.made_up(ROWS), double=True) for spec in specs]
        assert all(np.std(value.numpy(), axis=0).min() > 1e-3 for value in outputs[0])
        for other in outputs[1:]:
            for got, want in zip(other, outputs[0], strict=True):
                assert difference(got.numpy(), want.numpy()) < 1e-12
