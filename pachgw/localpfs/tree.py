"""Trees of files: persistent, content-addressed, sharing with each other whatever is equal.

A tree is the DirEntry of its root, and never changes; a change gives a new one. What a directory is made of
is in `directory`; repos, branches and commits, which name trees, are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pachgw.localpfs import directory, treehash
from pachgw.localpfs.edits import (
    Change,
    Delete,
    MakeDir,
    NotADirectory,
    Put,
    TreeEdit,
    components,
)
from pachgw.localpfs.entries import (
    EMPTY,
    DirEntry,
    Entry,
    FileEntry,
    ObjectRef,
    decode_entry,
)
from pachgw.localpfs.nodes import CorruptNode, Nodes, NodeStore, TreeCache

__all__ = [
    "EMPTY",
    "Change",
    "CorruptNode",
    "Delete",
    "DirEntry",
    "Entry",
    "FileEntry",
    "MakeDir",
    "NodeStore",
    "NotADirectory",
    "ObjectRef",
    "Put",
    "Tree",
    "TreeCache",
    "TreeEdit",
]


class Tree:
    """Reads and makes trees over a node store.

    Paths are absolute and clean, as `paths.clean` makes them. Names are ordered bytewise, as UTF-8. Every
    method raises CorruptNode for a node that is lost or damaged, iterators as they go. Thread safe as far as
    the store is.
    """

    def __init__(self, nodes: NodeStore, cache: TreeCache | None = None) -> None:
        """`cache` may be shared by several trees over one store, such as one a transaction."""
        self._nodes = Nodes(nodes, TreeCache() if cache is None else cache)

    def lookup(self, root: DirEntry, path: str) -> Entry | None:
        """What stands at the path; None for nothing, also where a file stands above it."""
        entry: Entry = root
        for name in components(path):
            if not isinstance(entry, DirEntry):
                return None
            value = directory.find(self._nodes, entry.root, name)
            if value is None:
                return None
            entry = decode_entry(value, self._nodes.load_objects)
        return entry

    def children(self, root: DirEntry, path: str) -> Iterator[tuple[str, Entry]]:
        """Names and entries directly in the directory, in order; nothing for a file or a missing path."""
        entry = self.lookup(root, path)
        return self._children(entry) if isinstance(entry, DirEntry) else iter(())

    def walk(
        self, root: DirEntry, path: str, *, descend: Callable[[str], bool] | None = None
    ) -> Iterator[tuple[str, Entry]]:
        """Full paths and entries at the path and below it; nothing for a missing path.

        Depth first, a directory before its contents: the order of the paths' bytes with "/" taken as 0.
        `descend`, asked with a directory's path, says whether its contents are of interest.
        """
        entry = self.lookup(root, path)
        if entry is None:
            return
        yield path, entry
        # No recursion: a path may be thousands of directories deep.
        stack: list[tuple[str, Iterator[tuple[str, Entry]]]] = []

        def enter(path: str, entry: Entry) -> None:
            if isinstance(entry, DirEntry) and (descend is None or descend(path)):
                stack.append((_below(path), self._children(entry)))

        enter(path, entry)
        while stack:
            prefix, names = stack[-1]
            for name, child in names:
                yield prefix + name, child
                if isinstance(child, DirEntry):
                    enter(prefix + name, child)
                    break
            else:
                stack.pop()

    def put(self, root: DirEntry, path: str, entry: Entry) -> DirEntry:
        """The tree with one change, see Put. Raises NotADirectory."""
        return self.apply(root, [Put(path, entry)])

    def delete(self, root: DirEntry, path: str) -> DirEntry:
        """The tree with one change, see Delete."""
        return self.apply(root, [Delete(path)])

    def apply(self, root: DirEntry, changes: Sequence[Change]) -> DirEntry:
        """The tree after the changes, in their order; each touched node is written once.

        Raises NotADirectory, before anything is stored.
        """
        edit = self.edit(root)
        for change in changes:
            edit.apply(change)
        return edit.finish()

    def edit(self, root: DirEntry) -> TreeEdit:
        """Begin changes that are made, and looked at, one by one."""
        return TreeEdit(self._nodes, root)

    def dir_hash(self, entry: DirEntry) -> bytes:
        """FileInfo.hash of the directory, 32 bytes; reads all below it that was not hashed before."""
        return treehash.dir_hash(self._nodes, entry)

    def entry_hash(self, entry: Entry) -> bytes:
        """FileInfo.hash of the file or directory, 32 bytes."""
        return self.dir_hash(entry) if isinstance(entry, DirEntry) else entry.hash

    def diff(
        self, old: DirEntry, new: DirEntry, *, path: str = "/", deep: bool = True
    ) -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """(path, old, new) of all that differs, the two directories and those on the way down included.

        In order of `walk`; None: not there. `path` is what the two are reported as. With `deep` false only
        the two and their children are looked at. Equal subtrees are not read.
        """
        if old.root == new.root:
            return
        yield path, old, new
        stack = [(_below(path), directory.differences(self._nodes, old.root, new.root))]
        while stack:
            prefix, changed = stack[-1]
            for name, old_value, new_value in changed:
                before, after = self._decode(old_value), self._decode(new_value)
                child_path = prefix + name.decode()
                yield child_path, before, after
                old_root, new_root = _root_of(before), _root_of(after)
                if deep and old_root != new_root:
                    below = directory.differences(self._nodes, old_root, new_root)
                    stack.append((_below(child_path), below))
                    break
            else:
                stack.pop()

    def _children(self, entry: DirEntry) -> Iterator[tuple[str, Entry]]:
        for name, value in directory.items(self._nodes, entry.root):
            yield name.decode(), decode_entry(value, self._nodes.load_objects)

    def _decode(self, value: bytes | None) -> Entry | None:
        return None if value is None else decode_entry(value, self._nodes.load_objects)


def _below(path: str) -> str:
    return path if path == "/" else path + "/"


def _root_of(entry: Entry | None) -> bytes | None:
    return entry.root if isinstance(entry, DirEntry) else None
