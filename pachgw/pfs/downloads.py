"""Streams from PFS as the port's Source and Batches: a thread is held only while a message is fetched.

No RPC is named here; client.py starts the calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import grpc
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pachgw.pfs.bridge import Bridge, Stopped
from pachgw.pfs.port import PathNotFound, PFSError, TookTooLong, Unavailable
from pachgw.pfs.repeating import Repeats
from pachgw.streams import Source

T = TypeVar("T")

FULL_MESSAGE_BYTES = 2 * 1024 * 1024
"""PFS fills the messages of GetFile up to this, so that a shorter one is nearly always the last."""

BATCH_VALUES = 1000
BATCH_SECONDS = 0.02
"""A batch is handed over when it has so many values, or is so old when the next message comes."""


class ResponseStream(Protocol):
    """What grpcio gives for a call that answers with a stream."""

    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def cancel(self) -> bool: ...


class _Download:
    """A running call and the limit on its silence. The two streams below differ in what a fetch brings."""

    def __init__(
        self,
        start: Callable[[], ResponseStream],
        *,
        bridge: Bridge,
        idle_seconds: float,
        failed: Callable[[grpc.RpcError], PFSError],
        repeats: Repeats | None = None,
    ) -> None:
        """`repeats` says whether a call that failed before its first message is made again; None: never."""
        self._start = start
        self._bridge = bridge
        self._idle_seconds = idle_seconds
        self._failed = failed
        self._repeats = repeats
        self._call: ResponseStream | None = None
        self._ended = False
        self._lock = threading.Lock()
        self._in_thread = False
        self._cancelled = False
        self._drained = False

    async def _fetch(self, fetch: Callable[[ResponseStream], T]) -> T:
        """fetch(call) in a thread; raises PFSError, and cancels the call when it fails or is given up.

        A first fetch may be made again, of a new call.
        """
        while True:
            try:
                result = await self._fetch_once(fetch)
            except grpc.RpcError as error:
                wait = None if self._repeats is None else self._repeats.wait_after(error)
                if wait is None:
                    raise self._failed(error) from None
            else:
                self._repeats = None
                return result
            await self._bridge.wait(wait)
            # The call is over, and its thread has left it.
            self._call, self._ended, self._drained = None, False, False

    async def _fetch_once(self, fetch: Callable[[ResponseStream], T]) -> T:
        """As _fetch, and raises grpc.RpcError."""
        stalled = False

        def stall() -> None:
            nonlocal stalled
            stalled = True
            self._cancel()

        if self._call is None:
            # On the reactor, where it does not block: so there is a call to cancel at any time.
            self._call = self._start()
        timer = self._bridge.reactor.callLater(self._idle_seconds, stall)
        self._in_thread = True
        fetched = False
        try:
            result: T = await self._bridge.run(self._guarded, fetch, self._call)
            fetched = True
        except Stopped:
            raise Unavailable("the client of PFS has been stopped") from None
        except grpc.RpcError:
            self._ended = True
            if stalled:
                raise TookTooLong(f"no message from PFS for {self._idle_seconds:g} s") from None
            raise
        finally:
            if timer.active():
                timer.cancel()
            if not fetched:
                self._cancel()
        return result

    def _guarded(self, fetch: Callable[[ResponseStream], T], call: ResponseStream) -> T:
        try:
            return fetch(call)
        except grpc.RpcError:
            self._ended = True
            raise
        finally:
            self._drain_when_over(leaving=True)

    def _drain_when_over(self, *, leaving: bool) -> None:
        """In a thread. Drain the call once, when it is over and nobody reads it."""
        with self._lock:
            if leaving:
                self._in_thread = False
            if self._in_thread or self._drained or not (self._cancelled or self._ended):
                return
            self._drained = True
        drain(self._call)

    def _cancel(self) -> None:
        if self._call is None or self._ended:
            return
        self._call.cancel()
        with self._lock:
            self._cancelled = True
            in_thread = self._in_thread
        self._ended = True
        if not in_thread:
            # Nobody waits for this; where the pool has stopped, the channel is closed as well.
            Deferred.fromCoroutine(self._bridge.run(self._drain_once)).addErrback(_unless_stopped)

    def _drain_once(self) -> None:
        self._drain_when_over(leaving=False)

    async def aclose(self) -> None:
        """Cancel the call where it has not ended."""
        self._cancel()
        self._ended = True


def _unless_stopped(failure: Failure) -> None:
    failure.trap(Stopped)


def drain(call: Any) -> None:
    """Take the last events off the queue of a call that has ended or was cancelled. Blocks for a moment.

    Only for calls made with SingleThreadedUnaryStream: nobody else does it for them, and gRPC keeps such a
    call, 21 KiB of it, until its events are taken or the channel is closed. It has no public way to do so.
    """
    if hasattr(call, "_consume_next_event"):
        while call._state.due:
            call._consume_next_event()


class FileSource(_Download):
    """The bytes of GetFile, in the server's messages of at most 2 MiB; empty ones are left out.

    In hand at most: the message being read, the next one when the first was short, and what the HTTP/2
    window lets in (channel.LOOKAHEAD_BYTES).
    """

    _ahead = b""
    _failure: grpc.RpcError | None = None

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises PFSError; TookTooLong after `idle_seconds` of silence."""
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        if self._failure is not None:
            raise self._failed(self._failure) from None
        if self._ended:
            return b""
        return await self._fetch(self._next_piece)

    def _next_piece(self, call: ResponseStream) -> bytes:
        """In a thread. Fetches the end together with a short message: one trip fewer for each small file."""
        piece = self._next_bytes(call)
        if 0 < len(piece) < FULL_MESSAGE_BYTES:
            try:
                self._ahead = self._next_bytes(call)
            except grpc.RpcError as error:
                self._ended = True
                self._failure = error
        return piece

    def _next_bytes(self, call: ResponseStream) -> bytes:
        for message in call:
            if message:
                return bytes(message)
        self._ended = True
        return b""


