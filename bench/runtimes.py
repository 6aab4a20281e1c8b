"""The runtimes that are compared, each through the fastest path that its documentation offers.

A runtime has a name, a version and `load(file, threads, batch)`: `batch` is one of those to be run,
for runtimes that compile for its very shapes, or None for any shapes. What comes back has
`runner(batches, outputs)`: a function that scores batch i, and the arrays that hold the scores.
Everything that can be prepared is prepared before the function is timed. Only pointers are kept:
the batches and the scores must live as long as the function is used.

- mtlrt: plan and session; the pointers of every batch are taken in advance.
- ONNX Runtime: all graph optimisations, sequential execution, one IOBinding a batch with inputs and
  outputs bound in advance, so that a call neither converts nor copies nor allocates tensors.
- OpenVINO: CPU plugin, LATENCY hint, float32 arithmetic. The model is compiled for the very row
  count (`Model.reshape`): that was faster than a dynamic batch wherever we compared the two, and a service with
  any number of candidates cannot have it, but it is an honest way to use OpenVINO. Where its
  compiler crashes on such a model, which is tried in a process of its own, it gets a dynamic batch.
  One infer request, outputs bound in advance, the input tensors (they wrap the arrays) set before
  each call, synchronous `infer()`: the asynchronous calls hand over to another thread and took
  longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench import mtlrt

Batch = dict[str, np.ndarray]
Runner = tuple[Callable[[int], None], Batch]  # scores batch i into the arrays


def shapes_of(batch: Batch | None) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in batch.items()}


def empty_outputs(names: Sequence[str], rows: int) -> Batch:
    return {name: np.zeros((rows, 1), np.float32) for name in names}


BUILD = Path(os.environ.get("MTLC_BUILD", Path(__file__).resolve().parents[1] / "build"))


class Mtlrt:
    """This project's."""

    name, title, suffix, may_crash = "mtlrt", "mtlrt", ".plan", False

    def __init__(self) -> None:
        self.library = mtlrt.load(BUILD / "release/runtime/libmtlrt.so")
        self.version = self.library.mtl_runtime_version().decode()

    def most_threads(self) -> int:
        """Of one call."""
        return 1024 if mtlrt.has_pools(self.library) else 1

    def load(self, file: Path, threads: int, batch: Batch | None) -> MtlrtModel:
        return MtlrtModel(self.library, file, threads)


class MtlrtModel:
    def __init__(self, library: object, file: Path, threads: int) -> None:
        self.session = mtlrt.Session(library, file, threads)

    def runner(self, batches: Sequence[Batch], outputs: Sequence[str]) -> Runner:
        rows = len(next(iter(batches[0].values())))
        scores = self.session.new_outputs(rows)
        return self.session.runner(rows, batches, scores), scores


class OnnxRuntime:
    name, title, suffix, may_crash = "onnxruntime", "ONNX Runtime", ".onnx", False

    def __init__(self) -> None:
        import onnxruntime

        self.api, self.version = onnxruntime, onnxruntime.__version__

    def most_threads(self) -> int:
        return 1024

    def load(self, file: Path, threads: int, batch: Batch | None) -> OnnxRuntimeModel:
        options = self.api.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = self.api.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self.api.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        return OnnxRuntimeModel(
            self.api.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        )


class OnnxRuntimeModel:
    def __init__(self, session: object) -> None:
        self.session = session

    def runner(self, batches: Sequence[Batch], outputs: Sequence[str]) -> Runner:
        scores = empty_outputs(outputs, len(next(iter(batches[0].values()))))
        bindings = [self._bind(batch, scores) for batch in batches]
        run = self.session.run_with_iobinding

        def call(i: int) -> None:
            run(bindings[i])

        return call, scores

    def _bind(self, batch: Batch, scores: Batch) -> object:
        binding = self.session.io_binding()
        for name, value in batch.items():
            binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        for name, value in scores.items():
            binding.bind_output(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        return binding


class OpenVino:
    name, title, suffix, may_crash = "openvino", "OpenVINO", ".onnx", True

    def __init__(self) -> None:
        import openvino

        self.api, self.version = openvino, openvino.__version__.split("-")[0]
        self.core = openvino.Core()

    def most_threads(self) -> int:
        return 1024

    def load(self, file: Path, threads: int, batch: Batch | None) -> OpenVinoModel:
        from openvino import properties

        model = self.core.read_model(str(file))
        if batch is not None:
            model.reshape({name: list(value.shape) for name, value in batch.items()})
        hint = properties.hint
        compiled = self.core.compile_model(
            model,
            "CPU",
            {
                hint.performance_mode(): hint.PerformanceMode.LATENCY,
                hint.inference_precision(): self.api.Type.f32,
                properties.inference_num_threads(): threads,
            },
        )
        return OpenVinoModel(self.api, compiled)


class OpenVinoModel:
    def __init__(self, api: object, compiled: object) -> None:
        self.api, self.compiled = api, compiled

    def runner(self, batches: Sequence[Batch], outputs: Sequence[str]) -> Runner:
        wrap = self.api.Tensor
        request = self.compiled.create_infer_request()
        scores = empty_outputs(outputs, len(next(iter(batches[0].values()))))
        for name, value in scores.items():
            request.set_tensor(name, wrap(value, shared_memory=True))
        places = {port.any_name: i for i, port in enumerate(self.compiled.inputs)}
        tensors = [
            [(places[name], wrap(value, shared_memory=True)) for name, value in batch.items()]
            for batch in batches
        ]
        def call(i: int) -> None:
            for place, tensor in tensors[i]:
                request.set_input_tensor(place, tensor)
            request.infer()

        return call, scores


RUNTIMES = {runtime.name: runtime for runtime in (Mtlrt, OnnxRuntime, OpenVino)}
OURS = Mtlrt.name
PEERS = tuple(name for name in RUNTIMES if name != OURS)
