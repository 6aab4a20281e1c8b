"""Inputs that do not fit the plan: one line that names the tensor, exit status 1, no scores."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx import helper
from tests.harness import Programs, check_same_bits
from tests.hostile.support import WIDTH, check_holds, check_refused, model, save, value, weight

X = np.random.default_rng(2).random((5, WIDTH), dtype=np.float32)
U = np.random.default_rng(3).random((5, 2), dtype=np.float32)
GOOD = {"features": X, "user": U}


@pytest.fixture
def plan(programs: Programs, tmp_path: Path) -> Path:
    """features (batch, 4), user (batch, 2) to y (batch, 3)."""
    nodes = [
        helper.make_node("Concat", ["features", "user"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["y"], name="product"),
    ]
    inputs = [value("features", "batch", WIDTH), value("user", "batch", 2)]
    path = save(model(nodes, [weight("w", 6, 3)], inputs), tmp_path)
    return programs.compile(path, tmp_path / "plan.bin")


def run(programs: Programs, plan: Path, data: bytes) -> object:
    (plan.parent / "in.npz").write_bytes(data)
    arguments = ["--inputs", plan.parent / "in.npz", "--outputs", plan.parent / "out.npz"]
    return programs.run(programs.mtlrun, "score", plan, *arguments)


def refuse(
    programs: Programs, plan: Path, data: bytes | dict[str, np.ndarray], *places: str
) -> None:
    check_refused(
        run(programs, plan, npz(data) if isinstance(data, dict) else data), "in.npz", *places
    )
    check_holds(plan.parent, "in.npz", "model.onnx", "plan.bin")


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def members(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_the_plain_inputs_score(programs: Programs, plan: Path) -> None:
    want = np.concatenate([X, U], axis=1) @ (np.arange(1, 19, dtype=np.float32).reshape(6, 3) / 8)
    assert np.allclose(programs.score(plan, GOOD)["y"], want)


def test_compressed_inputs_score(programs: Programs, plan: Path) -> None:
    want = programs.score(plan, GOOD)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **GOOD)
    assert run(programs, plan, buffer.getvalue()).returncode == 0
    with np.load(plan.parent / "out.npz") as got:
        check_same_bits(dict(got), want, "compressed")


def test_columns_before_rows(programs: Programs, plan: Path) -> None:
    """Fortran order: scored as what it is, or refused by name; never misread."""
    want = programs.score(plan, GOOD)
    done = run(programs, plan, npz({"features": np.asfortranarray(X), "user": U}))
    if done.returncode == 0:
        with np.load(plan.parent / "out.npz") as got:
            check_same_bits(dict(got), want, "Fortran order")
    else:
        check_refused(done, "features")


def test_wrong_name(programs: Programs, plan: Path) -> None:
    refuse(programs, plan, {"featurs": X, "user": U}, "features")


def test_missing_input(programs: Programs, plan: Path) -> None:
    refuse(programs, plan, {"features": X}, "user")


def test_input_that_the_plan_does_not_have(programs: Programs, plan: Path) -> None:
    refuse(programs, plan, {**GOOD, "label": U}, "label")


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "bool"])
def test_wrong_dtype(programs: Programs, plan: Path, dtype: str) -> None:
    refuse(programs, plan, {"features": X.astype(dtype), "user": U}, "features", dtype, "float32")


@pytest.mark.parametrize("dtype", [">f4", "complex64", "S4", "U1"])
def test_dtype_that_no_plan_has(programs: Programs, plan: Path, dtype: str) -> None:
    array = X.astype(dtype)
    refuse(programs, plan, {"features": array, "user": U}, "features", array.dtype.str)


def test_pickles(programs: Programs, plan: Path) -> None:
    data = {"features.npy": npy(np.array([[1, "a"]], dtype=object)), "user.npy": npy(U)}
    refuse(programs, plan, members(data), "features")


@pytest.mark.parametrize(
    "wrong",
    [
        X[:, :3],
        np.ones((5, 5), np.float32),
        X.ravel(),
        X[None],
        X[:, :, None],
        np.float32(3),
        X[:, :0],
    ],
    ids=["narrow", "wide", "flat", "leading", "trailing", "scalar", "empty"],
)
def test_wrong_shape(programs: Programs, plan: Path, wrong: np.ndarray) -> None:
    refuse(programs, plan, {"features": wrong, "user": U}, "features", "4")


def test_inputs_of_different_rows(programs: Programs, plan: Path) -> None:
    refuse(programs, plan, {"features": X, "user": U[:4]}, "user", "4", "5")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00", b"not a zip\n" * 9, bytes(500)])
def test_not_a_zip(programs: Programs, plan: Path, data: bytes) -> None:
    refuse(programs, plan, data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated(programs: Programs, plan: Path, share: float) -> None:
    whole = npz(GOOD)
    refuse(programs, plan, whole[: int(share * len(whole))])


def test_no_such_file(programs: Programs, plan: Path) -> None:
    arguments = ["--inputs", plan.parent / "absent.npz", "--outputs", plan.parent / "out.npz"]
    check_refused(programs.run(programs.mtlrun, "score", plan, *arguments), "absent.npz")
    check_holds(plan.parent, "model.onnx", "plan.bin")


def test_damaged_contents(programs: Programs, plan: Path) -> None:
    """The archive's own checksum catches it."""
    data = bytearray(npz(GOOD))
    data[data.index(X.tobytes()) + 7] ^= 4
    refuse(programs, plan, bytes(data), "features")


BREAK: dict[str, Callable[[bytes], bytes]] = {
    "too few bytes": lambda data: data[:-4],
    "too many bytes": lambda data: data + bytes(4),
    "no magic": lambda data: b"\x93NUMPX" + data[6:],
    "version 9": lambda data: data[:6] + b"\x09" + data[7:],
    "header longer than the file": lambda data: data[:8] + b"\xff\xff" + data[10:],
    "header cut": lambda data: data[:40],
    "empty": lambda data: b"",
    "huge": lambda data: data.replace(b"(5, 4)", b"(9999999999999, 9999999999999)"),
    "negative": lambda data: data.replace(b"(5, 4)", b"(-5,4)"),
    "no shape": lambda data: data.replace(b"'shape'", b"'shabe'"),
    "no dict": lambda data: data.replace(b"{", b"["),
    "not closed": lambda data: data.replace(b"}", b" "),
}


@pytest.mark.parametrize("how", BREAK)
def test_malformed_array(programs: Programs, plan: Path, how: str) -> None:
    data = members({"features.npy": BREAK[how](npy(X)), "user.npy": npy(U)})
    refuse(programs, plan, data, "features")


def test_same_name_twice(programs: Programs, plan: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("features.npy", npy(X))
        archive.writestr("user.npy", npy(U))
        with pytest.warns(UserWarning):
            archive.writestr("features.npy", npy(X + 1))
    refuse(programs, plan, buffer.getvalue(), "features")


def test_much_data_of_the_wrong_width(programs: Programs, plan: Path) -> None:
    """100 MB of zeros in a small file."""
    many = npy(np.zeros((5_000_000, 5), dtype=np.float32))
    data = members({"features.npy": many, "user.npy": npy(U)}, zipfile.ZIP_DEFLATED)
    refuse(programs, plan, data, "features")
