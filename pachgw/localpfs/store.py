"""The store as one thing to open and close: database, chunks, trees. What calls do with it is elsewhere."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pachgw.localpfs.chunks import Chunks
from pachgw.localpfs.db import FILE_NAME, Database
from pachgw.localpfs.faults import PathConflict
from pachgw.localpfs.marks import RowMarks, node_rows
from pachgw.localpfs.objects import Pins
from pachgw.localpfs.tree import DirEntry, Tree, TreeCache


class _Nodes:
    """Tree nodes in the database; `put` needs a connection that is in a transaction of `Database.write`."""

    def __init__(
        self,
        database: Database,
        connection: sqlite3.Connection | None = None,
        noted: RowMarks | None = None,
    ) -> None:
        """`noted`: the rows of nodes that are put are added to it."""
        self._database = database
        self._connection = connection
        self._noted = noted

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
        # One that is there already is the same, unless it was damaged: then this makes it good.
        self._connection.execute(
            "INSERT INTO nodes (id, data) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data"
            " WHERE data IS NOT excluded.data",
            (node_id, data),
        )
        if self._noted is not None:
            for rowid in node_rows(self._connection, [node_id]).values():
                self._noted.nodes.add(rowid)


class Store:
    """All that is kept in a state directory, which nothing else may have open; see server.py's lock."""

    def __init__(self, directory: Path) -> None:
        """Open, or make where it is missing. Raises db.DatabaseError."""
        self.directory = directory
        self.database = Database(directory / FILE_NAME)
        self.chunks = Chunks(directory / "chunks")
        self.chunks.sweep_temporary()
        self.pins = Pins()
        self.noted: RowMarks | None = None
        """While garbage is collected: every row that was put in since, even where it was there before. Only
        used inside of transactions."""
        self.littered = False
        """Whether something was left since the last collection that deletions of commits do not tell."""
        self._read_lock = threading.Lock()
        self._read: Counter[bytes] = Counter()
        self.conflicts: dict[int, tuple[int, PathConflict]] = {}
        """By seq of an open commit: the last change noted when it could not be settled, and why. Only used
        inside of transactions."""
        self._cache = TreeCache()
        self.tree = Tree(_Nodes(self.database), self._cache)
        """For reading, from any thread."""

    def writing_tree(self, connection: sqlite3.Connection) -> Tree:
        """A tree that reads and writes inside of the connection's transaction."""
        return Tree(_Nodes(self.database, connection, self.noted), self._cache)

    @contextlib.contextmanager
    def reading(self, root: DirEntry) -> Iterator[None]:
        """While inside, no garbage collection that begins takes anything of the tree.

        For what reads over several steps: its commit may be deleted, or written into, in between.
        """
        if root.root is None:
            yield
            return
        with self._read_lock:
            self._read[root.root] += 1
        try:
            yield
        finally:
            with self._read_lock:
                self._read[root.root] -= 1
                if not self._read[root.root]:
                    del self._read[root.root]

    def being_read(self) -> list[bytes]:
        """Top nodes of the trees that are inside of `reading`."""
        with self._read_lock:
            return list(self._read)

    def close(self) -> None:
        self.database.close()
