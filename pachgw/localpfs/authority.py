"""Who may do what: tokens, cluster roles and the scopes of repos, judged as Pachyderm 1.13 judges each call.

Everything is read from the database at each call, so that a change counts at once. No gRPC server here; the
file that seeds tokens is read in tokens.py.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import grpc

from pachgw.localpfs import db, repos
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.tokens import TokensFile

TOKEN_KEY: Final = "authn-token"
ALL_USERS: Final = "allClusterUsers"
_PREFIXES: Final = ("robot:", "github:", "pipeline:", "pach:", "group/GitHub:")


class Scope(IntEnum):
    """auth.Scope; each includes those before it."""

    NONE = 0
    READER = 1
    WRITER = 2
    OWNER = 3


class Role(IntEnum):
    """auth.ClusterRole."""

    SUPER = 1
    FS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a call brought along to tell who makes it."""

    tokens: tuple[str, ...] = ()
    """Each value of the metadata key `authn-token`."""
    on_socket: bool = False
    """Whether the call came by the unix socket, which only the owner of the state directory can open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a good token stands for."""

    subject: str
    expires: int | None
    """Nanoseconds since 1970, None for never."""
    roles: frozenset[Role]

    @property
    def is_admin(self) -> bool:
        """Whether every repo is open to it."""
        return bool(self.roles)


class Unauthenticated(Fault):
    """No token, or none that is good."""


def hash_token(token: str) -> str:
    """How a token is stored: hex SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def canonical_subject(subject: str) -> str:
    """The subject with its prefix; a bare name is a GitHub user. Raises Fault for an unknown prefix."""
    if subject == ALL_USERS or subject.startswith(_PREFIXES):
        return subject
    prefix, colon, _ = subject.partition(":")
    if colon:
        raise Fault(f"subject has unrecognized prefix: {prefix}:")
    return f"github:{subject}"


def refusal(subject: str, repo: str, scope: Scope) -> Fault:
    return Fault(
        f"{subject} is not authorized to perform this operation on the repo {repo},"
        f" must have at least {scope.name} access"
    )


def identify(connection: Connection, caller: Caller) -> Identity:
    """Whom the caller's token stands for. Raises Unauthenticated."""
    if not caller.tokens:
        raise Unauthenticated("no authentication token (try logging in)", grpc.StatusCode.UNAUTHENTICATED)
    if len(caller.tokens) > 1:
        raise Unauthenticated("multiple authentication token keys found in context")
    row = connection.execute(
        "SELECT subject, expires FROM tokens WHERE hash = ?", (hash_token(caller.tokens[0]),)
    ).fetchone()
    if row is None or (row[1] is not None and row[1] <= time.time_ns()):
        raise Unauthenticated(
            "provided auth token is corrupted or has expired (try logging in again)",
            grpc.StatusCode.UNAUTHENTICATED,
        )
    roles = connection.execute("SELECT role FROM roles WHERE subject = ?", (row[0],)).fetchall()
    return Identity(subject=row[0], expires=row[1], roles=frozenset(Role(role) for (role,) in roles))


def _identify_for(connection: Connection, caller: Caller, repo: str) -> Identity:
    """Whom the token stands for in a call that needs a scope on the repo. Raises Fault."""
    try:
        return identify(connection, caller)
    except Unauthenticated as fault:
        raise Fault(f'error during authorization check for operation on "{repo}": {fault.text}') from fault


def scope_of(connection: Connection, subject: str, repo: str) -> int:
    """The highest scope that the ACL gives the subject, by its own entry or by that for everybody."""
    row = connection.execute(
        "SELECT max(scope) FROM acl WHERE repo = ? AND subject IN (?, ?)", (repo, subject, ALL_USERS)
    ).fetchone()
    return row[0] or 0


def set_scope(connection: sqlite3.Connection, repo: str, subject: str, scope: int) -> None:
    """Give the subject the scope; NONE takes its entry away."""
    if scope == Scope.NONE:
        connection.execute("DELETE FROM acl WHERE repo = ? AND subject = ?", (repo, subject))
    else:
        connection.execute(
            "INSERT INTO acl (repo, subject, scope) VALUES (?, ?, ?)"
            " ON CONFLICT (repo, subject) DO UPDATE SET scope = excluded.scope",
            (repo, subject, scope),
        )


