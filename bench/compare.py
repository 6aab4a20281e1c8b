"""One run of the comparison: exports, plans, cells, call overhead, fresh processes."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.measure import Budget, Roofline, Timing, interleave, largest_difference
from bench.models import FILES, MODELS, TINY
from bench.runtimes import BUILD, OURS, RUNTIMES, Batch

ROOT = Path(__file__).resolve().parents[1]
BATCHES = 64  # prepared inputs of a cell, taken in turn
COMPARED = 4  # of them whose scores are compared before anything is timed
TOLERANCE = 1e-5
MEMORY_ROWS = 64
ALONE = OURS + " on one thread"  # takes its turns in cells of several threads
SPINNING = 0.03  # seconds for which the threads of the peers' pools may spin after a call
WAKING = 0.02  # and for which a virtual CPU may need to come back when a pool's threads are woken


class Failed(Exception):
    """Runtimes disagree about a score, or one of them cannot run a model."""


class Comparison:
    """One run: what is compared, on which files, and what came out."""

    def __init__(self, folder: Path, budget: Budget, runtimes: list[str], busy: bool) -> None:
        self.folder, self.budget, self.busy = folder, budget, busy
        self.runtimes = {name: RUNTIMES[name]() for name in runtimes}
        self.work: dict[str, dict[str, int]] = {}

    def export(self, names: list[str]) -> None:
        """ONNX files by PyTorch, in a process of its own."""
        command = [sys.executable, "-m", "bench.models", str(self.folder), *names]
        subprocess.run(command, check=True, cwd=ROOT)

    def compile(
        self, name: str, options: list[str | Path], plans: list[str]
    ) -> list[dict[str, dict[str, int]]]:
        """Runs mtlc on NAME.onnx with these options; the totals of the programs of PLAN.plan, for
        each of `plans`."""
        model, found = self.folder / f"{name}.onnx", []
        subprocess.run([BUILD / "release/compiler/mtlc", model, *options], check=True)
        for plan in plans:
            command = [BUILD / "release/runtime/mtlrun", "info", self.folder / f"{plan}.plan"]
            info = subprocess.run([*command, "--json"], check=True, capture_output=True)
            found.append(json.loads(info.stdout)["totals"])
        return found

    def prepare(self, models: list[str]) -> None:
        """ONNX files and their plans."""
        names = [*models, "tiny"]
        self.export(names)
        for name in names:
            plan = self.folder / f"{name}.plan"
            self.work[name] = self.compile(name, ["-o", plan], [name])[0]["row"]

    def fixed(self, runtime: object, name: str, rows: int, threads: int) -> bool:
        """Whether a runtime gets the shapes of its batches in advance. A crash there must not end
        the comparison, so one that may crash is tried in a process of its own."""
        if not runtime.may_crash:
            return True
        try:
            self._fresh("try", runtime.name, name, "fixed", rows, threads)
        except Failed:
            return False
        return True

    def _fresh(self, *words: object) -> dict[str, float]:
        """What bench.fresh says."""
        what, runtime, model, *rest = map(str, words)
        command = [sys.executable, "-m", "bench.fresh", what, runtime, model]
        command += [str(self.folder), *rest]
        done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise Failed(f"{runtime} on {model} in a process of its own: {last}")
        return json.loads(done.stdout)

    def runners(
        self, name: str, batches: list[Batch], threads: int, peers: bool = False
    ) -> tuple[dict[str, Callable[[int], None]], dict[str, Batch], list[str]]:
        """Of one cell: the functions that score batch i, the arrays that they fill, and which
        runtimes had to do without fixed shapes. With `peers`, not of ours."""
        model = FILES[name]
        rows = len(next(iter(batches[0].values())))
        calls, scores, dynamic = {}, {}, []
        for each in self.runtimes.values():
            if peers and each.name == OURS:
                continue
            file = self.folder / (name + each.suffix)
            fixed = name == "tiny" or self.fixed(each, name, rows, threads)
            if not fixed:
                dynamic.append(each.name)
            loaded = each.load(file, threads, batches[0] if fixed else None)
            calls[each.name], scores[each.name] = loaded.runner(batches, model.outputs)
        return calls, scores, dynamic

    def cell(self, name: str, rows: int, threads: int, roofline: Roofline) -> report.Cell:
        model = MODELS[name]
        batches = [model.inputs(rows, seed=i + 1) for i in range(BATCHES)]
        calls, scores, dynamic = self.runners(name, batches, threads)
        difference = self.agree(calls, scores, f"{name}, {rows} rows, {threads} threads")
        budget = self.budget
        if threads > 1:
            budget = dataclasses.replace(budget, settle=SPINNING, warm_up=WAKING)
            alone = self.runtimes[OURS].load(self.folder / f"{name}.plan", 1, batches[0])
            calls[ALONE], scores[ALONE] = alone.runner(batches, model.outputs)
        times = self.timed(calls, BATCHES, budget)
        work = self.work[name]
        flops = work["flops_fixed"] + work["flops_per_row"] * rows
        least = roofline.seconds(flops, work["bytes_fixed"], threads) * 1e6
        return report.Cell(
            name,
            rows,
            threads,
            {runtime: times[runtime] for runtime in self.runtimes},
            OURS,
            model.counted,
            difference,
            least,
            tuple(dynamic),
            times.get(ALONE),
        )

    def agree(
        self, calls: dict[str, Callable[[int], None]], scores: dict[str, Batch], where: str
    ) -> float:
        """Largest difference of any two runtimes: a wrong fast answer must not win."""
        difference = 0.0
        for i in range(COMPARED):
            for call in calls.values():
                call(i)
            difference = max(difference, largest_difference(scores))
        if difference > TOLERANCE:
            raise Failed(
                f"{where}: scores of {', '.join(calls)} differ by {difference:.1e}, "
                f"expected {TOLERANCE:.0e} at most"
            )
        return difference

    def timed(
        self, calls: dict[str, Callable[[int], None]], batches: int, budget: Budget
    ) -> dict[str, Timing]:
        times = interleave(calls, batches, budget)
        return {n: t.fastest() for n, t in times.items()} if self.busy else times

    def call_overhead(self) -> dict[str, float]:
        """Microseconds of a call on a model that does next to nothing, by runtime."""
        batches = [TINY.inputs(1, seed=i + 1) for i in range(BATCHES)]
        calls, scores, _ = self.runners("tiny", batches, 1)
        times = interleave(calls, BATCHES, self.budget)
        del scores  # alive until here: the calls hold pointers only
        return {name: timing.median for name, timing in times.items()}

    def loads(self, models: list[str], processes: int) -> list[dict[str, object]]:
        """Time to the first scores (of one row) and memory (after 64 rows), each in fresh
        processes: the median of so many, and one."""
        entries = []
        for model in models:
            for name, runtime in self.runtimes.items():
                shapes = "fixed" if self.fixed(runtime, model, 1, 1) else "any"
                took = [self._fresh("load", name, model, shapes, 1, 1) for _ in range(processes)]
                seconds = statistics.median(each["seconds"] for each in took)
                shapes = "fixed" if self.fixed(runtime, model, MEMORY_ROWS, 1) else "any"
                entries.append(
                    {
                        "model": model,
                        "runtime": name,
                        "first_score_ms": round(seconds * 1e3, 3),
                        "file_bytes": (self.folder / (model + runtime.suffix)).stat().st_size,
                        **self._fresh("memory", name, model, shapes, MEMORY_ROWS, 1),
                    }
                )
        return entries