class MatchesSource:
    """The files of a glob pattern as one Source, in which no file at all is no bytes at all."""

    def __init__(self, files: Source) -> None:
        self._files = files

    async def read(self) -> bytes:
        """As FileSource.read; b"" where nothing matches."""
        try:
            return await self._files.read()
        except PathNotFound:
            return b""

    async def aclose(self) -> None:
        """As FileSource.aclose."""
        await self._files.aclose()


class ValueBatches(_Download):
    """The messages of a list as values, up to BATCH_VALUES at a time."""

    def __init__(
        self,
        start: Callable[[], ResponseStream],
        convert: Callable[[list[Any]], list[Any]],
        *,
        bridge: Bridge,
        idle_seconds: float,
        failed: Callable[[grpc.RpcError], PFSError],
        repeats: Repeats | None = None,
    ) -> None:
        super().__init__(start, bridge=bridge, idle_seconds=idle_seconds, failed=failed, repeats=repeats)
        self._convert = convert
        self._first: list[Any] | None = None
        self._failure: grpc.RpcError | None = None

    async def open(self) -> None:
        """Start the call and fetch the first batch, so that a refusal is raised here."""
        self._first = await self.read()

    async def read(self) -> list[Any]:
        """The next values, [] at the end. Raises PFSError; TookTooLong after `idle_seconds` of silence."""
        if self._first is not None:
            batch, self._first = self._first, None
            return batch
        if self._failure is not None:
            raise self._failed(self._failure) from None
        if self._ended:
            return []
        return await self._fetch(self._next_batch)

    def _next_batch(self, call: ResponseStream) -> list[Any]:
        """In a thread."""
        messages: list[Any] = []
        until = 0.0
        try:
            for message in call:
                messages.append(message)
                now = time.monotonic()
                if len(messages) == 1:
                    until = now + BATCH_SECONDS
                elif len(messages) >= BATCH_VALUES or now > until:
                    break
            else:
                self._ended = True
        except grpc.RpcError as error:
            if not messages:
                raise
            self._ended = True
            self._failure = error
        return self._convert(messages)
