"""Objects in the database, and which of them uploads that are still running rely on.

The bytes of big objects are with chunks.py; what the objects make up, with tree.py.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator

from pachgw.localpfs.chunks import Chunks, StoredObject
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault


def add(connection: sqlite3.Connection, stored: Iterable[StoredObject]) -> None:
    """Note the objects; those that are known already are the same."""
    connection.executemany(
        "INSERT OR IGNORE INTO objects (hash, size, crcs, data) VALUES (?, ?, ?, ?)",
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
    """Objects that uploads have stored and not yet committed: nobody may remove them. Thread safe.

    An upload stores inside `storing`; what it stored stays pinned until `release`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._storing = 0
        self._pinned: Counter[bytes] = Counter()

    @contextlib.contextmanager
    def storing(self) -> Iterator[list[bytes]]:
        """While inside, nothing is removed; the hashes put into the list are pinned at the end."""
        with self._lock:
            self._storing += 1
        stored: list[bytes] = []
        try:
            yield stored
        finally:
            with self._lock:
                self._storing -= 1
                self._pinned.update(stored)

    def release(self, hashes: Iterable[bytes]) -> None:
        with self._lock:
            self._pinned.subtract(hashes)
            self._pinned += Counter()

    def discard(self, connection: Connection, chunks: Chunks, hashes: Iterable[bytes]) -> None:
        """Remove the files of objects that nobody knows or has pinned; the caller holds the write lock.

        What cannot be told at the moment stays: a file without a row is swept later.
        """
        with self._lock:
            if self._storing:
                return
            for object_hash in hashes:
                if not self._pinned[object_hash] and not known(connection, object_hash):
                    chunks.remove(object_hash)
