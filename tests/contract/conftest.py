"""Says of a test's report which recorded scenario it is of; tests/conftest.py counts them."""

from __future__ import annotations

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("scenario")
    # Of setup and teardown only a failure counts.
    if marker is not None and (report.when == "call" or report.failed):
        # Reports travel from the process that ran the test to the one that counts.
        report.user_properties.append(("scenario", marker.args))
    return report
