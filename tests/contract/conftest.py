"""Counts the recorded scenarios that hold, for the end of the run."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from conformance import Conformance

_conformance = Conformance()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("scenario")
    # Of setup and teardown only a failure counts.
    if marker is not None and (report.when == "call" or report.failed):
        _conformance.note(*marker.args, report.outcome, getattr(report, "wasxfail", None))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = list(_conformance.lines())
    if lines:
        terminalreporter.section("conformance with Pachyderm 1.13.4")
        for line in lines:
            terminalreporter.write_line(line)
