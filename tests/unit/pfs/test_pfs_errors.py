"""Texts of a PFS server become errors of the port: those recorded, and some made to mislead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.pfs.errors import pfs_error, was_not_connected
from pachgw.pfs.port import (
    AlreadyExists,
    BranchNotFound,
    CommitFinished,
    CommitNotFound,
    CommitUnreadable,
    Invalid,
    NoHead,
    NotAuthenticated,
    NotAuthorized,
    OutOfSpace,
    PathConflict,
    PathNotFound,
    PFSError,
    RepoNotFound,
    TookTooLong,
    Unavailable,
)

DATA = Path(__file__).parents[2] / "data" / "pfs"

UNKNOWN = grpc.StatusCode.UNKNOWN
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE

TEXTS: list[tuple[str, type[PFSError]]] = [
    ("repo r already exists", AlreadyExists),
    ("name () invalid: only alphanumeric characters, underscores, and dashes are allowed", Invalid),
    ("name (a\n) invalid: only alphanumeric characters, underscores, and dashes are allowed", Invalid),
    ("branch name cannot be a UUID V4", Invalid),
    ("path (../a) invalid: traverses above root", Invalid),
    ("path () invalid: only printable ASCII characters allowed", Invalid),
    ("path (/a*) invalid: globbing character (*) not allowed in path", Invalid),
    ("unexpected end of input", Invalid),
    ('invalid ancestry syntax "master^x", cannot mix ^ and x characters', Invalid),
    ("/repos/ r not found", RepoNotFound),
    ("/repos/  not found", RepoNotFound),
    ("pachyderm_pfs/repos/ r not found", RepoNotFound),
    ("pachyderm/1.7.0/pachyderm_pfs/repos/ r not found", RepoNotFound),
    ("/branches/r/ master not found", BranchNotFound),
    ("/branches/r/ a b not found", BranchNotFound),
    ("pachyderm_pfs/branches/r/ master not found", BranchNotFound),
    ("unable to inspect r@nope: /branches/r/ nope not found", BranchNotFound),
    ("resolveCommit: /branches/r/ nope not found", BranchNotFound),
    ("parent commit not found: /branches/r/ nope not found", BranchNotFound),
    ("commit 0123456789ab4cde8f00112233445566 not found in repo r", CommitNotFound),
    ("commit master^^^ not found in repo r", CommitNotFound),
    ("unable to inspect r@c: commit c not found in repo r", CommitNotFound),
    ("the branch \"h\" has no head (create one with 'start commit')", NoHead),
    ("resolveCommit: the branch \"h\" has no head (create one with 'start commit')", NoHead),
    ("commit c in repo r has already finished", CommitFinished),
    ("output commit 0123456789ab4123456789abcdef0123 not finished", CommitUnreadable),
    ('file "/a" not found', PathNotFound),
    ("file /a not found in repo r at commit c", PathNotFound),
    ('attempted to visit "/f", but it\'s not a directory', PathConflict),
    (
        'failed to get tree for open commit: attempted to visit "/f", but it\'s not a directory',
        PathConflict,
    ),
    ('could not put file at "/d"; a file of type directory is already there', PathConflict),
    (
        'error during authorization check for operation on "r": no authentication token (try logging in)',
        NotAuthenticated,
    ),
    (
        "error authenticating (must log in to create a repo): provided auth token is corrupted or has expired"
        " (try logging in again)",
        NotAuthenticated,
    ),
    ("multiple authentication token keys found in context", NotAuthenticated),
    (
        "robot:dave is not authorized to perform this operation on the repo r,"
        " must have at least READER access",
        NotAuthorized,
    ),
    (
        'could not create ACL for new repo "r": robot:bob is not authorized to perform this operation on the'
        " repo r, must have at least OWNER access",
        NotAuthorized,
    ),
    ("robot:a is not authorized to perform this operation; must be an admin to call GetUsers", NotAuthorized),
    ('rpc error: code = Unavailable desc = connection error: desc = "transport"', Unavailable),
    ("write /pach/chunk: no space left on device", OutOfSpace),
    ('file "/no space left on device" not found', PathNotFound),
    ("parent commit r@c has not been finished", PFSError),
]

# Recorded texts that no call of the port can bring about, or for which S3 has nothing but InternalError.
WITHOUT_CLASS = (
    "cannot ",
    "cannot use",
    "must send a request",
    "all requests in a put files call",
    "unrecognized ",
    "fromCommits cannot be empty",
    "v2 method not implemented",
    "parent commit $REPO@$COMMIT1 has not been finished",
)


def _recorded(name: str) -> Iterator[tuple[str, str, str]]:
    seen = set()
    for line in (DATA / name).read_text(encoding="utf-8").splitlines()[1:]:
        for call in json.loads(line)["calls"]:
            key = (call["rpc"], call["status"], call.get("details", ""))
            if call["status"] not in {"OK", "SERVER_CRASH"} and key not in seen:
                seen.add(key)
                yield key


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_text_has_its_error(text: str, expected: type[PFSError]) -> None:
    error = pfs_error(UNKNOWN, text, token_sent=True)
    assert type(error) is expected
    assert str(error) == text


@pytest.mark.parametrize("name", ["recorded.jsonl", "recorded-auth.jsonl"])
def test_every_recorded_refusal_of_pfs_has_an_error(name: str) -> None:
    checked = 0
    for rpc, status, text in _recorded(name):
        if "/" in rpc or status != "UNKNOWN" or text.startswith(WITHOUT_CLASS) or " nil" in text:
            continue
        checked += 1
        assert type(pfs_error(UNKNOWN, text, token_sent=True)) is not PFSError, (rpc, text)
    assert checked > 20


@pytest.mark.parametrize("name", ["recorded.jsonl", "recorded-auth.jsonl"])
def test_recorded_not_found_texts_are_not_found(name: str) -> None:
    for rpc, status, text in _recorded(name):
        if "/" in rpc or status != "UNKNOWN":
            continue
        error = pfs_error(UNKNOWN, text, token_sent=True)
        missing = isinstance(error, (RepoNotFound, BranchNotFound, CommitNotFound, PathNotFound))
        assert missing == (" not found" in text), (rpc, text)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TookTooLong),
        (grpc.StatusCode.CANCELLED, Unavailable),
        (grpc.StatusCode.UNAUTHENTICATED, NotAuthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, NotAuthorized),
        (grpc.StatusCode.INTERNAL, PFSError),
        (None, PFSError),
    ],
)
def test_status_without_text_has_its_error(code: grpc.StatusCode | None, expected: type[PFSError]) -> None:
    assert type(pfs_error(code, "", token_sent=True)) is expected


def test_too_many_calls_is_unavailable_and_too_large_a_message_is_not() -> None:
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert type(pfs_error(code, "Concurrent RPC limit exceeded!", token_sent=True)) is Unavailable
    text = "grpc: received message larger than max (20971559 vs. 20971520)"
    assert type(pfs_error(code, text, token_sent=True)) is PFSError


@pytest.mark.parametrize("sent", [True, False])
def test_bad_token_tells_whether_one_was_sent(sent: bool) -> None:
    error = pfs_error(UNKNOWN, "no authentication token (try logging in)", token_sent=sent)
    assert isinstance(error, NotAuthenticated)
    assert error.token_sent is sent


_PATHS = st.one_of(st.text(), st.sampled_from([text for text, _ in TEXTS]))


@given(_PATHS, _PATHS)
def test_no_path_reads_as_another_error(one: str, two: str) -> None:
    path = f"/{one}{two}"
    for text in (f'file "{path}" not found', f"file {path} not found in repo r at commit c"):
        assert type(pfs_error(UNKNOWN, text, token_sent=True)) is PathNotFound
    text = f"path ({path}) invalid: only printable ASCII characters allowed"
    assert type(pfs_error(UNKNOWN, text, token_sent=True)) is Invalid
    text = f'attempted to visit "{path}", but it\'s not a directory'
    assert type(pfs_error(UNKNOWN, text, token_sent=True)) is PathConflict


class _Failed(grpc.RpcError, grpc.Call):
    """A call that has failed with this text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def details(self) -> str:
        return self._text

    def code(self) -> grpc.StatusCode:
        return UNAVAILABLE

    initial_metadata = trailing_metadata = is_active = time_remaining = cancel = add_callback = None


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
            False,
        ),
        ("Stream removed (failed to connect to all addresses; last error: UNKNOWN)", False),
        ("DNS resolution failed for pachd.example.com:30650: no such host", False),
        ("Stream removed (Socket closed)", True),
        ("Stream removed (sendmsg: Broken pipe (32))", True),
        ("ping timeout", True),
        ("", True),
    ],
)
def test_whether_a_call_was_sent(text: str, sent: bool) -> None:
    assert was_not_connected(_Failed(text)) != sent