def entries(connection: Connection, repo: str) -> list[tuple[str, int]]:
    """The ACL: subjects, in order, with their scopes."""
    rows = connection.execute("SELECT subject, scope FROM acl WHERE repo = ? ORDER BY subject", (repo,))
    return rows.fetchall()


def seed(connection: sqlite3.Connection, file: TokensFile) -> None:
    """Switch auth on with what the file says."""
    db.set_meta(connection, "auth", "active")
    connection.executemany(
        "INSERT OR REPLACE INTO tokens (hash, subject, expires) VALUES (?, ?, ?)",
        [(token.hash, token.subject, token.expires) for token in file.tokens],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO roles (subject, role) VALUES (?, ?)",
        [(subject, Role[role]) for subject, role in file.roles],
    )
    for repo, subject, scope in file.scopes:
        set_scope(connection, repo, subject, Scope[scope])


class Authority:
    """The judgement of each PFS call. Every method lets all pass while auth is not active."""

    def __init__(self, *, active: bool) -> None:
        self.active = active

    def require(self, connection: Connection, caller: Caller, repo: str, scope: Scope) -> None:
        """Raise Fault unless the caller has at least the scope on the repo, which need not exist."""
        if not self.active:
            return
        identity = _identify_for(connection, caller, repo)
        if not identity.is_admin and scope_of(connection, identity.subject, repo) < scope:
            raise refusal(identity.subject, repo, scope)

    def access_level(self, connection: Connection, caller: Caller, repo: str) -> int | None:
        """The caller's scope on the repo as RepoInfo shows it; None while auth is not active."""
        if not self.active:
            return None
        try:
            identity = identify(connection, caller)
        except Unauthenticated as fault:
            raise Fault(f'error getting access level for "{repo}": {fault.text}') from fault
        return Scope.OWNER if identity.is_admin else scope_of(connection, identity.subject, repo)

    def maker(self, connection: Connection, caller: Caller) -> Identity | None:
        """Who asks for a new repo; None while auth is not active."""
        return self._logged_in(connection, caller, "create a repo")

    def require_token(self, connection: Connection, caller: Caller) -> None:
        """Raise Fault unless the token is good; the text speaks of fsck, which InspectBranch says as well."""
        self._logged_in(connection, caller, "run fsck")

    def _logged_in(self, connection: Connection, caller: Caller, purpose: str) -> Identity | None:
        if not self.active:
            return None
        try:
            return identify(connection, caller)
        except Unauthenticated as fault:
            raise Fault(f"error authenticating (must log in to {purpose}): {fault.text}") from fault

    def claim(self, connection: sqlite3.Connection, maker: Identity | None, repo: str) -> None:
        """Make the maker of a new repo its only owner. Raises Fault where others already hold its ACL."""
        if maker is None:
            return
        held = entries(connection, repo)
        if held and not maker.is_admin and scope_of(connection, maker.subject, repo) < Scope.OWNER:
            fault = refusal(maker.subject, repo, Scope.OWNER)
            raise Fault(f'could not create ACL for new repo "{repo}": {fault.text}')
        set_scope(connection, repo, maker.subject, Scope.OWNER)

    def owns(self, connection: Connection, caller: Caller, repo: str) -> bool:
        """Whether the caller may delete the repo. Raises Fault for a bad token."""
        if not self.active:
            return True
        identity = _identify_for(connection, caller, repo)
        return identity.is_admin or scope_of(connection, identity.subject, repo) >= Scope.OWNER

    def forget(self, connection: sqlite3.Connection, repo: str) -> None:
        """Drop the ACL of a deleted repo."""
        connection.execute("DELETE FROM acl WHERE repo = ?", (repo,))


def require_owner(connection: Connection, identity: Identity, repo: str) -> None:
    """For SetScope: the repo exists and is the subject's. Raises Fault."""
    repos.get(connection, repo)
    if not identity.is_admin and scope_of(connection, identity.subject, repo) < Scope.OWNER:
        raise refusal(identity.subject, repo, Scope.OWNER)
