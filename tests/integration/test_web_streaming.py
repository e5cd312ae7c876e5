"""The web layer over real sockets: what a client sees of late 100s, early answers, pauses and cuts.

Clients block, so they run in threads; the site is on the reactor, in the same process.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from certificates import certificate
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from pachgw.messages import ClientGone, RequestBody, RequestHead, Response
from pachgw.web.app import make_site
from pachgw.web.site import Limits

reactor: Any = default_reactor
KIB = 1024
MIB = 1024 * KIB
PIECE = bytes(64 * KIB)
KERNEL_BYTES = 16 * MIB
"""More than the kernel keeps for both ends of a connection on the loopback."""
SECONDS = 30
"""How long a client waits before its test fails."""


class Pieces:
    """A Source of `count` pieces, then the end or an error."""

    def __init__(self, count: int, error: Exception | None = None, on_read: Callable[[], None] | None = None):
        self.count = count
        self.given = 0
        self.closed: Deferred[None] = Deferred()
        self._error = error
        self._on_read = on_read

    async def read(self) -> bytes:
        if self.given == self.count:
            if self._error is not None:
                raise self._error
            return b""
        self.given += 1
        if self._on_read is not None:
            self._on_read()
        return PIECE

    async def aclose(self) -> None:
        if not self.closed.called:
            self.closed.callback(None)


class Trouble(Exception):
    pass


def render_error(head: RequestHead, code: str, message: str) -> Response:
    return Response(status=500 if code == "InternalError" else 400, body=code.encode())


async def swallow(head: RequestHead, body: RequestBody) -> Response:
    """Reads the whole body and answers with its length; answers at once where the target says so."""
    if head.raw_uri.startswith(b"/early"):
        return Response(status=403, body=b"refused")
    total = 0
    while piece := await body.read():
        total += len(piece)
    return Response(status=200, body=b"%d" % total)


class WebTestCase(TestCase):
    timeout = 120
    secure = False

    async def serve(self, handle: Any, limits: Limits | None = None) -> None:
        self.site = make_site(handle, reactor=reactor, render_error=render_error, limits=limits)
        description = "tcp:0:interface=127.0.0.1"
        if self.secure:
            description = f"ssl:0:interface=127.0.0.1:privateKey={self.make_certificate()}"
        port = await serverFromString(reactor, description).listen(self.site)
        self.port = port.getHost().port

        async def stop() -> None:
            await port.stopListening()
            await self.site.drain(0)

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))

    def make_certificate(self) -> Path:
        """A PEM file with a key and a certificate that it signed itself."""
        path = Path(tempfile.mkdtemp(dir=self.mktemp_parent())) / "server.pem"
        path.write_bytes(b"".join(certificate("localhost")))
        return path

    def mktemp_parent(self) -> str:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return directory.name

    def raw(self) -> socket.socket:
        """A connection; called in a client's thread."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        if not self.secure:
            return plain
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(plain)

    def http(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.sock = self.raw()
        return connection


def read_answer(client: socket.socket) -> bytes:
    """One answer with a Content-Length, whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(client)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [
        int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += more(client)
    return head + b"\r\n\r\n" + body


def more(client: socket.socket) -> bytes:
    data = client.recv(MIB)
    if not data:
        raise EOFError
    return data


def read_to_end(client: socket.socket) -> bytes:
    pieces = []
    while data := client.recv(MIB):
        pieces.append(data)
    return b"".join(pieces)


class UploadTests(WebTestCase):
    async def test_put_large(self) -> None:
        buffered: list[int] = []

        async def handle(head: RequestHead, body: Any) -> Response:
            total = 0
            while piece := await body.read():
                total += len(piece)
                buffered.append(len(piece))
            return Response(status=200, body=b"%d" % total)

        def client() -> bytes:
            connection = self.http()
            connection.putrequest("PUT", "/b/k")
            connection.putheader("Content-Length", str(200 * MIB))
            connection.endheaders()
            for _ in range(200):
                connection.send(bytes(MIB))
            with connection.getresponse() as response:
                return response.read()

        await self.serve(handle)
        self.assertEqual(await deferToThread(client), b"%d" % (200 * MIB))
        limits = self.site.limits
        self.assertLessEqual(max(buffered), limits.fast_body_bytes + 2 * limits.read_bytes)

    async def test_put_chunked(self) -> None:
        def client() -> bytes:
            connection = self.http()
            connection.request("PUT", "/b/k", body=(bytes(100_000) for _ in range(200)), encode_chunked=True)
            with connection.getresponse() as response:
                return response.read()

        await self.serve(swallow)
        self.assertEqual(await deferToThread(client), b"20000000")

    async def test_put_does_not_run_ahead_of_its_reader(self) -> None:
        sent = read = ahead = 0
        finished: Deferred[None] = Deferred()

        async def handle(head: RequestHead, body: RequestBody) -> Response:
            nonlocal read, ahead
            while piece := await body.read():
                ahead = max(ahead, sent - read)
                read += len(piece)
                # A backend that is called on the reactor's next turn.
                turn: Deferred[None] = Deferred()
                reactor.callLater(0, turn.callback, None)
                await turn
            finished.callback(None)
            return Response(status=200)

        def client() -> None:
            nonlocal sent
            with self.raw() as raw:
                raw.sendall(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
                for _ in range(1024):
                    raw.sendall(PIECE)
                    sent += len(PIECE)
                read_answer(raw)

        await self.serve(handle)
        await deferToThread(client)
        await finished
        self.assertEqual(read, 64 * MIB)
        self.assertLess(ahead, KERNEL_BYTES)

    async def test_put_that_nobody_reads_holds_the_client_back(self) -> None:
        go_on: Deferred[None] = Deferred()
        called = threading.Event()

        async def handle(head: RequestHead, body: RequestBody) -> Response:
            called.set()
            await go_on
            return await swallow(head, body)

        def client() -> bytes:
            with self.raw() as raw:
                raw.sendall(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
                self.assertTrue(called.wait(SECONDS))
                raw.settimeout(0.5)
                sent = 0
                try:
                    while sent < 64 * MIB:
                        sent += raw.send(PIECE[: 64 * MIB - sent])
                except TimeoutError:
                    pass
                (request,) = self.site.requests
                self.assertLess(sent, KERNEL_BYTES)
                self.assertLessEqual(
                    request.body.buffered, self.site.limits.body_bytes + 2 * self.site.limits.read_bytes
                )
                raw.settimeout(SECONDS)
                reactor.callFromThread(go_on.callback, None)
                while sent < 64 * MIB:
                    sent += raw.send(PIECE[: 64 * MIB - sent])
                return read_answer(raw)

        await self.serve(handle)
        self.assertTrue((await deferToThread(client)).endswith(b"%d" % (64 * MIB)))

    async def test_client_that_leaves_in_mid_body_is_told_to_the_handler(self) -> None:
        ended: Deferred[BaseException] = Deferred()
        begun = threading.Event()

        async def handle(head: RequestHead, body: RequestBody) -> Response:
            begun.set()
            try:
                while await body.read():
                    pass
            except (CancelledError, ClientGone) as error:
                ended.callback(error)
                raise
            return Response(status=200)

        def client() -> None:
            with self.raw() as raw:
                raw.sendall(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
                # A TLS client that leaves at once resets, and what it sent may be lost with that.
                begun.wait(30)

        await self.serve(handle)
        await deferToThread(client)
        self.assertIsInstance(await ended, CancelledError | ClientGone)

    async def test_pipelined_puts(self) -> None:
        def client() -> list[bytes]:
            with self.raw() as raw:
                raw.sendall(
                    b"".join(
                        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
                        for size in (1000, 100_000, 10)
                    )
                    + b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                )
                return read_to_end(raw).split(b"\r\n\r\n")[1:]

        await self.serve(swallow)
        bodies = [part.partition(b"HTTP/1.1")[0] for part in await deferToThread(client)]
        self.assertEqual(bodies, [b"1000", b"100000", b"10", b"0"])


class EarlyAnswerTests(WebTestCase):
    async def test_expect_refused_without_100(self) -> None:
        def client() -> bytes:
            with self.raw() as raw:
                raw.sendall(
                    b"PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n"
                    b"Expect: 100-continue\r\n\r\n"
                )
                return read_answer(raw)

        await self.serve(swallow)
        answer = await deferToThread(client)
        self.assertTrue(answer.startswith(b"HTTP/1.1 403 "))
        self.assertTrue(answer.endswith(b"refused"))

    async def test_expect_welcomed_with_100(self) -> None:
        def client() -> tuple[bytes, bytes]:
            with self.raw() as raw:
                raw.sendall(
                    b"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
                )
                first = more(raw)
                raw.sendall(b"abc")
                return first, read_answer(raw)

        await self.serve(swallow)
        first, answer = await deferToThread(client)
        self.assertEqual(first, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(answer.endswith(b"\r\n\r\n3"))

    async def test_answer_is_seen_by_a_client_that_sends_first(self) -> None:
        def client() -> list[tuple[int, bytes]]:
            answers = []
            for _ in range(5):
                connection = self.http()
                connection.request("PUT", "/early", body=bytes(20 * MIB))
                with connection.getresponse() as response:
                    answers.append((response.status, response.read()))
                connection.close()
            return answers

        await self.serve(swallow)
        self.assertEqual(await deferToThread(client), [(403, b"refused")] * 5)

    async def test_unread_body_is_not_run_as_a_request(self) -> None:
        body = (b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 20_000)[: 500 * KIB]
        seen = []

        async def handle(head: RequestHead, body: RequestBody) -> Response:
            seen.append(head.raw_uri)
            return await swallow(head, body)

        def client() -> tuple[bytes, bytes]:
            with self.raw() as raw:
                raw.sendall(b"PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
                first = read_answer(raw)
                raw.sendall(body + b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
                return first, read_answer(raw)

        await self.serve(handle)
        first, second = await deferToThread(client)
        self.assertTrue(first.startswith(b"HTTP/1.1 403 "))
        self.assertTrue(second.startswith(b"HTTP/1.1 200 "))
        self.assertEqual(seen, [b"/early", b"/next"])

    async def test_client_that_never_stops_is_cut(self) -> None:
        def client() -> int:
            sent = 0
            with self.raw() as raw:
                raw.sendall(b"PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (10**12))
                try:
                    while True:
                        sent += raw.send(PIECE)
                except OSError:
                    return sent

        await self.serve(swallow, Limits(linger_bytes=4 * MIB))
        self.assertLess(await deferToThread(client), 4 * MIB + KERNEL_BYTES)

    async def test_junk_is_answered_and_closed(self) -> None:
        def client() -> bytes:
            with self.raw() as raw:
                raw.sendall(b"\r\n\r\njunk\r\n" + bytes(100_000))
                return read_answer(raw)

        await self.serve(swallow)
        self.assertTrue((await deferToThread(client)).startswith(b"HTTP/1.1 400 "))


class DownloadTests(WebTestCase):
    async def answer_with(self, source: Pieces, length: int | None) -> None:
        async def handle(head: RequestHead, body: RequestBody) -> Response:
            return Response(status=200, body=source, content_length=length)

        await self.serve(handle)

    def fetch(self) -> bytes:
        connection = self.http()
        connection.request("GET", "/b/k")
        with connection.getresponse() as response:
            return response.read()

    async def test_get_whole(self) -> None:
        source = Pieces(100)
        await self.answer_with(source, 100 * len(PIECE))
        self.assertEqual(len(await deferToThread(self.fetch)), 100 * len(PIECE))
        await source.closed

    async def test_get_of_unknown_length(self) -> None:
        await self.answer_with(Pieces(100), None)
        self.assertEqual(len(await deferToThread(self.fetch)), 100 * len(PIECE))

    async def broken(self, source: Pieces, length: int | None) -> None:
        def client() -> None:
            with self.assertRaises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
                self.fetch()

        await self.answer_with(source, length)
        await deferToThread(client)
        await source.closed
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    async def test_short_source_is_seen_as_broken(self) -> None:
        await self.broken(Pieces(10), 11 * len(PIECE))

    async def test_long_source_is_seen_as_broken(self) -> None:
        await self.broken(Pieces(10), 10 * len(PIECE) - 1)

    async def test_failed_source_is_seen_as_broken(self) -> None:
        await self.broken(Pieces(10, Trouble()), 10 * len(PIECE))

    async def test_failed_source_of_unknown_length_is_seen_as_broken(self) -> None:
        await self.broken(Pieces(10, Trouble()), None)

    async def test_source_does_not_run_ahead_of_a_slow_client(self) -> None:
        taken = ahead = 0

        def on_read() -> None:
            nonlocal ahead
            ahead = max(ahead, source.given * len(PIECE) - taken)

        def client() -> int:
            nonlocal taken
            with self.raw() as raw:
                raw.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                while data := raw.recv(4 * KIB):
                    taken += len(data)
                return taken

        source = Pieces(1024, on_read=on_read)
        await self.answer_with(source, 1024 * len(PIECE))
        self.assertGreater(await deferToThread(client), 64 * MIB)
        self.assertLess(ahead, KERNEL_BYTES)

    async def test_client_that_leaves_closes_the_source(self) -> None:
        def client() -> None:
            with self.raw() as raw:
                raw.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
                raw.recv(1000)

        source = Pieces(10**9)
        await self.answer_with(source, 10**9 * len(PIECE))
        await deferToThread(client)
        await source.closed
        self.assertLess(source.given, 10**6)

    async def test_drain_lets_a_download_end(self) -> None:
        started: Deferred[None] = Deferred()

        async def handle(head: RequestHead, body: RequestBody) -> Response:
            reactor.callLater(0, started.callback, None)
            return Response(status=200, body=Pieces(1000), content_length=1000 * len(PIECE))

        await self.serve(handle)
        fetching = deferToThread(self.fetch)
        await started
        self.assertEqual(await self.site.drain(SECONDS), 0)
        self.assertEqual(len(await fetching), 1000 * len(PIECE))
        self.assertEqual(self.site.connections, set())


class SecureUploadTests(UploadTests):
    secure = True


class SecureEarlyAnswerTests(EarlyAnswerTests):
    secure = True


class SecureDownloadTests(DownloadTests):
    secure = True
