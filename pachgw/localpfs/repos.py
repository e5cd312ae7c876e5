"""Repos in the database: statements and the rules of their calls. No files, no tokens."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from pachgw.localpfs import faults
from pachgw.localpfs.db import Connection
from pachgw.localpfs.names import check_name

_SELECT = "SELECT seq, name, description, created, size FROM repos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    seq: int
    name: str
    description: str
    created: int
    """Nanoseconds since 1970."""
    size: int
    """Bytes in the head of branch `master`."""


def _repo(row: tuple[int, str, str, int, int]) -> Repo:
    return Repo(seq=row[0], name=row[1], description=row[2], created=row[3], size=row[4])


def find(connection: Connection, name: str) -> Repo | None:
    row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _repo(row)


def get(connection: Connection, name: str) -> Repo:
    """The repo; raises Fault where there is none."""
    repo = find(connection, name)
    if repo is None:
        raise faults.repo_missing(name)
    return repo


def list_all(connection: Connection) -> list[Repo]:
    """Every repo, newest first."""
    return [_repo(row) for row in connection.execute(f"{_SELECT} ORDER BY seq DESC")]


def branch_names(connection: Connection, repo: Repo) -> list[str]:
    """The repo's branches in order of name."""
    rows = connection.execute("SELECT name FROM branches WHERE repo = ? ORDER BY name", (repo.seq,))
    return [name for (name,) in rows]


def create(connection: sqlite3.Connection, name: str, description: str) -> None:
    """Make the repo, which must not be there. Raises Fault for a bad name."""
    check_name(name)
    connection.execute(
        "INSERT INTO repos (name, description, created, size) VALUES (?, ?, ?, 0)",
        (name, description, time.time_ns()),
    )


def describe(connection: sqlite3.Connection, repo: Repo, description: str) -> None:
    connection.execute("UPDATE repos SET description = ? WHERE seq = ?", (description, repo.seq))


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Delete the repo with its branches and commits; nothing where there is none."""
    connection.execute("DELETE FROM repos WHERE name = ?", (name,))


def set_size(connection: sqlite3.Connection, repo_seq: int) -> None:
    """Note the size of the head of `master`, which has just changed or been finished."""
    connection.execute(
        "UPDATE repos SET size = coalesce((SELECT c.size FROM branches b JOIN commits c ON c.seq = b.head"
        " WHERE b.repo = repos.seq AND b.name = 'master' AND c.finished IS NOT NULL), 0) WHERE seq = ?",
        (repo_seq,),
    )
