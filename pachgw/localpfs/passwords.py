"""One-time passwords in the database: each is good for one token. Only their hashes are stored."""

from __future__ import annotations

import sqlite3
import time

from pachgw.localpfs import tokens
from pachgw.localpfs.faults import Fault
from pachgw.localpfs.tokens import MAX_SECONDS, SECOND, Source

DEFAULT_SECONDS = 300
_MIN_SESSION_SECONDS = 10
"""Of a token that would live no longer nobody has any use."""


def give_out(
    connection: sqlite3.Connection, subject: str, ttl: int, session_seconds: int = MAX_SECONDS
) -> tuple[str, int]:
    """A password that stands for the subject, and when it ends, in nanoseconds since 1970. Raises Fault.

    `ttl`: seconds that it is good for, at most 30 days; 0 and less: 5 minutes. `session_seconds`: the token
    that is made with it ends at the latest so long from now, and the password ends before that.
    """
    if session_seconds <= _MIN_SESSION_SECONDS:
        raise Fault("session expires too soon to get a one-time password")
    now = time.time_ns()
    seconds = min(ttl if ttl > 0 else DEFAULT_SECONDS, session_seconds - 1)
    password = f"otp/{tokens.make_token()}"
    connection.execute("DELETE FROM one_time_passwords WHERE expires <= ?", (now,))
    connection.execute(
        "INSERT INTO one_time_passwords (hash, subject, expires, session_expires) VALUES (?, ?, ?, ?)",
        (
            tokens.hash_token(password),
            subject,
            now + seconds * SECOND,
            now + (session_seconds - 1) * SECOND,
        ),
    )
    return password, now + seconds * SECOND


def exchange(connection: sqlite3.Connection, password: str) -> str:
    """A token for the password, which is good no more. Raises Fault."""
    now = time.time_ns()
    row = connection.execute(
        "DELETE FROM one_time_passwords WHERE hash = ? AND expires > ? RETURNING subject, session_expires",
        (tokens.hash_token(password), now),
    ).fetchone()
    if row is None or (row[1] is not None and row[1] < now + _MIN_SESSION_SECONDS * SECOND):
        raise Fault("otp is invalid or has expired")
    expires = now + MAX_SECONDS * SECOND
    if row[1] is not None:
        expires = min(expires, row[1])
    return tokens.give_out(connection, row[0], expires, Source.AUTHENTICATE)
