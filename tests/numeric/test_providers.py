"""Forcing a provider means it: with oneDNN forced no native product runs, and the other way
round."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Fixture, Programs, manifest, names

ALL = manifest()
PRODUCTS = ("linear", "matmul")


def kernels(programs: Programs, plan: Path, provider: str) -> dict[str, list[str]]:
    """Who computes each step, by operation."""
    found: dict[str, list[str]] = {}
    for step in programs.info(plan, "--provider", provider)["steps"]:
        found.setdefault(step["op"], []).append(step["kernel"])
    return found


@pytest.mark.parametrize("fixture", ALL, ids=names(ALL))
def test_products_run_where_they_must(programs: Programs, fixture: Fixture, tmp_path: Path) -> None:
    plan = programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)
    forced = kernels(programs, plan, "onednn")
    products = [kernel for op in PRODUCTS for kernel in forced.get(op, [])]
    assert products, "a ranker without products"
    assert all("onednn" in kernel.lower() for kernel in products), (
        f"native products with oneDNN forced: {products}"
    )
    native = [
        kernel for entries in kernels(programs, plan, "native").values() for kernel in entries
    ]
    assert not any("onednn" in kernel.lower() for kernel in native), (
        f"oneDNN with native forced: {native}"
    )
