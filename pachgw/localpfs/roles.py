"""Cluster roles and groups in the database. Who may change them is judged before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from enum import IntEnum

from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.subjects import canonical


class Role(IntEnum):
    """auth.ClusterRole; the first may all that the second may."""

    SUPER = 1
    FS = 2


def roles_of(connection: Connection, subject: str) -> list[Role]:
    """The subject's own roles, without those of its groups."""
    rows = connection.execute("SELECT role FROM roles WHERE subject = ? ORDER BY role", (subject,))
    return [Role(role) for (role,) in rows]


def bindings(connection: Connection) -> list[tuple[str, Role]]:
    """Every subject that has a role, with it, in order."""
    rows = connection.execute("SELECT subject, role FROM roles ORDER BY subject, role")
    return [(subject, Role(role)) for subject, role in rows]


def admins(connection: Connection) -> list[str]:
    """The subjects that have the role SUPER, in order."""
    return [subject for subject, role in bindings(connection) if role is Role.SUPER]


def bind(connection: sqlite3.Connection, changes: Mapping[str, Iterable[int]]) -> None:
    """Give each subject these roles in place of those it has. Raises Fault.

    Numbers of roles that there are not are passed over. Somebody has to keep the role SUPER.
    """
    had_admins = bool(admins(connection))
    try:
        for name, wanted in changes.items():
            subject = canonical(name)
            connection.execute("DELETE FROM roles WHERE subject = ?", (subject,))
            connection.executemany(
                "INSERT INTO roles (subject, role) VALUES (?, ?)",
                [(subject, role) for role in set(wanted) & set(Role)],
            )
        if had_admins and not admins(connection):
            raise Fault(
                "invalid request: cannot remove all cluster administrators while auth is active, to avoid"
                " unfixable cluster states"
            )
    except Fault as fault:
        raise Fault(f"error applying cluster role bindings: {fault.text}") from fault


def groups_of(connection: Connection, member: str) -> list[str]:
    """The groups that the subject is in, in order."""
    rows = connection.execute("SELECT in_group FROM members WHERE member = ? ORDER BY in_group", (member,))
    return [group for (group,) in rows]


def members_of(connection: Connection, group: str) -> list[str]:
    """Who is in the group, in order; who is in any, where its name is empty. Raises Fault for no such group.

    A group is there as long as somebody is in it.
    """
    if not group:
        rows = connection.execute("SELECT DISTINCT member FROM members ORDER BY member")
        return [member for (member,) in rows]
    rows = connection.execute("SELECT member FROM members WHERE in_group = ? ORDER BY member", (group,))
    found = [member for (member,) in rows]
    if not found:
        raise Fault(f"pachyderm_auth/groups/ {group} not found")
    return found


def set_groups(connection: sqlite3.Connection, member: str, groups: Iterable[str]) -> None:
    """Put the subject into these groups and into no others."""
    connection.execute("DELETE FROM members WHERE member = ?", (member,))
    _add(connection, [(member, group) for group in groups])


def modify_members(
    connection: sqlite3.Connection, group: str, add: Iterable[str], remove: Iterable[str]
) -> None:
    """Put subjects into the group, then take subjects out of it."""
    _add(connection, [(member, group) for member in add])
    connection.executemany(
        "DELETE FROM members WHERE member = ? AND in_group = ?", [(member, group) for member in remove]
    )


def _add(connection: sqlite3.Connection, rows: list[tuple[str, str]]) -> None:
    connection.executemany("INSERT OR IGNORE INTO members (member, in_group) VALUES (?, ?)", rows)
