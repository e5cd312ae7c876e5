"""The tokens file, which seeds a new store with tokens, roles and scopes: TOML to values, clear errors.

No database here: what becomes of the values is in activation.py.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SUBJECT = re.compile(r"(robot|github|pipeline|pach):\S+|group/GitHub:\S+")
_ROLES = ("SUPER", "FS")
_SCOPES = ("READER", "WRITER", "OWNER")
_FIRST_TIME, _LAST_TIME = -(2**63), 2**63 - 1
"""What the database holds: the years 1677 to 2262."""


class TokensError(Exception):
    """The file cannot be used; the text is one line that names file and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    hash: str
    """Hex SHA-256 of the token."""
    subject: str
    expires: int | None
    """Nanoseconds since 1970, None for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensFile:
    tokens: tuple[Token, ...]
    roles: tuple[tuple[str, str], ...]
    """Subject and name of a role."""
    scopes: tuple[tuple[str, str, str], ...]
    """Repo, subject and name of a scope."""


def read_tokens(path: Path) -> TokensFile:
    """The file's content. Raises TokensError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokensError(f"{path}: {error}") from error
    try:
        return parse_tokens(text)
    except TokensError as error:
        raise TokensError(f"{path}: {error}") from error


def parse_tokens(text: str) -> TokensFile:
    """The content of a tokens file. Raises TokensError, without the file's name."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TokensError(str(error)) from error
    _only(document, "", {"token", "roles", "scopes"})
    tables = document.get("token", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TokensError("token: a list of tables is allowed, written as [[token]]")
    tokens = tuple(_token(table, f"token {number}") for number, table in enumerate(tables, 1))
    if len({token.hash for token in tokens}) != len(tokens):
        raise TokensError("token: the same token stands there twice")
    roles = [
        (_subject(subject, "roles"), role)
        for subject, names in _table(document, "roles").items()
        for role in _role_names(names, f'roles."{subject}"')
    ]
    scopes = [
        (
            repo,
            _subject(subject, f"scopes.{repo}", everybody=True),
            _scope(scope, f'scopes.{repo}."{subject}"'),
        )
        for repo, members in _table(document, "scopes").items()
        for subject, scope in _members(members, f"scopes.{repo}").items()
    ]
    return TokensFile(tokens=tokens, roles=tuple(roles), scopes=tuple(scopes))


def _token(table: Mapping[str, Any], where: str) -> Token:
    _only(table, f"{where}: ", {"token", "sha256", "subject", "expires"})
    plain, digest = table.get("token"), table.get("sha256")
    if (plain is None) == (digest is None):
        raise TokensError(f"{where}: exactly one of token and sha256 is needed")
    if plain is not None:
        if not isinstance(plain, str) or not plain:
            raise TokensError(f"{where}: token: a text that is not empty is allowed")
        digest = hashlib.sha256(plain.encode()).hexdigest()
    elif not isinstance(digest, str) or re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise TokensError(f"{where}: sha256: 64 hex digits in lower case are allowed")
    if "subject" not in table:
        raise TokensError(f"{where}: subject is needed")
    return Token(
        hash=digest,
        subject=_subject(table["subject"], f"{where}: subject"),
        expires=_time(table.get("expires"), f"{where}: expires"),
    )


def _time(value: object, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TokensError(f"{where}: a time with its zone is allowed, such as 2027-01-01T00:00:00Z")
    since = value - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    return max(_FIRST_TIME, min(nanoseconds, _LAST_TIME))


def _subject(value: object, where: str, *, everybody: bool = False) -> str:
    if isinstance(value, str) and (_SUBJECT.fullmatch(value) or (everybody and value == "allClusterUsers")):
        return value
    forms = "robot:NAME, github:NAME, pipeline:NAME, pach:NAME or group/GitHub:NAME"
    raise TokensError(
        f"{where}: {value!r} is no subject, allowed are {forms}{' or allClusterUsers' if everybody else ''}"
    )


def _role_names(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(name in _ROLES for name in value):
        raise TokensError(f"{where}: a list of {' and '.join(_ROLES)} is allowed")
    return value


def _scope(value: object, where: str) -> str:
    if isinstance(value, str) and value in _SCOPES:
        return value
    raise TokensError(f"{where}: one of {', '.join(_SCOPES)} is allowed")


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    return _members(document.get(key, {}), key)


def _members(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TokensError(f"{where}: a table is allowed")
    return value


def _only(table: Mapping[str, Any], where: str, allowed: set[str]) -> None:
    for key in table:
        if key not in allowed:
            raise TokensError(f"{where}{key}: unknown key, allowed are {', '.join(sorted(allowed))}")
