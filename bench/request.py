"""One user and N candidates: ours takes the user's features once, the others copied N times.

The peers get the very ONNX file and the fastest path that they have for it (runtimes.py), with the
user's features in each row, because they know no other way; making those copies is not timed. Ours
is the plan that `mtlc --request` makes of the same file: one call computes what is the user's once
and then the candidates, all of it inside of the time. Nothing of a user is kept from call to call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import mtlrt, report
from bench.compare import BATCHES, COMPARED, Comparison
from bench.measure import Budget, Roofline
from bench.models import REQUESTS, Request
from bench.runtimes import OURS, Batch

CANDIDATES = 256  # of the table
SWEEP = tuple(1 << i for i in range(13))  # 1 to 4,096, of the picture
LARGE = 1 << 14  # rows of all prepared batches together, from which on there are fewer


def few(candidates: int, budget: Budget) -> Budget:
    """Calls of thousands of candidates take long: fewer rounds of them tell as much."""
    if candidates <= CANDIDATES:
        return budget
    return Budget(budget.burst, budget.warm_up, most_rounds=9, least_rounds=3, cell=2.0)


class Requests:
    """The plans of some of REQUESTS, and their cells."""

    def __init__(self, comparison: Comparison, names: Sequence[str]) -> None:
        self.comparison, self.folder = comparison, comparison.folder
        self.library = comparison.runtimes[OURS].library
        self.work: dict[str, dict[str, dict[str, int]]] = {}
        files = {REQUESTS[name].name for name in names}
        missing = sorted(f for f in files if not (self.folder / f"{f}.onnx").exists())
        if missing:
            comparison.export(missing)
        for name in names:
            self._compile(name, REQUESTS[name])

    def _compile(self, name: str, request: Request) -> None:
        options = ["--request", request.words()]
        plan = f"{request.name}.request"
        self.work[name] = self.comparison.compile(request.name, plan, *options)

    def _ours(
        self, request: Request, batches: list[Batch], candidates: int
    ) -> tuple[Callable[[int], None], Batch]:
        """The function that scores batch i, of the copied features, and the arrays that it fills."""
        once = [request.once(batch) for batch in batches]
        session = mtlrt.Session(self.library, self.folder / f"{request.name}.request.plan")
        scores = session.new_outputs(candidates)
        run = session.runner(candidates, once, scores)

        def call(i: int, _once: object = once) -> None:  # the arrays live as long as the function
            run(i)

        return call, scores

    def cell(self, name: str, candidates: int, roofline: Roofline) -> report.Cell:
        request = REQUESTS[name]
        count = max(COMPARED, min(BATCHES, LARGE // candidates))
        batches = [request.copied(candidates, seed=i + 1) for i in range(count)]
        theirs, their_scores, dynamic = self.comparison.runners(request.name, batches, 1, True)
        call, mine = self._ours(request, batches, candidates)
        calls, scores = {OURS: call, **theirs}, {OURS: mine, **their_scores}
        where = f"{name}, {candidates} candidates of a user"
        difference = self.comparison.agree(calls, scores, where)
        budget = few(candidates, self.comparison.budget)
        times = self.comparison.timed(calls, count, budget)
        return report.Cell(
            name,
            candidates,
            1,
            {runtime: times[runtime] for runtime in self.comparison.runtimes},
            OURS,
            False,
            difference,
            self._least(name, candidates, roofline),
            tuple(dynamic),
        )

    def _least(self, name: str, candidates: int, roofline: Roofline) -> float:
        """Microseconds: what is the user's, then the candidates."""
        work, seconds = self.work[name], 0.0
        for program, rows in (("request", 1), ("row", candidates)):
            flops = work[program]["flops_fixed"] + work[program]["flops_per_row"] * rows
            seconds += roofline.seconds(flops, work[program]["bytes_fixed"])
        return seconds * 1e6


@dataclass(frozen=True)
class Line:
    """Microseconds of a call against candidates n: offset + slope n, and how far the cell that is
    farthest off is, as a share of the line."""

    offset: float
    slope: float
    worst: float

    @staticmethod
    def of(candidates: Sequence[int], times: Sequence[float]) -> Line:
        """Least squares of relative deviations, so that short calls count as much as long ones."""
        n, t = np.asarray(candidates, np.float64), np.asarray(times, np.float64)
        terms = np.stack([np.ones_like(n), n], axis=1) / t[:, None]
        offset, slope = np.linalg.lstsq(terms, np.ones_like(t), rcond=None)[0]
        line = offset + slope * n
        return Line(float(offset), float(slope), float(np.abs(t / line - 1).max()))


def lines(cells: Sequence[report.Cell]) -> dict[str, dict[str, Line]]:
    """By model and runtime, where there are three cells or more."""
    found: dict[str, dict[str, Line]] = {}
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = [cell for cell in cells if cell.model == model]
        if len(mine) > 2:
            found[model] = {
                name: Line.of([c.rows for c in mine], [c.times[name].median for c in mine])
                for name in mine[0].times
            }
    return found
