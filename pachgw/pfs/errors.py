"""How a PFS server's refusals read: status and text of a failed RPC become a PFSError, here and nowhere else.

No calls are made here. Texts: those recorded from Pachyderm 1.13.4 (tests/data/pfs/recorded*.jsonl).
"""

from __future__ import annotations

import re

import grpc

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

AUTH_INACTIVE = "the auth service is not activated"

# What InspectFile says names the commit that a branch stood for.
_MISSING_PATH = re.compile(r"file .* not found in repo [^ ]* at commit (?P<commit>[^ ]*)", re.DOTALL)
# Every call that reads a pipeline's open output commit says so; not recorded, read in the server's source.
_UNREADABLE = re.compile(r"(?:.*: )?output commit (?P<commit>[0-9a-f]{32}) not finished")

# Every pattern matches a whole text, and those whose middle is a path come first: a path is whatever a user
# likes, also the text of another error.
_TEXTS: tuple[tuple[re.Pattern[str], type[PFSError]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), error)
    for pattern, error in (
        (r'file ".*" not found', PathNotFound),
        (r"path \(.*\) invalid: .*", Invalid),
        (r"name \(.*\) invalid: .*", Invalid),
        (r"(?:[a-z ]+: )?attempted to visit \".*\", but it's not a directory", PathConflict),
        (r"(?:[a-z ]+: )?could not put file at \".*\"; a file of type \w+ is already there", PathConflict),
        # The first word of these two keys is the storage prefix of the deployment.
        (r"(?:.*: )?[^ ]*/repos/ .* not found", RepoNotFound),
        (r"(?:.*: )?[^ ]*/branches/[^ ]*/ .* not found", BranchNotFound),
        (r"(?:.*: )?commit .* not found in repo [^ ]*", CommitNotFound),
        (r"(?:.*: )?the branch \".*\" has no head \(create one with 'start commit'\)", NoHead),
        (r"commit .* in repo [^ ]* has already finished", CommitFinished),
        (r"repo [^ ]* already exists", AlreadyExists),
        (
            r"(?:.*: )?.* is not authorized to perform this operation"
            r"(?: on the repo [^ ]*, must have at least \w+ access|; must be an admin to call .*)",
            NotAuthorized,
        ),
        (r"branch name cannot be a UUID V4", Invalid),
        (r"cannot resolve commit with no ID or branch", Invalid),
        (r"invalid ancestry syntax .*", Invalid),
        (r"unexpected end of input", Invalid),  # of a glob pattern
        (r"(?:.*: )?no space left on device", OutOfSpace),  # as Go says ENOSPC
        # What pachd says when its own store is away; the text of the inner RPC is kept in the outer one.
        (r"(?:.*: )?rpc error: code = (?:Unavailable|DeadlineExceeded|Canceled) .*", Unavailable),
        (r"(?:.*: )?context (?:deadline exceeded|canceled)", Unavailable),
    )
)

_BAD_TOKEN = re.compile(
    r"(?:.*: )?(?:no authentication token \(try logging in\)"
    r"|provided auth token is corrupted or has expired \(try logging in again\)"
    r"|multiple authentication token keys found in context)",
    re.DOTALL,
)

# CANCELLED is the server's when it stops: a call that we cancelled has nobody left to tell.
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}

# As gRPC's core writes it (1.74 to 1.85) where all attempts to connect have failed, or there is no address.
_NOT_CONNECTED = re.compile(r".*(?:failed to connect to all addresses|DNS resolution failed)", re.DOTALL)

_TOO_MANY_CALLS = "Concurrent RPC limit exceeded!"


def pfs_error(code: grpc.StatusCode | None, details: str | None, *, token_sent: bool) -> PFSError:
    """The error of the port for a status and its text."""
    text = details or (code.name if code is not None else "the call failed")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TookTooLong(text)
    if code in _AWAY or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and text == _TOO_MANY_CALLS):
        return Unavailable(text)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return NotAuthenticated(text, token_sent=token_sent)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return NotAuthorized(text)
    if missing := _MISSING_PATH.fullmatch(text):
        return PathNotFound(text, commit=missing["commit"])
    if unreadable := _UNREADABLE.fullmatch(text):
        return CommitUnreadable(text, commit=unreadable["commit"])
    for pattern, error in _TEXTS:
        if pattern.fullmatch(text):
            return error(text)
    if _BAD_TOKEN.fullmatch(text):
        return NotAuthenticated(text, token_sent=token_sent)
    return PFSError(text)


def was_not_connected(error: grpc.Call) -> bool:
    """Whether a call was not sent, since there was no connection."""
    return _NOT_CONNECTED.match(error.details() or "") is not None


def auth_is_inactive(error: grpc.Call) -> bool:
    """Whether the answer of auth.API says that there is no auth to ask."""
    return error.code() is grpc.StatusCode.UNIMPLEMENTED and error.details() == AUTH_INACTIVE


def is_too_large(error: grpc.Call) -> bool:
    """Whether an answer was refused, by the server or here, for its size."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (error.details() or "")
