"""`python -m examples.train`: a tiny round trip from data to compiled scores, and what wrong words
get."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from examples.train import main
from examples.training.compiled import one
from tests.harness import Programs

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = ("--rows", "400", "--epochs", "1", "--quiet")


def train(*words: str, programs: Programs | None = None) -> subprocess.CompletedProcess[str]:
    found = {} if programs is None else {"MTLC": str(programs.mtlc), "MTLRUN": str(programs.mtlrun)}
    return subprocess.run(
        [sys.executable, "-m", "examples.train", *words],
        cwd=ROOT,
        env={**os.environ, **found},
        capture_output=True,
        text=True,
        check=False,
    )


class Tuple(nn.Module):
    """A model whose only output is a tuple of one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.model(x),)


def test_a_ranker_from_data_to_compiled_scores(programs: Programs, tmp_path: Path) -> None:
    done = train(
        "--model", "mmoe", "--world", "funnel", *TINY, "--folder", str(tmp_path), programs=programs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all agree within 1e-5" in done.stdout
    (folder,) = (tmp_path / "funnel-400" / "mmoe").iterdir()
    assert {"checkpoint.pt", "options.json", "torchscript.onnx", "dynamo.onnx"} < {
        path.name for path in folder.iterdir()
    }
    result = json.loads((folder / "result.json").read_text())
    assert [one["exporter"] for one in result["compiled"]] == ["torchscript", "dynamo"]
    assert all(one["equal"] and 0 < one["steps"] < one["nodes"] for one in result["compiled"])
    report = (folder / "report.html").read_text()
    for words in ("Compiled", "Test metrics", "Losses", "Gates", "Gradient conflict", "Calibration",
                  "Against other models", "What the towers read", "How tasks relate"):  # fmt: skip
        assert f"<h2>{words}</h2>" in report
    assert report.count("data:image/png;base64,") == 7
    assert "http" not in report  # nothing from elsewhere


def test_public_data_train_and_compile(programs: Programs, tmp_path: Path) -> None:
    """Files in AliExpress's format; the vocabularies that serving needs stand beside the model."""
    draws = np.random.default_rng(0)
    for name in ("train", "test"):
        lines = ["search_id,categorical_1,categorical_2,numerical_1,click,conversion"]
        for row in range(200):
            click = int(draws.random() < 0.4)
            bought = click * int(draws.random() < 0.5)
            ids = draws.integers(1, 9, 2)
            lines.append(f"{row // 5},{ids[0]},{ids[1]},{draws.random():.4f},{click},{bought}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    words = ("--model", "esmm", "--data", f"aliexpress={tmp_path}", "--epochs", "1", "--quiet")
    done = train(*words, "--no-report", "--folder", str(tmp_path / "runs"), programs=programs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all agree within 1e-5" in done.stdout
    (folder,) = (tmp_path / "runs").glob("aliexpress-*/esmm/*")
    assert (folder / "vocabularies.json").exists()


def test_scores_that_differ_are_seen(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `mtlrun` that adds a little to each score; and one that is not there."""
    wrong = tmp_path / "wrong"
    wrong.write_text(
        f"#!{sys.executable}\n"
        "import subprocess, sys\n"
        "import numpy as np\n"
        f"done = subprocess.run([{str(programs.mtlrun)!r}, *sys.argv[1:]])\n"
        "path = sys.argv[sys.argv.index('--outputs') + 1]\n"
        "with np.load(path) as scores:\n"
        "    scores = {name: value + np.float32(3e-5) for name, value in scores.items()}\n"
        "np.savez(path, **scores)\n"
        "sys.exit(done.returncode)\n"
    )
    wrong.chmod(0o755)
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()).eval()
    inputs = {"x": torch.randn(9, 4)}
    monkeypatch.setenv("MTLC", str(programs.mtlc))

    def checked(mtlrun: Path):
        monkeypatch.setenv("MTLRUN", str(mtlrun))
        return one(Tuple(model), inputs, ["score"], "torchscript", tmp_path)

    right = checked(programs.mtlrun)
    assert right.equal and right.error == "" and right.nodes > right.steps > 0
    off = checked(wrong)
    assert not off.equal and off.difference == pytest.approx(3e-5, rel=0.02)
    gone = checked(tmp_path / "nothing")
    assert not gone.equal and gone.error.startswith("cannot run ")


def test_the_table_goes_on_where_it_was(
    programs: Programs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["--all", "--models", "mmoe", "--worlds", "funnel", "--seeds", "2", "--jobs", "1",
             "--rows", "300", "--epochs", "1", "--folder", str(tmp_path)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train", *words])
    monkeypatch.setenv("MTLC", str(programs.mtlc))
    monkeypatch.setenv("MTLRUN", str(programs.mtlrun))
    assert main() == 0
    done = capsys.readouterr()
    (line,) = [line for line in done.out.splitlines() if line.startswith("| mmoe | funnel")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[7] in ("**beats**", "does not")
    assert "±" in cells[6] and " to " in cells[11]
    assert "seeds" in done.err
    assert main() == 0  # all of it was stored
    again = capsys.readouterr()
    assert again.out == done.out
    assert again.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--model M, --all or --list: one of them must be there"),
        (("--model", "nomoe"), "no ranker 'nomoe'; there are "),
        (("--model", "mmoe", "--world", "mars"), "no world 'mars'; there are funnel, "),
        (("--model", "mmoe", "--rows", "0"), "argument --rows: 0 is less than 1"),
        (("--model", "mmoe", "--rate", "-1"), "argument --rate: -1 is no positive number"),
        (("--model", "mmoe", "--balance", "sum"), "argument --balance: invalid choice: 'sum'"),
        (("--model", "mmoe", "--weights", "click=1"), "--weights are for --balance manual"),
        (("--model", "mmoe", "--world", "funnel", "--balance", "manual", "--weights", "buy=1"),
         "--weights: no task 'buy'; the tasks are click, cart, order"),
        (("--model", "mmoe", "--pos-weight", "order"), "'order' is not TASK=NUMBER"),
        (("--model", "mmoe", "--balanced", "order=2"), "2 is not between 0 and 1"),
        (("--model", "mmoe", "--all"), "--all is every model"),
        (("--model", "mmoe", "--data", "csv=x"), "--data csv=x: FORMAT=FOLDER, FORMAT one of ali-"),
        (("--model", "mmoe", "--data", "aliexpress=nowhere"), "nowhere"),
    ],
)  # fmt: skip
def test_wrong_words_get_one_clear_line(
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *words])
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("train: ") and said in error
    assert len(error.splitlines()) == 1
