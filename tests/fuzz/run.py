"""Runs every fuzz target for some seconds, seeded with the fixtures; ends with a line that counts them.

usage: run.py BUILD_FOLDER [SECONDS]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def seeds(target: str, build: Path, folder: Path) -> None:
    """Fills the corpus of a target with what the project has of its kind."""
    if target == "text":
        found = list((TESTS / "golden").rglob("*.in")) + list((TESTS / "golden").rglob("*.want"))
    elif target == "model":
        found = sorted((TESTS / "fixtures").glob("*.onnx"), key=lambda path: path.stat().st_size)[:20]
    elif target == "npz":
        found = sorted((TESTS / "fixtures").glob("*.npz"), key=lambda path: path.stat().st_size)[:5]
    else:
        models = sorted((TESTS / "fixtures").glob("*.onnx"), key=lambda path: path.stat().st_size)[:8]
        for i, model in enumerate(models):
            subprocess.run([build / "compiler/mtlc", model, "-o", folder / f"seed-{i}"], check=True)
        return
    for i, path in enumerate(found):
        shutil.copy(path, folder / f"seed-{i}")


def main() -> int:
    build, seconds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
    passed = failed = 0
    for program in sorted((build / "tests" / "fuzz").glob("fuzz_*")):
        if program.is_dir():
            continue
        target = program.name.removeprefix("fuzz_")
        with tempfile.TemporaryDirectory() as folder:
            seeds(target, build, Path(folder))
            print(f"== {target}: {seconds} s", flush=True)
            code = subprocess.run(
                [program, folder, f"-max_total_time={seconds}", "-max_len=262144", "-rss_limit_mb=4096",
                 "-timeout=20", "-print_final_stats=1", f"-artifact_prefix={build}/{target}-"],
            ).returncode
        passed, failed = (passed + 1, failed) if code == 0 else (passed, failed + 1)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
