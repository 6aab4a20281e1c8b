"""What the measured cells amount to: summaries, tables as text and as Markdown, the JSON.

The JSON has one object a cell (see `Cell.facts`), and beside them what was measured once. Times are
microseconds a call, sizes bytes, shares 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measure import Timing, geometric_mean

JSON_VERSION = 1
BUSY = 0.05  # CPUs that other programs may take before the figures are doubted


@dataclass(frozen=True)
class Cell:
    """One model at one row count and one number of threads. `least` is the roofline, microseconds;
    `ours` names our runtime in `times`."""

    model: str
    rows: int
    threads: int
    times: dict[str, Timing]
    ours: str
    counted: bool
    difference: float
    least: float
    dynamic: tuple[str, ...] = ()  # runtimes that crash on fixed shapes here
    alone: Timing | None = None  # our runtime on one thread, timed in the same turns

    def faster_peer(self) -> str | None:
        peers = {name: timing.median for name, timing in self.times.items() if name != self.ours}
        return min(peers, key=peers.__getitem__) if peers else None

    def ratio(self) -> float:
        """How many times as fast as the faster peer we are: its median over ours; NaN without
        peers."""
        peer = self.faster_peer()
        return self.times[peer].median / self.times[self.ours].median if peer else math.nan

    def share(self) -> float:
        """Of the roofline that we reach."""
        return self.least / self.times[self.ours].median

    def facts(self) -> dict[str, object]:
        return {
            "model": self.model,
            "rows": self.rows,
            "threads": self.threads,
            "microseconds": {
                name: {
                    "median": round(timing.median, 3),
                    "best": round(timing.best, 3),
                    "quartiles": [round(q, 3) for q in timing.quartiles],
                    "bursts": timing.bursts,
                }
                for name, timing in self.times.items()
            },
            "faster_peer": self.faster_peer(),
            "ratio": _rounded(self.ratio(), 4),
            "counted": self.counted,
            "roofline_microseconds": round(self.least, 3),
            "roofline_share": round(self.share(), 4),
            "one_thread_median": round(self.alone.median, 3) if self.alone else None,
            "without_fixed_shapes": list(self.dynamic),
            "largest_score_difference": self.difference,
        }


def _rounded(value: float, digits: int) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else round(value, digits)


def summary(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """For each number of threads: geometric means of the ratios, of the counted models, and the
    worst cell."""
    result = []
    for threads in sorted({cell.threads for cell in cells}):
        mine = [cell for cell in cells if cell.threads == threads and cell.counted]
        mine = [cell for cell in mine if cell.faster_peer()]
        if not mine:
            continue
        worst = min(mine, key=Cell.ratio)
        result.append(
            {
                "threads": threads,
                "cells": len(mine),
                "geometric_mean": _rounded(geometric_mean(c.ratio() for c in mine), 4),
                "geometric_mean_one_row": _rounded(
                    geometric_mean(c.ratio() for c in mine if c.rows == 1), 4
                ),
                "least_ratio": _rounded(worst.ratio(), 4),
                "least_ratio_at": f"{worst.model}, {worst.rows} rows",
            }
        )
    return result


def scaling(cells: Sequence[Cell]) -> list[tuple[str, int, int, float]]:
    """How many times as fast as on one thread our runtime is: model, rows, threads, speed-up."""
    return [
        (c.model, c.rows, c.threads, c.alone.median / c.times[c.ours].median)
        for c in cells
        if c.alone
    ]


def _microseconds(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def cell_rows(cells: Iterable[Cell], names: Sequence[str]) -> list[list[str]]:
    """One row of words a cell: see `heading`."""
    rows = []
    for cell in cells:
        times = [
            _microseconds(cell.times[name].median) + ("*" if name in cell.dynamic else "")
            for name in names
        ]
        ratio = "-" if math.isnan(cell.ratio()) else f"{cell.ratio():.2f}"
        where = [cell.model, str(cell.rows), str(cell.threads)]
        rows.append([*where, *times, ratio, _microseconds(cell.least), f"{cell.share():.0%}"])
    return rows


CANDIDATES_HEAD = "candidates"


def heading(titles: Sequence[str], rows: str = "rows") -> list[str]:
    return ["model", rows, "threads", *titles, "faster peer / ours", "roofline", "reached"]


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if i == 0 else word.rjust(width)
            for i, (word, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [head, *rows]
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *(["--:"] * (len(head) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def loads_table(loads: Sequence[dict[str, object]], titles: dict[str, str]) -> list[list[str]]:
    """Rows: runtime, model, milliseconds to the first scores, MB added."""
    return [
        [
            str(entry["model"]),
            titles[str(entry["runtime"])],
            f"{entry['first_score_ms']:.1f}",
            f"{entry['file_bytes'] / 1e6:.1f}",
            f"{entry['rss'] / 1e6:.1f}",
            f"{(entry['plan_resident'] + entry['workspace']) / 1e6:.1f}"
            if "workspace" in entry
            else "",
        ]
        for entry in loads
    ]


LOADS_HEADING = [
    "model",
    "runtime",
    "first scores, ms",
    "file, MB",
    "memory added, MB",
    "plan + workspace, MB",
]


def summary_lines(entries: Sequence[dict[str, object]]) -> list[str]:
    def word(value: object) -> str:
        return "-" if value is None else f"{value:.2f}"

    return [
        f"{e['threads']} thread{'s' if e['threads'] != 1 else ''}, {e['cells']} cells: "
        f"geometric mean {word(e['geometric_mean'])}, at one row "
        f"{word(e['geometric_mean_one_row'])}, least {word(e['least_ratio'])} "
        f"({e['least_ratio_at']})"
        for e in entries
    ]


# --- the page ---

Marks = tuple[str, str]
BEGIN, END = "<!-- results: written by ./dev bench --docs -->", "<!-- end of results -->"
REQUEST_MARKS = (
    "<!-- requests: written by ./dev bench --docs -->",
    "<!-- end of requests -->",
)
LINE_MARKS = ("<!-- lines: written by ./dev bench --docs -->", "<!-- end of lines -->")


def renewed(page: str, results: str, marks: Marks = (BEGIN, END)) -> str:
    """The page with other results between its two marks."""
    before, rest = page.split(marks[0])
    _, after = rest.split(marks[1])
    return f"{before}{marks[0]}\n\n{results}\n{marks[1]}{after}"


def machine_lines(result: dict) -> list[str]:
    facts, figures = result["environment"], result["machine"]
    read = ", ".join(
        f"{speed / 1e9:,.0f} GB/s ({'beyond' if held is None else f'up to {held >> 10:,} KiB'})"
        for held, speed in figures["read"]
    )
    versions = ", ".join(f"{name} {version}" for name, version in result["runtimes"].items())
    kind = "virtual machine, " if facts["virtual_machine"] else ""
    quick = ", --quick" if result["quick"] else ""
    others = f"{facts['others_cpus']:.2f} CPUs"
    busy = facts["others_cpus"] > BUSY
    alone = busy and facts["real_time"] and facts["others_cpus"] < facts["cpus"] - 0.5
    own = "; this one had a CPU to itself, by real-time priority" if alone else ""
    return [
        f"{facts['date']}, commit {result['commit']}{quick}; {versions}.",
        *(["", "**The machine was busy: do not rely on these figures.**"] if busy > alone else []),
        "",
        f"{facts['cpu']}, {kind}{facts['cpus_allowed']} CPUs, {', '.join(facts['caches'])}; "
        f"governor {facts['governor'] or 'unknown'}; {facts['system']}, Linux {facts['kernel']}. "
        f"Load average at the start {facts['load_average'][0]:.2f}; meanwhile other programs took "
        f"{others}{own}.",
        "",
        f"One thread ({figures['source']}): {figures['flops'] / 1e9:,.1f} GFLOP/s in the best "
        f"plain product; reads {read}.",
    ]


def results(result: dict, cells: Sequence[Cell], titles: dict[str, str]) -> str:
    """The Markdown of one run: machine, summary, cells, call overhead, loads."""
    names = list(result["runtimes"])
    rows = cell_rows(cells, names)
    overhead = result["call_overhead_microseconds"]
    parts = [
        "![Time of a call beside ours](bench.svg)",
        "",
        *machine_lines(result),
        "",
        *(f"- {line}" for line in summary_lines(result["summary"])),
        *(
            f"- {model}, {count} rows: {threads} threads are {gain:.2f} times as fast as one"
            for model, count, threads, gain in scaling(cells)
        ),
        "- A call that computes next to nothing: "
        + ", ".join(f"{titles[name]} {took:.1f} us" for name, took in overhead.items()),
        "",
        "Microseconds a call:",
        "",
        markdown_table(heading([titles[name] for name in names]), rows),
        "",
    ]
    if any(cell.dynamic for cell in cells):
        parts += ["\\* with a dynamic batch: it crashes on this fixed row count.", ""]
    if result["loads"]:
        table = markdown_table(LOADS_HEADING, loads_table(result["loads"], titles))
        parts += ["Opening a model, and what it adds to the process:", "", table, ""]
    return "\n".join(parts)


# --- one user, many candidates ---

# What the ratio at CANDIDATES should be at least.
AIMS = {
    "mmoe": 2.5,
    "ple": 2.2,
    "dtrn_target": 10.0,
    "resflow_tower": 3.0,
    "resflow_tower_stored": 50.0,
}


def request_facts(cell: Cell) -> dict[str, object]:
    """Of a cell whose rows are the candidates of one user."""
    facts = cell.facts()
    return {"model": facts.pop("model"), "candidates": facts.pop("rows"), **facts}


def aim_lines(cells: Iterable[Cell], candidates: int = 256) -> list[str]:
    """The ratios at so many candidates, and what they should be."""
    return [
        f"{cell.model}, {cell.rows} candidates: {cell.ratio():.2f} times the faster peer, "
        f"the aim is {AIMS[cell.model]:g}"
        for cell in cells
        if cell.rows == candidates and cell.faster_peer()
    ]


def line_lines(lines: dict[str, dict[str, dict[str, float]]], titles: dict[str, str]) -> list[str]:
    return [
        f"{model}, {titles[name]}: {line['offset']:,.1f} us + {line['slope']:,.3f} us a candidate, "
        f"within {line['worst']:.0%}"
        for model, of in lines.items()
        for name, line in of.items()
    ]


def request_results(
    result: dict, cells: Sequence[Cell], titles: dict[str, str], candidates: int
) -> str:
    """The Markdown of the table at so many candidates."""
    names = list(result["runtimes"])
    mine = [cell for cell in cells if cell.rows == candidates]
    head = heading([titles[name] for name in names], CANDIDATES_HEAD)
    rows = cell_rows(mine, names)
    for cell, row in zip(mine, rows):
        row.append(f"{AIMS[cell.model]:g}")
    parts = [*machine_lines(result), "", "Microseconds a call:", ""]
    parts += [markdown_table([*head, "aim"], rows), ""]
    if any(cell.dynamic for cell in mine):
        parts += ["\\* with a dynamic batch: it crashes on this fixed row count.", ""]
    return "\n".join(parts)


def line_results(result: dict, cells: Sequence[Cell], titles: dict[str, str]) -> str:
    """The Markdown of cost against candidates: the picture, the lines, and the ratios."""
    counts = sorted({cell.rows for cell in cells})
    head = ["model", "runtime", "offset, us", "a candidate, us", "farthest off"]
    rows = [
        [model, titles[name], f"{line['offset']:,.1f}", f"{line['slope']:,.3f}", f"{line['worst']:.0%}"]
        for model, of in result["lines"].items()
        for name, line in of.items()
    ]
    ratios = [
        [model, *(f"{c.ratio():.2f}" for c in cells if c.model == model)]
        for model in dict.fromkeys(cell.model for cell in cells)
    ]
    return "\n".join(
        [
            "![Time of a call against the number of candidates](request.svg)",
            "",
            *machine_lines(result),
            "",
            "The straight lines (least squares of relative deviations over all numbers of candidates):",
            "",
            markdown_table(head, rows),
            "",
            "The faster peer's time over ours, by the number of candidates:",
            "",
            markdown_table(["model", *(f"{count:,}" for count in counts)], ratios),
            "",
        ]
    )
