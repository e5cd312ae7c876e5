"""Objects in the database, and which of them uploads that are still running rely on.

The bytes of big objects are with chunks.py; what the objects make up, with tree.py.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pachgw.localpfs.chunks import Chunks, StoredObject
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.marks import Marks


def add(connection: sqlite3.Connection, stored: Iterable[StoredObject]) -> None:
    """Note the objects; a row that is there already is made good where it was damaged."""
    connection.executemany(
        "INSERT INTO objects (hash, size, crcs, data) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE"
        " SET size = excluded.size, crcs = excluded.crcs, data = excluded.data"
        " WHERE (size, crcs, data) IS NOT (excluded.size, excluded.crcs, excluded.data)",
        [(item.hash, item.size, item.block_crcs, item.inline) for item in stored],
    )


def locate(connection: Connection, object_hash: bytes) -> StoredObject:
    """Where the object's bytes are. Raises Fault where it is not known, which no sound store has."""
    row = connection.execute("SELECT size, crcs, data FROM objects WHERE hash = ?", (object_hash,)).fetchone()
    if row is None:
        raise Fault(f"object {object_hash.hex()} is lost")
    return StoredObject(hash=object_hash, size=row[0], block_crcs=row[1], inline=row[2])


def known(connection: Connection, object_hash: bytes) -> bool:
    return connection.execute("SELECT 1 FROM objects WHERE hash = ?", (object_hash,)).fetchone() is not None


class Pins:
    """What uploads have stored and not yet committed: nobody may remove it. Thread safe.

    An object that has a file is pinned by its hash, before the file is put in its place and until its row and
    a commit that names it are there. Objects that an upload has written to the database ahead of its commit
    are held as rows: there may be very many of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pinned: Counter[bytes] = Counter()
        self._held: list[Marks] = []

    def pin(self, object_hash: bytes) -> None:
        with self._lock:
            self._pinned[object_hash] += 1

    def release(self, hashes: Iterable[bytes]) -> None:
        """Take back one `pin` of each."""
        with self._lock:
            for object_hash in hashes:
                self._pinned[object_hash] -= 1
                if self._pinned[object_hash] <= 0:
                    del self._pinned[object_hash]

    def hold(self, rows: Marks) -> None:
        """Keep these rows of objects, also those that are added later, until `let_go`; in a transaction."""
        with self._lock:
            self._held.append(rows)

    def let_go(self, rows: Marks) -> None:
        with self._lock:
            self._held = [held for held in self._held if held is not rows]

    @property
    def in_use(self) -> bool:
        """Whether an upload has not come to its end."""
        with self._lock:
            return bool(self._pinned or self._held)

    def held(self) -> list[Marks]:
        with self._lock:
            return list(self._held)

    def discard(self, connection: sqlite3.Connection, chunks: Chunks, hashes: Iterable[bytes]) -> list[Path]:
        """Take away the files of objects that nobody knows or has pinned; in a transaction.

        The caller unlinks what is returned, after it. Until a row names a file its upload has it pinned: so
        what is not pinned and has no row at this moment is nobody's.
        """
        aside: list[Path] = []
        for object_hash in hashes:
            with self._lock:
                if object_hash in self._pinned or known(connection, object_hash):
                    continue
                path = chunks.set_aside(object_hash)
            if path is not None:
                aside.append(path)
        return aside
