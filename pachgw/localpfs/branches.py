"""Branches in the database: statements and the rules of their calls. No files, no tokens."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from pachgw.localpfs import commits, faults, repos
from pachgw.localpfs.db import Connection
from pachgw.localpfs.names import check_branch_name

_SELECT = (
    "SELECT b.name, h.name, c.id FROM branches b"
    " LEFT JOIN commits c ON c.seq = b.head LEFT JOIN repos h ON h.seq = c.repo"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    repo: str
    name: str
    head: tuple[str, str] | None
    """Repo and id of the newest commit, which may be open; None for a branch without head."""


def _branch(repo: str, row: tuple[str, str | None, str | None]) -> Branch:
    name, head_repo, head_id = row
    head = None if head_repo is None or head_id is None else (head_repo, head_id)
    return Branch(repo=repo, name=name, head=head)


def get(connection: Connection, repo: str, name: str) -> Branch:
    """The branch; raises Fault where there is none, also for want of the repo."""
    row = connection.execute(
        f"{_SELECT} JOIN repos r ON r.seq = b.repo WHERE r.name = ? AND b.name = ?", (repo, name)
    ).fetchone()
    if row is None:
        raise faults.branch_missing(repo, name)
    return _branch(repo, row)


def list_of(connection: Connection, repo: str, *, oldest_first: bool) -> list[Branch]:
    """The repo's branches by time of creation. Raises Fault where there is no such repo."""
    seq = repos.get(connection, repo).seq
    order = "ASC" if oldest_first else "DESC"
    rows = connection.execute(f"{_SELECT} WHERE b.repo = ? ORDER BY b.seq {order}", (seq,))
    return [_branch(repo, row) for row in rows]


def create(connection: sqlite3.Connection, repo: str, name: str, head: tuple[str | None, str] | None) -> None:
    """Make the branch or move it to `head`: a repo (None: not given) and an id, a branch name or an
    ancestry form. Without `head`, or with a branch that has none, the branch has no head afterwards.

    Raises Fault for a missing repo or head and for a bad name.
    """
    record = repos.get(connection, repo)
    seq: int | None = None
    if head is not None:
        head_repo, head_text = head
        try:
            seq = commits.resolve(connection, head_repo, head_text).seq
        except commits.NoHead:
            pass
        except faults.Fault as fault:
            raise faults.Fault(f"unable to inspect {head_repo or ''}@{head_text}: {fault.text}") from fault
    check_branch_name(name)
    commits.set_head(connection, record.seq, name, seq)
    if name == "master":
        repos.set_size(connection, record.seq)


def delete(connection: sqlite3.Connection, repo: str, name: str) -> None:
    """Delete the branch, not its commits; nothing where there is none. Raises Fault for a missing repo."""
    seq = repos.get(connection, repo).seq
    connection.execute("DELETE FROM branches WHERE repo = ? AND name = ?", (seq, name))
