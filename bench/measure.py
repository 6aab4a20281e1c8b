"""How times are taken, and what is made of them.

The runtimes of a cell take turns: round after round, each has one burst of calls, and every round
starts with another one. A burst begins with calls that are not timed, which bring back the weights
that the others pushed out of the caches. Then each call is timed by itself.

    burst   the median of its calls: a call that the system interrupted does not count
    cell    the median of its bursts: neither do bursts while another program had the core

What drifts (clock rate, temperature, neighbours) drifts for all runtimes alike, because their
bursts of one round stand side by side. The smallest burst and the quartiles are kept in the JSON.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Budget:
    """How long to measure one cell. Seconds."""

    burst: float = 0.012  # timed part of a burst; at least two calls
    warm_up: float = 0.003  # at least one call
    most_rounds: int = 25
    least_rounds: int = 9
    cell: float = 6.0  # rounds beyond the least only while this is not used up
    settle: float = 0.0  # before each burst: time for other runtimes' threads to stop spinning


FULL = Budget()
QUICK = Budget(burst=0.006, warm_up=0.002, most_rounds=9, least_rounds=5, cell=1.0)


@dataclass(frozen=True)
class Timing:
    """One runtime in one cell; microseconds a call."""

    median: float  # the figure of the cell
    best: float
    quartiles: tuple[float, float]
    bursts: int

    def fastest(self) -> Timing:
        """With the fastest burst for the figure: the least wrong one on a busy machine."""
        return replace(self, median=self.best)

    @staticmethod
    def of(bursts: Sequence[float]) -> Timing:
        low, middle, high = (float(q) for q in np.quantile(bursts, (0.25, 0.5, 0.75)))
        return Timing(middle, min(bursts), (low, high), len(bursts))


class Turns:
    """Rotates over the batches, so that no runtime meets an input that it has just seen."""

    def __init__(self, call: Callable[[int], None], batches: int) -> None:
        self.call, self.batches, self.next = call, batches, 0

    def burst(self, budget: Budget, clock: Callable[[], int] = time.perf_counter_ns) -> float:
        """One burst; the median of its calls, microseconds."""
        self._calls(budget.warm_up, 1, clock)
        return statistics.median(self._calls(budget.burst, 2, clock)) / 1e3

    def _calls(self, seconds: float, least: int, clock: Callable[[], int]) -> list[int]:
        call, batches, i, took = self.call, self.batches, self.next, []
        end = clock() + int(seconds * 1e9)
        while True:
            start = clock()
            call(i)
            now = clock()
            took.append(now - start)
            i = i + 1 if i + 1 < batches else 0
            if now >= end and len(took) >= least:
                break
        self.next = i
        return took


def interleave(
    calls: dict[str, Callable[[int], None]],
    batches: int,
    budget: Budget,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Timing]:
    """Times the runtimes of one cell in turns; by name."""
    turns = {name: Turns(call, batches) for name, call in calls.items()}
    bursts: dict[str, list[float]] = {name: [] for name in calls}
    names, start = list(calls), clock()
    for done in range(budget.most_rounds):
        if done >= budget.least_rounds and clock() - start > budget.cell * 1e9:
            break
        for name in names[done % len(names) :] + names[: done % len(names)]:
            if budget.settle:
                sleep(budget.settle)
            bursts[name].append(turns[name].burst(budget, clock))
    return {name: Timing.of(values) for name, values in bursts.items()}


def geometric_mean(values: Iterable[float]) -> float:
    """NaN for none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def largest_difference(scores: dict[str, dict[str, np.ndarray]]) -> float:
    """Largest absolute difference of any two runtimes in any score, infinity where one is not a
    number. `scores`: runtime to output name to values."""
    worst, (first, *others) = 0.0, scores.values()
    for name in first:
        values = np.stack([first[name], *(other[name] for other in others)]).astype(np.float64)
        if not np.isfinite(values).all():
            return math.inf
        worst = max(worst, float((values.max(axis=0) - values.min(axis=0)).max()))
    return worst


@dataclass(frozen=True)
class Roofline:
    """The least time that a machine can take, by its own measured figures (one thread).

    `flops` is FLOP/s of the best plain product. `read` are the levels of the memory from the
    nearest on: bytes that one holds (None: any number), and bytes a second that can be read there.
    """

    flops: float
    read: tuple[tuple[int | None, float], ...]

    def bandwidth(self, size: int) -> float:
        """Of the nearest level that holds `size` bytes."""
        for held, speed in self.read:
            if held is None or size <= held:
                return speed
        return self.read[-1][1]

    def seconds(self, flops: float, weight_bytes: int, threads: int = 1) -> float:
        """The larger of arithmetic and reading the weights once; threads multiply both."""
        reading = weight_bytes / self.bandwidth(weight_bytes) if weight_bytes else 0.0
        return max(flops / self.flops, reading) / threads
