"""Compares mtlrt with ONNX Runtime and OpenVINO on the zoo's rankers: `./dev bench`.

docs/benchmarks.md says how it is measured and what came out.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import curves, machine, picture, report
from bench.compare import ROOT, Comparison, Failed
from bench.measure import FULL, QUICK
from bench.models import MODELS, REQUESTS
from bench.mtlrt import Failure
from bench.request import CANDIDATES, SWEEP, Requests, lines
from bench.runtimes import BUILD, OURS, PEERS, RUNTIMES

ROW_COUNTS, THREAD_COUNTS = (1, 4, 16, 64, 256, 1024), (1, 2)
QUICK_ROW_COUNTS = (1, 16, 256)
MOST = 1 << 14  # rows of one batch, of which there are 64
TABLES = {"same": "rows of their own", "request": "candidates of a user"}
TITLES = {name: runtime.title for name, runtime in RUNTIMES.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def numbers(text: str) -> list[int]:
    """Row counts or numbers of threads."""
    words = text.split(",")
    if not all(word.isdecimal() and 0 < int(word) <= MOST for word in words):
        expected = f"expected numbers from 1 to {MOST}, as in 1,16"
        raise argparse.ArgumentTypeError(f"{expected}, not {text!r}")
    return [int(word) for word in words]


def names_of(known: dict[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return text.split(",")

    return parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter bursts, at 1, 16 and 256 rows"
    )
    parser.add_argument(
        "--busy", action="store_true", help="a cell is its fastest burst: not for results"
    )
    parser.add_argument("--models", type=names_of(MODELS), default=list(MODELS), metavar="A,B")
    parser.add_argument(
        "--tables", type=names_of(TABLES), default=list(TABLES), metavar="A,B",
        help="same: every row has features of its own; request: one user, many candidates",
    )
    parser.add_argument("--requests", type=names_of(REQUESTS), default=list(REQUESTS), metavar="A,B")
    parser.add_argument(
        "--candidates", type=numbers, metavar="N,M", help=f"of a user, default {CANDIDATES}"
    )
    parser.add_argument(
        "--sweep", action="store_true", help=f"1 to {SWEEP[-1]:,} candidates, by powers of two"
    )
    parser.add_argument("--rows", type=numbers, metavar="N,M", help="default 1,4,16,64,256,1024")
    parser.add_argument("--threads", type=numbers, default=list(THREAD_COUNTS), metavar="N,M")
    parser.add_argument(
        "--runtimes", type=names_of(RUNTIMES), default=list(RUNTIMES), metavar="A,B"
    )
    parser.add_argument("--no-loads", action="store_true", help="neither load times nor memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the SVG")
    parser.add_argument("--curves", type=Path, metavar="FILE", help="draw cost against candidates")
    parser.add_argument(
        "--docs",
        action="store_true",
        help="renew what docs/ says of the measured tables; of requests, with --sweep",
    )
    arguments = parser.parse_args()
    if arguments.rows is None:
        arguments.rows = list(QUICK_ROW_COUNTS if arguments.quick else ROW_COUNTS)
    if arguments.docs:
        arguments.sweep = True
    if arguments.candidates is None:
        arguments.candidates = list(SWEEP if arguments.sweep else (CANDIDATES,))
    if arguments.busy and arguments.docs:
        parser.error("--docs takes no figures of --busy")
    if OURS not in arguments.runtimes:
        parser.error(f"--runtimes must have {OURS}")
    return arguments


def check_installed(runtimes: list[str]) -> None:
    """What is needed beyond the build, or one line that says how to get it."""
    wanted = ["torch", "onnx", *(name for name in runtimes if name in PEERS)]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"bench: missing Python package{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)} in {sys.executable}: "
            f"{sys.executable} -m pip install -r requirements-bench.txt"
        )


def measure_cells(
    comparison: Comparison, arguments: argparse.Namespace, roofline: object
) -> list[report.Cell]:
    titles = [TITLES[name] for name in arguments.runtimes]
    cells: list[report.Cell] = []
    for threads in arguments.threads:
        short = [r.title for r in comparison.runtimes.values() if r.most_threads() < threads]
        if short:
            say(f"skipping {threads} threads: {', '.join(short)} runs a call on one thread only")
            continue
        for name in arguments.models:
            mine = [comparison.cell(name, rows, threads, roofline) for rows in arguments.rows]
            rows = report.cell_rows(mine, arguments.runtimes)
            print(report.text_table(report.heading(titles), rows), end="\n\n", flush=True)
            cells += mine
    return cells


def measure_requests(
    comparison: Comparison, arguments: argparse.Namespace, roofline: object
) -> list[report.Cell]:
    requests = Requests(comparison, arguments.requests)
    head = report.heading([TITLES[name] for name in arguments.runtimes], report.CANDIDATES_HEAD)
    cells: list[report.Cell] = []
    for name in arguments.requests:
        mine = [requests.cell(name, count, roofline) for count in arguments.candidates]
        rows = report.cell_rows(mine, arguments.runtimes)
        print(report.text_table(head, rows), end="\n\n", flush=True)
        cells += mine
    return cells


def main() -> int:
    arguments = parse_arguments()
    check_installed(arguments.runtimes)
    facts, others = machine.environment(), machine.Others()
    if facts["load_average"][0] > 0.5:
        say(f"warning: load average {facts['load_average'][0]:.2f}: other programs are running")
    models = arguments.models if "same" in arguments.tables else []
    with tempfile.TemporaryDirectory() as folder:
        budget = QUICK if arguments.quick else FULL
        comparison = Comparison(Path(folder), budget, arguments.runtimes, arguments.busy)
        say("exporting and compiling " + ", ".join([*models, "tiny"]))
        comparison.prepare(models)
        say("measuring the machine")
        roofline, source = machine.figures(BUILD / "release/runtime/mtlrun")
        overhead = comparison.call_overhead()
        cells = measure_cells(comparison, arguments, roofline) if models else []
        asked: list[report.Cell] = []
        if "request" in arguments.tables:
            say("one user, many candidates: " + ", ".join(arguments.requests))
            asked = measure_requests(comparison, arguments, roofline)
        loads = []
        if models and not arguments.no_loads:
            say("measuring load times and memory in fresh processes")
            loads = comparison.loads(models, 3 if arguments.quick else 7)
    facts["others_cpus"] = round(others.cpus(), 3)
    result = {
        "version": report.JSON_VERSION,
        "quick": arguments.quick,
        "figure": "fastest burst" if arguments.busy else "median of bursts",
        "commit": machine.commit(ROOT),
        "runtimes": {r.name: r.version for r in comparison.runtimes.values()},
        "environment": facts,
        "machine": {"source": source, "flops": roofline.flops, "read": roofline.read},
        "call_overhead_microseconds": {n: round(t, 3) for n, t in overhead.items()},
        "cells": [cell.facts() for cell in cells],
        "summary": report.summary(cells),
        "requests": [report.request_facts(cell) for cell in asked],
        "lines": {
            model: {name: dataclasses.asdict(line) for name, line in of.items()}
            for model, of in lines(asked).items()
        },
        "loads": loads,
    }
    print_rest(result, cells, asked)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.picture and cells:
        arguments.picture.write_text(picture.draw(cells, arguments.runtimes))
    if arguments.curves and asked:
        arguments.curves.write_text(curves.draw(asked, arguments.runtimes, lines(asked)))
    if arguments.docs:
        write_docs(result, cells, asked, arguments.runtimes)
    return 0


def write_docs(
    result: dict, cells: list[report.Cell], asked: list[report.Cell], runtimes: list[str]
) -> None:
    """Of the tables that were measured."""
    docs = ROOT / "docs"
    page = docs / "benchmarks.md"
    if cells:
        (docs / "bench.svg").write_text(picture.draw(cells, runtimes))
        page.write_text(report.renewed(page.read_text(), report.results(result, cells, TITLES)))
    if asked:
        (docs / "request.svg").write_text(curves.draw(asked, runtimes, lines(asked)))
        table = report.request_results(result, asked, TITLES, CANDIDATES)
        page.write_text(report.renewed(page.read_text(), table, report.REQUEST_MARKS))
        other = docs / "request.md"
        gives = report.line_results(result, asked, TITLES)
        other.write_text(report.renewed(other.read_text(), gives, report.LINE_MARKS))


def print_rest(result: dict, cells: list[report.Cell], asked: list[report.Cell]) -> None:
    if result["loads"]:
        print(report.text_table(report.LOADS_HEADING, report.loads_table(result["loads"], TITLES)))
        print()
    for name, took in result["call_overhead_microseconds"].items():
        print(f"a call that computes next to nothing, {TITLES[name]}: {took:.1f} us")
    if asked:
        print("one user, microseconds against the number of candidates, and the aim of the ratio:")
    for words in report.line_lines(result["lines"], TITLES):
        print(words)
    for words in report.aim_lines(asked):
        print(words)
    figures = result["machine"]
    print(f"one thread of this machine ({figures['source']}): {figures['flops'] / 1e9:.1f} GFLOP/s")
    for threads in sorted({cell.threads for cell in cells} - {1}):
        gains = [f"{m} {r}: {s:.2f}" for m, r, t, s in report.scaling(cells) if t == threads]
        if gains:
            print(f"{OURS}, {threads} threads against one: " + ", ".join(gains))
    for line in report.summary_lines(result["summary"]):
        print(line)
    busy = result["environment"]["others_cpus"]
    if busy > report.BUSY:
        say(f"warning: other programs took {busy:.2f} CPUs meanwhile; measure on an idle machine")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, Failure) as error:
        sys.exit(f"bench: {error}")
