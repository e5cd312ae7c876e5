"""What PutFile, DeleteFile and CopyFile do to the files of a commit: changes, and applying them to a tree.

Where the commit comes from, and what becomes of changes to an open one, is in opencommits.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pachgw.localpfs import faults, files
from pachgw.localpfs.entries import MAX_SUM, DirEntry, FileEntry, ObjectRef
from pachgw.localpfs.tree import NotADirectory, Tree

_HELD = 20_000
"""Changes kept in memory before they are written into nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """More objects for the file at `path`."""

    path: str
    """Clean and valid."""
    objects: tuple[ObjectRef, ...]
    keep: int | None
    """PutFile's overwrite_index: how many of the file's objects stay; 0 replaces directories; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """The file, or the directory with all below it, goes; "/" for everything."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMatches:
    """Every path that matches a glob pattern goes."""

    pattern: str


Change: TypeAlias = Put | Remove | RemoveMatches


class Draft:
    """A tree being changed, change after change."""

    def __init__(self, tree: Tree, root: DirEntry) -> None:
        self._tree = tree
        self._root = root
        self._edit = tree.edit(root)
        self._held = 0

    def apply(self, changes: Iterable[Change]) -> None:
        """Raises PathConflict for a file below a file or on a directory."""
        for change in changes:
            match change:
                case Put():
                    self._put(change)
                case Remove():
                    self._edit.delete(change.path)
                case RemoveMatches():
                    for path in files.matching_paths(self._tree, self.finish(), change.pattern):
                        self._edit.delete(path)
            self._held += 1
            if self._held >= _HELD:
                self.finish()

    def finish(self) -> DirEntry:
        """The tree with all changes so far."""
        self._root = self._edit.finish()
        self._edit = self._tree.edit(self._root)
        self._held = 0
        return self._root

    def _put(self, change: Put) -> None:
        added = sum(ref.size for ref in change.objects)
        entry = FileEntry(change.objects, added)
        if change.keep != 0:
            old = self._edit.lookup(change.path)
            if isinstance(old, DirEntry):
                raise faults.is_a_directory(change.path)
            if old is not None:
                # The size is never made less by the objects that go: the reference keeps it so.
                entry = FileEntry(old.objects[: change.keep] + change.objects, min(old.size + added, MAX_SUM))
        try:
            self._edit.put(change.path, entry)
        except NotADirectory as conflict:
            raise faults.not_a_directory(conflict.path) from conflict
