"""Trees: hashes as PFS reckons them, sharing, depth, damage, threads."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pachgw.localpfs import nodes
from pachgw.localpfs.entries import MAX_SUM, OBJECTS_PER_LIST
from pachgw.localpfs.nodes import BoundedCache
from pachgw.localpfs.tree import (
    EMPTY,
    CorruptNode,
    Delete,
    DirEntry,
    FileEntry,
    MakeDir,
    NotADirectory,
    ObjectRef,
    Put,
    Tree,
    TreeCache,
)

DATA = Path(__file__).parents[2] / "data" / "localpfs_hashes.json"
RECORDED = json.loads(DATA.read_text())


class Memory:
    """A node store that counts."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}
        self.reads = 0
        self.writes = 0
        self.written_bytes = 0

    def get(self, node_id: bytes) -> bytes:
        self.reads += 1
        return self.nodes[node_id]

    def put(self, node_id: bytes, data: bytes) -> None:
        self.writes += 1
        self.written_bytes += len(data)
        self.nodes[node_id] = data

    def reset(self) -> None:
        self.reads = self.writes = self.written_bytes = 0


def file_of(*contents: bytes) -> FileEntry:
    refs = tuple(ObjectRef(hashlib.sha512(data).digest(), len(data)) for data in contents)
    return FileEntry(refs, sum(map(len, contents)))


def many(count: int, directory: str = "/d") -> list[Put]:
    return [Put(f"{directory}/file-{index:06d}", file_of(b"%d" % index)) for index in range(count)]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def tree(memory: Memory) -> Tree:
    return Tree(memory)


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["scenario"])
def test_hashes_and_sizes_are_those_recorded(tree: Tree, case: dict[str, Any]) -> None:
    root = EMPTY
    for path, value in case["files"].items():
        root = tree.put(root, path, file_of(base64.b64decode(value)))
    for path, recorded in case["entries"].items():
        entry = tree.lookup(root, path)
        assert entry is not None
        assert tree.entry_hash(entry) == base64.b64decode(recorded["hash"])
        assert entry.size == recorded["size"]
        assert isinstance(entry, DirEntry) is (recorded["type"] == "DIR")
    if case["complete"]:
        assert [path for path, _ in tree.walk(root, "/")] == list(case["entries"])


def test_recordings_are_all_there() -> None:
    assert sum(len(case["entries"]) for case in RECORDED) > 30


def test_file_hash_runs_over_object_hashes() -> None:
    # Recorded: PutFile of X with overwrite_index 1 on objects aa, bb, cc: a size that is not the sum.
    entry = FileEntry(file_of(b"aa", b"X").objects, 7)
    assert base64.b64encode(entry.hash) == b"uBeOR11KIwewD8tf9kS3jDWaTZ0n+o0FSe0a3jEMLSY="


def test_size_is_kept_apart_from_objects(tree: Tree) -> None:
    entry = FileEntry(file_of(b"aa", b"X").objects, 7)
    root = tree.put(EMPTY, "/d/f", entry)
    assert tree.lookup(root, "/d/f") == entry
    assert (root.size, root.files) == (7, 1)


def test_empty_directory_hash(tree: Tree) -> None:
    root = tree.apply(EMPTY, [MakeDir("/a/b")])
    assert tree.dir_hash(EMPTY) == hashlib.sha256().digest()
    inner = hashlib.sha256(b"b:" + hashlib.sha256().digest() + b":").digest()
    assert tree.dir_hash(root) == hashlib.sha256(b"a:" + inner + b":").digest()


def test_directory_hash_is_worked_out_again_for_changed_leaves_only(memory: Memory, tree: Tree) -> None:
    root = tree.apply(EMPTY, many(3000))
    tree.dir_hash(root)
    changed = tree.put(root, "/d/file-001234", file_of(b"other"))
    cold = Tree(memory).dir_hash(changed)
    # Hashing with what the first time has left reads few nodes, and says the same.
    cache = TreeCache(node_bytes=0)
    lean = Tree(memory, cache)
    lean.dir_hash(root)
    memory.reset()
    assert lean.dir_hash(changed) == cold != tree.dir_hash(root)
    assert memory.reads < 20


