"""The daemon that most client tests share, and ways to reach it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parent))

from buckets import Bucket
from daemons import Daemon
from raw import ask
from refusals import FILES


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon with an embedded PFS for all tests that only need buckets of their own."""
    with Daemon(tmp_path_factory.mktemp("state"), "--pfs-listen", "127.0.0.1:0") as running:
        yield running
    assert not [line for line in running.log if "Traceback" in line]


def s3_client(url: str, *, token: str = "any", **config: object) -> object:
    """A boto3 client with the SDK's defaults, but for what `config` says."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=token,
        aws_secret_access_key=token,
        region_name="us-east-1",
        config=Config(**{"retries": {"max_attempts": 1}} | config),
    )


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
