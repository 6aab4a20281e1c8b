"""Every fixture, at row counts around the edges of a tile, scores as PyTorch does in float64: by
both providers, and by the native kernels of each instruction set that this machine has."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import Message

import onnx
from tests.harness import (
    FIXTURES,
    PROVIDERS,
    ROW_COUNTS,
    Fixture,
    Programs,
    check_close,
    isas,
    manifest,
    names,
    tile,
)

ALL = manifest()
MEGABYTES = 5.0


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_scores_are_those_of_pytorch(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    inputs, want = fixture.load("in"), fixture.load("f64")
    for provider in PROVIDERS:
        for rows in ROW_COUNTS:
            got = programs.score(plan, tile(inputs, rows), "--provider", provider)
            check_close(got, tile(want, rows), f"{fixture.model}, {provider}, {rows} rows")
    for isa in isas():
        got = programs.score(plan, inputs, "--provider", "native", "--isa", isa)
        check_close(got, want, f"{fixture.model}, {isa}")
    check_close(programs.score(plan, inputs), want, f"{fixture.model}, default configuration")


@pytest.mark.parametrize("fixture", ALL[:4], ids=names(ALL[:4]))
def test_no_rows_give_no_scores(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    empty = {name: value[:0] for name, value in fixture.load("in").items()}
    want = {name: value[:0] for name, value in fixture.load("f64").items()}
    check_close(programs.score(plan, empty), want, fixture.model)


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_equal_models_give_equal_plans(
    programs: Programs, fixture: Fixture, tmp_path: Path
) -> None:
    first = programs.compile(fixture.path, tmp_path / "first.bin", *fixture.options)
    second = programs.compile(fixture.path, tmp_path / "second.bin", *fixture.options)
    assert first.read_bytes() == second.read_bytes()


def fields(message: Message, name: str) -> list[str]:
    """Contents of all fields of that name, at any depth."""
    found = []
    for field, value in message.ListFields():
        if field.name == name:
            found.append(str(value))
        elif field.type == field.TYPE_MESSAGE:
            for item in value if hasattr(value, "add") else [value]:
                found += fields(item, name)
    return found


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_fixtures_hold_the_model_only(fixture: Fixture) -> None:
    model = onnx.load(fixture.path, load_external_data=False)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == fixture.opset
    assert not fields(model, "metadata_props") and not fields(model, "doc_string")
    assert not fields(model, "external_data")


def test_fixtures_are_small() -> None:
    size = sum(file.stat().st_size for file in FIXTURES.iterdir())
    assert size <= MEGABYTES * 1e6, f"{size / 1e6:.2f} MB"