def test_one_put_into_a_large_directory_writes_few_nodes(memory: Memory, tree: Tree) -> None:
    root = tree.apply(EMPTY, many(5000))
    writes, size = [], []
    for index in range(50):
        memory.reset()
        root = tree.put(root, f"/d/file-{index * 97:06d}-more", file_of(b"new"))
        writes.append(memory.writes)
        size.append(memory.written_bytes)
    assert max(writes) <= 8
    assert sum(size) / len(size) < 40_000
    assert root.files == 5050


def test_one_batch_writes_each_touched_node_once(memory: Memory, tree: Tree) -> None:
    root = tree.apply(EMPTY, many(5000))
    memory.reset()
    batch = [Put(f"/d/new-{index}", file_of(b"%d" % index)) for index in range(1000)]
    after = tree.apply(root, batch)
    together = memory.writes
    memory.reset()
    for change in batch:
        root = tree.apply(root, [change])
    assert root == after
    assert together < 150
    assert together * 10 < memory.writes


def test_lookup_reads_a_node_a_level(memory: Memory) -> None:
    root = Tree(memory).apply(EMPTY, many(20_000, "/a/b"))
    memory.reset()
    assert Tree(memory).lookup(root, "/a/b/file-012345") == file_of(b"12345")
    assert memory.reads <= 8


def test_copy_of_a_directory_writes_nodes_above_it_only(memory: Memory, tree: Tree) -> None:
    root = tree.apply(EMPTY, many(2000))
    source = tree.lookup(root, "/d")
    assert source is not None
    memory.reset()
    copied = tree.put(root, "/e/f", source)
    assert memory.writes <= 2
    assert tree.lookup(copied, "/e/f") == source
    assert copied.files == 4000
    assert tree.lookup(copied, "/e/f/file-000007") == file_of(b"7")


def test_copies_into_themselves_do_not_overflow(tree: Tree) -> None:
    root = tree.put(EMPTY, "/f", FileEntry(file_of(b"x").objects, 1 << 40))
    for _ in range(100):
        root = tree.apply(root, [Put("/a", root), Put("/b", root)])
    assert (root.size, root.files) == (MAX_SUM, MAX_SUM)
    assert len(tree.dir_hash(root)) == 32
    assert tree.put(root, "/f", file_of(b"y")).size == MAX_SUM
    assert tree.apply(root, [Delete("/a"), Delete("/b")]).size == 1 << 40


def test_equal_trees_are_equal_whatever_came_before(tree: Tree) -> None:
    changes = many(1000)
    straight = tree.apply(EMPTY, changes)
    root = EMPTY
    for change in reversed(changes):
        root = tree.apply(root, [change, Put(change.path + "~", change.entry)])
    root = tree.apply(root, [Delete(change.path + "~") for change in changes])
    assert root == straight
    assert tree.apply(root, [Delete(change.path) for change in changes]) == tree.apply(EMPTY, [MakeDir("/d")])
    assert tree.delete(root, "/d") == EMPTY


def test_directories_outlive_their_last_file(tree: Tree) -> None:
    root = tree.delete(tree.put(EMPTY, "/a/b/f", file_of(b"x")), "/a/b/f")
    assert [path for path, _ in tree.walk(root, "/")] == ["/", "/a", "/a/b"]
    assert tree.lookup(root, "/a/b") == EMPTY
    assert (root.size, root.files) == (0, 0)
    assert root != EMPTY


@pytest.mark.parametrize("change", [Put("/a/f/x/y", EMPTY), MakeDir("/a/f/x"), MakeDir("/a/f")])
def test_a_file_above_is_told_and_nothing_is_stored(
    memory: Memory, tree: Tree, change: Put | MakeDir
) -> None:
    root = tree.put(EMPTY, "/a/f", file_of(b"x"))
    memory.reset()
    with pytest.raises(NotADirectory) as caught:
        tree.apply(root, [Put("/b", file_of(b"y")), change])
    assert caught.value.path == "/a/f"
    assert memory.writes == 0


def test_deleting_what_is_not_there(tree: Tree) -> None:
    root = tree.put(EMPTY, "/a/f", file_of(b"x"))
    for path in ("/b", "/b/c/d", "/a/g", "/a/f/x"):
        assert tree.delete(root, path) == root


def test_file_in_place_of_a_directory_and_back(tree: Tree) -> None:
    root = tree.apply(EMPTY, many(10))
    root = tree.put(root, "/d", file_of(b"x"))
    assert tree.lookup(root, "/d") == file_of(b"x")
    assert tree.lookup(root, "/d/file-000001") is None
    assert (root.size, root.files) == (1, 1)
    root = tree.apply(root, [Delete("/d"), Put("/d/f", file_of(b"yy"))])
    assert [path for path, _ in tree.walk(root, "/")] == ["/", "/d", "/d/f"]


