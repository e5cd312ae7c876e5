"""A gateway whose PFS is gone, stopped or back again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import Answer, ask
from refusals import is_error
from wire import Closed, Wire

BUCKET = "master.kept"
BATCH = b"<Delete><Object><Key>k</Key></Object></Delete>"
REQUESTS = (
    ("GET", "/", None),
    ("GET", f"/{BUCKET}", None),
    ("HEAD", f"/{BUCKET}", None),
    ("GET", f"/{BUCKET}?list-type=2", None),
    ("GET", f"/{BUCKET}?location", None),
    ("GET", f"/{BUCKET}?versioning", None),
    ("PUT", "/master.new", b""),
    ("DELETE", f"/{BUCKET}", None),
    ("GET", f"/{BUCKET}/k", None),
    ("HEAD", f"/{BUCKET}/k", None),
    ("PUT", f"/{BUCKET}/k", b"x"),
    ("PUT", f"/{BUCKET}/k", bytes(2_000_000)),
    ("DELETE", f"/{BUCKET}/k", None),
    ("POST", f"/{BUCKET}?delete", BATCH),
)
BAD_NAME = "/a..b"
"""Refused without asking PFS."""


class Pair:
    """A gateway that speaks to the PFS of another daemon."""

    def __init__(self, pfs: Daemon, gateway: Daemon) -> None:
        self.pfs = pfs
        self.gateway = gateway
        self.url = gateway.s3_url


@contextmanager
def _pair(directory: Path) -> Iterator[Pair]:
    with (
        Daemon(directory, "--pfs-listen", "127.0.0.1:0") as pfs,
        Daemon(directory, "--pachd", pfs.pfs_address) as gateway,
    ):
        yield Pair(pfs, gateway)
        # Only an answer that broke off is an error of the gateway's log.
        assert not gateway.tracebacks


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with _pair(tmp_path) as made:
        assert ask(made.url, "PUT", f"/{BUCKET}", body=b"").status == 200
        assert ask(made.url, "PUT", f"/{BUCKET}/k", body=b"kept").status == 200
        assert ask(made.url, "PUT", f"/{BUCKET}/large", body=bytes(50_000_000)).status == 200
        yield made


def _is_away(answer: Answer, method: str) -> None:
    is_error(answer, method, 503, "ServiceUnavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_pfs_gone_and_back(pair: Pair) -> None:
    # The sockets' time-outs bound each answer.
    with Wire(pair.url, receive_bytes=65536) as reading, Wire(pair.url) as writing:
        reading.head("GET", f"/{BUCKET}/large")
        assert reading.answer_head()[0] == 200
        writing.head("PUT", f"/{BUCKET}/half", {"Content-Length": "40000000"})
        writing.send(bytes(20_000_000))
        address = pair.pfs.pfs_address.removeprefix("grpc://")
        pair.pfs.kill()
        # What has begun well ends as a broken answer, never as a shorter whole.
        with suppress(ConnectionResetError):
            assert len(reading.read(50_000_000)) < 50_000_000
        try:
            writing.send(bytes(20_000_000))
            _is_away(writing.answer(), "PUT")
        except (ConnectionError, Closed):
            pytest.fail("the upload got no answer")
    with Wire(pair.url) as wire:
        for method, target, body in REQUESTS:
            answer = wire.request(method, target, None, body)
            _is_away(answer, method)
            if answer.headers.get("connection") == "close":
                break
    for method, target, body in REQUESTS:
        _is_away(ask(pair.url, method, target, body=body), method)
    assert ask(pair.url, "GET", BAD_NAME).code == "InvalidBucketName"
    # What PFS answered last may be remembered for a moment.
    while ask(pair.url, "GET", "/~/ready").status == 200:
        pass
    with Daemon(pair.pfs.state_dir, "--pfs-listen", address) as again:
        # The gateway finds it by itself; how soon is up to gRPC's backoff of at most two seconds.
        while (answer := ask(pair.url, "GET", f"/{BUCKET}/k")).status == 503:
            _is_away(answer, "GET")
        assert (answer.status, answer.body) == (200, b"kept")
        while ask(pair.url, "GET", "/~/ready").status == 503:
            pass
        found = Bucket(again, BUCKET)
        assert found.decoded_keys() == ["k", "large"]
        assert found.commits() == 2
        found.close()


def test_pfs_stopped_for_a_while(pair: Pair) -> None:
    pfs = pair.pfs.pfs_pid
    os.kill(pfs, signal.SIGSTOP)
    try:
        with Wire(pair.url) as slow, Wire(pair.url) as other:
            slow.head("GET", f"/{BUCKET}/k")
            # Those that need no PFS are answered meanwhile.
            for _ in range(20):
                is_error(other.request("GET", BAD_NAME), "GET", 400, "InvalidBucketName")
            slow.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                slow.socket.recv(1)
            # A client that gives up does not matter.
            with Wire(pair.url) as impatient:
                impatient.head("PUT", f"/{BUCKET}/k", {"Content-Length": "1"})
                impatient.send(b"x")
            slow.socket.settimeout(60)
            os.kill(pfs, signal.SIGCONT)
            # Its own reader has seen a time-out, so what comes is read from the socket.
            assert slow.socket.recv(12) == b"HTTP/1.1 200"
    finally:
        os.kill(pfs, signal.SIGCONT)
