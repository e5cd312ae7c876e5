"""A request's body as a bounded queue between the connection and the one who reads it.

No HTTP framing and no reactor here: the connection feeds decoded bytes, and is told when to hold back.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pachgw.messages import ClientGone
from pachgw.web.refusal import Refusal


class BrokenBody(ClientGone):
    """The body will never be complete though the connection still stands; `refusal` tells the client why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Flow(Protocol):
    """What a body asks of its connection."""

    def pause_body(self) -> None:
        """Deliver no more until resume_body; one read that is under way may still come."""

    def resume_body(self) -> None: ...

    def body_awaited(self) -> None:
        """Somebody waits for bytes: the client may be told to go on, and its time is running."""

    def body_not_awaited(self) -> None:
        """Nobody waits any more."""


class Body:
    """A RequestBody. Holds `high_mark` bytes and one read of the connection at most; over TLS, two reads."""

    def __init__(self, content_length: int | None, flow: Flow, high_mark: int) -> None:
        self.received = 0
        """Bytes that the client has sent so far, read or not."""
        self.complete = content_length == 0
        self.failure: ClientGone | None = None
        self.buffered = 0
        self._content_length = content_length
        self._flow = flow
        self._high_mark = high_mark
        self._pieces: list[bytes] = []
        self._paused = False
        self._unwanted = False
        self._reader: Deferred[None] | None = None

    @property
    def content_length(self) -> int | None:
        return self._content_length

    @property
    def rest(self) -> int | None:
        """Bytes that the client has still to send; None where only it knows."""
        if self.complete:
            return 0
        return None if self._content_length is None else self._content_length - self.received

    async def read(self) -> bytes:
        """All bytes in hand, waiting for some where there are none; b"" at the end of a complete body.

        Raises ClientGone: the connection ended first; BrokenBody, where the client sent what cannot be
        understood or nothing for too long. Raises RuntimeError when another read waits, and after aclose.
        """
        if self._reader is not None:
            raise RuntimeError("a body has one reader at a time")
        if self.failure is not None:
            raise self.failure
        if self._unwanted:
            raise RuntimeError("the body is closed")
        if not (self._pieces or self.complete):
            self._reader = Deferred(self._forget_reader)
            self._flow.body_awaited()
            await self._reader
        return self._take()

    async def aclose(self) -> None:
        """Whatever the client has still to send is dropped."""
        self.discard()

    def feed(self, data: bytes) -> None:
        """More bytes came from the client."""
        self.received += len(data)
        if self._unwanted or self.failure is not None:
            return
        self._pieces.append(data)
        self.buffered += len(data)
        self._wake()
        # Only now: a waiting reader has just taken everything.
        if self.buffered > self._high_mark and not self._paused:
            self._paused = True
            self._flow.pause_body()

    def end(self) -> None:
        """The client has sent the whole body; nothing else proves that it did."""
        if self.failure is None:
            self.complete = True
            self._wake()

    def fail(self, failure: ClientGone) -> None:
        """The rest of the body will not come; what was not read is dropped. Nothing for a complete body."""
        if self.complete or self.failure is not None:
            return
        self.failure = failure
        self._drop()
        self._wake(failure)

    def discard(self) -> None:
        """Drop what was not read, and what comes from here on."""
        self._unwanted = True
        self._drop()
        self._wake(ClientGone("the body was closed"))

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._drop()
        return data

    def _drop(self) -> None:
        self._pieces = []
        self.buffered = 0
        if self._paused:
            self._paused = False
            self._flow.resume_body()

    def _wake(self, failure: ClientGone | None = None) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        self._flow.body_not_awaited()
        if failure is None:
            reader.callback(None)
        else:
            reader.errback(failure)

    def _forget_reader(self, _: Deferred[Any]) -> None:
        self._reader = None
        self._flow.body_not_awaited()
