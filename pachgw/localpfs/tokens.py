"""Tokens in the database: given out, extended, revoked, taken out and put back. Only their hashes are stored.

Who may do so is judged before; whom a token stands for in a call is looked up in authority.py.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import grpc

from pachgw.localpfs.db import Connection
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.subjects import canonical

SECOND: Final = 1_000_000_000
MAX_SECONDS: Final = 30 * 24 * 3600
"""How long a token lives unless one without end is asked for, and by how much one may be extended."""

LAST_TIME: Final = 2**63 - 1
"""The latest time that the database holds, in the year 2262."""

_MIN_PREFIX = 8
_SELECT = "SELECT hash, subject, expires, source FROM tokens"


class Source(IntEnum):
    """auth.TokenInfo.TokenSource."""

    AUTHENTICATE = 1
    GET_TOKEN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    hash: str
    """Hex SHA-256 of the token."""
    subject: str
    expires: int | None
    """Nanoseconds since 1970, None for never."""
    source: int
    """A Source, or another number that a client has restored."""


def _token(row: tuple[str, str, int | None, int]) -> Token:
    return Token(hash=row[0], subject=row[1], expires=row[2], source=row[3])


def hash_token(token: str) -> str:
    """How a token is stored: hex SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def make_token() -> str:
    """A new token, of the form that Pachyderm's have: 32 hex digits, at random."""
    return secrets.token_hex(16)


def seconds_left(expires: int | None) -> int:
    """Whole seconds that are left, as WhoAmI tells them; -1 for no end."""
    return -1 if expires is None else max(0, (expires - time.time_ns()) // SECOND)


def bad_token() -> Fault:
    return Fault(
        "provided auth token is corrupted or has expired (try logging in again)",
        grpc.StatusCode.UNAUTHENTICATED,
    )


def find(connection: Connection, token_hash: str) -> Token | None:
    """The token of that hash; None where there is none, or where it has expired."""
    row = connection.execute(f"{_SELECT} WHERE hash = ?", (token_hash,)).fetchone()
    if row is None or (row[2] is not None and row[2] <= time.time_ns()):
        return None
    return _token(row)


def list_good(connection: Connection) -> list[Token]:
    """Every token that has not expired, in order of subjects."""
    rows = connection.execute(
        f"{_SELECT} WHERE expires IS NULL OR expires > ? ORDER BY subject, hash", (time.time_ns(),)
    )
    return [_token(row) for row in rows]


def store(connection: sqlite3.Connection, token: Token) -> None:
    """Keep the token; those that have expired go now. Raises Fault where there is a good one of its hash."""
    sweep(connection)
    if find(connection, token.hash) is not None:
        raise Fault("cannot overwrite existing token with same hash")
    connection.execute(
        "INSERT INTO tokens (hash, subject, expires, source) VALUES (?, ?, ?, ?)",
        (token.hash, token.subject, token.expires, token.source),
    )


def give_out(connection: sqlite3.Connection, subject: str, expires: int | None, source: Source) -> str:
    """A new token that stands for the subject until then."""
    token = make_token()
    store(connection, Token(hash=hash_token(token), subject=subject, expires=expires, source=source))
    return token


def sweep(connection: sqlite3.Connection) -> None:
    """Remove the tokens that have expired."""
    connection.execute("DELETE FROM tokens WHERE expires <= ?", (time.time_ns(),))


def extend(connection: sqlite3.Connection, token_hash: str, ttl: int) -> None:
    """ExtendAuthToken: let the token live `ttl` seconds from now. Raises Fault.

    A life is never made shorter, but that of a token without end gets one.
    """
    if ttl > MAX_SECONDS:
        raise Fault(f"can only extend tokens by at most {MAX_SECONDS} seconds")
    token = find(connection, token_hash)
    if token is None:
        raise bad_token()
    left = seconds_left(token.expires)
    if ttl < left:
        raise Fault(f"provided TTL ({ttl}) is shorter than token's existing TTL ({left})")
    if ttl < 0:
        return  # it is without end, and stays so
    # What is left counts whole seconds, so that the end asked for may be a little before the one it has.
    expires = max(time.time_ns() + ttl * SECOND, token.expires or 0)
    connection.execute("UPDATE tokens SET expires = ? WHERE hash = ?", (expires, token_hash))


def revoke(connection: sqlite3.Connection, token_hash: str) -> None:
    """End the token at once; nothing where there is none."""
    connection.execute("DELETE FROM tokens WHERE hash = ?", (token_hash,))


def revoke_all(
    connection: sqlite3.Connection, *, subject: str | None = None, hash_prefix: str | None = None
) -> int:
    """End the tokens of the subject, or those whose hash begins so, or both; how many were good.

    The subject's one-time passwords go with its tokens. Raises Fault where neither is given, for an unknown
    prefix of a subject, and for less than 8 hex digits.
    """
    sweep(connection)
    conditions, parameters = [], []
    if subject:
        conditions.append("subject = ?")
        parameters.append(canonical(subject))
    if hash_prefix:
        start = hash_prefix.lower()
        if re.fullmatch(f"[0-9a-f]{{{_MIN_PREFIX},64}}", start) is None:
            raise Fault(f"a token's hash is named by its first hex digits, at least {_MIN_PREFIX} of them")
        conditions.append("hash >= ? AND hash < ?")
        parameters += [start, start + "g"]
    if not conditions:
        raise Fault("name a subject or the beginning of a token's hash")
    if subject and not hash_prefix:
        connection.execute("DELETE FROM one_time_passwords WHERE subject = ?", parameters)
    return connection.execute(f"DELETE FROM tokens WHERE {' AND '.join(conditions)}", parameters).rowcount