def test_root_is_put_whole_or_emptied_and_is_no_file(tree: Tree) -> None:
    root = tree.apply(EMPTY, many(3))
    assert tree.put(EMPTY, "/", root) == root
    assert tree.apply(root, [Delete("/")]) == EMPTY
    with pytest.raises(ValueError, match="root"):
        tree.put(root, "/", file_of(b""))
    with pytest.raises(ValueError, match="absolute"):
        tree.lookup(root, "d")


def test_walk_from_anywhere(tree: Tree) -> None:
    root = tree.apply(EMPTY, [Put("/a/b/f", file_of(b"1")), Put("/a-b", file_of(b"2")), MakeDir("/a/c")])
    assert list(tree.walk(root, "/a-b")) == [("/a-b", file_of(b"2"))]
    assert [path for path, _ in tree.walk(root, "/a")] == ["/a", "/a/b", "/a/b/f", "/a/c"]
    assert list(tree.walk(root, "/x")) == list(tree.walk(root, "/a-b/x")) == []
    assert [name for name, _ in tree.children(root, "/")] == ["a", "a-b"]
    assert list(tree.children(root, "/a-b")) == list(tree.children(root, "/x")) == []


def test_walk_enters_only_what_is_wanted(memory: Memory) -> None:
    root = Tree(memory).apply(EMPTY, [*many(500, "/a"), *many(500, "/b"), Put("/c", file_of(b"x"))])
    memory.reset()
    walk = Tree(memory).walk(root, "/", descend=lambda path: path == "/")
    assert [path for path, _ in walk] == ["/", "/a", "/b", "/c"]
    assert memory.reads == 1


def test_walk_is_lazy(memory: Memory) -> None:
    root = Tree(memory).apply(EMPTY, many(20_000))
    memory.reset()
    walk = Tree(memory).walk(root, "/")
    for _ in range(5):
        next(walk)
    assert memory.reads <= 8


def test_thousands_of_directories_deep(tree: Tree) -> None:
    deep = "/d" * 16_000
    root = tree.put(EMPTY, deep, file_of(b"x"))
    assert tree.lookup(root, deep) == file_of(b"x")
    assert len(list(tree.walk(root, "/"))) == 16_001
    digest = file_of(b"x").hash
    for _ in range(16_000):
        digest = hashlib.sha256(b"d:" + digest + b":").digest()
    assert tree.dir_hash(root) == digest
    assert len(list(tree.diff(EMPTY, root))) == 16_001
    assert tree.delete(root, "/d") == EMPTY


def test_file_of_many_objects_keeps_its_list_outside_of_the_directory(memory: Memory, tree: Tree) -> None:
    contents = [b"%d" % number for number in range(3 * OBJECTS_PER_LIST + 7)]
    entry = file_of(*contents)
    root = tree.apply(EMPTY, [Put("/big", entry), Put("/small", file_of(b"x"))])
    assert Tree(memory).lookup(root, "/big") == entry
    memory.reset()
    tree.put(root, "/small", file_of(b"y"))
    assert memory.written_bytes < 1000
    memory.reset()
    longer = file_of(*contents, b"more")
    after = tree.put(root, "/big", longer)
    assert tree.lookup(after, "/big") == longer


def test_diff_reads_what_differs_only(memory: Memory, tree: Tree) -> None:
    root = tree.apply(EMPTY, [*many(5000), *many(3000, "/e/f")])
    after = tree.apply(root, [Put("/d/file-002500", file_of(b"x")), Delete("/d/file-004000"), MakeDir("/g")])
    memory.reset()
    changed = list(Tree(memory).diff(root, after))
    assert memory.reads < 30
    assert [path for path, _, _ in changed] == ["/", "/d", "/d/file-002500", "/d/file-004000", "/g"]
    assert changed[2][1:] == (file_of(b"2500"), file_of(b"x"))
    assert changed[3][1:] == (file_of(b"4000"), None)
    assert changed[4][1:] == (None, EMPTY)
    assert list(tree.diff(root, root)) == []


