"""Scopes on repos in the database: who has which. Who may give them is judged before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from enum import IntEnum

from pachgw.localpfs.db import Connection
from pachgw.localpfs.subjects import ALL_USERS


class Scope(IntEnum):
    """auth.Scope; each includes those before it."""

    NONE = 0
    READER = 1
    WRITER = 2
    OWNER = 3


def scope_of(connection: Connection, subject: str, repo: str) -> int:
    """The highest scope of the subject: its own, that of a group it is in, or that of everybody."""
    row = connection.execute(
        "SELECT max(scope) FROM acl WHERE repo = ? AND subject IN"
        " (SELECT ? UNION ALL SELECT ? UNION ALL SELECT in_group FROM members WHERE member = ?)",
        (repo, subject, ALL_USERS, subject),
    ).fetchone()
    return row[0] or 0


def entries(connection: Connection, repo: str) -> list[tuple[str, int]]:
    """The ACL: subjects, in order, with their scopes."""
    rows = connection.execute("SELECT subject, scope FROM acl WHERE repo = ? ORDER BY subject", (repo,))
    return rows.fetchall()


def set_scope(connection: sqlite3.Connection, repo: str, subject: str, scope: int) -> None:
    """Give the subject the scope; NONE takes its entry away."""
    if scope == Scope.NONE:
        connection.execute("DELETE FROM acl WHERE repo = ? AND subject = ?", (repo, subject))
    else:
        _put(connection, repo, subject, scope)


def replace(connection: sqlite3.Connection, repo: str, acl: Iterable[tuple[str, int]]) -> None:
    """Make these the only entries; one with scope NONE is kept too."""
    forget(connection, repo)
    for subject, scope in acl:
        _put(connection, repo, subject, scope)


def forget(connection: sqlite3.Connection, repo: str) -> None:
    """Drop every entry."""
    connection.execute("DELETE FROM acl WHERE repo = ?", (repo,))


def _put(connection: sqlite3.Connection, repo: str, subject: str, scope: int) -> None:
    connection.execute(
        "INSERT INTO acl (repo, subject, scope) VALUES (?, ?, ?)"
        " ON CONFLICT (repo, subject) DO UPDATE SET scope = excluded.scope",
        (repo, subject, scope),
    )
