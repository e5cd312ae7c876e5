"""A PutFile stream on its way into the store: its files' bytes become objects, their order a list of changes.

Blocking parts say so; nothing is visible before the changes are committed, which is opencommits.py's.
"""

from __future__ import annotations

import sqlite3
import threading

from pachgw.localpfs import objects
from pachgw.localpfs.chunks import INLINE_BYTES, ObjectWriter, StoredObject
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import ObjectRef
from pachgw.localpfs.writes import Change, Put

SPILL_BYTES = 4 << 20
"""Small objects are kept in memory up to so many bytes, then written before the stream has ended."""


class Upload:
    """What a stream has brought so far. One call at a time, but `abort`, which may come at any time.

    Exactly one of `committed` and `abort` ends it.
    """

    def __init__(self, store: Store) -> None:
        self.changes: list[Change] = []
        self._store = store
        self._lock = threading.Lock()
        self._closed = False
        self._path = ""
        self._keep: int | None = None
        self._in_file = False
        self._buffer = bytearray()
        self._writer: ObjectWriter | None = None
        self._refs: list[ObjectRef] = []
        self._small: list[StoredObject] = []
        self._small_bytes = 0
        self._big: list[StoredObject] = []
        self._pinned: list[bytes] = []

    @property
    def must_spill(self) -> bool:
        """Whether `spill` is due."""
        return self._small_bytes > SPILL_BYTES or len(self._big) > 1000

    def is_small(self, more: int) -> bool:
        """Whether the file is still kept in memory after so many more bytes: then no call blocks."""
        return self._writer is None and len(self._buffer) + more <= INLINE_BYTES

    def begin_file(self, path: str, keep: int | None) -> None:
        """A file begins that goes to the clean path; `keep` is its overwrite_index."""
        self._path, self._keep, self._in_file = path, keep, True

    def add(self, data: bytes) -> None:
        """More bytes of the file begun last; after a deletion they belong to none. Blocks unless `is_small`.

        Raises Fault.
        """
        if not self._in_file:
            return
        if self._writer is None and len(self._buffer) + len(data) <= INLINE_BYTES:
            self._buffer += data
            return
        with self._lock:
            if self._closed:
                return
            try:
                self._write(data)
            except OSError as error:
                raise Fault(f"cannot store the file's bytes: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        if self._writer is None:
            self._writer = self._store.chunks.writer()
            self._writer.write(bytes(self._buffer))
            self._buffer = bytearray()
        rest = memoryview(data)
        while len(rest) > self._writer.room:
            room = self._writer.room
            self._writer.write(rest[:room])
            rest = rest[room:]
            self._commit_object()
            self._writer = self._store.chunks.writer()
        self._writer.write(rest)

    def end_file(self) -> None:
        """The file begun last, if any, is complete. Blocks unless `is_small(0)`. Raises Fault."""
        if not self._in_file:
            return
        with self._lock:
            if self._closed:
                return
            if self._writer is None:
                self._writer = self._store.chunks.writer()
                self._writer.write(bytes(self._buffer))
                self._buffer = bytearray()
            try:
                self._commit_object()
            except OSError as error:
                raise Fault(f"cannot store the file's bytes: {error.strerror}") from error
        self.changes.append(Put(path=self._path, objects=tuple(self._refs), keep=self._keep))
        self._refs.clear()
        self._in_file = False

    def _commit_object(self) -> None:
        if self._writer is None:
            return
        with self._store.pins.storing() as stored:
            item = self._writer.commit()
            if item.inline is None:
                stored.append(item.hash)
        self._writer = None
        self._refs.append(ObjectRef(item.hash, item.size))
        if item.inline is None:
            self._big.append(item)
            self._pinned.append(item.hash)
        else:
            self._small.append(item)
            self._small_bytes += item.size

    def record(self, connection: sqlite3.Connection) -> None:
        """Note the stream's objects in the database: before a change that names them, in its transaction."""
        objects.add(connection, self._small)
        objects.add(connection, self._big)

    def spill(self) -> None:
        """Write the small objects in hand to the database. Blocks."""
        self._store.database.write(self.record)
        self._small.clear()
        self._small_bytes = 0
        self._big.clear()

    def committed(self) -> None:
        """What the stream brought is in a commit."""
        self._store.pins.release(self._pinned)
        self._pinned = []

    def abort(self) -> None:
        """End whatever is being written and remove the objects that were not committed. Blocks.

        Does nothing after `committed`. Small objects that were spilled stay until they are swept.
        """
        with self._lock:
            self._closed = True
            if self._writer is not None:
                self._writer.abort()
                self._writer = None
        if self._pinned:
            self._store.database.write(self._discard)
            self._pinned = []

    def _discard(self, connection: sqlite3.Connection) -> None:
        self._store.pins.release(self._pinned)
        self._store.pins.discard(connection, self._store.chunks, self._pinned)
