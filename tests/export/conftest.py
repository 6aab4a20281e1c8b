"""The sweep's summary: how many models of each exporter and opset, and how far off the worst
was."""

from __future__ import annotations

import logging

import pytest

# Else pytest's log capture makes torch.export describe each of its steps, and prints that on
# failure.
logging.getLogger("torch.__trace").setLevel(logging.CRITICAL)

# By exporter and opset: each model's largest difference. Collected from the tests' reports, which
# reach this process from pytest-xdist's workers as well.
WORST: dict[tuple[str, int], list[float]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for key, value in report.user_properties if report.when == "call" else []:
        if key == "worst":
            exporter, opset, difference = value
            WORST.setdefault((exporter, opset), []).append(difference)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WORST:
        terminalreporter.section("exports within the tolerance")
        terminalreporter.line(
            f"{'exporter':12} {'opset':>5} {'models':>7} {'largest difference':>19}"
        )
    for (exporter, opset), worst in sorted(WORST.items()):
        terminalreporter.line(f"{exporter:12} {opset:5} {len(worst):7} {max(worst):19.1e}")
