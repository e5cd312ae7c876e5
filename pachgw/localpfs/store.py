"""The store as one thing to open and close: database, chunks, trees. What calls do with it is elsewhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pachgw.localpfs.chunks import Chunks
from pachgw.localpfs.db import FILE_NAME, Database
from pachgw.localpfs.faults import PathConflict
from pachgw.localpfs.objects import Pins
from pachgw.localpfs.tree import Tree, TreeCache


class _Nodes:
    """Tree nodes in the database; `put` needs a connection that is in a transaction of `Database.write`."""

    def __init__(self, database: Database, connection: sqlite3.Connection | None = None) -> None:
        self._database = database
        self._connection = connection

    def get(self, node_id: bytes) -> bytes:
        connection = self._connection or self._database.reader()
        row = connection.execute("SELECT data FROM nodes WHERE id = ?", (node_id,)).fetchone()
        if row is None:
            raise KeyError(node_id)
        data: bytes = row[0]
        return data

    def put(self, node_id: bytes, data: bytes) -> None:
        if self._connection is None:
            raise RuntimeError("a tree is written outside of a transaction")
        self._connection.execute("INSERT OR IGNORE INTO nodes (id, data) VALUES (?, ?)", (node_id, data))


class Store:
    """All that is kept in a state directory, which nothing else may have open; see server.py's lock."""

    def __init__(self, directory: Path) -> None:
        """Open, or make where it is missing. Raises db.DatabaseError."""
        self.database = Database(directory / FILE_NAME)
        self.chunks = Chunks(directory / "chunks")
        self.chunks.sweep_temporary()
        self.pins = Pins()
        self.conflicts: dict[int, tuple[int, PathConflict]] = {}
        """By seq of an open commit: the last change noted when it could not be settled, and why. Only used
        inside of transactions."""
        self._cache = TreeCache()
        self.tree = Tree(_Nodes(self.database), self._cache)
        """For reading, from any thread."""

    def writing_tree(self, connection: sqlite3.Connection) -> Tree:
        """A tree that reads and writes inside of the connection's transaction."""
        return Tree(_Nodes(self.database, connection), self._cache)

    def close(self) -> None:
        self.database.close()
