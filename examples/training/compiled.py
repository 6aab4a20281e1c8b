"""A trained ranker by both exporters, compiled by mtlc, scored by mtlrun, beside PyTorch."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from examples.zoo.export import EXPORTERS, export, to_newest_onnx, to_program

ROOT = Path(__file__).resolve().parent.parent.parent
TOLERANCE = 1e-5
OPSET = 17  # of the TorchScript exporter; dynamo's is the newest that it writes


@dataclass(frozen=True)
class Compiled:
    """How one exporter's model fared. `error` is empty, or one line that says what went wrong; then
    the numbers are 0 and `difference` is infinite. `difference` is the largest over rows and outputs
    of |score - PyTorch's in float64| / max(1, |PyTorch's|)."""

    exporter: str
    opset: int = 0
    nodes: int = 0
    steps: int = 0
    difference: float = float("inf")
    error: str = ""

    @property
    def equal(self) -> bool:
        return not self.error and self.difference <= TOLERANCE


def program(name: str) -> str:
    """mtlc or mtlrun: from the environment (MTLC, MTLRUN), else from build/bin."""
    return os.environ.get(name.upper(), str(ROOT / "build" / "bin" / name))


def run(*command: str | Path) -> str:
    """Standard output; RuntimeError with one line where the program fails or is not there."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(
            f"cannot run {words[0]}: {error.strerror} (run `./dev build`, or set MTLC and MTLRUN)"
        ) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(f"{Path(words[0]).name}: {lines[-1]}")
    return done.stdout


def reference(model: nn.Module, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    """What PyTorch computes in float64, parameters and inputs promoted exactly. Ids stay ids."""
    given = [v.double() if v.is_floating_point() else v for v in inputs.values()]
    model.double()
    try:
        with torch.no_grad():
            return [output.numpy() for output in model(*given)]
    finally:
        model.float()  # float32 to float64 and back is exact


def difference(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]) -> float:
    """Infinite where an output is missing, of another shape, or no number."""
    largest = 0.0
    for name, expected in want.items():
        value = got.get(name)
        if value is None or value.shape != expected.shape:
            return float("inf")
        off = np.abs(value - expected) / np.maximum(1.0, np.abs(expected))
        largest = max(largest, float(np.where(np.isnan(off), np.inf, off).max(initial=0.0)))
    return largest


def one(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    exporter: str,
    folder: Path,
) -> Compiled:
    """By one exporter; leaves MODEL.onnx and MODEL.bin in `folder`, called after the exporter."""
    few = {name: value[:3] for name, value in inputs.items()}
    path, plan = folder / f"{exporter}.onnx", folder / f"{exporter}.bin"
    try:
        opset = OPSET
        if exporter == "dynamo":
            proto, opset = to_newest_onnx(to_program(model, few), few, outputs)
            path.write_bytes(proto.SerializeToString(deterministic=True))
        else:
            export(model, few, outputs, path, exporter, opset)
        explained = run(program("mtlc"), path, "-o", plan, "--explain")
        with tempfile.TemporaryDirectory() as name:
            given, scored = Path(name, "in.npz"), Path(name, "out.npz")
            np.savez(given, **{key: value.numpy() for key, value in inputs.items()})
            run(program("mtlrun"), "score", plan, "--inputs", given, "--outputs", scored)
            with np.load(scored) as arrays:
                got = dict(arrays)
    except Exception as error:  # exporters raise all kinds; which model it was is what counts
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Compiled(exporter, error=line)
    shown = re.search(r"(\d+) nodes became (\d+) steps", explained)
    nodes, steps = (int(shown[1]), int(shown[2])) if shown else (0, 0)
    want = dict(zip(outputs, reference(model, inputs), strict=True))
    return Compiled(exporter, opset, nodes, steps, difference(got, want))


def both(
    model: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str], folder: Path
) -> list[Compiled]:
    """By both exporters. `model` is in eval mode, `inputs` some rows by name, in the order of its
    arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    return [one(model, inputs, outputs, exporter, folder) for exporter in EXPORTERS]
