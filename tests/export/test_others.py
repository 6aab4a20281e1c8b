"""Rankers of other people's packages, unchanged: `./dev test --export`. Needs PyTorch and what
requirements-others.txt names.

Every model that an exporter of PyTorch can write must compile and score as PyTorch does in float64.
What PyTorch cannot export, and what no plan can say (KNOWN), is shown in docs/rankers-by-others.md
with its error; anything else fails here. `MTLC_OTHERS=FILE` appends one line of JSON for each
export, from which `python -m tests.export.others.table FILE` makes that page."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import TOLERANCE, Programs

pytest.importorskip("torch", reason="the export sweep needs PyTorch")
pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")
for package in ("torch_rechub", "deepctr_torch"):  # found, but not imported: see deepctr.py
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not here: requirements-others.txt", allow_module_level=True)

import torch  # noqa: E402

from tests.export.others import deepctr, helper, rechub, score  # noqa: E402
from tests.export.others.entry import Other  # noqa: E402

OTHERS: dict[str, Other] = {
    other.title: other for package in (rechub, deepctr) for other in package.entries()
}

# Models that no plan can compute, and words of the error that says why.
KNOWN = {
    "torch-rechub MIND": "draws random numbers",
    "torch-rechub MIND, user": "draws random numbers",
    "torch-rechub SASRec, user": "do not broadcast",  # its positions have the export's batch
    "torch-rechub DIEN": "depend on data",
    "DeepCTR-Torch DIEN, GRU": "depend on data",
}


# Models that no exporter of PyTorch can write: their packed sequences hold the rows that are not
# empty.
UNEXPORTED = {
    "torch-rechub NARM, user",
    *(f"DeepCTR-Torch DIEN, {kind}" for kind in ("AIGRU", "AGRU", "AUGRU")),
}

# The exporter of torch-rechub does not find these models' inputs.
UNKNOWN_TO_IT = {"torch-rechub AutoInt"}


def record(results: list[score.Result]) -> None:
    if path := os.environ.get("MTLC_OTHERS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(score.as_json(result) + "\n" for result in results)


@pytest.mark.parametrize("name", OTHERS)
def test_ranker_of_another_package(
    programs: Programs,
    name: str,
    record_property: Callable[[str, tuple[str, int, float]], None],
) -> None:
    torch.set_num_threads(1)
    results = score.results(programs, OTHERS[name])
    record(results)
    wrong = []
    for result in results:
        where = f"{result.exporter} {result.opset}"
        if result.by == "mtlc" and not (name in KNOWN and KNOWN[name] in result.error):
            wrong.append(f"{where}: {result.error}")
        elif not result.error:
            record_property("worst", (result.exporter, result.opset, result.off))
            if not result.good:
                wrong.append(f"{where}: off by {result.off:.3g}, more than {TOLERANCE}")
    assert not wrong, f"{name}: " + "\n".join(wrong)
    if name in KNOWN:
        assert any(result.error for result in results), f"{name} works: take it out of KNOWN"
    elif name in UNEXPORTED:
        assert all(result.by == "pytorch" for result in results), (
            f"{name} is exported now: take it out of UNEXPORTED"
        )
    else:
        assert any(result.good for result in results), f"{name}: PyTorch exports it by no exporter"


@pytest.mark.parametrize("name", helper.NAMES)
def test_what_the_package_exports_itself(programs: Programs, name: str, tmp_path: Path) -> None:
    """torch-rechub's own export helper: with a symbolic length of each sequence, which --dim
    fixes."""
    torch.set_num_threads(1)
    results = helper.results(programs, OTHERS[name], tmp_path)
    record(results)
    wrong = [r for r in results if r.by == "mtlc" or (not r.error and not r.good)]
    assert not wrong, "\n".join(f"{r.exporter} {r.opset}: {r.error or r.off}" for r in wrong)
    assert any(r.good for r in results) or name in UNKNOWN_TO_IT
