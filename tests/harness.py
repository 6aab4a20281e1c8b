"""What the tests of whole programs share: running them, comparing scores, and the fixtures'
manifest."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).resolve().parent / "fixtures"
TOLERANCE = 1e-5
PROVIDERS = ("native", "onednn")
ROW_COUNTS = (1, 2, 63, 64, 65, 1000)

# Idioms of one ranker, by their names in the zoo's catalogue: the passes bring them to one form, so
# they must give the same steps and FLOPs.
ONE_FORM = {
    "mmoe": [
        *(
            f"mmoe-{experts}-stack_sum"
            for experts in (
                "einsum",
                "broadcast",
                "broadcast_rows",
                "bmm",
                "baddbmm",
                "wide",
                "einsum_rows",
            )
        ),
        *(
            f"mmoe-list-{mixture}"
            for mixture in (
                "stack_sum",
                "cat_sum",
                "stack_mul_first",
                "bmm",
                "matmul",
                "einsum",
                "einsum_last",
                "last_sum",
                "last_matmul",
                "split_chain",
                "chunk_chain",
                "index_chain",
                "unbind_chain",
                "loop",
                "einsum_all",
                "einsum_all_first",
                "matmul_all",
                "sum_all",
            )
        ),
        "mmoe-einsum-einsum",
        "mmoe-bmm-matmul_all",
        "mmoe-list-stack_sum-list",
        "mmoe-list-einsum_all-wide_gate",
    ],
    "ple": [
        "ple-einsum-einsum",
        "ple-bmm-bmm",
        *(
            f"ple-list-{mixture}"
            for mixture in ("stack_sum", "matmul", "einsum", "last_sum", "split_chain")
        ),
    ],
    **{
        f"size {size}": [f"size-{size}", f"size-{size}-matmul"]
        for size in ("2x1", "3x8", "7x3", "8x4", "16x2", "16x8")
    },
}

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Programs:
    mtlc: Path
    mtlrun: Path

    def run(
        self, program: Path, *arguments: str | Path, **options
    ) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, **options
        )

    def ok(self, program: Path, *arguments: str | Path) -> str:
        """Standard output of a run that must succeed."""
        done = self.run(program, *arguments)
        words = " ".join(map(str, arguments))
        assert done.returncode == 0, (
            f"{program.name} {words}: exit status {done.returncode}\n{done.stderr.strip()}"
        )
        return done.stdout

    def compile(self, model: Path, plan: Path, *options: str) -> Path:
        self.ok(self.mtlc, model, "-o", plan, *options)
        return plan

    def score(self, plan: Path, inputs: Arrays, *options: str) -> dict[str, np.ndarray]:
        """Outputs by name. Callable from several threads."""
        with tempfile.TemporaryDirectory() as folder:
            given, got = Path(folder, "in.npz"), Path(folder, "out.npz")
            np.savez(given, **inputs)
            self.ok(self.mtlrun, "score", plan, "--inputs", given, "--outputs", got, *options)
            with np.load(got) as outputs:
                return dict(outputs)

    def info(self, plan: Path, *options: str) -> dict:
        return json.loads(self.ok(self.mtlrun, "info", plan, "--json", *options))


@dataclass(frozen=True)
class Fixture:
    """One entry of the manifest."""

    model: str
    data: str
    exporter: str
    opset: int
    rows: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: tuple[str, ...]
    idiom: str

    @property
    def path(self) -> Path:
        return FIXTURES / self.model

    @property
    def name(self) -> str:
        """Of the spec in the zoo's catalogue, if it is one of those."""
        return self.model.rsplit("_", 1)[0]

    def load(self, kind: str) -> dict[str, np.ndarray]:
        """Arrays of one kind ("in", "f32", "f64") by name, of `rows` rows."""
        with np.load(FIXTURES / self.data) as arrays:
            return {
                key.split(":", 1)[1]: arrays[key]
                for key in arrays.files
                if key.startswith(kind + ":")
            }


def manifest() -> list[Fixture]:
    entries = json.loads((FIXTURES / "manifest.json").read_text())["models"]
    return [
        Fixture(
            entry["model"],
            entry["data"],
            entry["exporter"],
            entry["opset"],
            entry["rows"],
            tuple(entry["inputs"]),
            tuple(entry["outputs"]),
            tuple(entry["options"]),
            entry["idiom"],
        )
        for entry in entries
    ]


