"""Commits that are being written: finding the target of a write, the log of an open commit, finishing.

A write into an open commit is only noted in the log (table `changes`), so that it passes even where paths
conflict. Who reads the commit has it settled first: what was noted since goes into the tree at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator

from pachgw.localpfs import commits, faults, files, repos
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.db import Connection
from pachgw.localpfs.entries import EMPTY, DirEntry, decode_objects, encode_objects
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.names import is_commit_id
from pachgw.localpfs.store import Store
from pachgw.localpfs.writes import Change, Draft, Put, Remove, RemoveMatches


def has_pending(connection: Connection, commit: Commit) -> bool:
    """Whether changes were noted that are not in the commit's tree yet."""
    return (
        commit.finished is None
        and connection.execute("SELECT 1 FROM changes WHERE commit_ = ?", (commit.seq,)).fetchone()
        is not None
    )


def settle(connection: sqlite3.Connection, store: Store, commit: Commit, *, remember: bool = True) -> Commit:
    """Apply what was noted; the commit as it is then. In a transaction. Raises PathConflict.

    `remember` a conflict: only where the transaction itself has noted nothing, since what a transaction that
    is rolled back has noted gives its place in the order to something else.
    """
    fresh = commits.by_seq(connection, commit.seq)
    if fresh is None:
        raise faults.commit_missing(commit.repo, commit.id)
    if not has_pending(connection, fresh):
        return fresh
    last = connection.execute("SELECT max(seq) FROM changes WHERE commit_ = ?", (fresh.seq,)).fetchone()[0]
    if (conflict := store.conflicts.get(fresh.seq)) is not None and conflict[0] == last:
        raise conflict[1]
    draft = Draft(store.writing_tree(connection), fresh.tree)
    try:
        draft.apply(_noted(connection, fresh))
    except faults.PathConflict as fault:
        # Trying again is dear where much was noted, and of no use before something else is.
        if remember:
            store.conflicts[fresh.seq] = (last, fault)
        raise
    store.conflicts.pop(fresh.seq, None)
    tree = draft.finish()
    connection.execute("DELETE FROM changes WHERE commit_ = ?", (fresh.seq,))
    store.littered = True  # with what the tree before was made of
    _set_tree(connection, fresh, tree)
    return commits.by_seq(connection, fresh.seq) or fresh


def _noted(connection: sqlite3.Connection, commit: Commit) -> Iterator[Change]:
    rows = connection.execute(
        "SELECT path, objects, keep FROM changes WHERE commit_ = ? ORDER BY seq", (commit.seq,)
    )
    for path, objects, keep in rows:
        if objects is None:
            yield Remove(path=path)
        else:
            yield Put(path=path, objects=tuple(decode_objects(objects)), keep=keep)


def _note(connection: sqlite3.Connection, store: Store, commit: Commit, changes: Iterable[Change]) -> None:
    insert = "INSERT INTO changes (commit_, path, objects, keep) VALUES (?, ?, ?, ?)"
    for change in changes:
        match change:
            case Put():
                values = (commit.seq, change.path, encode_objects(change.objects), change.keep)
                connection.execute(insert, values)
            case Remove():
                store.littered = True
                _note_removal(connection, commit, change.path)
            case RemoveMatches():
                root = settle(connection, store, commit, remember=False).tree
                tree = store.writing_tree(connection)
                for path in list(files.matching_paths(tree, root, change.pattern)):
                    _note_removal(connection, commit, path)


def _note_removal(connection: sqlite3.Connection, commit: Commit, path: str) -> None:
    # What was noted at the path and below it has no effect any more, a conflict there is healed.
    if path == "/":
        connection.execute("DELETE FROM changes WHERE commit_ = ?", (commit.seq,))
    else:
        connection.execute(
            "DELETE FROM changes WHERE commit_ = ? AND (path = ? OR (path > ? AND path < ?))",
            (commit.seq, path, path + "/", path + "0"),  # "0" is the character after "/"
        )
    connection.execute("INSERT INTO changes (commit_, path) VALUES (?, ?)", (commit.seq, path))


def write(
    connection: sqlite3.Connection,
    store: Store,
    repo: str,
    target: str,
    changes: Iterable[Change],
    *,
    make_branch: bool = False,
    headless: bool = False,
    finish: bool = True,
) -> None:
    """Write into the open commit that `target` names, or make one commit of the changes on the branch.

    `make_branch`: the branch need not exist; `headless`: it may be without head; `finish`: a commit that is
    made is finished. Raises Fault, PathConflict only where the commit is made here.
    """
    try:
        commit = commits.resolve(connection, repo, target)
    except commits.NoHead:
        if not (headless or make_branch):
            raise
        commit = None
    except faults.CommitMissing:
        if not make_branch or is_commit_id(target):
            raise
        commit = None
    if commit is not None and commit.finished is None:
        _note(connection, store, commit, changes)
        return
    if commit is not None and is_commit_id(target):
        raise faults.commit_finished(repo, commit.id)
    commit = commits.start(connection, repo, "", target)
    draft = Draft(store.writing_tree(connection), commit.tree)
    draft.apply(changes)
    tree = draft.finish()
    if finish:
        _finish(connection, commit, tree)
    else:
        _set_tree(connection, commit, tree)


def finish(
    connection: sqlite3.Connection,
    store: Store,
    repo: str,
    target: str,
    *,
    description: str,
    empty: bool,
) -> None:
    """Close the open commit. `empty` drops what was written and what the parent had. Raises Fault."""
    commit = commits.resolve(connection, repo, target)
    if commit.finished is not None:
        raise faults.commit_finished(repo, commit.id)
    if empty:
        tree = EMPTY
        store.littered = True
        connection.execute("DELETE FROM changes WHERE commit_ = ?", (commit.seq,))
    else:
        try:
            tree = settle(connection, store, commit).tree
        except faults.PathConflict as fault:
            raise Fault(f"failed to get tree for open commit: {fault.text}") from fault
    store.conflicts.pop(commit.seq, None)
    if description:
        connection.execute("UPDATE commits SET description = ? WHERE seq = ?", (description, commit.seq))
    _finish(connection, commit, tree, has_tree=not empty)


def _finish(connection: sqlite3.Connection, commit: Commit, tree: DirEntry, *, has_tree: bool = True) -> None:
    _set_tree(connection, commit, tree)
    connection.execute(
        "UPDATE commits SET finished = ?, has_tree = ? WHERE seq = ?", (time.time_ns(), has_tree, commit.seq)
    )
    if commits.is_master_head(connection, commit):
        repos.set_size(connection, commit.repo_seq)


def _set_tree(connection: sqlite3.Connection, commit: Commit, tree: DirEntry) -> None:
    connection.execute(
        "UPDATE commits SET root = ?, size = ?, files = ? WHERE seq = ?",
        (tree.root, min(tree.size, _MAX_INTEGER), min(tree.files, _MAX_INTEGER), commit.seq),
    )


_MAX_INTEGER = 2**63 - 1
"""The most that SQLite holds."""
