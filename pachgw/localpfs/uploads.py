"""A PutFile stream on its way into the store: its files' bytes become objects, their order a list of changes.

Blocking parts say so; nothing is visible before the changes are committed, which is opencommits.py's.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import grpc

from pachgw.localpfs import objects
from pachgw.localpfs.changelog import ChangeLog
from pachgw.localpfs.chunks import INLINE_BYTES, ObjectWriter, StoredObject
from pachgw.localpfs.faults import Fault, store_failed
from pachgw.localpfs.marks import Marks, object_rows
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import ObjectRef
from pachgw.localpfs.writes import Put

SPILL_BYTES = 4 << 20
SPILL_OBJECTS = 4000
"""Small objects are kept in memory up to so many bytes, and objects of any size up to so many, then they are
written to the database before the stream has ended."""


class Upload:
    """What a stream has brought so far. One call at a time, but `abort`, which may come at any time.

    Exactly one of `committed` and `abort` ends it.
    """

    def __init__(self, store: Store) -> None:
        self.changes = ChangeLog(store.chunks.scratch)
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
        self._spilled: Marks | None = None

    @property
    def must_spill(self) -> bool:
        """Whether `spill` is due."""
        count = len(self._small) + len(self._big)
        return self._small_bytes > SPILL_BYTES or count > SPILL_OBJECTS

    def is_small(self, more: int) -> bool:
        """Whether the file is still kept in memory after so many more bytes: then no call blocks."""
        return self._writer is None and len(self._buffer) + more <= INLINE_BYTES

    def begin_file(self, path: str, keep: int | None) -> None:
        """A file begins that goes to the clean path; `keep` is its overwrite_index."""
        self._path, self._keep, self._in_file = path, keep, True

    def add(self, data: bytes | memoryview) -> None:
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
                raise store_failed(error, "cannot store the file's bytes") from error

    def _write(self, data: bytes | memoryview) -> None:
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
                raise store_failed(error, "cannot store the file's bytes") from error
        self.changes.append(Put(path=self._path, objects=tuple(self._refs), keep=self._keep))
        self._refs.clear()
        self._in_file = False

    def _commit_object(self) -> None:
        if self._writer is None:
            return
        if self._writer.has_file:
            # Before the file is in its place: from the moment it is there it might be taken for garbage.
            object_hash = self._writer.hash
            self._store.pins.pin(object_hash)
            self._pinned.append(object_hash)
        item = self._writer.commit()
        self._writer = None
        self._refs.append(ObjectRef(item.hash, item.size))
        if item.inline is None:
            self._big.append(item)
        else:
            self._small.append(item)
            self._small_bytes += item.size

    def record(self, connection: sqlite3.Connection) -> None:
        """Note the stream's objects in the database: before a change that names them, in its transaction.

        Raises Fault after `abort`, which may have overtaken a transaction of a call that was cancelled.
        """
        self._check_open(spilling=False)
        self._record(connection)

    def _check_open(self, *, spilling: bool) -> None:
        with self._lock:
            if self._closed:
                raise Fault("the upload was given up", grpc.StatusCode.CANCELLED)
            # Under the lock as well: an `abort` that comes after knows of it.
            if spilling and self._spilled is None:
                self._spilled = Marks()
                self._store.pins.hold(self._spilled)

    def _record(self, connection: sqlite3.Connection) -> None:
        items = [*self._small, *self._big]
        objects.add(connection, items)
        noted, spilled = self._store.noted, self._spilled
        if noted is not None or spilled is not None:
            for rowid in object_rows(connection, [item.hash for item in items]).values():
                if noted is not None:
                    noted.objects.add(rowid)
                if spilled is not None:
                    spilled.add(rowid)

    def spill(self) -> None:
        """Write the objects in hand to the database; they are held there until the upload ends. Blocks."""
        self._store.database.write(self._spill)
        self._small.clear()
        self._small_bytes = 0
        self._big.clear()

    def _spill(self, connection: sqlite3.Connection) -> None:
        self._check_open(spilling=True)
        self._record(connection)

    def committed(self) -> None:
        """What the stream brought is in a commit."""
        self._let_go()

    def _let_go(self) -> None:
        self.changes.close()
        self._store.pins.release(self._pinned)
        self._pinned = []
        if self._spilled is not None:
            self._store.pins.let_go(self._spilled)
            self._spilled = None

    def abort(self) -> None:
        """End whatever is being written and remove the objects that were not committed. Blocks.

        Does nothing after `committed`. Objects that were spilled stay until garbage is collected.
        """
        with self._lock:
            self._closed = True
            if self._writer is not None:
                self._writer.abort()
                self._writer = None
        if self._pinned or self._spilled is not None or self.changes.has_file:
            # In a transaction: one that is writing this upload's commit, for a call that was cancelled, has
            # come to its end before this one begins.
            for path in self._store.database.write(self._discard):
                path.unlink(missing_ok=True)

    def _discard(self, connection: sqlite3.Connection) -> list[Path]:
        pinned = self._pinned
        if self._spilled is not None:
            self._store.littered = True
        self._let_go()
        return self._store.pins.discard(connection, self._store.chunks, pinned)
