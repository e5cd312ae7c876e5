"""The tokens file: what it says, and what it is told when it says something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pachgw.localpfs.tokensfile import TokensError, parse_tokens, read_tokens

GOOD = """
[[token]]
token = "secret"
subject = "robot:alice"

[[token]]
sha256 = "{digest}"
subject = "pach:root"
expires = 2027-01-01T00:00:00Z

[roles]
"robot:fay" = ["FS"]

[scopes.data]
"robot:bob" = "WRITER"
"allClusterUsers" = "READER"
"""


def test_parse_all() -> None:
    digest = hashlib.sha256(b"other").hexdigest()
    file = parse_tokens(GOOD.format(digest=digest))
    alice, root = file.tokens
    assert (alice.hash, alice.subject, alice.expires) == (
        hashlib.sha256(b"secret").hexdigest(),
        "robot:alice",
        None,
    )
    assert (root.hash, root.subject, root.expires) == (digest, "pach:root", 1798761600 * 1_000_000_000)
    assert file.roles == (("robot:fay", "FS"),)
    assert set(file.scopes) == {("data", "robot:bob", "WRITER"), ("data", "allClusterUsers", "READER")}


TOKEN = '[[token]]\ntoken = "t"\nsubject = "robot:a"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens = 1", "tokens: unknown key, allowed are roles, scopes, token"),
        ("[token]\nx = 1", "token: a list of tables is allowed, written as [[token]]"),
        (TOKEN + TOKEN, "token: the same token stands there twice"),
        (TOKEN + "name = 1", "token 1: name: unknown key, allowed are expires, sha256, subject, token"),
        ('[[token]]\nsubject = "robot:a"', "token 1: exactly one of token and sha256 is needed"),
        ('[[token]]\ntoken = ""', "token 1: token: a text that is not empty is allowed"),
        ('[[token]]\nsha256 = "AB"', "token 1: sha256: 64 hex digits in lower case are allowed"),
        ('[[token]]\ntoken = "t"', "token 1: subject is needed"),
        (TOKEN + "expires = 2027-01-01", "token 1: expires: a time with its zone is allowed"),
        (TOKEN + "expires = 2027-01-01T00:00:00", "token 1: expires: a time with its zone is allowed"),
        ('[[token]]\ntoken = "t"\nsubject = "alice"', "token 1: subject: 'alice' is no subject"),
        ('[roles]\n"robot:a" = "FS"', 'roles."robot:a": a list of SUPER and FS is allowed'),
        ('[roles]\n"allClusterUsers" = ["FS"]', "roles: 'allClusterUsers' is no subject"),
        ("[scopes]\nrepo = 1", "scopes.repo: a table is allowed"),
        ('[scopes.r]\n"robot:a" = "NONE"', 'scopes.r."robot:a": one of READER, WRITER, OWNER is allowed'),
    ],
)
def test_parse_refused(text: str, message: str) -> None:
    with pytest.raises(TokensError) as refused:
        parse_tokens(text)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_read_names_file(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match=r"missing\.toml"):
        read_tokens(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(TokensError, match=r"bad\.toml"):
        read_tokens(tmp_path / "bad.toml")
