"""The dependency table of docs/architecture.md is what the code does: who may include whom, and who sees which library."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["base", "ir", "onnx", "dsl", "passes", "plan", "compiler", "runtime", "tool"]
LIBRARIES = {  # header -> the one folder that may include it
    "protobuf-c": "onnx",
    "onnx-ml.pb-c.h": "onnx",
    "dnnl": "runtime/onednn",
    "omp.h": "runtime/onednn",
    "jansson.h": "tool",
    "zip.h": "tool",
    "xxhash.h": "base",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def table() -> dict[str, set[str]]:
    """folder -> folders that it may include, from the table in the docs."""
    rows = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 5 and cells[1].rstrip("/") in FOLDERS:
            rows[cells[1].rstrip("/")] = {word.strip().rstrip("/") for word in cells[3].split(",")}
    return rows


def tracked() -> list[Path]:
    """What is committed; where git cannot say, everything but the build."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / line for line in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if path.relative_to(ROOT).parts[0] not in ("build", ".git")]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix in (".c", ".h", ".def", ".inc")]


def test_the_table_is_complete() -> None:
    present = {folder for folder in FOLDERS if (ROOT / folder).is_dir()}
    assert present and present <= set(table())


@pytest.mark.parametrize("folder", FOLDERS)
def test_includes_follow_the_table(folder: str) -> None:
    if not (ROOT / folder).is_dir():
        pytest.skip(f"{folder}/ does not exist yet")
    allowed = table()[folder] | {folder, "mtlc"}
    for path in sources():
        if path.relative_to(ROOT).parts[0] != folder:
            continue
        for header in INCLUDE.findall(path.read_text()):
            owner = header.split("/")[0]
            if owner in FOLDERS:
                assert owner in allowed, f"{path.relative_to(ROOT)} includes {header}"


@pytest.mark.parametrize(("header", "home"), LIBRARIES.items())
def test_a_library_is_seen_from_one_folder(header: str, home: str) -> None:
    for path in sources():
        place = path.relative_to(ROOT)
        if place.parts[0] in ("tests", "bench"):
            continue
        for name in INCLUDE.findall(path.read_text()):
            if name == header or name.startswith(header + "/") or f"/{header}" in f"/{name}" and header == "dnnl":
                assert place.as_posix().startswith(home + "/"), f"{place} includes <{name}>"


def test_files_stay_readable() -> None:
    long = [(path.relative_to(ROOT), n) for path in sources() if (n := path.read_text().count("\n")) > 850]
    assert not long, f"files of more than 850 lines: {long}"


def test_nothing_names_a_machine() -> None:
    """No paths of anybody's machine and no hosts of package registries in what is committed."""
    words = [b"/work" + b"/main", b"/root" + b"/", b"/home" + b"/", b"pypi" + b".org", b"debian" + b".org"]
    for path in tracked():
        data = path.read_bytes()
        for word in words:
            assert word not in data, f"{path.relative_to(ROOT)} contains {word.decode()!r}"
