"""A request's body as a bounded queue between the connection and the one who reads it.

No HTTP framing and no reactor here: the connection feeds decoded bytes, and is told when to hold back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pachgw.messages import ClientGone
from pachgw.web.refusal import Refusal


class BrokenBody(ClientGone):
    """The body will never be complete though the connection still stands; `refusal` tells the client why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


GATHER_SECONDS = 0.05
"""After so long what has come is handed on, be it little."""

FAST_SECONDS = 0.02
"""A body of which `high_mark` bytes are taken in less time than that is read fast: 12 MiB/s and more. So few
can be at a time that their larger marks are bounded by what a machine moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much of a body is handed on at once."""

    clock: IReactorTime
    fast_bytes: int
    """What is gathered of a body that is read fast."""


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
    """A RequestBody. Holds `high_mark` bytes and one read of the connection at most; over TLS, two reads.

    With a `pace` a read waits for more than the first bytes, so that many small pieces cost the reader one
    turn; and while the body is read fast, `high_mark` is the pace's `fast_bytes`.
    """

    def __init__(
        self, content_length: int | None, flow: Flow, high_mark: int, *, pace: Pace | None = None
    ) -> None:
        self.received = 0
        """Bytes that the client has sent so far, read or not."""
        self.complete = content_length == 0
        self.failure: ClientGone | None = None
        self.buffered = 0
        self._content_length = content_length
        self._flow = flow
        self._high_mark = high_mark
        self._pace = pace
        self._is_fast = False
        self._taken_seconds = 0.0
        self._late: IDelayedCall | None = None
        """When a reader gets what is in hand, be it little."""
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
        """All bytes in hand, waiting for some where there are few; b"" at the end of a complete body.

        Raises ClientGone: the connection ended first; BrokenBody, where the client sent what cannot be
        understood or nothing for too long. Raises RuntimeError when another read waits, and after aclose.
        """
        if self._reader is not None:
            raise RuntimeError("a body has one reader at a time")
        if self.failure is not None:
            raise self.failure
        if self._unwanted:
            raise RuntimeError("the body is closed")
        if not (self.complete or self._is_enough()):
            self._reader = Deferred(self._forget_reader)
            self._flow.body_awaited()
            self._wake_later()
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
        if self._is_enough():
            self._wake()
        else:
            self._wake_later()
        # Only now: a waiting reader has just taken everything.
        if self.buffered > self._mark and not self._paused:
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

    @property
    def _mark(self) -> int:
        return self._pace.fast_bytes if self._is_fast and self._pace is not None else self._high_mark

    def _is_enough(self) -> bool:
        return self.buffered >= (1 if self._pace is None else self._mark)

    def _wake_later(self) -> None:
        """Let a reader that waits have the few bytes in hand, unless more come soon."""
        if self._pace is not None and self._late is None and self.buffered and self._reader is not None:
            self._late = self._pace.clock.callLater(GATHER_SECONDS, self._wake)

    def _take(self) -> bytes:
        if self._pace is not None:
            now = self._pace.clock.seconds()
            self._is_fast = self.buffered >= self._high_mark and now - self._taken_seconds < FAST_SECONDS
            self._taken_seconds = now
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
        self._stop_late()
        reader, self._reader = self._reader, None
        if reader is None:
            return
        self._flow.body_not_awaited()
        if failure is None:
            reader.callback(None)
        else:
            reader.errback(failure)

    def _stop_late(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _forget_reader(self, _: Deferred[Any]) -> None:
        self._stop_late()
        self._reader = None
        self._flow.body_not_awaited()
