"""libmtlrt in this process: the public C API (include/mtlc/runtime.h) through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

MAX_RANK = 8
MESSAGE_SIZE = 512
DTYPES = {1: np.float32, 2: np.float64, 5: np.int64, 6: np.int32}


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * MESSAGE_SIZE)]


class Dim(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("fixed", "per_row", "per_user")]


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_int32),
        ("shape", Dim * MAX_RANK),
    ]


class PoolOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("allocator", ctypes.c_void_p),
        ("threads", ctypes.c_size_t),
    ]


class SessionOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("allocator", ctypes.c_void_p),
        ("tile_rows", ctypes.c_size_t),
        ("max_rows", ctypes.c_size_t),
        ("pool", ctypes.c_void_p),
        ("executor", ctypes.c_void_p),
        ("threads", ctypes.c_size_t),
        ("rows_per_thread", ctypes.c_size_t),
    ]


class Failure(Exception):
    """A call of the library failed; the text is its message."""


def load(path: Path | str) -> ctypes.CDLL:
    """Opens the library and declares what is used of it."""
    library = ctypes.CDLL(str(path))
    handle, size, error = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Error)
    out = ctypes.POINTER(handle)
    signatures = {
        "mtl_runtime_version": (ctypes.c_char_p, []),
        "mtl_plan_open": (ctypes.c_int, [ctypes.c_char_p, handle, out, error]),
        "mtl_plan_close": (None, [handle]),
        "mtl_plan_input_count": (size, [handle]),
        "mtl_plan_output_count": (size, [handle]),
        "mtl_plan_input": (ctypes.POINTER(TensorInfo), [handle, size]),
        "mtl_plan_output": (ctypes.POINTER(TensorInfo), [handle, size]),
        "mtl_session_create": (ctypes.c_int, [handle, handle, out, error]),
        "mtl_session_destroy": (None, [handle]),
        "mtl_session_workspace_size": (size, [handle]),
        # mtl_session_run: no argtypes, its arguments are made once and passed as they are
        "mtl_session_run": (ctypes.c_int, None),
    }
    if has_pools(library):
        signatures["mtl_pool_create"] = (ctypes.c_int, [handle, out, error])
        signatures["mtl_pool_destroy"] = (None, [handle])
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments
    return library


def has_pools(library: ctypes.CDLL) -> bool:
    """Whether this version of the library can run a call on several threads."""
    return hasattr(library, "mtl_pool_create")


def pointers(arrays: Sequence[np.ndarray]) -> ctypes.Array:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


class Session:
    """A plan and one session on it: on the calling thread, or on a pool of so many."""

    def __init__(self, library: ctypes.CDLL, plan: Path | str, threads: int = 1) -> None:
        self.library, self.error = library, Error()
        self.plan, self.session, self.pool = (ctypes.c_void_p() for _ in range(3))
        error = ctypes.byref(self.error)
        self._check(library.mtl_plan_open(str(plan).encode(), None, self.plan, error))
        options = None
        if threads > 1:
            wanted = PoolOptions(ctypes.sizeof(PoolOptions), None, threads)
            self._check(library.mtl_pool_create(ctypes.byref(wanted), self.pool, error))
            size = ctypes.sizeof(SessionOptions)
            options = ctypes.byref(SessionOptions(struct_size=size, pool=self.pool))
        self._check(library.mtl_session_create(self.plan, options, self.session, error))

    def _check(self, status: int) -> None:
        if status != 0:
            raise Failure(self.error.message.decode(errors="replace"))

    def _signature(self, side: str) -> list[TensorInfo]:
        count = getattr(self.library, f"mtl_plan_{side}_count")(self.plan)
        return [getattr(self.library, f"mtl_plan_{side}")(self.plan, i)[0] for i in range(count)]

    def new_outputs(self, rows: int) -> dict[str, np.ndarray]:
        """Arrays for the results of so many rows, by name, in the plan's order."""
        return {
            info.name.decode(): np.zeros(
                [dim.fixed + dim.per_row * rows + dim.per_user for dim in info.shape[: info.rank]],
                DTYPES[info.dtype],
            )
            for info in self._signature("output")
        }

    def runner(
        self, rows: int, batches: Sequence[dict[str, np.ndarray]], outputs: dict[str, np.ndarray]
    ) -> Callable[[int], None]:
        """A function that scores batch i into `outputs`, and keeps the session. All pointers are
        taken here, so the arrays must live as long as the function is used."""
        names = [info.name.decode() for info in self._signature("input")]
        inputs = [pointers([batch[name] for name in names]) for batch in batches]
        results, count = pointers(list(outputs.values())), ctypes.c_int64(rows)
        run, session, error = self.library.mtl_session_run, self.session, ctypes.byref(self.error)

        def call(i: int) -> None:
            if run(session, count, inputs[i], results, error):
                raise Failure(self.error.message.decode(errors="replace"))

        return call

    def workspace_bytes(self) -> int:
        return self.library.mtl_session_workspace_size(self.session)

    def close(self) -> None:
        """Gives back what the library holds; happens by itself with the last reference."""
        self.library.mtl_session_destroy(self.session)
        if self.pool:
            self.library.mtl_pool_destroy(self.pool)
        self.library.mtl_plan_close(self.plan)
        self.plan, self.session, self.pool = (ctypes.c_void_p() for _ in range(3))

    __del__ = close
