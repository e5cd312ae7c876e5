"""Commits in the database: references to them, and starting, listing and deleting them. No files, no tokens.

Finishing is in opencommits.py, since it needs the tree.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pachgw.localpfs import faults, repos
from pachgw.localpfs.db import Connection
from pachgw.localpfs.entries import EMPTY, DirEntry
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.names import check_branch_name, is_commit_id, new_commit_id, split_ancestry

_SELECT = (
    "SELECT c.seq, c.repo, r.name, c.id, c.parent, c.branch, c.description, c.started, c.finished, c.root,"
    " c.size, c.files, c.has_tree FROM commits c JOIN repos r ON r.seq = c.repo"
)


class NoHead(faults.CommitMissing):
    """The branch has no head."""


class ForeignHead(Fault):
    """The branch's head is a commit of another repo, and no commit of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    seq: int
    repo_seq: int
    repo: str
    id: str
    parent: int | None
    """Seq of the parent."""
    branch: str | None
    """Name of the branch it was started on."""
    description: str
    started: int
    """Nanoseconds since 1970."""
    finished: int | None
    """Nanoseconds since 1970; None while the commit is open."""
    tree: DirEntry
    """All its files; of an open commit: without its pending changes."""
    has_tree: bool


_Row = tuple[
    int, int, str, str, int | None, str | None, str, int, int | None, bytes | None, int, int, int
]  # as _SELECT gives it


def _commit(row: _Row) -> Commit:
    return Commit(
        seq=row[0],
        repo_seq=row[1],
        repo=row[2],
        id=row[3],
        parent=row[4],
        branch=row[5],
        description=row[6],
        started=row[7],
        finished=row[8],
        tree=DirEntry(row[9], row[10], row[11]),
        has_tree=bool(row[12]),
    )


def by_seq(connection: Connection, seq: int) -> Commit | None:
    row = connection.execute(f"{_SELECT} WHERE c.seq = ?", (seq,)).fetchone()
    return None if row is None else _commit(row)


def by_id(connection: Connection, repo: str, commit_id: str) -> Commit:
    """The commit; raises Fault where the repo has none of that id."""
    row = connection.execute(f"{_SELECT} WHERE c.id = ? AND r.name = ?", (commit_id, repo)).fetchone()
    if row is None:
        raise faults.commit_missing(repo, commit_id)
    return _commit(row)


def exists(connection: Connection, commit_id: str) -> bool:
    """Whether any repo has a commit of that id."""
    return connection.execute("SELECT 1 FROM commits WHERE id = ?", (commit_id,)).fetchone() is not None


def resolve(connection: Connection, repo: str | None, text: str) -> Commit:
    """The commit that an id, a branch name or an ancestry form of either names.

    Raises Fault: NoHead for a branch without head, ForeignHead for one whose head is in another repo,
    CommitMissing where nothing is named.
    """
    if repo is None:
        raise Fault("cannot resolve commit with no repo")
    if not text:
        raise Fault("cannot resolve commit with no ID or branch")
    base, generations = split_ancestry(text)
    commit = by_id(connection, repo, base) if is_commit_id(base) else _head(connection, repo, base)
    if generations > 0:
        found = next(islice(ancestry(connection, commit), generations, None), None)
    elif generations < 0:
        line = list(ancestry(connection, commit))
        found = line[generations] if -generations <= len(line) else None
    else:
        found = commit
    if found is None:
        raise faults.commit_missing(repo, text)
    return found


def _head(connection: Connection, repo: str, branch: str) -> Commit:
    # One statement: between two the head may be deleted, and the branch have another.
    row = connection.execute(
        f"{_SELECT} WHERE c.seq = (SELECT b.head FROM branches b JOIN repos o ON o.seq = b.repo"
        " WHERE o.name = ? AND b.name = ?)",
        (repo, branch),
    ).fetchone()
    if row is None:
        if not _has_branch(connection, repo, branch):
            raise faults.branch_missing(repo, branch)
        raise NoHead(faults.no_head(branch).text)
    commit = _commit(row)
    if commit.repo != repo:
        # A branch can be pointed there, but who may read its repo may not for that read the other one.
        raise ForeignHead(faults.commit_missing(repo, branch).text)
    return commit


def _has_branch(connection: Connection, repo: str, branch: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM branches b JOIN repos r ON r.seq = b.repo WHERE r.name = ? AND b.name = ?",
            (repo, branch),
        ).fetchone()
        is not None
    )


