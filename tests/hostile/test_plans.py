"""Plans that are not what the compiler wrote: refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.harness import FIXTURES, Programs
from tests.hostile.support import WIDTH, check_holds, check_refused, model, save


@pytest.fixture(scope="module")
def small(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("small")
    return programs.compile(save(model(), folder), folder / "plan.bin").read_bytes()


@pytest.fixture(scope="module")
def large(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("large")
    return programs.compile(FIXTURES / "trained_mmoe_ts17.onnx", folder / "plan.bin").read_bytes()


def refuse(programs: Programs, folder: Path, data: bytes) -> None:
    path = folder / "damaged.bin"
    path.write_bytes(data)
    check_refused(programs.run(programs.mtlrun, "info", path), "damaged.bin")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99999])
def test_truncated(programs: Programs, large: bytes, tmp_path: Path, share: float) -> None:
    refuse(programs, tmp_path, large[: int(share * len(large))])


@pytest.mark.parametrize("size", [1, 7, 8, 63, 64, 65, 351, 352])
def test_truncated_in_the_header(
    programs: Programs, small: bytes, tmp_path: Path, size: int
) -> None:
    refuse(programs, tmp_path, small[:size])


def test_bytes_after_the_end(programs: Programs, small: bytes, tmp_path: Path) -> None:
    refuse(programs, tmp_path, small + bytes(64))


@pytest.mark.parametrize(
    "text", [b"", b"PK\x03\x04", b"#!/bin/sh\n", bytes(4096), b"MTLPLAN\x1a" + bytes(4096)]
)
def test_not_a_plan(programs: Programs, tmp_path: Path, text: bytes) -> None:
    refuse(programs, tmp_path, text)


def test_a_model_is_not_a_plan(programs: Programs, tmp_path: Path) -> None:
    refuse(programs, tmp_path, (FIXTURES / "trained_mmoe_ts17.onnx").read_bytes())


def test_no_such_plan(programs: Programs, tmp_path: Path) -> None:
    check_refused(programs.run(programs.mtlrun, "info", tmp_path / "absent.bin"), "absent.bin")


@pytest.mark.parametrize("part", range(4))
def test_any_flipped_bit(
    programs: Programs, small: bytes, large: bytes, tmp_path: Path, part: int
) -> None:
    """Each byte of header and section table, then places all over the file, gaps between sections
    included."""
    draws = np.random.default_rng(part)
    for place in range(part, 352, 4):
        data = bytearray(small)
        data[place] ^= 1 << int(draws.integers(8))
        refuse(programs, tmp_path, bytes(data))
    for whole in (small, large):
        for place in draws.integers(352, len(whole), size=40):
            data = bytearray(whole)
            data[place] ^= 1 << int(draws.integers(8))
            refuse(programs, tmp_path, bytes(data))


def test_nothing_is_scored_with_it(programs: Programs, small: bytes, tmp_path: Path) -> None:
    data = bytearray(small)
    data[-1] ^= 1
    (tmp_path / "damaged.bin").write_bytes(bytes(data))
    np.savez(tmp_path / "in.npz", x=np.ones((2, WIDTH), dtype=np.float32))
    for command in (
        [
            "score",
            tmp_path / "damaged.bin",
            "--inputs",
            tmp_path / "in.npz",
            "--outputs",
            tmp_path / "out.npz",
        ],
        ["bench", tmp_path / "damaged.bin", "--rows", "1", "--threads", "1", "--json"],
        ["info", tmp_path / "damaged.bin", "--json"],
    ):
        check_refused(programs.run(programs.mtlrun, *command), "damaged.bin")
    check_holds(tmp_path, "damaged.bin", "in.npz")
