"""From PyTorch to scores: what `./dev demo` shows.

    MTLC=build/bin/mtlc MTLRUN=build/bin/mtlrun python -m examples.demo

Trains an MMoE and a PLE (a few seconds each), exports, compiles, scores, and times them. Where
there is no PyTorch, the committed models of tests/fixtures take the place of fresh ones;
`--fixtures` asks for them. Exit status 1 if scores differ by more than 1e-5.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
MTLC = os.environ.get("MTLC", str(ROOT / "build" / "bin" / "mtlc"))
MTLRUN = os.environ.get("MTLRUN", str(ROOT / "build" / "bin" / "mtlrun"))
TOLERANCE = 1e-5
ROWS = (1, 16, 64, 256, 1024)
WIDTH = 64  # input features of the freshly trained models

TITLES = {
    "mmoe": "MMoE, multi-gate mixture of experts",
    "ple": "PLE, progressive layered extraction",
}


@dataclass
class Model:
    """An exported model, some inputs by name, and PyTorch's float64 scores for them."""

    title: str
    origin: str
    path: Path
    inputs: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]


def heading(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> None:
    """Aligned columns, numbers to the right, those in `left` to the left."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [
            cell.ljust(w) if i in left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths))
        ]
        print("  " + "   ".join(cells).rstrip())


def run(*command: str | Path) -> str:
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False
        )
    except OSError as error:
        sys.exit(
            f"demo: cannot run {command[0]}: {error.strerror} "
            "(run `./dev build`, or set MTLC and MTLRUN)"
        )
    if done.returncode != 0:
        sys.exit(f"demo: {' '.join(str(word) for word in command)}\n{done.stderr.strip()}")
    return done.stdout


def train(kind: str, exporter: str, opset: int, folder: Path) -> Model:
    import torch

    from examples.zoo.data import TASKS, planted
    from examples.zoo.export import export
    from examples.zoo.train import evaluate, trained
    from examples.zoo.variants import reference

    heading(TITLES[kind])
    print("  training on 20,000 made-up impressions ...", flush=True)
    torch.set_num_threads(1)  # products so small that threads would only wait for each other
    begin = time.perf_counter()
    model = trained(kind, WIDTH)
    seconds = time.perf_counter() - begin
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"  {parameters:,} parameters, {seconds:.1f} s; AUC on 20,000 others and the best:")
    table(
        ("task", "AUC", "best"),
        [(t, f"{a:.4f}", f"{b:.4f}") for t, a, b in evaluate(model, planted(20_000, WIDTH, 2))],
    )
    path = export(
        model, {"x": torch.zeros(3, WIDTH)}, TASKS, folder / f"{kind}.onnx", exporter, opset
    )
    x = planted(1000, WIDTH, seed=3).x
    scores = {
        name: value.numpy() for name, value in zip(TASKS, reference(model, {"x": x}, double=True))
    }
    return Model(kind, f"{exporter} exporter, opset {opset}", path, {"x": x.numpy()}, scores)


def take(kind: str, exporter: str, folder: Path) -> Model:
    """A trained model of tests/fixtures, copied to the folder."""
    entries = json.loads((FIXTURES / "manifest.json").read_text())["models"]
    entry = next(
        e for e in entries if e.get("group") == f"trained_{kind}" and e["exporter"] == exporter
    )
    path = folder / f"{kind}.onnx"
    path.write_bytes((FIXTURES / entry["model"]).read_bytes())
    with np.load(FIXTURES / entry["data"]) as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays.files if key.startswith("in:")}
        scores = {key[4:]: arrays[key] for key in arrays.files if key.startswith("f64:")}
    heading(f"{TITLES[kind]}: tests/fixtures/{entry['model']}")
    return Model(kind, f"{exporter} exporter, opset {entry['opset']}", path, inputs, scores)


def counted(operators: list[str]) -> str:
    """"Gemm + 2 Relu" of one Gemm and two Relu."""
    counts = Counter(operators).items()
    return " + ".join(f"{count} {name}" if count > 1 else name for name, count in counts)


def show_fusion(explanation: str) -> None:
    """`mtlc --explain` says of each node of the model what it became; here the same, counted."""
    steps: dict[str, list[str]] = defaultdict(list)  # "step 3: linear relu": operators in it
    others: Counter[str] = Counter()
    line = re.compile(r"^\S.*?\s{2,}(\S+)\s{2,}(\S.*)$")  # node, operator, what became of it
    for text in explanation.split("\n\n")[1].splitlines():  # behind the title
        if (match := line.match(text)) and match[1] != "operator":
            if match[2].startswith("step "):
                steps[match[2].replace("softmax softmax", "softmax")].append(match[1])
            else:
                others[re.sub(r"'[^']*'", "another", match[2])] += 1
    fused = Counter(
        (step.split(": ", 1)[1], counted(operators)) for step, operators in steps.items()
    )
    rows = [(f"{count} x", operators, step) for (step, operators), count in fused.most_common()]
    table(("", "operators of the model", "one step of the plan"), rows, left=(1, 2))
    for fate, count in others.most_common():
        print(f"  {count} more {'node' if count == 1 else 'nodes'}: {fate}")


def show_scores(model: Model, got: dict[str, np.ndarray]) -> float:
    """A few rows beside PyTorch's; returns the largest difference over all rows and outputs."""
    names = list(model.scores)
    head = ["row"] + [text for name in names for text in (name, "PyTorch")]
    rows = []
    for row in range(3):
        cells = [str(row)]
        for name in names:
            cells += [f"{got[name][row].item():.7f}", f"{model.scores[name][row].item():.7f}"]
        rows.append(cells)
    table(head, rows)
    largest = 0.0
    for name in names:
        want = model.scores[name]
        if got[name].shape != want.shape:
            print(f"  {name} has the shape {got[name].shape}, expected {want.shape}")
            return float("inf")
        off = np.abs(got[name] - want) / np.maximum(1.0, np.abs(want))
        largest = max(largest, float("inf") if np.isnan(off).any() else float(off.max()))
    count = len(model.scores[names[0]])
    print(
        f"  largest difference over {count} rows: {largest:.1e} from PyTorch in float64 "
        f"(allowed: {TOLERANCE:.0e})"
    )
    return largest


def show_times(plan: Path) -> None:
    wanted = ",".join(map(str, ROWS))
    results = json.loads(run(MTLRUN, "bench", plan, "--rows", wanted, "--threads", "1", "--json"))[
        "results"
    ]
    rows = [
        (
            f"{r['rows']:,}",
            f"{r['median_us']:,.1f}",
            f"{r['p99_us']:,.1f}",
            f"{r['median_us'] / r['rows']:.2f}",
        )
        for r in results
    ]
    table(("rows a call", "microseconds", "99th percentile", "a row"), rows, left=())


def show(model: Model, folder: Path) -> float:
    plan = folder / f"{model.title}.bin"
    explanation = run(MTLC, model.path, "-o", plan, "--explain")
    print(f"\n  $ mtlc {model.path.name} -o {plan.name} --explain      # {model.origin}")
    before, after = (path.stat().st_size for path in (model.path, plan))
    sizes = f"{before:,} bytes of ONNX became a plan of {after:,} bytes"
    shown = re.match(r".*?(\d+) nodes became (\d+) steps", explanation)
    print(f"  {sizes}" + (f", {shown[1]} nodes {shown[2]} steps" if shown else ""))
    show_fusion(explanation)

    given, scored = folder / "in.npz", folder / "out.npz"
    np.savez(given, **model.inputs)
    run(MTLRUN, "score", plan, "--inputs", given, "--outputs", scored)
    print(f"\n  $ mtlrun score {plan.name} --inputs in.npz --outputs out.npz")
    with np.load(scored) as outputs:
        largest = show_scores(model, dict(outputs))

    print(f"\n  $ mtlrun bench {plan.name} --rows {','.join(map(str, ROWS))} --threads 1")
    show_times(plan)
    return largest


def main() -> int:
    fresh = all(importlib.util.find_spec(name) for name in ("torch", "onnx", "onnxscript"))
    if "--fixtures" in sys.argv[1:]:
        fresh = False
    elif not fresh:
        print(
            "PyTorch is not here: taking the trained models of tests/fixtures instead of "
            "training afresh."
        )
    largest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, exporter, opset in (("mmoe", "torchscript", 17), ("ple", "dynamo", 20)):
            model = train(kind, exporter, opset, folder) if fresh else take(kind, exporter, folder)
            largest = max(largest, show(model, folder))
    heading("Next")
    print(
        "  Your own model: build/bin/mtlc model.onnx -o plan.bin --explain; then "
        "build/bin/mtlrun score --help."
    )
    print("  The rankers are in examples/zoo; examples/embed.c puts a plan into a C program.")
    if not largest <= TOLERANCE:
        print(
            f"demo: scores differ from PyTorch's by {largest:.1e}, more than {TOLERANCE:.0e}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
