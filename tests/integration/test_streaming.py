"""Bodies on their way: who waits for whom, what is held meanwhile, and what a broken one leaves."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import ask
from refusals import is_error
from wire import EMPTY_SHA256, Closed, Wire, sign

MIB = 1024 * 1024
LARGE = 50 * MIB
GROWTH_BYTES = 48 * MIB
"""Allowed to one reader or writer, however large the object; it holds a few messages of 2 MiB."""
POOL_THREADS = 12
"""Of the pools for messages of PFS and for digests; they fill when they are needed."""
SLOW_READERS = 40
CLIENT_BYTES = 64 * 1024
"""What the kernel may hold for a slow client."""
SETTLE_SECONDS = 30


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose memory, threads and files nobody else uses."""
    with Daemon(tmp_path_factory.mktemp("streaming"), "--pfs-listen", "127.0.0.1:0") as running:
        yield running
    assert not running.tracebacks


@pytest.fixture(scope="module")
def s(own: Daemon) -> Iterator[Bucket]:
    """A bucket with a large object of bytes that do not repeat, and a small one."""
    made = Bucket(own, "master.streams")
    assert ask(own.s3_url, "PUT", f"/{made.name}", body=b"").status == 200
    made.put("large", _noise(LARGE))
    made.put("small", b"small")
    yield made
    made.close()


