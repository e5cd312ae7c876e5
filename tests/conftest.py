"""Fixtures for every kind of test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pachyderm_python() -> str:
    """A Python that has python-pachyderm 6.3.3, whose generated code wants an old protobuf."""
    python = os.environ.get("PACHYDERM_PYTHON")
    if not python:
        pytest.skip("python-pachyderm has an environment of its own: `make test` builds it")
    if not Path(python).exists():
        pytest.fail(f"PACHYDERM_PYTHON={python} is not there; `make test` builds it")
    return python
