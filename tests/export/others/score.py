"""One ranker by all exporters: exported, compiled, scored by both providers, compared with PyTorch
in float64."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.export.others.entry import EXPORTS, Exporter, Other, reference
from tests.harness import PROVIDERS, TOLERANCE, Programs, difference

ROW_COUNTS = (1, 2, 63, 65, 300)


@dataclass(frozen=True)
class Result:
    """`error` of PyTorch's exporter, which cannot do it, or of ours; else the plan's steps and the
    largest difference over all row counts and providers."""

    package: str
    model: str
    exporter: str
    opset: int | str
    steps: int = 0
    off: float = 0.0
    error: str = ""
    by: str = ""  # whose error it is: "pytorch", "mtlc"

    @property
    def good(self) -> bool:
        return not self.error and self.off <= TOLERANCE


def first_line(error: BaseException | str) -> str:
    """The line of an error that says what is wrong, without paths, in one length."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # PyTorch colours its advice
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if isinstance(error, BaseException) and not isinstance(error, (ValueError, AssertionError)):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 160 else text[:157] + "..."


def worst_of(
    programs: Programs,
    plan: Path,
    inputs: dict[str, np.ndarray],
    want: np.ndarray,
    output: str = "y",
) -> float:
    worst = 0.0
    for rows in ROW_COUNTS:
        part = {name: value[:rows] for name, value in inputs.items()}
        for provider in PROVIDERS:
            got = programs.score(plan, part, "--provider", provider)[output]
            assert got.shape == want[:rows].shape, f"{provider}, {rows} rows: shape {got.shape}"
            worst = max(worst, difference(got, want[:rows]))
    return worst


def compiled(
    programs: Programs, model: Path, options: Sequence[str] = ()
) -> tuple[Path | None, str]:
    """The plan, or the error."""
    plan = model.with_suffix(".bin")
    done = programs.run(programs.mtlc, model, "-o", plan, *options)
    if done.returncode == 0:
        return plan, ""
    return None, first_line(done.stderr).replace(str(model), "").removeprefix("mtlc: : ")


def results(programs: Programs, other: Other) -> list[Result]:
    """By every exporter and opset. Raises only where the package itself fails."""
    exporter, inputs = Exporter(other), other.made_up(max(ROW_COUNTS))
    want = reference(exporter.model, inputs)
    assert np.isfinite(want).all() and want.std(axis=0).min() > 1e-4, "the scores say nothing"
    given = {name: value.numpy() for name, value in inputs.items()}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        for name, wish in EXPORTS:
            where = (other.package, other.name, name, wish)
            try:
                proto, opset = exporter.export(name, wish)
            except Exception as error:  # whatever PyTorch raises is the answer
                found.append(Result(*where, error=first_line(error), by="pytorch"))
                continue
            path.write_bytes(proto.SerializeToString())
            plan, message = compiled(programs, path)
            where = (*where[:3], opset)
            if plan is None:
                found.append(Result(*where, error=message, by="mtlc"))
            else:
                steps = len(programs.info(plan)["steps"])
                found.append(Result(*where, steps, worst_of(programs, plan, given, want)))
    return found


def as_json(result: Result) -> str:
    return json.dumps(asdict(result))
