"""docs/bench.svg: for each model, how long the peers take, ours being 1, over the row counts.

Drawn by hand, as text: the file is small, and the same figures give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.models import MODELS
from bench.report import Cell
from bench.runtimes import OURS, RUNTIMES

COLUMNS = 2
PANEL, GAP, TOP, LEFT = (360, 170), (70, 74), 96, 62
INK, FAINT = "#222", "#ccc"
COLOURS = {"mtlrt": "#0a7d4f", "onnxruntime": "#c2571a", "openvino": "#3566b8"}


def ticks(most: float) -> list[float]:
    """Round numbers from 1 to a little over `most`, five or fewer."""
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if most / s <= 5.5)
    return [step * i for i in range(math.ceil(most / step) + 1)]


class Panel:
    """One model: a line for each runtime, relative to ours."""

    def __init__(self, x: float, y: float, cells: Sequence[Cell], names: Sequence[str]) -> None:
        self.x, self.y, self.cells, self.names = x, y, cells, names
        ratios = [v for name in names for v in self.ratios(name)]
        self.ticks = ticks(max([1.0, *ratios]))

    def ratios(self, name: str) -> list[float]:
        return [c.times[name].median / c.times[c.ours].median for c in self.cells]

    def place(self, i: int, value: float) -> tuple[float, float]:
        across = PANEL[0] * (i + 0.5) / len(self.cells)
        return self.x + across, self.y + PANEL[1] * (1 - value / self.ticks[-1])

    def draw(self) -> list[str]:
        right = self.x + PANEL[0]
        title = MODELS[self.cells[0].model].title
        parts = [text(self.x, self.y - 12, title, "start", 14, INK)]
        for tick in self.ticks:
            _, y = self.place(0, tick)
            parts.append(line(self.x, y, right, y, FAINT, 1))
            parts.append(text(self.x - 8, y + 4, f"{tick:g}", "end", 11, INK))
        for i, cell in enumerate(self.cells):
            x, _ = self.place(i, 0)
            parts.append(text(x, self.y + PANEL[1] + 16, f"{cell.rows:,}", "middle", 11, INK))
            ours = cell.times[cell.ours].median
            word = f"{ours:,.0f} µs"
            parts.append(text(x, self.y + PANEL[1] + 30, word, "middle", 10, COLOURS[OURS]))
        for name in self.names:
            points = [self.place(i, value) for i, value in enumerate(self.ratios(name))]
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(
                f'<polyline points="{way}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
            )
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>'
                for x, y in points
            ]
        return parts


def line(x: float, y: float, to_x: float, to_y: float, colour: str, width: float) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def text(x: float, y: float, words: str, anchor: str, size: int, colour: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(words)}</text>'
    )


def legend(
    names: Sequence[str], note: str = "below each panel: rows a call, our time"
) -> list[str]:
    parts, x = [], float(LEFT)
    for name in names:
        parts.append(line(x, 60, x + 22, 60, COLOURS[name], 2))
        parts.append(text(x + 28, 64, RUNTIMES[name].title, "start", 12, INK))
        x += 130
    parts.append(text(x, 64, note, "start", 12, INK))
    return parts


def draw(cells: Sequence[Cell], names: Sequence[str], threads: int = 1) -> str:
    """The SVG of the cells with so many threads; `names` are the runtimes."""
    mine = [cell for cell in cells if cell.threads == threads]
    models = list(dict.fromkeys(cell.model for cell in mine))
    lines = math.ceil(len(models) / COLUMNS)
    width = LEFT + COLUMNS * (PANEL[0] + GAP[0])
    height = TOP + lines * (PANEL[1] + GAP[1])
    word = "one thread" if threads == 1 else f"{threads} threads"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 32, f"Time of a call, ours being 1: {word}, float32", "start", 18, INK),
        *legend(names),
    ]
    for i, model in enumerate(models):
        x = LEFT + (i % COLUMNS) * (PANEL[0] + GAP[0])
        y = TOP + 20 + (i // COLUMNS) * (PANEL[1] + GAP[1])
        parts += Panel(x, y, [cell for cell in mine if cell.model == model], names).draw()
    return "\n".join([*parts, "</svg>", ""])
