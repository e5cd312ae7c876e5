"""The bytes of objects on their way to clients, within a room that all downloads of a process share.

Where the bytes come from is a function that is handed in; what they are for, and the answer, is the actions'.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.room import Room
from pachgw.s3.errors import slow_down
from pachgw.s3.reading.resuming import Fetch
from pachgw.streams import Source, read_all

_log = Logger()

KIB = 1024
MIB = 1024 * KIB

DOWNLOADS_BYTES = 192 * MIB
DOWNLOADS = 640
"""Both of one process."""

STREAM_BYTES = 5 * MIB
"""What one stream of PFS holds at most: a message that is sent, one read ahead, and what gRPC has received
beyond (pfs/channel.py, LOOKAHEAD_BYTES)."""
FIRST_PIECE_BYTES = 256 * KIB
PIECE_BYTES = 2 * MIB
"""A message of PFS. Clients get pieces of it until they have shown that they take so much without a rest."""
SLOW_SECONDS = 1.0
"""A client that takes longer for a piece is slow; its stream is broken off when others need the room."""
LEAST_SIP_BYTES = 64 * KIB
SLOW_SIP_BYTES = 128 * KIB
"""Of a slow client; also what PFS is asked for without a thread (pfs/answered.py)."""
SIP_PART = 16
SIPS_AT_ONCE = 8
"""The others wait, so that a crowd of them is not before the calls of everybody else."""
SPARE_PART = 4
"""Streams leave one part in so many of the room to those that go on without one."""


class Downloads:
    """What is being sent by one process, and the memory for it.

    A download begins as one stream of PFS where there is room for one. Without room, or when its client is
    slow and another needs the room, it goes on in sips: calls for a few bytes each, the next when the last
    are taken. All hold the room's total at most, and beyond it twice LEAST_SIP_BYTES each.
    """

    def __init__(self, room_bytes: int, *, most: int, seconds: Callable[[], float]) -> None:
        """`most` are the downloads of more than SLOW_SIP_BYTES at once; `seconds` is a clock."""
        self.room = Room(room_bytes)
        self.open: set[Download] = set()
        """Those of more than SLOW_SIP_BYTES that have not ended."""
        self.streams: set[Download] = set()
        """Those of them that have a stream, and can go on without."""
        self.sips = DeferredSemaphore(SIPS_AT_ONCE)
        self.seconds = seconds
        self._most = most

    def begin(self, fetch: Fetch, size: int, *, is_steady: bool) -> Download:
        """A Source of `size` bytes, from `fetch`, that calls it for the first time when it is read.

        `is_steady` says that the same bytes come also later, as those of a finished commit do; else all have
        to be of one call. Raises S3Error SlowDown where there are too many, or no room for that.
        """
        download = Download(self, fetch, size, is_steady=is_steady)
        if size > SLOW_SIP_BYTES:
            if len(self.open) >= self._most or (not is_steady and not self.make_room(download.stream_bytes)):
                raise slow_down()
            self.open.add(download)
        if not is_steady:
            download.charge(download.stream_bytes)
        return download

    def make_room(self, size: int) -> bool:
        """Break off streams of slow clients, slowest first, as far as it is needed; whether there is room."""
        spare = self.room.total // SPARE_PART
        need = size + spare
        if self.room.left < need:
            now = self.seconds()
            slow = [one for one in self.streams if one.can_break_off(now)]
            for one in sorted(slow, key=lambda download: download.handed_seconds):
                one.break_off()
                if self.room.left >= need:
                    break
        return self.room.left >= need


class Download:
    """One of them, a Source. Made by Downloads.begin."""

    def __init__(self, downloads: Downloads, fetch: Fetch, size: int, *, is_steady: bool) -> None:
        self._all = downloads
        self._fetch = fetch
        self._left = size
        self._at = 0
        self._is_steady = is_steady
        self._stream: Source | None = None
        self._message = b""
        self._message_at = 0
        self._ended = False
        self._reading = False
        self._charged = 0
        self._in_hand = (0, 0)
        """Bytes of the last two pieces: what the reader and the connection may hold."""
        self._fluent = 0
        """Bytes that the client has taken since it was slow for the last time."""
        self._was_slow = False
        self._is_ahead = True
        """Whether the next piece may be asked for while the reader still has the last."""
        self.handed_seconds = 0.0
        """When the last piece was handed over."""

    @property
    def stream_bytes(self) -> int:
        """What it holds as one stream."""
        # The first pieces are copied out of a message. Of what may change the reader holds a piece back
        # (reading/openfiles.py).
        most = STREAM_BYTES if self._is_steady else STREAM_BYTES + PIECE_BYTES
        return min(self._left + 3 * FIRST_PIECE_BYTES, most)

    @property
    def reads_ahead(self) -> bool:
        """Whether the next piece is to be read while the client takes this one."""
        return self._stream is not None or not self._is_slow

    @property
    def _held(self) -> int:
        """Bytes of pieces that were handed over and may not be taken yet, when the next is asked for."""
        return self._in_hand[1] if self._is_ahead else 0

    @property
    def _is_slow(self) -> bool:
        return self._was_slow and self._fluent < PIECE_BYTES

    async def read(self) -> bytes:
        """The next bytes, at most PIECE_BYTES; b"" at the end. Raises what `fetch` and its Source do."""
        if self._ended:
            return b""
        self._note_pace()
        self._reading = True
        try:
            if self._stream is None and self._may_stream():
                self._stream = await self._fetch(self._at, self._left)
            piece = await (self._sip() if self._stream is None else self._next_of_stream())
        finally:
            self._reading = False
        self._at += len(piece)
        self._left -= len(piece)
        self._in_hand = (self._in_hand[1], len(piece))
        self.handed_seconds = self._all.seconds()
        self._is_ahead = self.reads_ahead
        if not piece:
            self._ended = True
            self._all.streams.discard(self)
        return piece

    def charge(self, size: int) -> None:
        """Have so many bytes of the room, be they there or not."""
        self._all.room.give(self._charged)
        self._all.room.take_anyhow(size)
        self._charged = size

    def _note_pace(self) -> None:
        taken = self._in_hand[1]
        if taken and self._all.seconds() - self.handed_seconds > SLOW_SECONDS:
            self._was_slow = True
            self._fluent = 0
        else:
            self._fluent += taken

    def _may_stream(self) -> bool:
        """Whether the rest is to come as one stream; takes the room for it."""
        if not self._is_steady:
            return True
        need = self.stream_bytes + self._held
        if self._left <= SLOW_SIP_BYTES or self._is_slow or not self._all.make_room(need):
            return False
        self.charge(need)
        self._all.streams.add(self)
        return True

    async def _next_of_stream(self) -> bytes:
        if not self._message:
            message = await self._stream.read() if self._stream is not None else b""
            most = self._piece_bytes()
            if len(message) <= most:
                return message
            self._message = message
        start = self._message_at
        self._message_at = start + self._piece_bytes()
        piece = self._message[start : self._message_at]
        if self._message_at >= len(self._message):
            self._message, self._message_at = b"", 0
        return piece

    def _piece_bytes(self) -> int:
        return max(FIRST_PIECE_BYTES, min(self._fluent, PIECE_BYTES))

    async def _sip(self) -> bytes:
        held = self._held
        self.charge(held)
        room = self._all.room
        most = SLOW_SIP_BYTES if self._is_slow else PIECE_BYTES
        size = min(self._left, room.share(SIP_PART, least=LEAST_SIP_BYTES, most=most))
        if not size:
            return b""
        self.charge(held + size)
        if not self._at:
            # Its client has nothing yet.
            return await self._fetch_all(size)
        await self._all.sips.acquire()
        try:
            return await self._fetch_all(size)
        finally:
            self._all.sips.release()

    async def _fetch_all(self, size: int) -> bytes:
        source = await self._fetch(self._at, size)
        try:
            return await read_all(source, size)
        finally:
            await source.aclose()

    def can_break_off(self, now: float) -> bool:
        """Whether its client is slow, so that the stream may be ended."""
        return not self._reading and now - self.handed_seconds > SLOW_SECONDS

    def break_off(self) -> None:
        """End the stream; what the client has not been given is fetched again when it is wanted."""
        stream, self._stream = self._stream, None
        self._all.streams.discard(self)
        self._message, self._message_at = b"", 0
        self._was_slow, self._fluent, self._is_ahead = True, 0, False
        self.charge(min(self._charged, sum(self._in_hand)))
        if stream is not None:
            # Nobody waits for it.
            Deferred.fromCoroutine(stream.aclose()).addErrback(_tell)

    async def aclose(self) -> None:
        """Let go of the stream and give the room back."""
        self._ended = True
        self._message = b""
        self.charge(0)
        self._all.open.discard(self)
        self._all.streams.discard(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()


def _tell(failure: Failure) -> None:
    _log.failure("a stream of PFS did not close", failure)
