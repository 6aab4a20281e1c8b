"""Runs every fuzz target for some seconds, seeded with the fixtures, the goldens and the standard's own operator tests;
ends with a line that counts them. What it finds is kept in the build folder as TARGET-crash-HASH; to see it again:
BUILD_FOLDER/tests/fuzz/fuzz_TARGET FILE.

usage: run.py BUILD_FOLDER [SECONDS]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
LONGEST = 32768  # bytes: longer inputs are slow and find nothing that shorter ones do not


def smallest(pattern: str, count: int) -> list[bytes]:
    return sorted((path.read_bytes() for path in TESTS.glob(pattern)), key=len)[:count]


PADDED = """<ir_version: 8, opset_import: ["" : 17]>
padded (float[B, 8, 32] x, bool[B, 8] keep) => (float[B, 32] y)
<float fill = {-1e9}, int64[1] column = {2}, int64[1] positions = {1}>
{
    u = Tanh(x)
    turned = Transpose <perm = [0, 2, 1]> (u)
    products = MatMul(u, turned)
    row = Unsqueeze(keep, positions)
    scores = Where(row, products, fill)
    shares = Softmax <axis = -1> (scores)
    gathered = MatMul(shares, u)
    v = Relu(gathered)
    number = Cast <to = 1> (keep)
    numbers = Unsqueeze(number, column)
    kept = Mul(v, numbers)
    y = ReduceSum <keepdims = 0> (kept, positions)
}"""


def padded() -> bytes:
    """A model whose plan has spans and is small."""
    from onnx import parser

    return parser.parse_model(PADDED).SerializeToString()


def operator_tests() -> list[bytes]:
    """The standard's models of one node each, of the operators that we import."""
    from onnx.backend.test.case.node import collect_testcases

    ours = set(re.findall(r"^OPERATOR\((\w+)", (ROOT / "onnx/operators.def").read_text(), re.MULTILINE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of their numbers overflow
        models = [case.model for case in collect_testcases(None)]
    return [
        model.SerializeToString()
        for model in models
        if all(node.op_type in ours for node in model.graph.node) and model.ByteSize() < LONGEST
    ]


def plans(models: list[bytes], build: Path, folder: Path) -> list[bytes]:
    """What the models compile to; nothing for those that do not."""
    found = []
    for model in models:
        (folder / "model").write_bytes(model)
        plan = folder / "plan"
        run = [build / "compiler/mtlc", "--batch-axis0", folder / "model", "-o", plan]
        if subprocess.run(run, capture_output=True).returncode == 0:
            found.append(plan.read_bytes())
    return found


def seeds(target: str, build: Path) -> list[bytes]:
    if target in ("text", "passes"):
        return smallest("golden/**/*.in", 1000) + smallest("golden/**/*.want", 1000)
    if target == "model":
        return smallest("fixtures/*.onnx", 20) + operator_tests()
    if target == "language":
        rankers = sorted((ROOT / "examples/rankers").glob("*.mtl"))
        return [path.read_bytes() for path in [*rankers, ROOT / "dsl/blocks.mtl"]]
    if target == "npz":
        return smallest("fixtures/*.npz", 5)
    with tempfile.TemporaryDirectory() as folder:
        return plans([padded(), *smallest("fixtures/*.onnx", 20), *operator_tests()[::4]], build, Path(folder))


def dictionary(path: Path) -> None:
    """The words of the text form, from the tables of the IR."""
    words = ["graph", "input", "const", "output", "f32", "f16", "i64", "i32", "bool", "[B, ", "2*B", "inf", "nan", "-1"]
    for table in ("ops", "attrs"):
        words += re.findall(r"^(?:OP|ATTR)\((\w+)", (ROOT / f"ir/{table}.def").read_text(), re.MULTILINE)
    path.write_text("".join(f'"{word}"\n' for word in words))


def run(target: str, build: Path, seconds: int, folder: Path) -> bool:
    corpus, words = folder / "corpus", folder / "dictionary"
    corpus.mkdir()
    for i, seed in enumerate(seeds(target, build)):
        (corpus / f"seed-{i}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-rss_limit_mb=2048", "-timeout=10",
               "-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={build}/{target}-"]
    if target in ("text", "passes"):
        dictionary(words)
        options.append(f"-dict={words}")
    print(f"== {target}: {seconds} s", flush=True)
    return subprocess.run([build / "tests/fuzz" / f"fuzz_{target}", corpus, *options]).returncode == 0


def main() -> int:
    build, seconds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
    targets = sorted(path.stem.removeprefix("fuzz_") for path in (TESTS / "fuzz").glob("fuzz_*.c"))
    passed = 0
    for target in targets:
        with tempfile.TemporaryDirectory() as folder:
            passed += run(target, build, seconds, Path(folder))
    print(f"{passed} passed, {len(targets) - passed} failed")
    return 0 if passed == len(targets) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