def ancestry(connection: Connection, commit: Commit) -> Iterator[Commit]:
    """The commit, its parent, and so on to the first of the line."""
    at: Commit | None = commit
    while at is not None:
        yield at
        at = parent(connection, at)


def parent(connection: Connection, commit: Commit) -> Commit | None:
    return None if commit.parent is None else by_seq(connection, commit.parent)


def children(connection: Connection, commit: Commit) -> list[tuple[str, str]]:
    """Repo and id of each child, oldest first."""
    rows = connection.execute(
        "SELECT r.name, c.id FROM commits c JOIN repos r ON r.seq = c.repo WHERE c.parent = ? ORDER BY c.seq",
        (commit.seq,),
    )
    return rows.fetchall()


def of_repo(connection: Connection, repo: str, *, oldest_first: bool) -> Iterator[Commit]:
    """The repo's commits by time of start, newest first unless told; read a page at a time.

    Raises Fault, at the first step, where there is no such repo.
    """
    repo_seq = repos.get(connection, repo).seq
    compare, order, last = (">", "ASC", 0) if oldest_first else ("<", "DESC", 1 << 62)
    query = f"{_SELECT} WHERE c.repo = ? AND c.seq {compare} ? ORDER BY c.seq {order} LIMIT 200"
    while rows := connection.execute(query, (repo_seq, last)).fetchall():
        yield from map(_commit, rows)
        last = rows[-1][0]


def started_on(connection: Connection, repo_seq: int, branch: str, after: int) -> list[Commit]:
    """Commits started on the branch ("": on any), or on none, with a seq over `after`, oldest first; at
    most 200."""
    rows = connection.execute(
        f"{_SELECT} WHERE c.repo = ? AND (c.branch = ? OR c.branch IS NULL OR ? = '') AND c.seq > ?"
        " ORDER BY c.seq LIMIT 200",
        (repo_seq, branch, branch, after),
    )
    return [_commit(row) for row in rows]


def start(
    connection: sqlite3.Connection,
    repo: str,
    parent_text: str,
    branch: str,
    *,
    description: str = "",
    commit_id: str | None = None,
) -> Commit:
    """Start a commit: child of `parent_text`, or where that is empty of the branch's head; the branch,
    unless empty, is made where it is missing and moves to the commit.

    Raises Fault for a missing repo or parent, an open parent, a bad branch name.
    """
    record = repos.get(connection, repo)
    if branch:
        check_branch_name(branch)
    over: Commit | None = None
    if parent_text:
        try:
            over = resolve(connection, repo, parent_text)
        except Fault as fault:
            raise Fault(f"parent commit not found: {fault.text}") from fault
    elif branch:
        try:
            over = _head(connection, repo, branch)
        except faults.CommitMissing:
            over = None
    if over is not None and over.finished is None:
        raise Fault(f"parent commit {over.repo}@{over.id} has not been finished")
    commit_id = commit_id or new_commit_id()
    cursor = connection.execute(
        "INSERT INTO commits (repo, id, parent, branch, description, started, root, size, files, has_tree)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
        (
            record.seq,
            commit_id,
            None if over is None else over.seq,
            branch or (None if over is None else over.branch),
            description,
            time.time_ns(),
            *(dataclasses.astuple(EMPTY if over is None else over.tree)),
        ),
    )
    if branch:
        set_head(connection, record.seq, branch, cursor.lastrowid)
    return by_id(connection, repo, commit_id)


def set_head(connection: sqlite3.Connection, repo_seq: int, name: str, head: int | None) -> None:
    """Point the branch at the commit with that seq, making the branch where it is missing."""
    connection.execute(
        "INSERT INTO branches (repo, name, head) VALUES (?, ?, ?)"
        " ON CONFLICT (repo, name) DO UPDATE SET head = excluded.head",
        (repo_seq, name, head),
    )


def is_master_head(connection: Connection, commit: Commit) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM branches WHERE repo = ? AND name = 'master' AND head = ?",
            (commit.repo_seq, commit.seq),
        ).fetchone()
        is not None
    )


def delete(connection: sqlite3.Connection, commit: Commit) -> None:
    """Delete the commit; its children and the branches that it heads go to its parent."""
    master = is_master_head(connection, commit)
    connection.execute("UPDATE commits SET parent = ? WHERE parent = ?", (commit.parent, commit.seq))
    connection.execute("UPDATE branches SET head = ? WHERE head = ?", (commit.parent, commit.seq))
    connection.execute("DELETE FROM commits WHERE seq = ?", (commit.seq,))
    if master:
        repos.set_size(connection, commit.repo_seq)
