"""The bytes of files: which parts of which objects a range takes, reading them piece by piece, and how much
of them is in memory at once."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pachgw.localpfs import objects
from pachgw.localpfs.chunks import BLOCK_BYTES, PIECE_BYTES, CorruptObject, ObjectReader
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import ObjectRef

_MAX_MESSAGE = 2 << 20
"""As in Pachyderm 1.x."""
_ALL_MESSAGES = 16 << 20
"""Bytes that all messages together may hold before they are of the least size."""
_SHARE = 4
"""A message takes one part in so many of the room that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes [start, stop) of an object."""

    hash: bytes
    start: int
    stop: int


class Range:
    """Cuts GetFile's range out of objects that follow each other.

    A negative offset takes nothing, a size of 0 or less everything from the offset on.
    """

    def __init__(self, offset: int, size: int) -> None:
        self._skip = offset
        self._left = size if size > 0 else None
        self._nothing = offset < 0

    @property
    def done(self) -> bool:
        """Whether no further object can give anything."""
        return self._nothing or self._left == 0

    def cut(self, refs: Iterator[ObjectRef]) -> Iterator[Span]:
        """The parts of the objects that the range takes; called for one run of objects after the other."""
        for ref in refs:
            if self.done:
                return
            if self._skip >= ref.size:
                self._skip -= ref.size
                continue
            start, self._skip = self._skip, 0
            stop = ref.size if self._left is None else min(ref.size, start + self._left)
            if self._left is not None:
                self._left -= stop - start
            yield Span(hash=ref.hash, start=start, stop=stop)


def small(store: Store, span: Span) -> bytes | None:
    """The bytes of a part of a small object; None where the object is in a file of its own.

    Raises Fault for damaged ones.
    """
    found = objects.locate(store.database.reading, span.hash)
    if found.inline is None:
        return None
    # SQLite has no checksums of its own.
    if found.block_crcs != (zlib.crc32(found.inline).to_bytes(4, "big") if found.size else b""):
        raise Fault(str(CorruptObject(span.hash)))
    return found.inline[span.start : span.stop]


class Pieces:
    """Reads a part of an object that has a file of its own, piece by piece. `close` may come at any time."""

    def __init__(self, store: Store, span: Span) -> None:
        self._store = store
        self._span = span
        self._at = span.start
        self._reader: ObjectReader | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def left(self) -> bool:
        """Whether there are bytes yet to be read."""
        return self._at < self._span.stop

    def read(self, size: int) -> list[bytes]:
        """The next bytes, at most `size`, checked; none at the end. Blocks. Raises Fault for damaged ones.

        Where they are fewer than Pachyderm would send, they end where reading goes on best.
        """
        with self._lock:
            stop = self._at + size
            unit = BLOCK_BYTES if size >= BLOCK_BYTES else PIECE_BYTES
            if size < _MAX_MESSAGE and stop - stop % unit > self._at:
                stop -= stop % unit
            stop = min(stop, self._span.stop)
            if self._closed or stop <= self._at:
                return []
            try:
                if self._reader is None:
                    found = objects.locate(self._store.database.reading, self._span.hash)
                    self._reader = self._store.chunks.open(self._span.hash, found.block_crcs)
                parts = self._reader.parts(self._at, stop - self._at)
            except CorruptObject as error:
                raise Fault(str(error)) from error
            if not parts:
                raise Fault(f"object {self._span.hash.hex()} is shorter than it was")
            self._at += sum(map(len, parts))
            return parts

    def close(self) -> None:
        """Let go of the file, once it is not being read. May block."""
        with self._lock:
            self._closed = True
            if self._reader is not None:
                self._reader.close()


class Outgoing:
    """What of files is in memory on its way to clients. Used on the event loop only.

    A client that reads slowly holds the message it was last sent for as long as it likes. So each message may
    take a part of the room that is left, and many slow ones make those of all smaller.
    """

    def __init__(self) -> None:
        self._held = 0

    @property
    def is_ample(self) -> bool:
        """Whether a message may be read while the one before it is sent."""
        return self._held <= _ALL_MESSAGES // 2

    def take(self) -> int:
        """Bytes that a message may have; they count until `give`."""
        size = (_ALL_MESSAGES - self._held) // _SHARE
        size = max(PIECE_BYTES, min(_MAX_MESSAGE, size - size % PIECE_BYTES))
        self._held += size
        return size

    def give(self, size: int) -> None:
        """What `take` returned is in memory no more."""
        self._held -= size
