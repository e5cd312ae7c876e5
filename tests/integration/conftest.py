"""The daemon that most client tests share, and ways to reach it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from barrage import Barrage
from buckets import Bucket
from daemons import Daemon
from raw import ask
from refusals import FILES
from sdk import s3_client
from tools import Files, make_files


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon with an embedded PFS for all tests that only need buckets of their own."""
    with Daemon(tmp_path_factory.mktemp("state"), "--pfs-listen", "127.0.0.1:0") as running:
        yield running
    assert not running.tracebacks


@pytest.fixture
def s3(daemon: Daemon) -> object:
    return s3_client(daemon.s3_url)


_numbers = itertools.count(1)


@pytest.fixture
def bucket(s3: object) -> str:
    """A bucket of the test's own, with nothing in it."""
    name = f"master.repo-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def b(daemon: Daemon, bucket: str) -> Iterator[Bucket]:
    """The same with PFS behind it."""
    made = Bucket(daemon, bucket)
    yield made
    made.close()


@pytest.fixture(scope="session")
def full(daemon: Daemon) -> Iterator[Bucket]:
    """A bucket with the files of refusals.FILES, for tests that change nothing in it."""
    made = Bucket(daemon, "master.full")
    assert ask(daemon.s3_url, "PUT", f"/{made.name}", body=b"").status == 200
    for key, body in FILES.items():
        made.put(key, body)
    yield made
    assert made.decoded_keys() == sorted(FILES)
    made.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Files for clients to carry; nobody changes them."""
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def other(s3: object, bucket: str) -> str:
    """A second bucket, of another repo."""
    name = f"{bucket}-other"
    s3.create_bucket(Bucket=name)
    return name


_malformed: dict[str, Barrage] = {}


@pytest.fixture(scope="session")
def malformed() -> dict[str, Barrage]:
    """What is to be told of at the end of the run."""
    return _malformed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, barrage in _malformed.items():
        terminalreporter.section(title)
        for line in barrage.lines():
            terminalreporter.write_line(line)
