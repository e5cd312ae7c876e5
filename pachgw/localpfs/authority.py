"""Who may do what: each call judged as Pachyderm 1.13 judges it, by token, cluster roles, groups and scopes.

Everything is read from the database at each call, so that a change counts at once. How tokens, roles, groups
and scopes are kept and changed is in tokens.py, roles.py and acl.py. No gRPC server here.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Final

import grpc

from pachgw.localpfs import acl
from pachgw.localpfs.acl import Scope
from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.roles import Role
from pachgw.localpfs.subjects import ALL_USERS, ROOT
from pachgw.localpfs.tokens import SECOND, bad_token, hash_token

__all__ = ["OPERATOR_SECONDS", "TOKEN_KEY", "Authority", "Caller", "Identity", "Scope", "refusal"]

TOKEN_KEY: Final = "authn-token"
OPERATOR_SECONDS: Final = 60
"""How long an operator's token is good."""

# One statement, since every call of PFS waits for it. The strongest role is the one of the lowest number.
_IDENTIFY = """
SELECT t.subject, t.expires,
    (SELECT min(role) FROM roles WHERE subject IN
        (SELECT t.subject UNION ALL SELECT in_group FROM members WHERE member = t.subject)),
    (SELECT max(scope) FROM acl WHERE repo = ? AND subject IN
        (SELECT t.subject UNION ALL SELECT ? UNION ALL SELECT in_group FROM members WHERE member = t.subject))
FROM tokens t WHERE t.hash = ?
"""


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
    role: Role | None
    """The strongest cluster role, of its own or of a group it is in."""
    scope: int = 0
    """The scope on the repo that was asked for."""
    is_operator: bool = False
    """Whether the token is an operator's, which has its role from no table."""

    @property
    def is_admin(self) -> bool:
        """Whether every repo is open to it."""
        return self.role is not None

    @property
    def is_super(self) -> bool:
        """Whether it may govern auth itself."""
        return self.role is Role.SUPER

    def has(self, scope: int) -> bool:
        """Whether it has the scope on the repo that was asked for."""
        return self.is_admin or self.scope >= scope


class Unauthenticated(Fault):
    """No token, or none that is good."""


def refusal(subject: str, repo: str, scope: Scope) -> Fault:
    return Fault(
        f"{subject} is not authorized to perform this operation on the repo {repo},"
        f" must have at least {scope.name} access"
    )


def admins_only(subject: str, call: str) -> Fault:
    return Fault(f"{subject} is not authorized to perform this operation; must be an admin to call {call}")


class Authority:
    """The judgement of each call. Those of PFS all pass while auth is not active."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        """Changed with Activate and Deactivate; what the database says is read at the start only."""
        self._operators: dict[str, int] = {}
        """By hash of an operator's token: when it ends."""

    def operator_token(self) -> str:
        """A new token of pach:root with the role SUPER that is good for a minute and is stored nowhere."""
        token, now = secrets.token_hex(16), time.time_ns()
        # Put in place whole, since other threads look tokens up in it.
        good = {digest: expires for digest, expires in self._operators.items() if expires > now}
        self._operators = {**good, hash_token(token): now + OPERATOR_SECONDS * SECOND}
        return token

    def identify(self, connection: Connection, caller: Caller, repo: str = "") -> Identity:
        """For the calls of auth.API: whom the token stands for, with its scope on the repo. Raises Fault."""
        self.require_active()
        return self._find(connection, caller, repo)

    def _find(self, connection: Connection, caller: Caller, repo: str = "") -> Identity:
        """Whom the token stands for, with its scope on the repo. Raises Unauthenticated."""
        if not caller.tokens:
            raise Unauthenticated("no authentication token (try logging in)", grpc.StatusCode.UNAUTHENTICATED)
        if len(caller.tokens) > 1:
            raise Unauthenticated("multiple authentication token keys found in context")
        digest = hash_token(caller.tokens[0])
        if (ends := self._operators.get(digest, 0)) > time.time_ns():
            return Identity(subject=ROOT, expires=ends, role=Role.SUPER, is_operator=True)
        row = connection.execute(_IDENTIFY, (repo, ALL_USERS, digest)).fetchone()
        if row is None or (row[1] is not None and row[1] <= time.time_ns()):
            fault = bad_token()
            raise Unauthenticated(fault.text, fault.code)
        return Identity(
            subject=row[0],
            expires=row[1],
            role=None if row[2] is None else Role(row[2]),
            scope=row[3] or 0,
        )

    def require_active(self) -> None:
        """For the calls of auth.API. Raises Fault."""
        if not self.active:
            raise Fault("the auth service is not activated", grpc.StatusCode.UNIMPLEMENTED)

    def require_super(self, connection: Connection, caller: Caller, call: str) -> Identity:
        """For the calls of auth.API that govern it. Raises Fault."""
        identity = self.identify(connection, caller)
        if not identity.is_super:
            raise admins_only(identity.subject, call)
        return identity

    def require(self, connection: Connection, caller: Caller, repo: str, scope: Scope) -> None:
        """Raise Fault unless the caller has at least the scope on the repo, which need not exist."""
        if not self.active:
            return
        identity = self._identify_for(connection, caller, repo)
        if not identity.has(scope):
            raise refusal(identity.subject, repo, scope)

    def owns(self, connection: Connection, caller: Caller, repo: str) -> bool:
        """Whether the caller may delete the repo. Raises Fault for a bad token."""
        return not self.active or self._identify_for(connection, caller, repo).has(Scope.OWNER)

    def _identify_for(self, connection: Connection, caller: Caller, repo: str) -> Identity:
        """Whom the token stands for in a call that needs a scope on the repo. Raises Fault."""
        try:
            return self._find(connection, caller, repo)
        except Unauthenticated as fault:
            raise Fault(
                f'error during authorization check for operation on "{repo}": {fault.text}'
            ) from fault

    def access_level(self, connection: Connection, caller: Caller, repo: str) -> int | None:
        """The caller's scope on the repo as RepoInfo shows it; None while auth is not active."""
        if not self.active:
            return None
        try:
            identity = self._find(connection, caller, repo)
        except Unauthenticated as fault:
            raise Fault(f'error getting access level for "{repo}": {fault.text}') from fault
        return Scope.OWNER if identity.is_admin else identity.scope

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
            return self._find(connection, caller)
        except Unauthenticated as fault:
            raise Fault(f"error authenticating (must log in to {purpose}): {fault.text}") from fault

    def claim(self, connection: sqlite3.Connection, maker: Identity | None, repo: str) -> None:
        """Make the maker of a new repo its only owner. Raises Fault where others already hold its ACL."""
        if maker is None:
            return
        held = acl.entries(connection, repo)
        if held and not maker.is_admin and acl.scope_of(connection, maker.subject, repo) < Scope.OWNER:
            fault = refusal(maker.subject, repo, Scope.OWNER)
            raise Fault(f'could not create ACL for new repo "{repo}": {fault.text}')
        acl.set_scope(connection, repo, maker.subject, Scope.OWNER)

    def forget(self, connection: sqlite3.Connection, repo: str) -> None:
        """Drop the ACL of a deleted repo."""
        acl.forget(connection, repo)
