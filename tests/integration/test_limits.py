"""Sizes and times of one request and one connection, at a daemon whose limits are small."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from daemons import Daemon
from raw import ask
from refusals import is_error
from secured import Files, SecureWire, port_of
from wire import EMPTY_SHA256, Closed, Wire, framed, sign

BUCKET = "master.limits"
MIB = 1024 * 1024
LARGE = bytes(MIB)
GET = f"GET /{BUCKET}/k HTTP/1.1\r\nHost: x\r\n".encode()
LIMITS = {
    "--max-head": "4",
    "--max-headers": "20",
    "--max-xml": "64",
    "--max-object": "1",
    "--idle-seconds": "3",
    "--head-seconds": "1",
    "--upload-idle-seconds": "1",
    "--least-upload-rate": "1000",
    "--download-idle-seconds": "1",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Daemon]:
    limits = [word for pair in LIMITS.items() for word in pair]
    with Daemon(tmp_path_factory.mktemp("state"), "--workers", "1", *files.options, *limits) as running:
        assert ask(running.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        assert ask(running.s3_url, "PUT", f"/{BUCKET}/k", body=b"kept").status == 200
        for number in range(5):
            assert ask(running.s3_url, "PUT", f"/{BUCKET}/large-{number}", body=LARGE).status == 200
        yield running
        assert running.stop() == 0
        assert not [line for line in running.log if "Traceback" in line]


@pytest.fixture
def wire(daemon: Daemon) -> Iterator[Wire]:
    with Wire(daemon.s3_url) as made:
        yield made


def ends(wire: Wire) -> None:
    """The server closes though this side says nothing more."""
    with pytest.raises(Closed):
        wire.answer()


def is_there(daemon: Daemon, key: str) -> bool:
    return ask(daemon.s3_url, "HEAD", f"/{BUCKET}/{key}").status == 200


@pytest.mark.parametrize(
    "more",
    [
        b"X-A: " + b"b" * 4096 + b"\r\n\r\n",
        b"".join(b"X-%d: %s\r\n" % (n, b"b" * 250) for n in range(17)) + b"\r\n",
        b"".join(b"X-%d: b\r\n" % n for n in range(20)) + b"\r\n",
    ],
    ids=["line", "bytes", "number"],
)
def test_a_head_that_is_too_large(wire: Wire, more: bytes) -> None:
    wire.send(GET + more)
    is_error(wire.answer(), "GET", 400, "RequestHeaderSectionTooLarge")
    ends(wire)


def test_a_uri_that_is_too_long(wire: Wire) -> None:
    wire.send(f"GET /{BUCKET}/k?x={'y' * 4096} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    is_error(wire.answer(), "GET", 400, "RequestHeaderSectionTooLarge")


def test_a_head_that_just_fits(wire: Wire) -> None:
    # The lines count, what is between them does not.
    rest = 4096 - len(GET) + 4 - len("X-A: ")
    wire.send(GET + b"X-A: " + b"b" * rest + b"\r\n\r\n")
    assert wire.answer().body == b"kept"
    wire.send(GET + b"".join(b"X-%d: b\r\n" % n for n in range(19)) + b"\r\n")
    assert wire.answer().body == b"kept"


def test_trailers_are_bounded_as_heads_are(wire: Wire, daemon: Daemon) -> None:
    wire.head("PUT", f"/{BUCKET}/trailed", {"Transfer-Encoding": "chunked"})
    wire.send(b"1\r\nx\r\n0\r\nX-A: " + b"b" * 5000)
    is_error(wire.answer(), "PUT", 400, "InvalidRequest")
    assert not is_there(daemon, "trailed")


def test_xml_that_is_too_large(daemon: Daemon) -> None:
    deletes = b"<Delete><Object><Key>k</Key></Object>%s</Delete>"
    answer = ask(daemon.s3_url, "POST", f"/{BUCKET}?delete", body=deletes % (b" " * 65_536))
    is_error(answer, "POST", 400, "MaxMessageLengthExceeded")
    assert is_there(daemon, "k")
    small = deletes.replace(b"<Key>k<", b"<Key>none<") % (b" " * 65_000)
    assert ask(daemon.s3_url, "POST", f"/{BUCKET}?delete", body=small).status == 200


def test_objects_that_are_too_large(daemon: Daemon) -> None:
    target = f"/{BUCKET}/huge"
    announced = {"Content-Length": str(MIB + 1), "Expect": "100-continue"}
    with Wire(daemon.s3_url) as wire:
        answer = wire.request("PUT", target, announced)
        # Before a byte of it was sent.
        is_error(answer, "PUT", 400, "EntityTooLarge")
        assert answer.all("MaxSizeAllowed") == [str(MIB)]
    with Wire(daemon.s3_url) as wire:
        wire.head("PUT", target, {"Transfer-Encoding": "chunked"})
        wire.send(b"%x\r\n%s\r\n1\r\nx\r\n" % (MIB, LARGE))
        is_error(wire.answer(), "PUT", 400, "EntityTooLarge")
    assert not is_there(daemon, "huge")


def test_a_part_that_is_too_large(daemon: Daemon) -> None:
    target = f"/{BUCKET}/parts"
    upload = ask(daemon.s3_url, "POST", f"{target}?uploads").all("UploadId")[0]
    for size, status in ((MIB, 200), (MIB + 1, 400)):
        answer = ask(daemon.s3_url, "PUT", f"{target}?partNumber=1&uploadId={upload}", body=bytes(size))
        assert answer.status == status
    is_error(answer, "PUT", 400, "EntityTooLarge")


def test_heads_that_do_not_end(daemon: Daemon) -> None:
    with ExitStack() as stack:
        wires = []
        for begun in (b"G", b"GET / HTTP/1.1", GET, GET + b"X-A: b", b"\x16\x03\x01"):
            wires.append(stack.enter_context(Wire(daemon.s3_url)))
            wires[-1].send(begun)
        for wire in wires:
            is_error(wire.answer(), "GET", 400, "RequestTimeout")
            ends(wire)


def _drip(wire: Wire, drop: bytes) -> None:
    """Send a little again and again, each of it soon enough, until there is an answer."""
    wire.socket.settimeout(0.05)
    while True:
        wire.send(drop)
        with suppress(TimeoutError):
            if wire.socket.recv(1, socket.MSG_PEEK):
                break
    wire.socket.settimeout(60)


def test_a_head_in_drops_has_no_more_time(wire: Wire) -> None:
    wire.send(GET)
    _drip(wire, b"X: y\r\n")
    is_error(wire.answer(), "GET", 400, "RequestTimeout")


def test_a_body_in_drops_has_little_more_time(daemon: Daemon, wire: Wire) -> None:
    wire.head("PUT", f"/{BUCKET}/dripped", {"Content-Length": "100000"})
    _drip(wire, b"x")
    is_error(wire.answer(), "PUT", 400, "RequestTimeout")
    ends(wire)
    assert not is_there(daemon, "dripped")


def test_idle_connections_end_without_a_word(daemon: Daemon, wire: Wire) -> None:
    with Wire(daemon.s3_url) as silent:
        wire.send(GET + b"\r\n")
        assert wire.answer().body == b"kept"
        ends(wire)
        ends(silent)


def test_tls_handshakes_that_do_not_end(daemon: Daemon, files: Files) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = files.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    hello = outgoing.read()
    with ExitStack() as stack:
        clients = []
        for sent in (b"", hello[:1], hello[: len(hello) // 2], hello):
            address = ("127.0.0.1", port_of(daemon))
            clients.append(stack.enter_context(socket.create_connection(address, timeout=60)))
            clients[-1].sendall(sent)
        for client in clients:
            # What the server has to say comes, and then the end.
            with suppress(ConnectionResetError):
                while client.recv(65536):
                    pass
    with SecureWire(port_of(daemon), files.context()) as wire:
        assert wire.request("GET", f"/{BUCKET}/k").body == b"kept"


def _stalled(size: int, framing: str) -> tuple[dict[str, str], bytes]:
    """Headers and all but the end of a body of so many bytes."""
    body = bytes(size)
    if framing == "length":
        return {"Content-Length": str(size)}, body[:-1]
    if framing == "chunked":
        return {"Transfer-Encoding": "chunked"}, b"%x\r\n%s" % (size, body[:-1])
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    whole = framed([body], trailer={"x-amz-checksum-crc32": "AAAAAA=="})
    headers = {
        "Content-Length": str(len(whole)),
        "x-amz-content-sha256": kind,
        "x-amz-decoded-content-length": str(size),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    return headers, whole[:-3]


def test_uploads_that_stall_leave_nothing(daemon: Daemon) -> None:
    with ExitStack() as stack:
        wires = {}
        for framing in ("length", "chunked", "aws-chunked"):
            for size in (1, 5000, MIB):
                key = f"stalled-{framing}-{size}"
                wires[key] = stack.enter_context(Wire(daemon.s3_url))
                headers, begun = _stalled(size, framing)
                wires[key].head("PUT", f"/{BUCKET}/{key}", headers)
                wires[key].send(begun)
        for key, wire in wires.items():
            is_error(wire.answer(), "PUT", 400, "RequestTimeout")
            ends(wire)
            assert not is_there(daemon, key)


def test_a_download_that_stalls_is_cut(daemon: Daemon) -> None:
    before = len(daemon.log)
    with Wire(daemon.s3_url, receive_bytes=4096) as wire:
        for number in range(5):
            wire.head("GET", f"/{BUCKET}/large-{number}")
        daemon.wait_for("A client took nothing for too long", after=before)
        daemon.wait_for(r'"GET /master\.limits/large-\d .* (499 .* client gone|200 .* cut)', after=before)
        with pytest.raises((Closed, ConnectionResetError)):
            for _ in range(5):
                answer = wire.answer()
                assert hashlib.sha256(answer.body).digest() == hashlib.sha256(LARGE).digest()


def test_a_good_signature_is_still_one(daemon: Daemon, wire: Wire) -> None:
    target = f"/{BUCKET}/k"
    headers = sign("GET", target, content_sha256=EMPTY_SHA256).headers
    assert wire.request("GET", target, headers).body == b"kept"
