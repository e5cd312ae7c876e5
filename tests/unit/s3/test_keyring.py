"""Access keys of a file: what it may hold, whom an id stands for, and what a key's limits let through."""

from __future__ import annotations

import pytest

from pachgw.s3.auth.keyring import Identity, Keyring, KeyringError, parse_keyring
from pachgw.s3.auth.permits import EVERYTHING, Permit
from pachgw.s3.errors import S3Error
from pachgw.s3.names import parse_bucket
from pachgw.s3.request.action import Action

SECRET = "0123456789abcdef"
COMMIT = "0123456789ab4cdef0123456789abcde"
GOOD = f"""
[[key]]
id = "reader"
secret = "{SECRET}"
token = "s3cret-token"
buckets = ["master.images", "*.logs-*"]
read-only = true

[[key]]
id = "writer"
secret = "{SECRET}"
"""


def test_ids_of_the_file_stand_for_their_tokens() -> None:
    keyring = parse_keyring(GOOD)
    assert len(keyring) == 2
    assert keyring.secret_of("reader") == SECRET
    assert keyring.identity_of("reader") == Identity(
        token="s3cret-token",
        permit=Permit(buckets=("master.images", "*.logs-*"), read_only=True),
        name="reader",
    )
    assert keyring.identity_of("writer") == Identity(token=None, name="writer")


def test_other_ids_are_tokens_and_their_own_secrets() -> None:
    keyring = parse_keyring(GOOD)
    assert keyring.secret_of("some-token") == "some-token"
    assert keyring.identity_of("some-token") == Identity(token="some-token")
    assert keyring.identity_of(None) == Identity(token=None)


def test_nobody_else_where_only_these_are_taken() -> None:
    keyring = parse_keyring(GOOD, only=True)
    assert keyring.secret_of("some-token") is None
    assert keyring.identity_of("some-token") is None
    assert keyring.identity_of(None) is None
    assert keyring.secret_of("reader") == SECRET


def test_no_file_is_no_key() -> None:
    assert len(Keyring()) == 0
    assert len(parse_keyring("")) == 0


def test_secrets_are_not_shown() -> None:
    keyring = parse_keyring(GOOD)
    assert "s3cret-token" not in repr(keyring.identity_of("reader"))
    assert SECRET not in repr(vars(keyring))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[key]\n", "Expected"),
        ("keys = 1", "keys: only [[key]] is allowed"),
        ("key = 1", "key: a list of tables is allowed, written as [[key]]"),
        ("[[key]]\nsecret = 'x'", "key 1: id: 3 to 128 letters"),
        ("[[key]]\nid = 'a/b'", "key 1: id: 3 to 128 letters"),
        ("[[key]]\nid = 'abc'\nsecret = 'short'", "key 1: secret: 16 to 256"),
        (f"[[key]]\nid = '{SECRET}'\nsecret = '{SECRET}'", "key 1: secret: it is the id"),
        (f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\ntoken = ''", "key 1: token: a Pachyderm token"),
        (f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\nread-only = 1", "key 1: read-only: true and false"),
        (
            f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\nbuckets = []",
            "key 1: buckets: a list with at least one",
        ),
        (f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\nbuckets = ['a']", "key 1: buckets: a: BRANCH.REPO"),
        (
            f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\nbuckets = ['m*.a']",
            "key 1: buckets: m*.a: BRANCH.REPO",
        ),
        (f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\nx = 1", "key 1: x: allowed are buckets, id"),
        (f"[[key]]\nid = 'abc'\nsecret = '{SECRET}'\n" * 2, "key 2: the id abc stands there twice"),
    ],
)
def test_a_wrong_file_is_one_line_without_secrets(text: str, why: str) -> None:
    with pytest.raises(KeyringError) as error:
        parse_keyring(text)
    assert str(error.value).startswith(why)
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value).replace(f"id = '{SECRET}'", "")


LIMITED = Permit(buckets=("master.images", "*.logs-?"))


@pytest.mark.parametrize("bucket", ["images", "master.images", "dev.logs-1", "logs-2", f"{COMMIT}.logs-1"])
def test_buckets_that_the_key_is_for(bucket: str) -> None:
    LIMITED.check(Action.PUT_OBJECT, parse_bucket(bucket))
    EVERYTHING.check(Action.PUT_OBJECT, parse_bucket(bucket), version=True)


@pytest.mark.parametrize("bucket", ["dev.images", "other", "logs-", "logs-10", f"{COMMIT}.images", "image"])
def test_buckets_that_it_is_not_for(bucket: str) -> None:
    with pytest.raises(S3Error) as error:
        LIMITED.check(Action.GET_OBJECT, parse_bucket(bucket))
    assert error.value.code == "AccessDenied"


def test_versions_are_of_every_branch() -> None:
    LIMITED.check(Action.GET_OBJECT, parse_bucket("logs-1"), version=True)
    with pytest.raises(S3Error):
        LIMITED.check(Action.GET_OBJECT, parse_bucket("images"), version=True)


@pytest.mark.parametrize("action", Action)
def test_a_key_for_reading_does_what_changes_nothing(action: Action) -> None:
    ref = parse_bucket("images")
    changes = action.value.startswith(
        ("Put", "Post", "Delete", "Create", "Copy", "Upload", "Complete", "Abort")
    )
    if changes:
        with pytest.raises(S3Error):
            Permit(read_only=True).check(action, ref)
    else:
        Permit(read_only=True).check(action, ref)
