"""What `./dev demo` shows where there is no PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness import FIXTURES, Programs

ROOT = FIXTURES.parent.parent


def demo(mtlc: Path, mtlrun: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.demo", "--fixtures"],
        cwd=ROOT,
        env={**os.environ, "MTLC": str(mtlc), "MTLRUN": str(mtlrun)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_shows_both_rankers(programs: Programs) -> None:
    done = demo(programs.mtlc, programs.mtlrun)
    assert done.returncode == 0, done.stderr
    for words in ("MMoE", "PLE", "linear relu", "mix softmax", "largest difference", "microseconds", "Next"):
        assert words in done.stdout
    assert "\033" not in done.stdout


def test_the_demo_fails_when_scores_are_wrong(programs: Programs, tmp_path: Path) -> None:
    """An `mtlrun` that adds a little to each score."""
    wrong = tmp_path / "mtlrun"
    wrong.write_text(
        f"#!{sys.executable}\n"
        "import subprocess, sys\n"
        "import numpy as np\n"
        f"done = subprocess.run([{str(programs.mtlrun)!r}, *sys.argv[1:]])\n"
        "if sys.argv[1] == 'score':\n"
        "    path = sys.argv[sys.argv.index('--outputs') + 1]\n"
        "    with np.load(path) as scores:\n"
        "        scores = {name: value + np.float32(3e-5) for name, value in scores.items()}\n"
        "    np.savez(path, **scores)\n"
        "sys.exit(done.returncode)\n"
    )
    wrong.chmod(0o755)
    done = demo(programs.mtlc, wrong)
    assert done.returncode == 1
    assert "differ" in done.stderr