def _noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def _status(pid: int, name: str) -> int:
    """A number of /proc/PID/status, sizes in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            words = line.split()
            return int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    raise KeyError(name)


def _temporary(daemon: Daemon) -> list[Path]:
    return list((daemon.state_dir / "chunks" / "tmp").iterdir())


def _wait_until_no_temporary(daemon: Daemon) -> None:
    """PFS hears of a cancelled call in its own time."""
    until = time.monotonic() + SETTLE_SECONDS
    while left := _temporary(daemon):
        assert time.monotonic() < until, left
        time.sleep(0.01)


def _small_requests(s: Bucket, count: int = 20) -> None:
    for _ in range(count):
        assert s.get("small").body == b"small"
    assert s.keys() == ["large", "small"]


EXPECT = {"Expect": "100-continue"}


@pytest.mark.parametrize("size", [1, 10 * MIB])
@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/master.no-such-repo/k", {}, 404, "NoSuchBucket"),
        ("/a..b/k", {}, 400, "InvalidBucketName"),
        ("/master.streams/small/below", {}, 400, "InvalidFilePath"),
        ("/master.streams/" + "x" * 1025, {}, 400, "KeyTooLongError"),
        ("/master.streams/k?nonsense", {}, 501, "NotImplemented"),
        ("/master.streams/k", {"Content-MD5": "junk"}, 400, "InvalidDigest"),
        ("/master.streams/k", {"x-amz-checksum-crc32": "junk"}, 400, "InvalidRequest"),
        ("/master.streams/k", {"x-amz-tagging": "a=b&a=c"}, 400, "InvalidArgument"),
        ("/master.streams/k", {"x-amz-meta-a": "x" * 2048}, 400, "MetadataTooLarge"),
        ("/master.streams/k", {"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"),
        ("/master.streams/small", {"If-None-Match": "*"}, 412, "PreconditionFailed"),
        ("/master.streams/k", {"Authorization": "junk"}, 400, "InvalidArgument"),
        ("/master.streams/k", {"signed-by": "other"}, 403, "SignatureDoesNotMatch"),
    ],
)
def test_a_bad_head_gets_no_100(
    s: Bucket, target: str, headers: dict[str, str], status: int, code: str, size: int
) -> None:
    before = s.state()
    if "signed-by" in headers:
        headers = sign("PUT", target, secret="x", content_sha256="UNSIGNED-PAYLOAD").headers
    with Wire(s.url) as wire:
        wire.head("PUT", target, headers | EXPECT | {"Content-Length": str(size)})
        answer = wire.answer()
        is_error(answer, "PUT", status, code)
        # Nobody knows whether the body comes: the connection cannot go on.
        assert answer.headers["connection"] == "close"
        with pytest.raises(Closed):
            wire.answer()
    assert s.state() == before


@pytest.mark.parametrize("size", [1, 10 * MIB])
def test_a_good_head_gets_100(s: Bucket, size: int) -> None:
    target = f"/{s.name}/expected"
    body = _noise(size)
    digest = hashlib.sha256(body).hexdigest()
    with Wire(s.url) as wire:
        headers = sign("PUT", target, content_sha256=digest).headers
        for _ in range(2):
            wire.head("PUT", target, headers | EXPECT | {"Content-Length": str(size)})
            assert wire.answer().status == 100
            wire.send(body)
            assert wire.answer("PUT").status == 200
        assert wire.request("GET", target).body == body
        assert wire.request("DELETE", target).status == 204


def test_no_100_where_no_body_is_read(s: Bucket) -> None:
    with Wire(s.url) as wire:
        wire.head("GET", f"/{s.name}/small", EXPECT | {"Content-Length": "5"})
        assert (wire.answer().body, _is_closed(wire)) == (b"small", True)


def _is_closed(wire: Wire) -> bool:
    try:
        wire.answer()
    except Closed:
        return True
    return False


@pytest.mark.parametrize("sent", [0, 1, 100_000, 4 * MIB])
@pytest.mark.parametrize("framing", [{"Content-Length": "8388608"}, {"Transfer-Encoding": "chunked"}])
def test_a_client_that_goes_leaves_nothing(
    own: Daemon, s: Bucket, sent: int, framing: dict[str, str]
) -> None:
    before, seen = s.state(), len(own.log)
    for key in ("gone", "small", "gone/below"):
        with Wire(s.url) as wire:
            wire.head("PUT", f"/{s.name}/{key}", framing)
            if sent and "Content-Length" not in framing:
                wire.send(b"%x\r\n" % (2 * sent))
            wire.send(bytes(sent))
        own.wait_for(rf'"PUT /{s.name}/{key} HTTP/1.1" 499 .* client gone', after=seen)
    assert s.state() == before
    _wait_until_no_temporary(own)
    assert s.state() == before
    _small_requests(s, 1)


@pytest.mark.parametrize(
    "name", ["Content-MD5", "x-amz-content-sha256", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha256"]
)
def test_a_digest_that_is_wrong_after_20_mb_leaves_nothing(own: Daemon, s: Bucket, name: str) -> None:
    before = s.state()
    size = {"Content-MD5": 16, "x-amz-checksum-crc64nvme": 8}.get(name, 32)
    wrong = EMPTY_SHA256 if name == "x-amz-content-sha256" else base64.b64encode(bytes(size)).decode()
    answer = s.ask("PUT", "/small", body=_noise(20_000_000), headers={name: wrong})
    assert answer.code in {"BadDigest", "XAmzContentSHA256Mismatch"}
    assert s.state() == before
    assert s.get("small").body == b"small"
    _wait_until_no_temporary(own)


def test_a_slow_reader_costs_little_memory(own: Daemon, s: Bucket) -> None:
    s.get("large", "")
    before = _status(own.pid, "VmRSS")
    with Wire(s.url, receive_bytes=CLIENT_BYTES) as wire:
        wire.head("GET", f"/{s.name}/large")
        assert wire.answer_head()[0] == 200
        _small_requests(s, 100)
        assert _status(own.pid, "VmRSS") - before < GROWTH_BYTES
        digest = hashlib.sha256()
        got = 0
        while got < LARGE:
            piece = wire.read(MIB)
            assert piece
            digest.update(piece)
            got += len(piece)
        assert _status(own.pid, "VmRSS") - before < GROWTH_BYTES
        assert digest.digest() == hashlib.sha256(_noise(LARGE)).digest()
        assert wire.request("GET", f"/{s.name}/small").body == b"small"


def test_a_slow_writer_costs_little_memory(own: Daemon, s: Bucket) -> None:
    """PFS takes what comes as it comes: it is nowhere whole."""
    body = _noise(4 * MIB)
    before = _status(own.pid, "VmRSS")
    with Wire(s.url) as wire:
        wire.head("PUT", f"/{s.name}/slow", {"Content-Length": str(16 * len(body))})
        for _ in range(16):
            wire.send(body)
            _small_requests(s, 1)
            assert _status(own.pid, "VmRSS") - before < GROWTH_BYTES
        assert wire.answer("PUT").status == 200
    assert s.ask("HEAD", "/slow").headers["content-length"] == str(16 * len(body))
    assert s.delete("slow").status == 204


def test_slow_readers_hold_no_threads(own: Daemon, s: Bucket) -> None:
    before = _status(own.pid, "Threads")
    seen = len(own.log)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(s.url, receive_bytes=CLIENT_BYTES)) for _ in range(SLOW_READERS)]
        for wire in wires:
            wire.head("GET", f"/{s.name}/large")
        for wire in wires:
            assert wire.answer_head()[0] == 200
        _small_requests(s, 50)
        s.put("beside", b"written")
        assert s.delete("beside").status == 204
        assert _status(own.pid, "Threads") <= before + POOL_THREADS
        # Each gets on where its client does.
        expected = _noise(LARGE)
        assert wires[-1].read(LARGE) == expected
        assert wires[0].read(10 * MIB) == expected[: 10 * MIB]
    gone = r'"GET /master.streams/large HTTP/1.1" 499 .* client gone'
    for _ in range(SLOW_READERS - 1):
        own.wait_for(gone, after=seen)
        seen = next(at for at, line in enumerate(own.log) if at >= seen and re.search(gone, line)) + 1
    _small_requests(s, 1)


def test_a_slow_writer_is_in_nobodys_way(s: Bucket) -> None:
    size = 8 * MIB
    with Wire(s.url) as slow:
        slow.head("PUT", f"/{s.name}/slow", {"Content-Length": str(size)})
        slow.send(bytes(size // 2))
        for number in range(20):
            s.put("quick", str(number).encode())
            assert s.get("quick").body == str(number).encode()
        assert s.delete("quick").status == 204
        # What came up in the way of the slow one is seen at its end.
        slow.send(bytes(size // 2))
        assert slow.answer("PUT").status == 200
    assert s.get("slow").body == bytes(size)
    assert s.delete("slow").status == 204


@pytest.mark.parametrize(("other", "survivor"), [("slow", "slow"), ("slow/below", "slow/below")])
def test_what_came_while_a_slow_writer_wrote(s: Bucket, other: str, survivor: str) -> None:
    size = 4 * MIB
    with Wire(s.url) as slow:
        slow.head("PUT", f"/{s.name}/slow", {"Content-Length": str(size), "If-None-Match": "*"})
        slow.send(bytes(size - 1))
        s.put(other, b"first")
        before = s.state()
        slow.send(b"x")
        answer = slow.answer("PUT")
        code = "PreconditionFailed" if other == "slow" else "InvalidFilePath"
        assert answer.code == code
    assert s.state() == before
    assert s.get(survivor).body == b"first"
    assert s.delete(survivor).status == 204
