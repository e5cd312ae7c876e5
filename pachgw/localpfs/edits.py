"""Changes to a tree, held together until they are written: each touched directory is rewritten once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pachgw.localpfs.directory import find, rewrite
from pachgw.localpfs.entries import EMPTY, DirEntry, Entry, decode_entry, encode_entry
from pachgw.localpfs.nodes import Nodes


class NotADirectory(Exception):
    """A file stands where a directory is needed; `path` is that file's."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not a directory")
        self.path = path


@dataclass(frozen=True, slots=True)
class Put:
    """`entry` at `path`, in place of whatever is there; missing directories above are made."""

    path: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Delete:
    """Nothing at `path` any more, nor below it; "/" empties the tree. The directory above stays."""

    path: str


@dataclass(frozen=True, slots=True)
class MakeDir:
    """A directory at `path`; one that is there stays as it is."""

    path: str


Change: TypeAlias = Put | Delete | MakeDir


def components(path: str) -> list[bytes]:
    """The names in a clean absolute path; none for "/"."""
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path: {path!r}")
    return path[1:].encode().split(b"/") if path != "/" else []


def path_of(names: list[bytes]) -> str:
    return "/" + b"/".join(names).decode()


class _Directory:
    """A directory that is being changed."""

    __slots__ = ("base", "changed", "settled")

    def __init__(self, base: DirEntry) -> None:
        self.base = base
        self.changed: dict[bytes, Entry | _Directory | None] = {}
        self.settled = base


class TreeEdit:
    """A tree on its way to its next state. Later changes see earlier ones; one thread at a time.

    Nothing is stored before `finish`, but for directories that `lookup` is asked about; an edit that is
    dropped changes nothing.
    """

    def __init__(self, nodes: Nodes, root: DirEntry) -> None:
        self._nodes = nodes
        self._root = _Directory(root)

    def apply(self, change: Change) -> None:
        """Raises NotADirectory for a file above the path, or, with MakeDir, at it."""
        match change:
            case Put(path, entry):
                self.put(path, entry)
            case Delete(path):
                self.delete(path)
            case MakeDir(path):
                self.make_directory(path)

    def put(self, path: str, entry: Entry) -> None:
        """See Put. Raises ValueError for a file at "/"."""
        names = components(path)
        if names:
            self._make(names[:-1]).changed[names[-1]] = entry
        elif isinstance(entry, DirEntry):
            self._root = _Directory(entry)
        else:
            raise ValueError("the root is a directory")

    def delete(self, path: str) -> None:
        """See Delete; nothing there, or a file above, is no error."""
        names = components(path)
        if not names:
            self._root = _Directory(EMPTY)
            return
        place = self._place(names)
        if place is not None and self._child(place, names[-1]) is not None:
            place.changed[names[-1]] = None

    def make_directory(self, path: str) -> None:
        """See MakeDir."""
        self._make(components(path))

    def lookup(self, path: str) -> Entry | None:
        """What stands at the path now, None for nothing. A directory that was changed is written for it."""
        names = components(path)
        if not names:
            return self._settle(self._root)
        place = self._place(names)
        found = None if place is None else self._child(place, names[-1])
        return self._settle(found) if isinstance(found, _Directory) else found

    def finish(self) -> DirEntry:
        """Write the changed directories; the new root. Raises CorruptNode."""
        return self._settle(self._root)

    def _child(self, directory: _Directory, name: bytes) -> Entry | _Directory | None:
        try:
            return directory.changed[name]
        except KeyError:
            value = find(self._nodes, directory.base.root, name)
            return None if value is None else decode_entry(value, self._nodes.load_objects)

    def _open(self, directory: _Directory, name: bytes) -> Entry | _Directory | None:
        """As `_child`, a directory opened for changes."""
        found = self._child(directory, name)
        if isinstance(found, DirEntry):
            directory.changed[name] = found = _Directory(found)
        return found

    def _place(self, names: list[bytes]) -> _Directory | None:
        """The directory that the last of the names is or would be in; None where there is none."""
        directory = self._root
        for name in names[:-1]:
            below = self._open(directory, name)
            if not isinstance(below, _Directory):
                return None
            directory = below
        return directory

    def _make(self, names: list[bytes]) -> _Directory:
        """The directory of that path, made where it is missing."""
        directory = self._root
        for depth, name in enumerate(names, 1):
            below = self._open(directory, name)
            if below is None:
                directory.changed[name] = below = _Directory(EMPTY)
            elif not isinstance(below, _Directory):
                raise NotADirectory(path_of(names[:depth]))
            directory = below
        return directory

    def _settle(self, top: _Directory) -> DirEntry:
        # No recursion: a path may be thousands of directories deep.
        order = [top]
        for directory in order:
            order.extend(below for below in directory.changed.values() if isinstance(below, _Directory))
        for directory in reversed(order):
            names = sorted(directory.changed)
            values = [self._encode(directory.changed[name]) for name in names]
            if names:
                directory.settled = DirEntry(*rewrite(self._nodes, directory.base.root, names, values))
        return top.settled

    def _encode(self, change: Entry | _Directory | None) -> bytes | None:
        if change is None:
            return None
        entry = change.settled if isinstance(change, _Directory) else change
        return encode_entry(entry, self._nodes.save_objects)
