"""Times plans of the committed rankers at several row counts and prints a table, or JSON.

usage: bench.py [--json] [--rows 1,16,64,256,1024] [MODEL.onnx ...]

Programs come from MTLC and MTLRUN. Times are per call of `mtlrun bench`, one thread, warm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def bench(model: Path, rows: str, folder: Path) -> list[dict]:
    """Compiles a model and returns the results of `mtlrun bench`."""
    plan = folder / "plan.bin"
    subprocess.run([os.environ.get("MTLC", "build/bin/mtlc"), model, "-o", plan], check=True)
    command = [os.environ.get("MTLRUN", "build/bin/mtlrun"), "bench", plan, "--rows", rows, "--threads", "1", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["results"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", default="1,16,64,256,1024")
    parser.add_argument("models", nargs="*", type=Path)
    arguments = parser.parse_args()
    models = arguments.models or sorted((ROOT / "tests" / "fixtures").glob("trained*.onnx"))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            results[model.stem] = bench(model, arguments.rows, Path(folder))
    if arguments.json:
        print(json.dumps(results, indent=2))
        return 0
    for name, cells in results.items():
        print(name)
        for cell in cells:
            print(f"  {cell['rows']:>6} rows {cell['median_us']:>10.1f} us  p99 {cell['p99_us']:>10.1f} us"
                  f"  {cell['rows_per_second']:>12,.0f} rows/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
