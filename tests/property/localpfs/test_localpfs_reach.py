"""Walking over all that trees are made of, against what reading them needs."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.localpfs import nodes
from pachgw.localpfs.entries import OBJECTS_PER_LIST
from pachgw.localpfs.reach import Reach, Step
from pachgw.localpfs.tree import EMPTY, CorruptNode, DirEntry, FileEntry, NotADirectory, ObjectRef, Put, Tree


class Database:
    """Nodes and objects in tables, as a node store."""

    def __init__(self, kept: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE nodes (id BLOB NOT NULL PRIMARY KEY, data BLOB NOT NULL)")
        self.connection.execute("CREATE TABLE objects (hash BLOB NOT NULL PRIMARY KEY)")
        self.connection.executemany("INSERT INTO nodes VALUES (?, ?)", kept)

    def get(self, node_id: bytes) -> bytes:
        row = self.connection.execute("SELECT data FROM nodes WHERE id = ?", (node_id,)).fetchone()
        if row is None:
            raise KeyError(node_id)
        return bytes(row[0])

    def put(self, node_id: bytes, data: bytes) -> None:
        self.connection.execute("INSERT OR IGNORE INTO nodes VALUES (?, ?)", (node_id, data))

    def put_objects(self, entry: FileEntry) -> None:
        rows = [(ref.hash,) for ref in entry.objects]
        self.connection.executemany("INSERT OR IGNORE INTO objects VALUES (?)", rows)

    def needed(self, reach: Reach) -> list[tuple[bytes, bytes]]:
        rows = self.connection.execute("SELECT rowid, id, data FROM nodes")
        return [(node_id, data) for rowid, node_id, data in rows if rowid in reach.marks.nodes]


@pytest.fixture
def small_nodes() -> Iterator[None]:
    # One key in two ends a leaf: few names make many levels.
    with mock.patch.object(nodes, "_LEVEL_BITS", 1):
        yield


def file_of(*contents: bytes) -> FileEntry:
    refs = tuple(ObjectRef(hashlib.sha512(data).digest(), len(data)) for data in contents)
    return FileEntry(refs, sum(map(len, contents)))


def go(reach: Reach, root: DirEntry) -> list[Step]:
    return [] if root.root is None else list(reach.tree(root.root))


NAMES = st.sampled_from(["a", "b", "c", "a-", "é"]) | st.integers(0, 40).map(str)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
FILES = st.lists(st.binary(max_size=2), max_size=6).map(lambda contents: file_of(*contents))
CONTENT = st.dictionaries(PATHS, FILES, max_size=12)


def make(database: Database, content: dict[str, FileEntry]) -> DirEntry:
    root, tree = EMPTY, Tree(database)
    for path, entry in content.items():
        try:
            root = tree.put(root, path, entry)
        except NotADirectory:
            continue
    return root


@pytest.mark.usefixtures("small_nodes")
@given(CONTENT)
@settings(max_examples=60, deadline=None)
def test_tree_meets_all_that_is_needed_and_no_more(content: dict[str, FileEntry]) -> None:
    database = Database()
    root = make(database, content)
    for entry in content.values():
        database.put_objects(entry)
    reach = Reach(database.connection)
    steps = go(reach, root)
    assert not any(step.damaged or step.lost for step in steps)
    walked = list(Tree(database).walk(root, "/"))
    files = {path: entry for path, entry in walked if isinstance(entry, FileEntry)}
    found = {object_hash: path.decode() for step in steps for object_hash, path, _ in step.objects}
    assert set(found) == {ref.hash for entry in files.values() for ref in entry.objects}
    assert all(
        object_hash in [ref.hash for ref in files[path].objects] for object_hash, path in found.items()
    )
    kept = database.needed(reach)
    assert list(Tree(Database(kept)).walk(root, "/")) == walked
    for missing, _ in kept:
        fewer = Database((node_id, data) for node_id, data in kept if node_id != missing)
        with pytest.raises(CorruptNode):
            list(Tree(fewer).walk(root, "/"))
        damaged = [node_id for step in go(Reach(fewer.connection), root) for node_id, _ in step.damaged]
        assert set(damaged) == {missing}


def test_tree_meets_what_is_shared_once() -> None:
    database = Database()
    tree = Tree(database)
    root = tree.apply(
        EMPTY, [Put(f"/d/file-{number:06d}", file_of(b"%d" % number)) for number in range(3000)]
    )
    after = tree.put(root, "/d/zz", file_of(b"x"))
    reach = Reach(database.connection)
    first, second = go(reach, root), go(reach, after)
    assert len(first) > 3000 / 64
    assert len(second) <= 6
    assert [path for step in second for _, path in step.lost if path == b"/d/zz"] == [b"/d/zz"]
    assert len(database.needed(reach)) == len(first) + len(second)


def test_tree_of_many_objects_in_a_file() -> None:
    database = Database()
    entry = file_of(*(b"%d" % number for number in range(3 * OBJECTS_PER_LIST + 7)))
    root = Tree(database).put(EMPTY, "/big", entry)
    reach = Reach(database.connection)
    lost = [found for step in go(reach, root) for found in step.lost]
    assert {object_hash for object_hash, _ in lost} == {ref.hash for ref in entry.objects}
    assert {path for _, path in lost} == {b"/big"}
    assert len(database.needed(reach)) == 5


def test_tree_that_is_deep_or_was_copied_into_itself() -> None:
    database = Database()
    tree = Tree(database)
    assert len(go(Reach(database.connection), tree.put(EMPTY, "/d" * 3000, file_of(b"x")))) == 3000
    root = tree.put(EMPTY, "/f", file_of(b"x"))
    for _ in range(100):
        root = tree.apply(root, [Put("/a", root), Put("/b", root)])
    assert len(go(Reach(database.connection), root)) == 101
