"""`ninja install` gives a library that a stranger's program can link: the examples in C, built from the
prefix."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("MTLC_SANITIZED"):
        pytest.skip("the installed library is tested in the release build")
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(
        ["meson", "install", "-C", os.environ["MTLC_BUILD"], "--no-rebuild", "--quiet", "--destdir", folder],
        check=True,
    )
    (found,) = folder.rglob("mtlrt.pc")
    while not (found / "include").is_dir():
        found = found.parent
    return found


def flags(prefix: Path, *arguments: str) -> list[str]:
    """pkg-config's answer, with the prefix where --destdir has put it."""
    (folder,) = {path.parent for path in prefix.rglob("mtlrt.pc")}
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    command = ["pkg-config", f"--define-variable=prefix={prefix}", *arguments, "mtlrt"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def library_path(prefix: Path) -> dict[str, str]:
    folders = {str(path.parent) for path in prefix.rglob("libmtlrt.so*")}
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(folders))}


def test_headers_library_and_pkg_config_are_there(prefix: Path) -> None:
    assert {path.name for path in (prefix / "include" / "mtlc").iterdir()} == {"compiler.h", "runtime.h", "status.h"}
    assert list(prefix.rglob("libmtlrt.so")) and list(prefix.rglob("bin/mtlrun")) and list(prefix.rglob("bin/mtlc"))


def test_only_public_symbols_are_exported(prefix: Path) -> None:
    library = sorted(prefix.rglob("libmtlrt.so"))[0]
    table = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    names = [line.split()[-1] for line in table.splitlines()]
    assert "mtl_session_run" in {name.split("@")[0] for name in names}
    assert [name for name in names if not name.startswith(("mtl_", "MTL"))] == []


def test_the_runtime_does_not_carry_the_compiler(prefix: Path) -> None:
    library = sorted(prefix.rglob("libmtlrt.so"))[0]
    needed = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    for name in ("protobuf", "jansson", "libzip", "python"):
        assert name not in needed


def build(prefix: Path, example: str, folder: Path, *options: str) -> Path:
    program = folder / example
    compiler = shutil.which("cc") or "cc"
    warnings = ["-std=c17", "-Wall", "-Wextra", "-Werror", *options]
    command = [compiler, *warnings, str(ROOT / "examples" / f"{example}.c"), "-o", str(program)]
    subprocess.run(command + flags(prefix, "--cflags", "--libs"), check=True)
    return program


def reference(model: Path, rows: int) -> tuple[list[str], list[float]]:
    """Names of the outputs, and the last row's scores of zeros."""
    session = ReferenceEvaluator(str(model))
    wanted = session.run(None, {"x": np.zeros((rows, 64), np.float32)})
    return session.output_names, [float(y[rows - 1, 0]) for y in wanted]


def test_embed_scores_a_plan(prefix: Path, tmp_path: Path) -> None:
    program = build(prefix, "embed", tmp_path)
    plan = tmp_path / "plan.bin"
    model = FIXTURES / "trained_mmoe_ts17.onnx"
    subprocess.run([os.environ["MTLC"], model, "-o", plan], check=True)
    result = subprocess.run([program, plan], env=library_path(prefix), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    names, wanted = reference(model, 4)
    words = result.stdout.split()
    assert words[::2] == names
    assert np.allclose([float(word) for word in words[1::2]], wanted, atol=1e-5)
    broken = subprocess.run([program, model], env=library_path(prefix), capture_output=True, text=True)
    assert broken.returncode != 0 and len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["-fopenmp"]], ids=["alone", "openmp"])
def test_executor_scores_a_plan(prefix: Path, tmp_path: Path, options: list[str]) -> None:
    program = build(prefix, "executor", tmp_path, "-Wno-unknown-pragmas", *options)
    plan = tmp_path / "plan.bin"
    model = FIXTURES / "trained_mmoe_ts17.onnx"
    subprocess.run([os.environ["MTLC"], model, "-o", plan], check=True)
    result = subprocess.run([program, plan], env=library_path(prefix), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    tasks, scores = result.stdout.split(": ")
    assert tasks == "2 tasks"
    assert np.allclose([float(word) for word in scores.split()[1::2]], reference(model, 1)[1], atol=1e-5)
