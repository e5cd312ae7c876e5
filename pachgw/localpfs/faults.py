"""Refusals of the embedded PFS: what a call raises and what its client is told.

The texts are those of Pachyderm 1.13, since its clients match on them. No storage and no gRPC server here.
"""

from __future__ import annotations

import errno
import sqlite3

import grpc


class Fault(Exception):
    """A call is refused; `text` and `code` go to the client as they are."""

    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class CommitMissing(Fault):
    """A commit, or the branch or ancestor that was to name one, does not exist."""


class PathConflict(Fault):
    """A file stands where a directory is needed, or the other way round."""


def repo_missing(repo: str) -> Fault:
    return Fault(f"/repos/ {repo} not found")


def branch_missing(repo: str, branch: str) -> Fault:
    return CommitMissing(f"/branches/{repo}/ {branch} not found")


def no_head(branch: str) -> Fault:
    return CommitMissing(f"the branch \"{branch}\" has no head (create one with 'start commit')")


def commit_missing(repo: str, commit: str) -> Fault:
    return CommitMissing(f"commit {commit} not found in repo {repo}")


def commit_finished(repo: str, commit: str) -> Fault:
    return Fault(f"commit {commit} in repo {repo} has already finished")


def path_missing(path: str) -> Fault:
    """As GetFile and ListFile say it; `path` is clean."""
    return Fault(f'file "{path}" not found')


def file_missing(repo: str, commit: str, path: str) -> Fault:
    """As InspectFile and patterns in GetFile say it; `path` is spelled as in the request."""
    return Fault(f"file {path} not found in repo {repo} at commit {commit}")


def not_a_directory(path: str) -> Fault:
    return PathConflict(f'attempted to visit "{path}", but it\'s not a directory')


def is_a_directory(path: str) -> Fault:
    return PathConflict(f'could not put file at "{path}"; a file of type directory is already there')


def unset(what: str) -> Fault:
    """A sub-message that the call needs is absent."""
    return Fault(f"{what} cannot be nil")


def store_failed(error: OSError | sqlite3.Error, doing: str = "the store failed") -> Fault:
    """The disk or the database refused; RESOURCE_EXHAUSTED and an own text where it is for want of space."""
    if is_full(error):
        return Fault(f"{doing}: no space left on device", grpc.StatusCode.RESOURCE_EXHAUSTED)
    return Fault(f"{doing}: {getattr(error, 'strerror', None) or error}")


def is_full(error: OSError | sqlite3.Error) -> bool:
    """Whether more space, a larger quota or a higher limit on files would have let it pass."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def unimplemented(sentence: str) -> Fault:
    return Fault(sentence, grpc.StatusCode.UNIMPLEMENTED)
