"""Weights from safetensors files: what the format says, and files that break it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs, check_same_bits

RANKER = 'ranker one\ntasks a\ninput x: dense(4)\noutput a = linear(x, 3, "head")\n'
DRAWS = np.random.default_rng(4)
HEAD = {
    "head.weight": DRAWS.standard_normal((3, 4)).astype(np.float32),
    "head.bias": DRAWS.standard_normal(3).astype(np.float32),
}


def safetensors(tensors: dict[str, np.ndarray], pad: int = 0) -> bytes:
    """As the library writes them; `pad` bytes of header move the data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", "pad": "." * pad}}
    data = b""
    names = {np.float32: "F32", np.float64: "F64", np.float16: "F16", np.int64: "I64"}
    for name, array in tensors.items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": names[array.dtype.type], "shape": array.shape, "data_offsets": place}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def ranker(tmp_path: Path) -> Path:
    path = tmp_path / "one.mtl"
    path.write_text(RANKER, encoding="utf-8")
    return path


@pytest.mark.parametrize("pad", range(8))
def test_tensors_wherever_they_lie(programs: Programs, ranker: Path, pad: int, tmp_path: Path) -> None:
    odd = {"odd": np.arange(3, dtype=np.float16)}  # six bytes: what follows is not aligned
    (tmp_path / "w.safetensors").write_bytes(safetensors({**odd, **HEAD}, pad))
    np.savez(tmp_path / "w.npz", **HEAD)
    plans = [
        programs.compile(ranker, tmp_path / f"{kind}.bin", "--weights", str(tmp_path / f"w.{kind}"))
        for kind in ("safetensors", "npz")
    ]
    inputs = {"x": DRAWS.standard_normal((9, 4)).astype(np.float32)}
    scores = [programs.score(plan, inputs) for plan in plans]
    check_same_bits(*scores, "safetensors and npz")
    want = inputs["x"].astype(np.float64) @ HEAD["head.weight"].T + HEAD["head.bias"]
    assert np.abs(scores[0]["a"] - want).max() < 1e-5


def with_header(entry: object) -> bytes:
    text = json.dumps(entry).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 48


def head(**changes: object) -> dict[str, object]:
    entry = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}
    return {"head.weight": entry | changes}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "npz"),
    (b"\0" * 8 + b"{", "byte"),
    (struct.pack("<Q", 2**63) + b"{}", "a header of 9223372036854775808 bytes"),
    (struct.pack("<Q", 9) + b"{}", "a header of 9 bytes in a file of 10"),
    (struct.pack("<Q", 2) + b"{]", "of the header"),
    (struct.pack("<Q", 9) + b'{"a": 1}}', "of the header"),
    (with_header({"a": 1}), "tensor 'a': expected dtype, shape and data_offsets"),
    (with_header(head(dtype="F8_E4M3")), "tensor 'head.weight': dtype F8_E4M3"),
    (with_header(head(dtype=3)), "tensor 'head.weight': dtype is missing"),
    (with_header(head(shape=None)), "tensor 'head.weight': no shape"),
    (with_header(head(shape=[1] * 9)), "9 axes"),
    (with_header(head(shape=[-3, 4])), "axis 0 has no extent"),
    (with_header(head(shape=[3, 2**62])), "axis 1 has no extent"),
    (with_header(head(shape=[3, 4.5])), "axis 1 has no extent"),
    (with_header(head(data_offsets=[0, 47])), "bytes 0..47 of 48, expected 48"),
    (with_header(head(data_offsets=[1, 49])), "bytes 1..49 of 48"),
    (with_header(head(data_offsets=[48, 0])), "bytes 48..0 of 48"),
    (with_header(head(data_offsets=[-48, 0])), "bytes -48..0 of 48"),
    (with_header(head(data_offsets=[0])), "of 48"),
    (with_header(head(shape=[4, 3])), "weight 'head.weight' is f32[4, 3], expected f32[3, 4]"),
    (with_header(head()), "there is no weight 'head.bias'"),
])  # fmt: skip
def test_files_that_are_none(
    programs: Programs, ranker: Path, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    done = programs.run(programs.mtlc, ranker, "--weights", path, "-o", tmp_path / "plan.bin")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mtlc: ")
    assert not (tmp_path / "plan.bin").exists()


def test_options_go_together(programs: Programs, ranker: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **HEAD)
    for options, message in (
        (("--weights", tmp_path / "w.npz", "--init", "3"), "--weights goes without --init"),
        (("--init", "-1"), "--init -1: expected a whole number"),
        (("--init", "3", "--request", "x"), "takes no --request"),
        (("--init", "3", "--dim", "B=3"), "takes no --dim"),
        (("--weights", tmp_path / "none.npz"), "none.npz"),
    ):
        done = programs.run(programs.mtlc, ranker, *options)
        assert done.returncode == 1
        assert message in done.stderr, done.stderr


def test_made_up_weights_are_the_same_ones(programs: Programs, ranker: Path, tmp_path: Path) -> None:
    plans = [
        programs.compile(ranker, tmp_path / f"{i}.bin", "--init", seed).read_bytes()
        for i, seed in enumerate("778")
    ]
    assert plans[0] == plans[1] != plans[2]
