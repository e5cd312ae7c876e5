"""Walking over all that commits are made of, each row once: for garbage collection and for checks.

What is found out is handed to the caller; what follows from it is in gc.py and fsck.py.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pachgw.localpfs.entries import OBJECT_HASH_BYTES, decode_objects, references
from pachgw.localpfs.marks import RowMarks, node_rows, object_rows
from pachgw.localpfs.nodes import Node, decode_node, object_list

_NOTED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A commit: where a walk begins."""

    seq: int
    repo: str
    commit: str
    node: bytes | None
    """Id of its tree's top node."""
    is_open: bool


@dataclass(slots=True, kw_only=True)
class Step:
    """What one node, or a few changes noted in an open commit, came to. Paths are UTF-8."""

    damaged: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Node id and path of nodes that are lost or not what they should be."""
    lost: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Hash and path of objects that have no row."""
    objects: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    """Hash, path and rowid of objects that were not met before; the path is one of perhaps many."""


def roots(connection: sqlite3.Connection) -> Iterator[Root]:
    """Every commit in the order of starting, one in hand at a time."""
    query = (
        "SELECT c.seq, r.name, c.id, c.root, c.finished IS NULL FROM commits c JOIN repos r ON r.seq = c.repo"
        " WHERE c.seq > ? ORDER BY c.seq LIMIT 100"
    )
    seq = 0
    while rows := connection.execute(query, (seq,)).fetchall():
        for seq, repo, commit, node, is_open in rows:
            yield Root(seq=seq, repo=repo, commit=commit, node=node, is_open=bool(is_open))


class Reach:
    """Goes through trees on one connection, which sees one state of the database for all of that time.

    Rows that were met are in `marks` and not looked at again. Each step reads one node: a pause between two
    is up to the caller. Nodes are not put into the cache of those who serve.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.marks = RowMarks()

    def commit(self, root: Root) -> Iterator[Step]:
        """All that the commit needs: its tree, and of an open one what was noted since."""
        if root.node is not None:
            yield from self.tree(root.node)
        if root.is_open:
            yield from self._noted(root.seq)

    def tree(self, root: bytes) -> Iterator[Step]:
        """All that the tree needs and that was not met before."""
        # No recursion: a path may be thousands of directories deep.
        stack: list[tuple[int, bytes, bytes]] = []
        first = Step()
        self._enter([(root, b"/")], stack, first)
        if first.damaged:
            yield first
        while stack:
            rowid, node_id, path = stack.pop()
            step = Step()
            content = self._read(rowid, node_id)
            if content is None:
                step.damaged.append((node_id, path))
            elif isinstance(content, bytes):
                self._meet([(ref.hash, path) for ref in decode_objects(content)], step)
            else:
                nodes, objects = _needs(content, path)
                self._enter(nodes, stack, step)
                self._meet(objects, step)
            yield step

    def _noted(self, seq: int) -> Iterator[Step]:
        query = (
            "SELECT seq, path, objects FROM changes WHERE commit_ = ? AND seq > ? AND objects IS NOT NULL"
            f" ORDER BY seq LIMIT {_NOTED_AT_ONCE}"
        )
        last = 0
        while rows := self._connection.execute(query, (seq, last)).fetchall():
            step = Step()
            for change, path, objects in rows:
                last = change
                self._meet([(ref.hash, path.encode()) for ref in decode_objects(objects)], step)
            yield step

    def _read(self, rowid: int, node_id: bytes) -> Node | bytes | None:
        """A directory's node, or the encoded objects of a list of them; None where it is damaged."""
        try:
            row = self._connection.execute("SELECT data FROM nodes WHERE rowid = ?", (rowid,)).fetchone()
            if row is None or hashlib.sha256(row[0]).digest() != node_id:
                return None
            objects = object_list(row[0])
            return decode_node(row[0]) if objects is None else objects
        except (ValueError, struct.error):
            return None

    def _enter(
        self, nodes: list[tuple[bytes, bytes]], stack: list[tuple[int, bytes, bytes]], step: Step
    ) -> None:
        """Have the nodes that were not met before on the stack."""
        rows = node_rows(self._connection, [node_id for node_id, _ in nodes])
        for node_id, path in nodes:
            rowid = rows.get(node_id)
            if rowid is None:
                step.damaged.append((node_id, path))
            elif self.marks.nodes.add(rowid):
                stack.append((rowid, node_id, path))

    def _meet(self, objects: list[tuple[bytes, bytes]], step: Step) -> None:
        rows = object_rows(self._connection, [object_hash for object_hash, _ in objects])
        for object_hash, path in objects:
            rowid = rows.get(object_hash)
            if rowid is None:
                step.lost.append((object_hash, path))
            elif self.marks.objects.add(rowid):
                step.objects.append((object_hash, path, rowid))


def _needs(node: Node, path: bytes) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """Node ids and object hashes that a directory's node names, each with the path it is there for."""
    nodes: list[tuple[bytes, bytes]] = []
    objects: list[tuple[bytes, bytes]] = []
    below = path if path == b"/" else path + b"/"
    for name, value in zip(node.keys, node.values, strict=True):
        # Above the leaves, what a value is for is the directory itself.
        at = path if node.level else below + name
        for reference in references(value):
            if len(reference) == OBJECT_HASH_BYTES:
                objects.append((reference, at))
            else:
                nodes.append((reference, at))
    return nodes, objects
