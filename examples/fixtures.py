"""Writes tests/fixtures: small exported rankers, and what PyTorch computes for them.

    python -m examples.fixtures [FOLDER]

Each model is an .onnx beside an .npz with one batch of 65 rows: `in:NAME` the inputs (float32, ids
int64), `f32:NAME` and `f64:NAME` the outputs of PyTorch in float32 and float64. Models that differ
in idiom, exporter or opset only share an .npz. manifest.json says what each is. The same versions
of torch and onnx on the same kind of CPU give the same bytes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from examples.zoo.data import TASKS, planted
from examples.zoo.export import export, to_newest_onnx, to_program
from examples.zoo.rankers import rankers
from examples.zoo.train import trained
from examples.zoo.variants import Ranker, Spec, catalogue, idioms, reference

ROWS = 65
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
SHORT = {"torchscript": "ts", "dynamo": "dyn"}

TORCHSCRIPT = (11, 13, 17, 20, 23)
NEWEST = 0  # that the exporter writes for the model at hand
DYNAMO = (18, 20, 23, NEWEST)

# Ways to write a mixture that the sweep has and the fixtures, which must stay small, have not.
LEFT_OUT = ("cat_sum", "stack_mul_first", "chunk_chain", "unbind_chain", "loop", "sum_all")

# Besides the base ranker: which of the catalogue, by which exporter, at which opset.
SAMPLE = (
    ("activation-gelu", "torchscript", 13),
    ("activation-gelu_tanh", "dynamo", 20),
    ("activation-silu", "dynamo", NEWEST),
    ("activation-prelu_channels", "torchscript", 17),
    ("activation-leaky_relu", "torchscript", 11),
    ("activation-tanh", "dynamo", 18),
    ("activation-elu", "torchscript", 20),
    ("activation-mish", "torchscript", 13),
    ("activation-hardswish", "dynamo", 23),
    ("head-squeeze", "torchscript", 11),
    ("head-squeeze_all", "torchscript", 13),
    ("head-reshape", "torchscript", 17),
    ("head-view", "dynamo", 20),
    ("head-select", "dynamo", NEWEST),
    ("head-cat", "torchscript", 20),
    ("head-stack", "dynamo", 23),
    ("norm-bn_before", "torchscript", 17),
    ("norm-bn_before", "dynamo", 18),
    ("norm-bn_after", "torchscript", 13),
    ("norm-bn_after", "dynamo", NEWEST),
    ("norm-layer_norm", "dynamo", 20),
    ("norm-bn_after-leaky_relu", "torchscript", 23),
    ("size-1x1", "torchscript", 13),
    ("size-1x2", "dynamo", 18),
    ("size-16x2", "torchscript", 17),
    ("size-3x8", "dynamo", 23),
    ("size-16x8-bmm", "dynamo", 20),
    ("width-7-17-33", "torchscript", 11),
    ("width-100-33-7-einsum", "dynamo", 18),
    ("width-17-100-15-einsum", "torchscript", 20),
    ("width-1-1-1", "torchscript", 17),
    ("gate-no_bias", "torchscript", 17),
    ("gate-mlp", "dynamo", 18),
    ("gates-out", "torchscript", 13),
    ("gates-out-matmul_all", "dynamo", NEWEST),
    ("kind-regression", "torchscript", 17),
    ("kind-multiclass", "dynamo", 18),
    ("inputs-2", "torchscript", 17),
    ("inputs-3", "dynamo", 20),
    ("input-layer_norm", "torchscript", 23),
    ("ple-seed", "dynamo", 18),
    ("ple-3-levels", "torchscript", 17),
    ("ple-1-level", "dynamo", 23),
)
# The same of the zoo's other rankers: a few of each family.
ZOO_SAMPLE = (
    ("zoo-shared_bottom", "torchscript", 17),
    ("zoo-shared_bottom-kinds", "dynamo", 20),
    ("zoo-cross_stitch", "dynamo", 18),
    ("zoo-cross_stitch", "torchscript", 17),
    ("zoo-esmm", "torchscript", 13),
    ("zoo-esmm-chain", "dynamo", NEWEST),
    ("zoo-omoe", "torchscript", 17),
    ("zoo-ple-gates", "dynamo", 18),
    ("zoo-stem", "dynamo", 18),
    ("zoo-stem_s", "torchscript", 17),
    ("zoo-stem_s", "dynamo", 20),
    ("zoo-task_routing", "torchscript", 17),
    ("zoo-task_routing-joint", "dynamo", 18),
    ("zoo-resflow", "torchscript", 17),
    ("zoo-resflow", "dynamo", NEWEST),
    ("zoo-resflow-logits", "dynamo", 20),
    ("zoo-resflow-prelu", "torchscript", 13),
    ("zoo-resflow-tree", "dynamo", 23),
    ("zoo-resflow-hard", "torchscript", 20),
    ("zoo-resflow-ordinal", "torchscript", 17),
    ("zoo-resflow-product", "dynamo", 18),
    ("zoo-resflow-tower", "dynamo", 20),
    ("zoo-seq", "torchscript", 17),
    ("zoo-seq", "dynamo", 18),
    ("zoo-seq-min", "dynamo", NEWEST),
    ("zoo-seq-kinds", "torchscript", 13),
    ("zoo-aitm", "torchscript", 17),
    ("zoo-aitm", "dynamo", 20),
    ("zoo-mmoe-fields", "torchscript", 17),
    ("zoo-front", "torchscript", 17),
    ("zoo-front", "dynamo", NEWEST),
    ("zoo-front-bag_max", "torchscript", 13),
    ("zoo-dtrn", "torchscript", 17),
    ("zoo-dtrn", "dynamo", 18),
    ("zoo-dtrn-pre_norm", "dynamo", 20),
    ("zoo-dtrn-fused", "dynamo", 23),
    ("zoo-dtrn-deep", "torchscript", 13),
    ("zoo-dtrn-ple", "dynamo", NEWEST),
    ("zoo-md-id", "torchscript", 17),
    ("zoo-md-vector", "dynamo", 18),
    ("zoo-md-seq", "dynamo", 23),
)


@dataclass
class Writer:
    folder: Path
    models: list[dict] = field(default_factory=list)

    def data(
        self, name: str, model: nn.Module, inputs: dict[str, Tensor], outputs: list[str]
    ) -> str:
        arrays = {f"in:{key}": value.numpy() for key, value in inputs.items()}
        for kind, double in (("f32", False), ("f64", True)):
            for key, value in zip(outputs, reference(model, inputs, double), strict=True):
                arrays[f"{kind}:{key}"] = value.numpy()
        np.savez_compressed(self.folder / f"{name}.npz", **arrays)
        return f"{name}.npz"

    def model(
        self,
        name: str,
        data: str,
        model: nn.Module | torch.export.ExportedProgram,
        inputs: dict[str, Tensor],
        outputs: list[str],
        exporter: str,
        opset: int,
        **about: str | bool | list[str],
    ) -> None:
        opset = opset or to_newest_onnx(model, inputs, outputs)[1]
        file = f"{name}_{SHORT[exporter]}{opset}.onnx"
        dynamic = not about.get("frozen", False)
        export(model, inputs, outputs, self.folder / file, exporter, opset, dynamic)
        self.models.append(
            {
                "model": file,
                "data": data,
                "exporter": exporter,
                "opset": opset,
                "rows": ROWS,
                "inputs": list(inputs),
                "outputs": outputs,
                "options": [],
                **about,
            }
        )

    def ranker(
        self, name: str, spec: Spec, exports: list[tuple[str, int]], data: str = "", **about: str
    ) -> str:
        """One spec by several exporters; returns the name of its data, which equal functions may
        share."""
        model, few = Ranker(spec), spec.made_up(3)
        data = data or self.data(name, model, spec.made_up(ROWS), spec.outputs())
        for exporter, opset in exports:
            source = to_program(model, few) if exporter == "dynamo" else model
            idiom = f"{spec.expert_idiom} {spec.mixture}" + (
                " wide_gate" if spec.gate == "wide" else ""
            )
            self.model(
                name,
                data,
                source,
                few,
                spec.outputs(),
                exporter,
                opset,
                ranker=about.get("group", name),
                idiom=idiom,
                **about,
            )
        return data


def write_idioms(writer: Writer) -> None:
    """Two rankers in their idioms: the base one at every exporter and opset, the others at one, in
    turn."""
    every = [("torchscript", opset) for opset in TORCHSCRIPT] + [
        ("dynamo", opset) for opset in DYNAMO
    ]
    for group, specs in idioms().items():
        data = ""
        for i, spec in enumerate(
            spec for spec in specs if spec.mixture not in LEFT_OUT and spec.container == "tuple"
        ):
            gate = "-wide_gate" if spec.gate == "wide" else ""
            name = f"{group}-{spec.expert_idiom}-{spec.mixture}{gate}"
            one = every[i % len(every)]
            if one == ("torchscript", 11):
                one = ("torchscript", 12)  # some of them are einsums
            exports = (
                every if i == 0 and group == "mmoe" else [every[2], every[5]] if i == 0 else [one]
            )
            data = writer.ranker(name, spec, exports, data, group=group)


def write_trained(writer: Writer) -> None:
    sizes = {"mmoe": dict(hidden=32, out=32), "ple": dict(own=1, shared=1, hidden=32, out=32)}
    for kind, size in sizes.items():
        model = trained(kind, **size)
        rows, few = ({"x": planted(n, 64, seed=3).x} for n in (ROWS, 3))
        data = writer.data(f"trained_{kind}", model, rows, list(TASKS))
        for exporter, opset in (("torchscript", 17), ("dynamo", NEWEST)):
            source = to_program(model, few) if exporter == "dynamo" else model
            writer.model(
                f"trained_{kind}",
                data,
                source,
                few,
                list(TASKS),
                exporter,
                opset,
                ranker=kind,
                idiom="zoo",
                group=f"trained_{kind}",
            )


def write_zoo(writer: Writer) -> None:
    known, written = rankers(), {}
    for name, exporter, opset in ZOO_SAMPLE:
        small = known[name]
        model, few, outputs = small.module(), small.made_up(3), small.outputs()
        if name not in written:
            written[name] = writer.data(name, model, small.made_up(ROWS), outputs)
        source = to_program(model, few) if exporter == "dynamo" else model
        about = {"ranker": name, "idiom": "zoo", "group": name}
        writer.model(name, written[name], source, few, outputs, exporter, opset, **about)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.onnx"), *folder.glob("*.npz")]:
        old.unlink()
    torch.set_num_threads(1)  # sums in one order
    writer = Writer(folder)
    write_trained(writer)
    write_idioms(writer)
    known, written = catalogue(), {}
    for name, exporter, opset in SAMPLE:
        written[name] = writer.ranker(name, known[name], [(exporter, opset)], written.get(name, ""))
    write_zoo(writer)
    model, few = Ranker(known["size-1x2"]), known["size-1x2"].made_up(3)
    writer.model(
        "frozen_batch",
        written["size-1x2"],
        model,
        few,
        known["size-1x2"].outputs(),
        "torchscript",
        17,
        ranker="size-1x2",
        idiom="list stack_sum",
        frozen=True,
        options=["--batch-axis0"],
    )
    manifest = {"torch": torch.__version__.split("+")[0], "models": writer.models}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"wrote {len(writer.models)} models, {size / 1e6:.2f} MB, to {folder}")


if __name__ == "__main__":
    main()
