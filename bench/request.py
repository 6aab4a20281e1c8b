"""One user and N candidates: ours takes the user's features once, the others copied N times.

The peers get the very ONNX file and the fastest path that they have for it (runtimes.py), with the
user's features in each row, because they know no other way; making those copies is not timed. Ours
is the plan that `mtlc --request` makes of the same file: one call computes what is the user's once
and then the candidates, all of it inside of the time. Nothing of a user is kept from call to call.

With stored items, of a model that `mtlc --emit-towers` cuts in three, the item plan has run before:
a call is the user plan on one row and the score plan on the vectors of N items, which lie ready as
the other inputs do.
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
        # Of each model its programs in order, and the rows of each; None: the candidates.
        self.work: dict[str, list[tuple[dict[str, int], int | None]]] = {}
        files = {REQUESTS[name].name for name in names}
        missing = sorted(f for f in files if not (self.folder / f"{f}.onnx").exists())
        if missing:
            comparison.export(missing)
        for name in names:
            self._compile(name, REQUESTS[name])

    def _compile(self, name: str, request: Request) -> None:
        mtlc, options = self.comparison.compile, ["--request", request.words()]
        if not request.stored:
            plan = f"{request.name}.request"
            totals = mtlc(request.name, ["-o", self.folder / f"{plan}.plan", *options], [plan])
            self.work[name] = [(totals[0]["request"], 1), (totals[0]["row"], None)]
            return
        parts = [f"{name}.{part}" for part in ("user", "score")]
        totals = mtlc(request.name, ["--emit-towers", self.folder / name, *options], parts)
        self.work[name] = [(program, 1) for program in totals[0].values()]
        self.work[name] += [(totals[1]["request"], 1), (totals[1]["row"], None)]

    def _session(self, plan: str) -> mtlrt.Session:
        return mtlrt.Session(self.library, self.folder / f"{plan}.plan")

    def _ours(
        self, name: str, batches: list[Batch], candidates: int
    ) -> tuple[Callable[[int], None], Batch]:
        """The function that scores batch i, of the copied features, and the arrays that it fills."""
        request = REQUESTS[name]
        once = [request.once(batch) for batch in batches]
        if request.stored:
            return self._from_store(name, once, candidates)
        session = self._session(f"{request.name}.request")
        scores = session.new_outputs(candidates)
        run = session.runner(candidates, once, scores)

        def call(i: int, _alive: object = once) -> None:
            run(i)

        return call, scores

    def _from_store(
        self, name: str, once: list[Batch], candidates: int
    ) -> tuple[Callable[[int], None], Batch]:
        """The same with the items' vectors made before."""
        user, item, score = (self._session(f"{name}.{part}") for part in ("user", "item", "score"))
        stored = [item.new_outputs(candidates) for _ in once]
        for batch, vectors in zip(once, stored):
            item.runner(candidates, [batch], vectors)(0)
        mine = user.new_outputs(1)
        read = [{**mine, **vectors} for vectors in stored]
        scores = score.new_outputs(candidates)
        first, second = user.runner(1, once, mine), score.runner(candidates, read, scores)

        def call(i: int, _alive: object = (once, read)) -> None:
            first(i)
            second(i)

        return call, scores

    def cell(self, name: str, candidates: int, roofline: Roofline) -> report.Cell:
        request = REQUESTS[name]
        count = max(COMPARED, min(BATCHES, LARGE // candidates))
        batches = [request.copied(candidates, seed=i + 1) for i in range(count)]
        theirs, their_scores, dynamic = self.comparison.runners(request.name, batches, 1, True)
        call, mine = self._ours(name, batches, candidates)
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
        """Microseconds: the programs one after the other, on one row or on all candidates."""
        seconds = 0.0
        for work, rows in self.work[name]:
            flops = work["flops_fixed"] + work["flops_per_row"] * (rows or candidates)
            seconds += roofline.seconds(flops, work["bytes_fixed"])
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