def test_diff_of_subdirectories_under_their_own_path(tree: Tree) -> None:
    old = tree.apply(EMPTY, [Put("/a/f", file_of(b"1")), Put("/g", file_of(b"2"))])
    new = tree.apply(EMPTY, [Put("/a/f", file_of(b"3")), Put("/g/h", file_of(b"2"))])
    assert [path for path, _, _ in tree.diff(old, new, path="/x/y")] == [
        "/x/y", "/x/y/a", "/x/y/a/f", "/x/y/g", "/x/y/g/h",
    ]  # fmt: skip
    assert [path for path, _, _ in tree.diff(old, new, deep=False)] == ["/", "/a", "/g"]


def test_edit_shows_what_was_changed_so_far(tree: Tree) -> None:
    root = tree.apply(EMPTY, [Put("/a/f", file_of(b"1")), Put("/b", file_of(b"2"))])
    edit = tree.edit(root)
    assert edit.lookup("/") == root
    edit.put("/a/g", file_of(b"33"))
    edit.delete("/a/f")
    assert edit.lookup("/a/g") == file_of(b"33")
    assert edit.lookup("/a/f") is None
    assert edit.lookup("/b") == file_of(b"2")
    assert edit.lookup("/b/x") is None
    assert edit.lookup("/a") == tree.lookup(tree.put(EMPTY, "/a/g", file_of(b"33")), "/a")
    edit.put("/a/h", file_of(b"4"))
    edit.make_directory("/c")
    assert edit.lookup("/c") == EMPTY
    expected = [
        MakeDir("/c"),
        Put("/a/g", file_of(b"33")),
        Put("/a/h", file_of(b"4")),
        Put("/b", file_of(b"2")),
    ]
    assert edit.finish() == edit.lookup("/") == tree.apply(EMPTY, expected)


@pytest.mark.parametrize("damage", ["lost", "changed", "cut", "not a node"])
def test_damage_is_told(memory: Memory, tree: Tree, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree.apply(EMPTY, many(100))
    assert root.root is not None
    data = memory.nodes.pop(root.root)
    if damage == "changed":
        memory.nodes[root.root] = data[:-1] + bytes([data[-1] ^ 1])
    elif damage == "cut":
        memory.nodes[root.root] = data[:-1]
    elif damage == "not a node":
        fake = b"\7" + data[1:]
        root = DirEntry(hashlib.sha256(fake).digest(), 0, 0)
        memory.nodes[root.root or b""] = fake
    with pytest.raises(CorruptNode) as caught:
        Tree(memory).lookup(root, "/d")
    assert caught.value.node_id == root.root


def test_names_in_any_script_are_ordered_by_their_bytes(tree: Tree) -> None:
    names = ["z", "é", "a", "\U0001f600", "\uffff", "A", "名"]
    root = tree.apply(EMPTY, [Put("/" + name, file_of(b"x")) for name in names])
    assert [name for name, _ in tree.children(root, "/")] == sorted(names, key=str.encode)


def test_one_cache_serves_threads(memory: Memory) -> None:
    cache = TreeCache(node_bytes=200_000, digest_bytes=20_000)
    root = Tree(memory, cache).apply(EMPTY, [*many(2000), *many(500, "/e")])
    expected = Tree(memory).dir_hash(root)
    wrong: list[object] = []

    def read(offset: int) -> None:
        tree = Tree(memory, cache)
        try:
            for step in range(300):
                number = (step * 37 + offset * 11) % 2000
                if tree.lookup(root, f"/d/file-{number:06d}") != file_of(b"%d" % number):
                    wrong.append(number)
            if tree.dir_hash(root) != expected:
                wrong.append("hash")
            if tree.put(root, f"/d/x{offset}", file_of(b"x")).files != 2501:
                wrong.append("put")
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_cache_stays_within_its_bound() -> None:
    cache: BoundedCache[int] = BoundedCache(100)
    for number in range(50):
        cache.put(b"%d" % number, number, 10)
        cache.get(b"0")
    assert len(cache) == 10
    assert cache.get(b"0") == 0
    assert cache.get(b"30") is None
    assert cache.get(b"49") == 49
    cache.put(b"big", 1, 101)
    assert cache.get(b"big") is None
    assert len(cache) == 10


def test_key_levels_are_pinned() -> None:
    # A store is only as good as this function is stable: another one makes equal trees unequal.
    names = (b"name-0", b"name-24", b"name-26", b"name-34133")
    assert [nodes.key_level(name) for name in names] == [0, 1, 2, 3]
