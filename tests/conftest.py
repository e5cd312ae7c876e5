"""Fixtures for every kind of test, and the count of the recorded scenarios that hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conformance import Conformance
from hypothesis import settings

# Others may have the processors while an example runs.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_conformance = Conformance()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, scenario in report.user_properties:
        if name == "scenario":
            _conformance.note(*scenario, report.outcome, getattr(report, "wasxfail", None))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = list(_conformance.lines())
    if lines:
        terminalreporter.section("conformance with Pachyderm 1.13.4")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def pachyderm_python() -> str:
    """A Python that has python-pachyderm 6.3.3, whose generated code wants an old protobuf."""
    python = os.environ.get("PACHYDERM_PYTHON")
    if not python:
        pytest.skip("python-pachyderm has an environment of its own: `make test` builds it")
    if not Path(python).exists():
        pytest.fail(f"PACHYDERM_PYTHON={python} is not there; `make test` builds it")
    return python
