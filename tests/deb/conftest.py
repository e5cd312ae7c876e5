"""Only `make test-deb` runs these; on a machine that cannot have containers they are skipped, and say why."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bases import SUITES, Base, Built, in_container, make_base
from machines import Machine

# Of tests that are not asked for nothing is said.
collect_ignore_glob = [] if SUITES else ["test_*.py"]


def _missing() -> str:
    """Why there can be no containers here, "" where there can."""
    if os.geteuid() != 0:
        return "containers take root"
    missing = [name for name in ("mmdebstrap", "systemd-nspawn", "nsenter") if shutil.which(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else ""


@pytest.fixture(scope="session", params=SUITES)
def base(request: pytest.FixtureRequest) -> Base:
    """A base system of the release, with what building and running the package takes."""
    if why := _missing():
        pytest.skip(why)
    try:
        made = make_base(request.param)
        in_container(made.root, "true")
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no container of {request.param} here: {' '.join(str(error).split())[-300:]}")
    return made


@pytest.fixture(scope="session")
def built(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The package, built in it without a network."""
    if there := os.environ.get("PACHGW_TEST_PACKAGES"):
        return Built.in_directory(Path(there, base.suite))
    return base.build(tmp_path_factory.mktemp(f"built-{base.suite}"))


@pytest.fixture(scope="session")
def machine(base: Base, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that runs, with the package and an older one in /root, and not yet installed."""
    root = base.copy(tmp_path_factory.mktemp(f"machine-{base.suite}"))
    shutil.copy(built.package, root / "root" / "new.deb")
    built.older(root / "root" / "old.deb")
    try:
        with Machine(root) as started:
            yield started
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def log_on_failure(machine: Machine, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the machine's journal has, where a test has failed."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(machine.run("journalctl", "--no-pager", "-n", "200", check=False))
