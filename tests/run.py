"""Runs every test there is and ends with one line that counts them.

The C unit tests and the Python suites run twice: with the release build and with the one under AddressSanitizer and
UBSan. `MTLC_BUILD` is the folder that holds both builds (release/, sanitized/).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SUITES = ["structure", "golden", "onnx", "hostile", "numeric", "zoo", "training", "data", "bench", "install"]
SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "MTLC_SANITIZED": "1",
}


class Tally:
    """Passed, failed and skipped tests."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def run_unit_tests(build: Path, environment: dict[str, str]) -> Tally:
    """Runs the cmocka programs, which print TAP: one line a test."""
    tally = Tally()
    for program in sorted((build / "tests").glob("test_*")):
        if not (program.is_file() and os.access(program, os.X_OK)):
            continue
        result = subprocess.run(
            [program],
            env=environment | {"CMOCKA_MESSAGE_OUTPUT": "TAP", "MTL_PYTHON": sys.executable},
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            errors="replace",
        )
        lines = result.stdout.splitlines()
        results = [line for line in lines if re.match(r"(not )?ok \d+", line)]
        skipped = sum("# SKIP" in line for line in results)  # cmocka 1.1.5 writes "not ok N # SKIP"
        passed = sum(line.startswith("ok") and "# SKIP" not in line for line in results)
        failed = len(results) - passed - skipped
        for line in lines:
            if line.startswith("# note"):  # what a test wants to tell: ISAs that ran, say
                print(f"  {program.name}: {line[2:]}")
        if result.returncode != 0 or (passed == 0 and skipped == 0):
            failed = max(failed, 1)
            print(f"FAILED {program.name} (exit status {result.returncode})")
            print(result.stdout[-4000:], result.stderr[-6000:], sep="\n")
        tally.passed += passed
        tally.failed += failed
        tally.skipped += skipped
    return tally


def run_pytest(build: Path, environment: dict[str, str], arguments: list[str]) -> Tally:
    """Runs the Python suites against the programs of one build."""
    tally = Tally()
    suites = [str(TESTS / suite) for suite in SUITES if (TESTS / suite).is_dir()]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "-n", str(os.cpu_count() or 1), f"--junitxml={report}"]
            + (arguments or suites),
            cwd=TESTS.parent,
            env=environment
            | {"MTLC": str(build / "compiler/mtlc"), "MTLRUN": str(build / "runtime/mtlrun"), "MTLC_BUILD": str(build)},
        ).returncode
        if report.exists():
            for suite in ElementTree.parse(report).getroot().iter("testsuite"):
                broken = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                skipped = int(suite.get("skipped", 0))
                tally.failed += broken
                tally.skipped += skipped
                tally.passed += int(suite.get("tests", 0)) - broken - skipped
        if code != 0 and tally.failed == 0:
            tally.failed = 1
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release-only", action="store_true", help="skip the build under sanitizers")
    parser.add_argument("tests", nargs="*", help="pytest files or node ids instead of everything")
    arguments = parser.parse_args()
    builds = Path(os.environ["MTLC_BUILD"])
    total = Tally()
    for name, extra in [("release", {}), ("sanitized", SANITIZER)]:
        if name == "sanitized" and arguments.release_only:
            continue
        environment = {**os.environ, **extra, "PYTHONDONTWRITEBYTECODE": "1"}
        print(f"== {name}: unit tests", flush=True)
        if not arguments.tests:
            total.add(run_unit_tests(builds / name, environment))
        print(f"== {name}: models and programs", flush=True)
        total.add(run_pytest(builds / name, environment, arguments.tests))
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
