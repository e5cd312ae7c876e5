"""Sockets that are bound once and accepted on by others: what is accepted, left, and closed."""

from __future__ import annotations

import errno
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pachgw.web.proxied import Proxied
from pachgw.workers.shares import ABSENT, LEAVE_SECONDS, SLACK, Share, Shares
from pachgw.workers.sockets import (
    BACKLOG,
    FULL_SECONDS,
    Acceptor,
    BoundSocket,
    ListenError,
    bind,
    speaking,
)

LOCAL = "tcp:0:interface=127.0.0.1"
MOST_BACKLOG = int(Path("/proc/sys/net/core/somaxconn").read_text())


class FakeReactor(Clock):
    """Time, readers, and the connections that were handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.adopted: list[int] = []
        self.error: Exception | None = None

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        if self.error is not None:
            raise self.error
        assert family == socket.AF_INET
        # What is handed over is the other's; ours is closed.
        self.adopted.append(os.dup(descriptor))


class AcceptorTest(SynchronousTestCase):
    """One acceptor on a real socket of a reactor that only notes."""

    def setUp(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.reactor = FakeReactor()
        self.addCleanup(lambda: [os.close(descriptor) for descriptor in self.reactor.adopted])
        self.memory = Shares.make(2)
        self.shares = Shares(self.memory, 2)
        self.addCleanup(self.shares.close)
        os.close(self.memory)
        self.mine = 0

    def acceptor(self, *, shared: bool = False) -> Acceptor:
        share = Share(self.shares, 0, lambda: self.mine) if shared else None
        made = Acceptor(os.dup(self.listening.fileno()), None, reactor=self.reactor, share=share)
        self.addCleanup(made.stop)
        made.start()
        return made

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.listening.getsockname())
        self.addCleanup(connection.close)
        return connection

    def test_one_connection_is_accepted_at_a_time(self) -> None:
        acceptor = self.acceptor()
        self.connect()
        self.connect()
        acceptor.doRead()
        assert len(self.reactor.adopted) == 1
        acceptor.doRead()
        assert len(self.reactor.adopted) == 2

    def test_a_connection_that_another_process_took(self) -> None:
        self.acceptor().doRead()
        assert self.reactor.adopted == []
        assert len(self.reactor.readers) == 1

    def test_what_waits_is_left_to_who_has_fewer(self) -> None:
        acceptor = self.acceptor(shared=True)
        self.mine = SLACK + 1
        self.shares.tell(1, 0)
        self.connect()
        acceptor.doRead()
        assert self.reactor.adopted == []
        assert self.reactor.readers == []
        # Nobody took it.
        self.reactor.advance(LEAVE_SECONDS)
        assert len(self.reactor.adopted) == 1
        assert self.reactor.readers == [acceptor]

    def test_what_waits_is_taken_by_who_has_as_few(self) -> None:
        acceptor = self.acceptor(shared=True)
        self.mine = SLACK + 1
        self.shares.tell(1, 1)
        self.connect()
        acceptor.doRead()
        assert len(self.reactor.adopted) == 1

    def test_a_process_that_is_absent_gets_nothing(self) -> None:
        acceptor = self.acceptor(shared=True)
        self.mine = 1000
        assert self.shares.least() == ABSENT
        self.connect()
        acceptor.doRead()
        assert len(self.reactor.adopted) == 1
        # And the others hear of it.
        assert self.shares.least() == 1000

    def test_who_has_left_is_absent_while_its_last_connections_end(self) -> None:
        self.shares.tell(1, 7)
        share = Share(self.shares, 0, lambda: self.mine)
        share.changed()
        assert self.shares.least() == 0
        share.leave()
        share.changed()
        assert self.shares.least() == 7

    def test_no_more_descriptors(self) -> None:
        acceptor = self.acceptor()
        self.connect()
        real = acceptor._socket

        class Full:
            def accept(self) -> None:
                raise OSError(errno.EMFILE, "Too many open files")

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        acceptor._socket = Full()
        acceptor.doRead()
        assert self.reactor.readers == []
        acceptor._socket = real
        self.reactor.advance(FULL_SECONDS)
        assert len(self.reactor.adopted) == 1
        assert self.reactor.readers == [acceptor]

    def test_an_error_of_one_connection_is_not_one_of_the_socket(self) -> None:
        acceptor = self.acceptor()
        for error in (OSError(errno.ENOTCONN, "gone"), ValueError("a defect")):
            client = self.connect()
            self.reactor.error = error
            acceptor.doRead()
            # It is closed.
            assert client.recv(1) == b""
        assert len(self.flushLoggedErrors(ValueError)) == 1
        self.reactor.error = None
        self.connect()
        acceptor.doRead()
        assert len(self.reactor.adopted) == 1

    def test_stopping_closes_it_here_alone(self) -> None:
        acceptor = self.acceptor(shared=True)
        self.mine = SLACK + 1
        self.shares.tell(1, 0)
        acceptor.doRead()
        acceptor.stop()
        acceptor.stop()
        assert self.reactor.getDelayedCalls() == []
        assert acceptor.fileno() == -1
        self.connect()
        self.listening.accept()[0].close()


class Greeting(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class BindTest(TestCase):
    """Real endpoints."""

    timeout = 60

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    async def bound(self, description: str) -> BoundSocket:
        made = await bind(description, reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(made.close()))
        return made

    async def test_nobody_accepts_until_an_acceptor_does(self) -> None:
        listener = (await self.bound(LOCAL)).listener
        assert listener.endpoint is None
        host, port = listener.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.setblocking(False)
            await self._turns()
            with pytest.raises(BlockingIOError):
                client.recv(1)
            acceptor = Acceptor(os.dup(listener.descriptor), Factory.forProtocol(Greeting), reactor=reactor)
            self.addCleanup(acceptor.stop)
            acceptor.start()
            said = b""
            while b"hello" not in said:
                await self._turns()
                try:
                    said += client.recv(100)
                except BlockingIOError:
                    continue

    async def _turns(self) -> None:
        """Let the reactor go round a few times."""
        for _ in range(3):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.001, turn.callback, None)
            await turn

    async def test_a_unix_socket_stays_until_it_is_closed_where_it_was_bound(self) -> None:
        path = self.directory / "s3.sock"
        made = await bind(f"unix:{path}:mode=600", reactor)
        acceptor = Acceptor(os.dup(made.listener.descriptor), Factory(), reactor=reactor)
        acceptor.start()
        acceptor.stop()
        assert path.exists()
        assert path.stat().st_mode & 0o777 == 0o600
        await made.close()
        assert not path.exists()

    async def test_many_may_wait_unless_the_endpoint_says_otherwise(self) -> None:
        for description, most in ((LOCAL, BACKLOG), (f"{LOCAL}:backlog=7", 7)):
            made = await self.bound(description)
            assert _backlog(made.listener.descriptor) == min(most, MOST_BACKLOG)

    async def test_what_lies_between_a_socket_and_http(self) -> None:
        made = await self.bound(f"haproxy:{LOCAL}")
        assert made.listener.endpoint is not None
        factory = Factory()
        assert isinstance(await speaking(made.listener, factory), HAProxyWrappingFactory)
        plain = (await self.bound(LOCAL)).listener
        assert await speaking(plain, factory) is factory

    async def test_an_endpoint_that_cannot_be_listened_on(self) -> None:
        taken = (await self.bound(LOCAL)).listener.url.rpartition(":")[2]
        description = f"tcp:{taken}:interface=127.0.0.1"
        with pytest.raises(ListenError, match=f"cannot listen on {description}: .*in use"):
            await bind(description, reactor)


def _backlog(descriptor: int) -> int:
    """What the kernel lets wait at a listening socket: tcpi_sacked of Linux's struct tcp_info."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    most: int = struct.unpack_from("=8B6I", info)[-1]
    return most


