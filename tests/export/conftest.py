"""The sweep's summary: how many models of each exporter and opset, and how far off the worst
was."""

from __future__ import annotations

import logging

import pytest

from tests.harness import WORST

# Else pytest's log capture makes torch.export describe each of its steps, and prints that on
# failure.
logging.getLogger("torch.__trace").setLevel(logging.CRITICAL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WORST:
        terminalreporter.section("exports within the tolerance")
        terminalreporter.line(
            f"{'exporter':12} {'opset':>5} {'models':>7} {'largest difference':>19}"
        )
    for (exporter, opset), worst in sorted(WORST.items()):
        terminalreporter.line(f"{exporter:12} {opset:5} {len(worst):7} {max(worst):19.1e}")
