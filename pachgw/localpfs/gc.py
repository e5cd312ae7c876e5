"""Garbage collection: removing what no commit, no open commit, no upload and no reader needs, beside them.

When it runs, and in which thread, is upkeep.py's; how trees are walked is reach.py's.

Why nothing that is needed goes:

At one moment, in which no transaction is under way, a snapshot of the database is taken, and from then on
every transaction notes the rows that it puts in (`Store.noted`), where they were there before as well. Then
all that commits of the snapshot reach is marked. What goes is what is neither marked nor noted, of the rows
that are there.

A commit can name a row in three ways. Its transaction has put the row in: it is noted. Or it has the name
from a commit or an open commit that it has read itself: from the parent of a new commit, the source of a
copy, the head of a branch, the subtrees that a change left alone. By induction over the transactions since
the snapshot, that row is marked or noted. Nodes that are in the cache, and rows that are there by chance, are
no fourth way: who makes a node puts it in whether it is there or not. Or else, an upload has put it in by an
earlier transaction: such rows are held from then on (`Pins.held`), and those that were held at the snapshot
are kept for the whole of the collection, while later ones are noted. Who reads registers the tree before
(`Store.reading`), and it is marked like a commit's.

Rows are known by rowid, and a rowid that is given out anew while this goes on is given to a row that is
noted.

A file goes after its row, once no row names it and nobody has its object pinned. An upload pins an object
before it puts the file in its place, and until a row is there: so a file that is neither pinned nor named at
one moment is nobody's, and who stores the same bytes later puts a file of its own there. Where the process
ends in between, a file without a row is left, as after an upload that was cut off; the last part of each
collection looks for those.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice

import grpc

from pachgw.localpfs import db, lock
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.marks import Marks, RowMarks, object_rows
from pachgw.localpfs.reach import Reach, Step, roots
from pachgw.localpfs.store import Store

_COLLECTED = "collected"
"""Key in `meta`: how many commits had been deleted when garbage was collected last."""

_SCAN = 512
_BATCH = 128
"""Rows that go in one transaction: a writer waits for milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What went."""

    nodes: int = 0
    small_objects: int = 0
    files: int = 0
    bytes: int = 0
    """In all of these."""


def is_due(store: Store) -> bool:
    """Whether a collection might find something, as far as can be told without one."""
    return store.littered or _deleted(store.database.reader()) != int(store.database.meta(_COLLECTED) or 0)


def _deleted(connection: sqlite3.Connection) -> int:
    """How many commits have ever been deleted: each had a number of its own."""
    row = connection.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'commits'), 0)"
        " - (SELECT count(*) FROM commits)"
    ).fetchone()
    return int(row[0])


def collect(store: Store) -> Generator[Collected | None, None, None]:
    """Collect garbage step by step: None after each, what went after the last.

    A step takes milliseconds. To be run by one thread at a time; closing the iterator ends it, with some of
    the garbage left. Raises Fault, before anything went, while a backup or another collection runs and where
    the store is damaged; sqlite3.Error, OSError.
    """
    with _locked(store):
        collection = _Collection(store)
        try:
            yield from collection.run()
        finally:
            collection.end()


@contextlib.contextmanager
def _locked(store: Store) -> Iterator[None]:
    try:
        descriptor = lock.remove_objects(store.directory)
    except BlockingIOError as error:
        what = "another collection" if store.noted is not None else "a backup"
        raise Fault(
            f"garbage cannot be collected now: {what} is running", grpc.StatusCode.FAILED_PRECONDITION
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


class _Collection:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted = RowMarks()
        self._held: list[Marks] = []
        self._being_read: list[bytes] = []
        self._marks = RowMarks()
        self._deleted = 0
        self._connection: sqlite3.Connection | None = None
        self._begun = self._complete = False
        self._nodes = self._small = self._files = self._bytes = 0

    def run(self) -> Iterator[Collected | None]:
        yield from self._mark()
        with contextlib.closing(self._store.database.connect()) as reading:
            for table, key, marks, sweep in (
                ("nodes", "id", self._marks.nodes, self._sweep_nodes),
                ("objects", "hash", self._marks.objects, self._sweep_objects),
            ):
                for garbage in _unmarked(reading, table, key, marks):
                    if garbage:
                        sweep(garbage)
                    yield None
            yield from self._sweep_files(reading)
        self._store.database.write(db.set_meta, _COLLECTED, str(self._deleted))
        self._store.database.checkpoint()
        self._complete = True
        yield Collected(nodes=self._nodes, small_objects=self._small, files=self._files, bytes=self._bytes)

    def end(self) -> None:
        """Whatever became of it: nothing is noted any more."""
        self._store.noted = None
        if self._begun and not self._complete:
            self._store.littered = True
        if self._connection is not None:
            self._connection.close()

    def _begin(self) -> None:
        self._begun = True
        self._store.noted = self._noted
        self._held = self._store.pins.held()
        self._being_read = self._store.being_read()
        self._store.littered = False

    def _mark(self) -> Iterator[None]:
        self._connection = self._store.database.snapshot(self._begin)
        self._deleted = _deleted(self._connection)
        reach = Reach(self._connection)
        self._marks = reach.marks
        for root in roots(self._connection):
            for step in reach.commit(root):
                _check(step)
                yield
            yield
        for node in self._being_read:
            # Of a commit that was deleted or written into meanwhile: nobody but its reader misses anything.
            for _ in reach.tree(node):
                yield
        # The log cannot be cut while somebody sees an old state.
        self._connection.close()
        self._connection = None

    def _sweep_nodes(self, garbage: list[tuple[bytes, int]]) -> None:
        self._store.database.write(self._delete_nodes, garbage)

    def _delete_nodes(self, connection: sqlite3.Connection, garbage: list[tuple[bytes, int]]) -> None:
        for _, rowid in garbage:
            if rowid in self._noted.nodes:
                continue
            row = connection.execute("SELECT length(data) FROM nodes WHERE rowid = ?", (rowid,)).fetchone()
            connection.execute("DELETE FROM nodes WHERE rowid = ?", (rowid,))
            self._nodes += 1
            self._bytes += row[0]

    def _sweep_objects(self, garbage: list[tuple[bytes, int]]) -> None:
        with_file = self._store.database.write(self._delete_objects, garbage)
        if with_file:
            self._discard(with_file)

    def _delete_objects(
        self, connection: sqlite3.Connection, garbage: list[tuple[bytes, int]]
    ) -> list[bytes]:
        with_file: list[bytes] = []
        keep = (self._noted.objects, *self._held)
        for object_hash, rowid in garbage:
            if any(rowid in rows for rows in keep):
                continue
            size, is_small = connection.execute(
                "SELECT size, data IS NOT NULL FROM objects WHERE rowid = ?", (rowid,)
            ).fetchone()
            connection.execute("DELETE FROM objects WHERE rowid = ?", (rowid,))
            if is_small:
                self._small += 1
                self._bytes += size
            else:
                with_file.append(object_hash)
        return with_file

    def _sweep_files(self, reading: sqlite3.Connection) -> Iterator[None]:
        """Whole files without a row: an earlier process ended before it had come to that."""
        hashes = self._store.chunks.iterate()
        while batch := list(islice(hashes, _SCAN)):
            named = object_rows(reading, batch)
            unnamed = [object_hash for object_hash in batch if object_hash not in named]
            for start in range(0, len(unnamed), _BATCH):
                self._discard(unnamed[start : start + _BATCH])
                yield
            yield

    def _discard(self, hashes: list[bytes]) -> None:
        # Unlinking a big file takes its time: the transaction only takes them out of their places.
        for path in self._store.database.write(self._store.pins.discard, self._store.chunks, hashes):
            self._files += 1
            self._bytes += path.stat().st_size
            path.unlink()


def _unmarked(
    reading: sqlite3.Connection, table: str, key: str, marks: Marks
) -> Iterator[list[tuple[bytes, int]]]:
    """Keys and rowids of the rows that are not marked, few at a time; empty lists where there were none."""
    # Answered from the index alone: nothing of the data is read.
    query = f"SELECT {key}, rowid FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT {_SCAN}"
    last = b""
    while rows := reading.execute(query, (last,)).fetchall():
        last = rows[-1][0]
        garbage = [row for row in rows if row[1] not in marks]
        for start in range(0, len(garbage), _BATCH):
            yield garbage[start : start + _BATCH]
        yield []


def _check(step: Step) -> None:
    """Raise Fault where it cannot be told what is needed."""
    if step.damaged:
        node_id, path = step.damaged[0]
        raise Fault(
            f"garbage cannot be collected while the store is damaged: tree node {node_id.hex()}, which"
            f" {path.decode('utf-8', 'replace')} needs, is lost or damaged",
            grpc.StatusCode.DATA_LOSS,
        )
