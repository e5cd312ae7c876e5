"""A TCP proxy that does to a connection what networks do: delays, silence, peers that are gone, resets.

Bytes go through as they are; it knows no protocol. One thread, on a free port of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

CHUNK_BYTES = 65536
CALL_SECONDS = 60


class Way(Enum):
    """In which direction bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class _Reset(Exception):
    """The connection is to end now, by RST on both sides."""


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    cut: asyncio.Future[None]
    """Fails when the connection is to be reset now."""
    is_gone: bool = False
    """What the client sends goes nowhere, and nothing comes."""
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


class FaultProxy:
    """Between one server and its clients. Each fault holds from its call on; `heal` ends all of them."""

    def __init__(self, address: str) -> None:
        """`address` is `grpc://HOST:PORT` of the server; `self.address` is of the same form."""
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._latency_seconds = 0.0
        self._reset_after: tuple[Way, int] | None = None
        self.address = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = dict.fromkeys(Way, 0)
        """Bytes that went through, in all."""
        self.accepted = 0
        """Connections, in all."""
        self.resets = 0

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._do(lambda: self._begin(self._accept()))
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    # The faults.

    def delay(self, seconds: float) -> None:
        """Hold back each piece so long."""
        self._do(lambda: setattr(self, "_latency_seconds", seconds))

    def stall(self) -> None:
        """Accept, and pass nothing on, on any connection. What is held back goes on after `heal`."""
        self._do(self._flows.clear)

    def lose_peers(self) -> None:
        """The server's ends of all connections are gone, and nobody tells the client; new ones are good."""

        def lose() -> None:
            for connection in self._connections:
                connection.is_gone = True
                with contextlib.suppress(OSError):
                    connection.server.shutdown(socket.SHUT_RDWR)

        self._do(lose)

    def cut(self) -> None:
        """Reset all connections that there are, both sides."""

        def cut() -> None:
            for connection in self._connections:
                connection.cut.set_exception(_Reset)

        self._do(cut)

    def reset_after(self, way: Way, count: int) -> None:
        """Once so many more bytes went that way, the connection of the next byte is reset, both sides."""

        def arm() -> None:
            self._reset_after = way, count

        self._do(arm)

    def heal(self) -> bool:
        """End all faults; whether a reset that was waited for has come, True where none was."""

        def end() -> bool:
            had_come = self._reset_after is None
            self._reset_after = None
            self._latency_seconds = 0.0
            self._flows.set()
            return had_come

        return self._do(end)

    def counts(self) -> dict[Way, int]:
        """A copy of `passed`."""
        return self._do(lambda: dict(self.passed))

    # In the proxy's thread.

    def _do(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(CALL_SECONDS)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            self._begin(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection = _Connection(client, server, self._loop.create_future())
        try:
            for one in (client, server):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(server, self._target)
            self._connections.add(connection)
            connection.pumps = [
                self._loop.create_task(self._pump(connection, Way.TO_SERVER, client, server)),
                self._loop.create_task(self._pump(connection, Way.TO_CLIENT, server, client)),
            ]
            await asyncio.gather(connection.cut, *connection.pumps)
        except _Reset:
            self.resets += 1
            await _ended(connection.pumps)
            for one in (client, server):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            # One side is not there, or has ended it.
            await _ended(connection.pumps)
        finally:
            await _ended(connection.pumps)
            self._connections.discard(connection)
            connection.cut.cancel()
            client.close()
            server.close()

    async def _pump(
        self, connection: _Connection, way: Way, source: socket.socket, target: socket.socket
    ) -> None:
        while True:
            data = await self._loop.sock_recv(source, CHUNK_BYTES)
            if self._latency_seconds:
                await asyncio.sleep(self._latency_seconds)
            await self._flows.wait()
            if connection.is_gone:
                if way is Way.TO_SERVER and data:
                    continue
                if way is Way.TO_CLIENT:
                    # As long as the client keeps its end.
                    await asyncio.Event().wait()
            if not data:
                # Neither side of gRPC goes on when the other has ended.
                raise ConnectionResetError
            if self._reset_after is not None and self._reset_after[0] is way:
                left = self._reset_after[1]
                if left < len(data):
                    self._reset_after = None
                    await self._loop.sock_sendall(target, data[:left])
                    self.passed[way] += left
                    raise _Reset
                self._reset_after = way, left - len(data)
            self.passed[way] += len(data)
            await self._loop.sock_sendall(target, data)


async def _ended(pumps: list[asyncio.Task[None]]) -> None:
    """Cancel them and wait: their sockets must not be closed while the loop looks at them."""
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
