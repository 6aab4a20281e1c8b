"""docs/request.svg: what a call costs against how many candidates its user has.

Two panels a model: on the left both axes are linear, and dashes are the straight lines of the least
squares; on the right both are logarithmic, which shows where a line starts: at its offset. Drawn by
hand like picture.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from bench.models import REQUESTS
from bench.picture import COLOURS, FAINT, GAP, INK, LEFT, PANEL, TOP, legend, line, text
from bench.report import Cell
from bench.request import Line

Scale = Callable[[float], float]  # a value to 0..1 of the axis


def linear(most: float) -> tuple[Scale, list[float]]:
    """From 0 to a round number at or above `most`; and its ticks."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * s for s in (0.2, 0.25, 0.5, 1, 2, 2.5) if most <= 5 * power * s)
    count = math.ceil(most / step - 1e-9)
    return lambda value: value / (step * count), [step * i for i in range(count + 1)]


def logarithmic(least: float, most: float, base: float) -> tuple[Scale, list[float]]:
    """Between powers of `base`, which are the ticks."""
    low = math.floor(math.log(least, base) + 1e-9)
    high = max(low + 1, math.ceil(math.log(most, base) - 1e-9))
    ticks = [base**i for i in range(low, high + 1)]
    return lambda value: (math.log(value, base) - low) / (high - low), ticks


def microseconds(value: float) -> str:
    if value == 0:
        return "0"
    if value >= 1e6:
        return f"{value / 1e6:,.4g} s"
    if value >= 1000:
        return f"{value / 1000:,.4g} ms"
    return f"{value:.3g} µs"


class Panel:
    """One model at (x, y), its top left corner, by two scales."""

    def __init__(self, x: float, y: float, across: Scale, up: Scale) -> None:
        self.x, self.y, self.across, self.up = x, y, across, up

    def place(self, candidates: float, time: float) -> tuple[float, float]:
        return (
            self.x + PANEL[0] * self.across(candidates),
            self.y + PANEL[1] * (1 - self.up(time)),
        )

    def axes(self, counts: Sequence[float], times: Sequence[float]) -> list[str]:
        parts = []
        for tick in times:
            y = self.y + PANEL[1] * (1 - self.up(tick))
            parts.append(line(self.x, y, self.x + PANEL[0], y, FAINT, 1))
            parts.append(text(self.x - 6, y + 4, microseconds(tick), "end", 10, INK))
        for tick in counts:
            x = self.x + PANEL[0] * self.across(tick)
            parts.append(text(x, self.y + PANEL[1] + 16, f"{tick:,.0f}", "middle", 10, INK))
        return parts

    def points(self, cells: Sequence[Cell], name: str) -> list[str]:
        places = [self.place(cell.rows, cell.times[name].median) for cell in cells]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        look = f'fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"'
        dots = [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{COLOURS[name]}"/>'
            for x, y in places
        ]
        return [f'<polyline points="{way}" {look}/>', *dots]

    def fitted(self, fit: Line, counts: Sequence[int], name: str) -> str:
        ends = [self.place(n, max(fit.offset + fit.slope * n, 0.0)) for n in (counts[0], counts[-1])]
        (x, y), (to_x, to_y) = ends
        dashes = f'stroke="{COLOURS[name]}" stroke-width="1" stroke-dasharray="5 4"'
        return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" {dashes}/>'


def row(
    y: float, cells: Sequence[Cell], names: Sequence[str], fits: Mapping[str, Line]
) -> list[str]:
    """The two panels of one model."""
    counts = [cell.rows for cell in cells]
    times = [cell.times[name].median for cell in cells for name in names]
    across, count_ticks = linear(counts[-1])
    up, time_ticks = linear(max(times))
    left = Panel(LEFT, y, across, up)
    title = REQUESTS[cells[0].model].title
    parts = [text(LEFT, y - 12, title, "start", 14, INK), *left.axes(count_ticks, time_ticks)]
    across, count_ticks = logarithmic(counts[0], counts[-1], 4)
    up, time_ticks = logarithmic(min(times), max(times), 10)
    right = Panel(LEFT + PANEL[0] + GAP[0], y, across, up)
    parts += right.axes(count_ticks, time_ticks)
    for name in names:
        parts += left.points(cells, name) + right.points(cells, name)
        if name in fits:
            parts.append(left.fitted(fits[name], counts, name))
    return parts


def draw(
    cells: Sequence[Cell], names: Sequence[str], fits: Mapping[str, Mapping[str, Line]]
) -> str:
    """The SVG; `names` are the runtimes, `fits` the lines by model and runtime."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    width, height = LEFT + 2 * (PANEL[0] + GAP[0]), TOP + len(models) * (PANEL[1] + GAP[1])
    heading = "One user: time of a call against the number of candidates, one thread, float32"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 32, heading, "start", 18, INK),
        *legend(names, "left: linear axes, straight lines dashed; right: logarithmic axes"),
    ]
    for i, model in enumerate(models):
        mine = sorted((cell for cell in cells if cell.model == model), key=lambda cell: cell.rows)
        parts += row(TOP + 20 + i * (PANEL[1] + GAP[1]), mine, names, fits.get(model, {}))
    return "\n".join([*parts, "</svg>", ""])
