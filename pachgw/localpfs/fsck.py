"""Checking a store without changing it, beside all who use it: that everything that commits need is there.

How trees are walked is in reach.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Generator, Iterator

from pachgw.localpfs import objects
from pachgw.localpfs.chunks import BLOCK_BYTES, CorruptObject
from pachgw.localpfs.marks import Marks
from pachgw.localpfs.reach import Reach, Root, roots
from pachgw.localpfs.store import Store

_MAX_FINDINGS = 10_000
"""So many are kept in memory; who has so many has no use for more."""

_SCAN = 64


def problems(store: Store, *, read_data: bool) -> Generator[str | None, None, None]:
    """A sentence for each thing wrong, and None after each few milliseconds in which there was none.

    `read_data`: every byte of every object that a commit needs is read and compared with its checksums. What
    is checked is the store as it was when this began; what is removed meanwhile is no fault. To be run by one
    thread at a time. Raises OSError.
    """
    check = _Check(store)
    steps = [check.trees]
    if read_data:
        steps += [check.tables, check.data]
    for step in steps:
        try:
            yield from step()
        except sqlite3.DatabaseError as error:
            yield f"the database cannot be read: {error}"
        yield from check.take_findings()


class _Check:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._findings: list[str] = []
        self._found = 0
        self._needed = Marks()
        self._told: set[bytes] = set()
        """Objects that are known to be lost."""

    def take_findings(self) -> Iterator[str]:
        findings, self._findings = self._findings, []
        yield from findings

    def _say(self, where: str, what: str) -> None:
        self._found += 1
        if self._found <= _MAX_FINDINGS:
            self._findings.append(f"{where}: {what}")
        elif self._found == _MAX_FINDINGS + 1:
            self._findings.append(f"there are more than {_MAX_FINDINGS} faults; the others are not told")

    def trees(self) -> Iterator[None]:
        """Every node, and for every object a row and a file. Findings are kept until the end, since the
        log of the database cannot be cut while this goes on."""
        with contextlib.closing(self._store.database.snapshot(_nothing)) as connection:
            reach = Reach(connection)
            self._needed = reach.marks.objects
            for root in roots(connection):
                for step in reach.commit(root):
                    for node_id, path in step.damaged:
                        self._say(_place(root, path), f"tree node {node_id.hex()} is lost or damaged")
                    for object_hash, path in step.lost:
                        self._say(_place(root, path), f"object {object_hash.hex()} is lost")
                    for start in range(0, len(step.objects), _SCAN):
                        self._look_for_files(connection, root, step.objects[start : start + _SCAN])
                    yield
                yield

    def _look_for_files(
        self, connection: sqlite3.Connection, root: Root, found: list[tuple[bytes, bytes, int]]
    ) -> None:
        with_file = connection.execute(
            f"SELECT hash FROM objects WHERE data IS NULL AND rowid IN ({', '.join('?' * len(found))})",
            [rowid for _, _, rowid in found],
        ).fetchall()
        if not with_file:
            return
        paths = {object_hash: path for object_hash, path, _ in found}
        for (object_hash,) in with_file:
            if not self._store.chunks.contains(object_hash) and self._is_lost(object_hash):
                self._told.add(object_hash)
                self._say(_place(root, paths[object_hash]), f"object {object_hash.hex()} is lost")

    def _is_lost(self, object_hash: bytes) -> bool:
        """Whether there is a row and no file at one moment: a file comes before its row and goes after it."""

        def look(connection: sqlite3.Connection) -> bool:
            known = objects.known(connection, object_hash)
            return known and not self._store.chunks.contains(object_hash)

        return self._store.database.write(look)

    def tables(self) -> Iterator[None]:
        """What no checksum of ours covers, in SQLite's own way."""
        with contextlib.closing(self._store.database.connect()) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('nodes', 'objects')"
            ).fetchall()
            for (name,) in names:
                for (answer,) in connection.execute(f'PRAGMA integrity_check("{name}")'):
                    if answer != "ok":
                        self._say("the database", answer)
                yield

    def data(self) -> Iterator[None]:
        """Every byte of the objects that were found to be needed."""
        damaged: set[bytes] = set()
        with contextlib.closing(self._store.database.connect()) as connection:
            # No snapshot: this may take hours. An object that was removed meanwhile is passed over.
            for rowid in self._needed:
                row = connection.execute(
                    "SELECT hash, size, crcs, data FROM objects WHERE rowid = ?", (rowid,)
                ).fetchone()
                yield
                if row is None or row[0] in self._told:
                    continue
                try:
                    if row[3] is None:
                        yield from self._read_file(*row[:3])
                    else:
                        _check_small(*row)
                except CorruptObject:
                    if objects.known(connection, row[0]) and len(damaged) < _MAX_FINDINGS:
                        damaged.add(row[0])
        if damaged:
            yield from self._name(damaged)

    def _read_file(self, object_hash: bytes, size: int, crcs: bytes) -> Iterator[None]:
        digest = hashlib.sha512()
        offset = 0
        with self._store.chunks.open(object_hash, crcs) as reader:
            while data := reader.read(offset, BLOCK_BYTES):
                digest.update(data)
                offset += len(data)
                yield
        if offset != size or digest.digest() != object_hash:
            raise CorruptObject(object_hash)

    def _name(self, damaged: set[bytes]) -> Iterator[None]:
        """Tell of damaged objects, each with a file that needs it: none is told of that nobody needs now."""
        with contextlib.closing(self._store.database.snapshot(_nothing)) as connection:
            reach = Reach(connection)
            for root in roots(connection):
                for step in reach.commit(root):
                    for object_hash, path, _ in step.objects:
                        if object_hash in damaged:
                            damaged.remove(object_hash)
                            self._say(_place(root, path), f"object {object_hash.hex()} is damaged")
                    if not damaged:
                        return
                    yield


def _nothing() -> None:
    pass


def _check_small(object_hash: bytes, size: int, crcs: bytes, data: bytes) -> None:
    expected = zlib.crc32(data).to_bytes(4, "big") if data else b""
    if len(data) != size or crcs != expected or hashlib.sha512(data).digest() != object_hash:
        raise CorruptObject(object_hash)


def _place(root: Root, path: bytes) -> str:
    return f"{root.repo}@{root.commit}:{path.decode('utf-8', 'replace')}"
