"""Trees against a plain dict of paths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.localpfs import nodes
from pachgw.localpfs.tree import (
    EMPTY,
    Change,
    Delete,
    DirEntry,
    Entry,
    FileEntry,
    MakeDir,
    NotADirectory,
    ObjectRef,
    Put,
    Tree,
)

Model = dict[str, FileEntry | None]
"""Every path but "/" with its file, None for a directory."""


@pytest.fixture(autouse=True)
def _small_nodes() -> Iterator[None]:
    # One key in two ends a leaf: few names make many levels, and each change moves the ends of nodes.
    with mock.patch.object(nodes, "_LEVEL_BITS", 1):
        yield


class Memory(dict[bytes, bytes]):
    def get(self, node_id: bytes) -> bytes:  # type: ignore[override]
        return self[node_id]

    def put(self, node_id: bytes, data: bytes) -> None:
        self[node_id] = data


def file_of(data: bytes, objects: int = 1) -> FileEntry:
    refs = tuple(ObjectRef(hashlib.sha512(data + b"%d" % n).digest(), len(data)) for n in range(objects))
    return FileEntry(refs, objects * len(data))


FILES = st.builds(file_of, st.binary(max_size=3), st.sampled_from([1, 1, 1, 0, 4, 5]))
NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "a-", "a.", "é"]),
    st.text(
        st.characters(min_codepoint=32, exclude_characters="/", exclude_categories=["Cs"]),
        min_size=1,
        max_size=3,
    ),
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
CHANGES = st.one_of(
    st.builds(Put, PATHS, FILES),
    st.builds(Put, PATHS, FILES),
    st.builds(MakeDir, PATHS),
    st.builds(Delete, PATHS),
)
FLAT = st.dictionaries(st.integers(0, 400).map(lambda n: f"/n{n}"), FILES, max_size=60)


def parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:depth]) for depth in range(2, len(names))]


def drop(model: Model, path: str) -> None:
    for known in [known for known in model if known == path or known.startswith(path + "/")]:
        del model[known]


def change_model(model: Model, change: Change) -> None:
    """Raises NotADirectory and changes nothing where a file stands above the path."""
    above = parents(change.path) + ([change.path] if isinstance(change, MakeDir) else [])
    if isinstance(change, Delete):
        drop(model, change.path)
        return
    for path in above:
        if model.get(path) is not None:
            raise NotADirectory(path)
    model.update(dict.fromkeys(above))
    if isinstance(change, Put):
        assert isinstance(change.entry, FileEntry)
        drop(model, change.path)
        model[change.path] = change.entry


def walk_order(path: str) -> bytes:
    return path.encode().replace(b"/", b"\0")


def check(tree: Tree, root: DirEntry, model: Model) -> None:
    """The tree holds what the model does, in order, with the sums and hashes that follow from it."""
    walked = list(tree.walk(root, "/"))
    assert [path for path, _ in walked] == ["/", *sorted(model, key=walk_order)]
    for path, entry in walked:
        assert tree.lookup(root, path) == entry
        if isinstance(entry, FileEntry):
            assert entry == model[path]
            continue
        prefix = path.rstrip("/") + "/"
        below = [known for known in model if known.startswith(prefix)]
        files = [file for known in below if (file := model[known]) is not None]
        assert (entry.size, entry.files) == (sum(file.size for file in files), len(files))
        names = sorted({known[len(prefix) :].split("/")[0] for known in below}, key=str.encode)
        assert [name for name, _ in tree.children(root, path)] == names
        digest = hashlib.sha256()
        for name in names:
            child = tree.lookup(root, prefix + name)
            assert child is not None
            digest.update(name.encode() + b":" + tree.entry_hash(child) + b":")
        assert tree.dir_hash(entry) == digest.digest()


def build(tree: Tree, model: Model) -> DirEntry:
    return tree.apply(
        EMPTY, [MakeDir(path) if file is None else Put(path, file) for path, file in model.items()]
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(CHANGES, max_size=8), max_size=6), st.data())
def test_batches_of_changes(batches: list[list[Change]], data: st.DataObject) -> None:
    tree = Tree(Memory())
    root, model = EMPTY, Model()
    for batch in batches:
        expected: NotADirectory | None = None
        changed = dict(model)
        try:
            for change in batch:
                change_model(changed, change)
        except NotADirectory as error:
            expected = error
        if expected is None:
            root, model = tree.apply(root, batch), changed
        else:
            with pytest.raises(NotADirectory) as caught:
                tree.apply(root, batch)
            assert caught.value.path == expected.path
    check(tree, root, model)
    shuffled = data.draw(st.permutations(sorted(model.items(), key=lambda item: item[0])))
    assert build(tree, dict(shuffled)) == root


@settings(max_examples=200, deadline=None)
@given(FLAT, FLAT, st.sets(st.integers(0, 400).map(lambda n: f"/n{n}")))
def test_one_directory_is_the_same_however_it_came_about(
    old: dict[str, FileEntry], new: dict[str, FileEntry], gone: set[str]
) -> None:
    tree = Tree(Memory())
    at_once = tree.apply(EMPTY, [Put(path, file) for path, file in old.items()])
    singly = EMPTY
    for path, file in reversed(old.items()):
        singly = tree.put(singly, path, file)
    assert singly == at_once
    changed = tree.apply(at_once, [*(Put(*item) for item in new.items()), *map(Delete, gone)])
    expected = {path: file for path, file in (old | new).items() if path not in gone}
    for path in sorted(gone):
        singly = tree.delete(singly, path)
    for path, file in expected.items():
        singly = tree.put(singly, path, file)
    assert changed == singly == tree.apply(EMPTY, [Put(*item) for item in expected.items()])
    check(tree, changed, dict(expected))


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, max_size=12), st.lists(CHANGES, max_size=12), st.booleans())
def test_diff_is_what_differs(first: list[Change], second: list[Change], related: bool) -> None:
    tree = Tree(Memory())

    def apply_all(root: DirEntry, changes: list[Change]) -> DirEntry:
        for change in changes:
            try:
                root = tree.apply(root, [change])
            except NotADirectory:
                continue
        return root

    old = apply_all(EMPTY, first)
    new = apply_all(old if related else EMPTY, second)
    before: dict[str, Entry] = dict(tree.walk(old, "/"))
    after: dict[str, Entry] = dict(tree.walk(new, "/"))
    expected: list[tuple[str, Any, Any]] = [
        (path, before.get(path), after.get(path))
        for path in sorted(before | after, key=walk_order)
        if before.get(path) != after.get(path)
    ]
    assert list(tree.diff(old, new)) == expected


@settings(max_examples=100, deadline=None)
@given(FLAT, FLAT)
def test_diff_of_flat_directories(old: dict[str, FileEntry], new: dict[str, FileEntry]) -> None:
    tree = Tree(Memory())
    left = tree.apply(EMPTY, [Put(*item) for item in old.items()])
    right = tree.apply(left, [Put(*item) for item in new.items()])
    expected = sorted(path for path, file in new.items() if old.get(path) != file)
    found = [path for path, _, _ in tree.diff(left, right)][1:]
    assert found == sorted(expected, key=walk_order)