def names(fixtures: list[Fixture]) -> list[str]:
    return [fixture.model.removesuffix(".onnx") for fixture in fixtures]


def tile(arrays: Arrays, rows: int) -> dict[str, np.ndarray]:
    """The first `rows` rows, repeated from the start where there are fewer."""
    return {name: np.resize(value, (rows, *value.shape[1:])) for name, value in arrays.items()}


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """Largest |got - want| / max(1, |want|); infinite where got is no number."""
    if want.size == 0:
        return 0.0
    off = np.abs(got.astype(np.float64) - want) / np.maximum(1.0, np.abs(want))
    return float(np.where(np.isnan(off), np.inf, off).max())


def check_close(got: Arrays, want: Arrays, where: str) -> None:
    """All of `want` is there, float32, of the right shape, and within the tolerance."""
    assert sorted(got) == sorted(want), f"{where}: outputs {sorted(got)}, expected {sorted(want)}"
    for name, expected in want.items():
        value = got[name]
        assert value.dtype == np.float32, f"{where}: {name} is {value.dtype}"
        assert value.shape == expected.shape, (
            f"{where}: {name} is {value.shape}, expected {expected.shape}"
        )
        off = difference(value, expected)
        assert off <= TOLERANCE, f"{where}: {name} is off by {off:.3g}"


def check_same_bits(got: Arrays, want: Arrays, where: str) -> None:
    for name, expected in want.items():
        assert got[name].shape == expected.shape, (
            f"{where}: {name} is {got[name].shape}, expected {expected.shape}"
        )
        same = got[name].view(np.uint8) == np.ascontiguousarray(expected).view(np.uint8)
        assert same.all(), (
            f"{where}: {name} has other bits, first at byte {int(np.argmin(same.ravel()))}"
        )


@dataclass(frozen=True)
class Work:
    """What a plan computes, without the order of its steps and the names of its values."""

    steps: tuple[str, ...]
    flops: tuple[int, int]  # fixed, per row


def work_of(info: dict) -> Work:
    def shape(tensor: dict | None) -> str:
        if tensor is None:
            return "-"
        return f"{tensor['dtype']}{tensor['shape']}"

    def attrs(step: dict) -> list[float]:
        """To six digits: one exporter rounds a scale to float32, the other does not. What is no number of
        JSON is text ("inf"). Of attention without its scale (TorchScript scales queries and keys, and
        the layers that make them take that in, dynamo the products of the two) and without what it does where
        all keys are masked, which the operator Attention says otherwise than softmax does."""
        numbers = [float(f"{float(value):.6g}") for value in step["attrs"]]
        return numbers[:6] if step["op"] == "attention" else numbers

    steps = sorted(
        f"{step['op']} {step['function']} {attrs(step)} ({', '.join(map(shape, step['inputs']))})"
        f" -> {shape(step['output'])}, {step['flops_fixed']} + {step['flops_per_row']} x rows FLOPs"
        for step in info["steps"]
    )
    totals = info["totals"].values()
    return Work(
        tuple(steps), tuple(sum(t[key] for t in totals) for key in ("flops_fixed", "flops_per_row"))
    )


def check_same_work(work: Mapping[str, Work], where: str) -> None:
    """All plans, by what they were compiled from, have the same steps and FLOPs."""
    (first, expected), *others = work.items()
    for other, got in others:
        missing = sorted((Counter(expected.steps) - Counter(got.steps)).elements())
        added = sorted((Counter(got.steps) - Counter(expected.steps)).elements())
        assert got.steps == expected.steps, (
            f"{where}: {other} has other steps than {first}: {added} instead of {missing}"
        )
        assert got.flops == expected.flops, f"{where}: {other} and {first} have other FLOPs"


def isas() -> list[str]:
    """Instruction sets of the native kernels that this machine can run, as `mtlrun --isa` calls
    them."""
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    found = ["generic"]
    if {"avx2", "fma"} <= flags:
        found.append("avx2")
    if {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= flags:
        found.append("avx512")
    return found
