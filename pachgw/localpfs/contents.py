"""The bytes of files: which parts of which objects a range takes, and reading them piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from pachgw.localpfs import objects
from pachgw.localpfs.chunks import BLOCK_BYTES, CorruptObject, ObjectReader
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import ObjectRef


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
    """The bytes of a part of a small object; None where the object is in a file of its own."""
    inline = objects.locate(store.database.reading, span.hash).inline
    return None if inline is None else inline[span.start : span.stop]


class Pieces:
    """Reads a part of an object that has a file of its own, piece by piece. `close` may come at any time."""

    def __init__(self, store: Store, span: Span) -> None:
        self._store = store
        self._span = span
        self._at = span.start
        self._reader: ObjectReader | None = None
        self._lock = threading.Lock()
        self._closed = False

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, checked; b"" at the end. Blocks. Raises Fault for damaged ones."""
        with self._lock:
            size = min(size, self._span.stop - self._at)
            if self._closed or size <= 0:
                return b""
            try:
                if self._reader is None:
                    found = objects.locate(self._store.database.reading, self._span.hash)
                    self._reader = self._store.chunks.open(self._span.hash, found.block_crcs)
                data = self._reader.read(self._at, size)
            except CorruptObject as error:
                raise Fault(str(error)) from error
            if not data:
                raise Fault(f"object {self._span.hash.hex()} is shorter than it was")
            self._at += len(data)
            if size < BLOCK_BYTES:
                # A reader keeps the last block: too much for each of many streams that take small pieces.
                self._reader.close()
                self._reader = None
            return data

    def close(self) -> None:
        """Let go of the file, once it is not being read. May block."""
        with self._lock:
            self._closed = True
            if self._reader is not None:
                self._reader.close()