class Secure(TestCase):
    async def test_tls_is_a_tcp_socket_whose_listener_says_so(self) -> None:
        bound = await bind("tls:0:interface=127.0.0.1:backlog=7", reactor)
        self.addCleanup(bound.close)
        assert bound.listener.tls
        assert bound.listener.endpoint is None
        assert bound.listener.url.startswith("https://127.0.0.1:")

    async def test_behind_a_proxy_that_says_who_comes(self) -> None:
        bound = await bind("haproxy:tls:0:interface=127.0.0.1", reactor)
        self.addCleanup(bound.close)
        assert bound.listener.tls
        assert bound.listener.url.startswith("https://127.0.0.1:")
        factory = Factory()
        outermost = await speaking(bound.listener, factory)
        assert isinstance(outermost, HAProxyWrappingFactory)
        assert outermost.wrappedFactory is factory
        assert outermost.protocol is Proxied

    async def test_one_that_is_taken_is_told_as_it_was_given(self) -> None:
        bound = await bind("tls:0:interface=127.0.0.1", reactor)
        self.addCleanup(bound.close)
        port = bound.listener.url.rpartition(":")[2]
        with pytest.raises(ListenError, match=rf"^cannot listen on tls:{port}:interface=127\.0\.0\.1: "):
            await bind(f"tls:{port}:interface=127.0.0.1", reactor)
