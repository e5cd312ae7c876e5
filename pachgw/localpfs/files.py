"""Reading the files of a commit: one path, a directory, a walk, patterns, differences, versions.

Works on a Tree and on commits that are finished or settled; the bytes of files are in contents.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from pachgw.localpfs import commits, faults, globs
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.globs import Glob, GlobError, is_pattern
from pachgw.localpfs.paths import clean
from pachgw.localpfs.tree import EMPTY, DirEntry, Entry, FileEntry, Tree

Found = tuple[str, Entry]
"""A clean path and what stands there."""

Version = tuple[Commit, str, Entry]
"""What stood at a clean path, and the commit that put it there."""


def inspect(tree: Tree, commit: Commit, path: str) -> Entry:
    """What stands at the path, in any spelling, which is no pattern. Raises Fault."""
    entry = tree.lookup(commit.tree, clean(path))
    if entry is None:
        raise faults.file_missing(commit.repo, commit.id, path)
    return entry


def list_file(tree: Tree, commit: Commit, path: str) -> Iterator[Found]:
    """The children of a directory, or the file itself; of each match where the path is a pattern.

    Raises Fault, at the first step, for a missing path or a malformed pattern.
    """
    if not is_pattern(path):
        at = clean(path)
        entry = tree.lookup(commit.tree, at)
        if entry is None:
            raise faults.path_missing(at)
        if isinstance(entry, DirEntry):
            yield from _children(tree, at, entry)
        else:
            yield at, entry
        return
    glob = _compiled(path)
    for at, entry in matches(tree, commit.tree, path):
        if isinstance(entry, DirEntry):
            # A child that matches too comes by itself.
            yield from (found for found in _children(tree, at, entry) if not glob.match(found[0]))
        else:
            yield at, entry


def _children(tree: Tree, path: str, directory: DirEntry) -> Iterator[Found]:
    below = path if path == "/" else path + "/"
    for name, entry in tree.children(directory, "/"):
        yield below + name, entry


def walk(tree: Tree, commit: Commit, path: str) -> Iterator[Found]:
    """The path and all below it, in PFS order; nothing for a missing path."""
    return tree.walk(commit.tree, clean(path))


def matches(tree: Tree, root: DirEntry, pattern: str) -> Iterator[Found]:
    """What matches a glob pattern, or stands at a literal path, in PFS order.

    Raises Fault, at the first step, for a malformed pattern.
    """
    glob = _compiled(pattern)
    if not is_pattern(pattern):
        entry = tree.lookup(root, clean(pattern))
        if entry is not None:
            yield clean(pattern), entry
        return
    for path, entry in tree.walk(root, glob.literal_prefix, descend=glob.may_match_below):
        if glob.match(path):
            yield path, entry


def _compiled(pattern: str) -> Glob:
    try:
        return globs.compile(pattern)
    except GlobError as error:
        raise Fault(str(error)) from error


def matching_paths(tree: Tree, root: DirEntry, pattern: str) -> Iterator[str]:
    """The paths that match, without those below one that does."""
    last: str | None = None
    for path, _ in matches(tree, root, pattern):
        if last is None or not path.startswith(last):
            yield path
            last = path if path == "/" else path + "/"


def versions(connection: Connection, tree: Tree, commit: Commit, path: str, limit: int) -> Iterator[Version]:
    """As `list_file`, with each entry's last `limit` versions (all where negative), newest first.

    A version belongs to the commit that made it.
    """
    for at, entry in list_file(tree, commit, path):
        left = limit
        current, holder = entry, commit
        for older in _ancestors(connection, commit):
            before = tree.lookup(older.tree, at)
            if before is not None and tree.entry_hash(before) == tree.entry_hash(current):
                holder = older
                continue
            yield holder, at, current
            left -= 1
            if before is None or left == 0:
                break
            current, holder = before, older
        else:
            yield holder, at, current


def _ancestors(connection: Connection, commit: Commit) -> Iterator[Commit]:
    line = commits.ancestry(connection, commit)
    next(line)
    return line


def differences(
    tree: Tree, old: DirEntry, new: DirEntry, old_path: str, new_path: str, *, shallow: bool
) -> Iterator[tuple[str, Entry, bool]]:
    """What differs between two paths, each in its tree: (path below them, entry, whether it is the new one).

    The path below is "" for the two themselves. Only files, or with `shallow` the children of the two. As in
    Pachyderm 1.13, with two different paths what only the old directory has is not among the answers.
    """
    before, after = tree.lookup(old, clean(old_path)), tree.lookup(new, clean(new_path))
    same_path = clean(old_path) == clean(new_path)
    if isinstance(before, FileEntry) and isinstance(after, FileEntry) and before.hash == after.hash:
        return
    if isinstance(after, FileEntry):
        yield "", after, True
    if isinstance(before, FileEntry):
        yield "", before, False
    old_top = before if isinstance(before, DirEntry) else EMPTY
    new_top = after if isinstance(after, DirEntry) else EMPTY
    for path, old_entry, new_entry in tree.diff(old_top, new_top, deep=not shallow):
        if path == "/":
            continue
        if (
            isinstance(old_entry, FileEntry)
            and isinstance(new_entry, FileEntry)
            and old_entry.hash == new_entry.hash
        ):
            continue
        if new_entry is not None and (shallow or isinstance(new_entry, FileEntry)):
            yield path[1:], new_entry, True
        if old_entry is None or (new_entry is None and not same_path):
            continue
        if shallow or isinstance(old_entry, FileEntry):
            yield path[1:], old_entry, False
