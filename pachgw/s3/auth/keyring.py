"""Access keys of our own: a file that gives each a secret, a Pachyderm token and limits. Pure.

Beside them the rule stands that a token is both keys, so that whoever has one needs no file.
"""

from __future__ import annotations

import hmac
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pachgw.s3.auth.permits import EVERYTHING, Permit, is_pattern

MIN_SECRET = 16
MAX_KEYS = 10_000

_ID = re.compile(r"[A-Za-z0-9_.-]{3,128}")
_SECRET = re.compile(r"[\x21-\x7e]{16,256}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_NAMES = {"id", "secret", "token", "buckets", "read-only"}


class KeyringError(Exception):
    """The file cannot be used; the text is one line that names the key, and shows no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom an access key id stands for."""

    token: str | None = field(repr=False)
    """The Pachyderm token of the calls to PFS, None for none."""
    permit: Permit = EVERYTHING
    name: str | None = None
    """The id, where it is one of ours and no secret; None where it is a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """One entry of the file."""

    id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    permit: Permit = EVERYTHING


class Keyring:
    """The access keys there are, and what becomes of an id that is none of them."""

    def __init__(self, keys: tuple[AccessKey, ...] = (), *, only: bool = False) -> None:
        """`only`: a token is no access key, and nobody is anonymous."""
        self._keys = {key.id: key for key in keys}
        self.only = only

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, access_key_id: str) -> bool:
        """Whether the id is one of the file's."""
        return access_key_id in self._keys

    def secret_of(self, access_key_id: str) -> str | None:
        """The secret key of the id, None where it is unknown.

        How long it takes tells nothing of a secret: ids are compared, and signatures elsewhere in constant
        time (hmac.compare_digest). That an id is one of ours is no secret.
        """
        key = self._keys.get(access_key_id)
        if key is not None:
            return key.secret
        return None if self.only else access_key_id

    def identity_of(self, access_key_id: str | None) -> Identity | None:
        """Whom the id stands for, None: an anonymous request, once its signature was found good.

        None where such a request is not taken at all.
        """
        key = None if access_key_id is None else self._keys.get(access_key_id)
        if key is not None:
            return Identity(token=key.token, permit=key.permit, name=key.id)
        return None if self.only else Identity(token=access_key_id)


def parse_keyring(text: str, *, only: bool = False) -> Keyring:
    """The access keys of a file of [[key]] tables. Raises KeyringError, without the file's name."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its text has places, and nothing of what stands there.
        raise KeyringError(str(error)) from None
    if unknown := sorted(document.keys() - {"key"}):
        raise KeyringError(f"{unknown[0]}: only [[key]] is allowed")
    tables = document.get("key", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise KeyringError("key: a list of tables is allowed, written as [[key]]")
    if len(tables) > MAX_KEYS:
        raise KeyringError(f"key: {len(tables)} of them, allowed are {MAX_KEYS}")
    keys = tuple(_key(table, f"key {number}") for number, table in enumerate(tables, 1))
    seen: set[str] = set()
    for number, key in enumerate(keys, 1):
        if key.id in seen:
            raise KeyringError(f"key {number}: the id {key.id} stands there twice")
        seen.add(key.id)
    return Keyring(keys, only=only)


def _key(table: Mapping[str, Any], where: str) -> AccessKey:
    if unknown := sorted(table.keys() - _NAMES):
        raise KeyringError(f"{where}: {unknown[0]}: allowed are {', '.join(sorted(_NAMES))}")
    key_id = table.get("id")
    if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
        raise KeyringError(f"{where}: id: 3 to 128 letters, digits, '_', '-' and '.' are allowed")
    secret = table.get("secret")
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise KeyringError(f"{where}: secret: {MIN_SECRET} to 256 printable ASCII characters are allowed")
    if hmac.compare_digest(secret, key_id):
        raise KeyringError(f"{where}: secret: it is the id, which every request shows")
    token = table.get("token")
    if token is not None and (not isinstance(token, str) or not _TOKEN.fullmatch(token)):
        raise KeyringError(f"{where}: token: a Pachyderm token is allowed, or none at all")
    read_only = table.get("read-only", False)
    if not isinstance(read_only, bool):
        raise KeyringError(f"{where}: read-only: true and false are allowed")
    return AccessKey(
        id=key_id,
        secret=secret,
        token=token,
        permit=Permit(buckets=_buckets(table.get("buckets"), where), read_only=read_only),
    )


def _buckets(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        # An empty list could be meant as "none".
        raise KeyringError(f"{where}: buckets: a list with at least one BRANCH.REPO is allowed")
    for one in value:
        if not is_pattern(one):
            raise KeyringError(
                f"{where}: buckets: {one}: BRANCH.REPO is allowed, with * for every branch, and * and ? in"
                " the repo"
            )
    return tuple(value)
