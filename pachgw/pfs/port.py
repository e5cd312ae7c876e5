"""The port between S3 and a versioned file system: values, errors and calls, named as PFS names them.

No gRPC, no Twisted.web and no S3 here. `pachgw.pfs.client` implements the port for Pachyderm 1.x; a client of
another PFS can stand beside it without a change above.

Paths are absolute, clean and start with "/"; "/" is the root. A `commit` argument is a commit id or a branch
name (its head, even while that is open). Sizes and offsets are bytes, times are aware UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from pachgw.streams import Batches, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoInfo:
    name: str
    created: datetime
    size: int
    """Bytes in the head of `master`."""
    branches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchInfo:
    repo: str
    name: str
    head: str | None
    """Id of the newest commit, which may be open; None for a branch without commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    repo: str
    id: str
    parent: str | None
    branch: str | None
    """The branch it was started on."""
    started: datetime
    finished: datetime | None
    """None while the commit is open: it can still change."""
    size: int
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    commit: str
    """Id of the commit that was read, also where a branch was asked for."""
    path: str
    is_dir: bool
    size: int
    """Of a directory: the sum over the files below it."""
    hash: bytes
    """32 bytes; equal hashes mean equal contents."""
    committed: datetime | None
    """When the commit that was asked about was finished; None while it is open."""
    is_one_object: bool = False
    """Whether the bytes are known to be one object: the hash is hash_of_object() of them."""


def hash_of_object(data: bytes) -> bytes:
    """The hash of a file whose bytes are one object. Of the same bytes in several objects it is another."""
    return hash_of_sha512(hashlib.sha512(data).hexdigest())


def hash_of_sha512(hexdigest: str) -> bytes:
    """The hash of a file of one object, whose SHA-512 is given in 128 hexadecimal digits."""
    return hashlib.sha256(hexdigest.encode("ascii")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two commits have that differs: files and the directories above them, in PFS order."""

    new: tuple[FileInfo, ...]
    """Added, or other than in the old one; as they are in the new one."""
    old: tuple[FileInfo, ...]
    """Gone, or other than in the new one; as they were in the old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What a commit is to make of a file; nothing of it is checked."""

    path: str
    data: tuple[bytes, ...] | None
    """The file's bytes, which replace whatever stands at the path; None: the file goes, and where a directory
    stands, that with all below it."""


class Scope(IntEnum):
    """What a subject may do with a repo; each includes those before it."""

    NONE = 0
    READER = 1
    WRITER = 2
    OWNER = 3


class PFSError(Exception):
    """A call was refused or failed; the text is the server's, fit for a log, not for a client."""


class NotFound(PFSError):
    """What the call names does not exist."""


class RepoNotFound(NotFound):
    """The server may say so without having looked at the token (see PFS.who_am_i)."""


class BranchNotFound(NotFound):
    """Also for the branch of a repo that does not exist; the server may say so without having looked at the
    token."""


class NoHead(NotFound):
    """The branch exists and has no commit yet."""


class CommitNotFound(NotFound):
    pass


class PathNotFound(NotFound):
    """`commit` is the id of the commit that was looked at, None where the server does not say."""

    def __init__(self, text: str = "", *, commit: str | None = None) -> None:
        super().__init__(text)
        self.commit = commit


class AlreadyExists(PFSError):
    """Of a repo."""


class CommitUnreadable(PFSError):
    """The commit, by its id, is a pipeline's output and open: it can be written, and not read."""

    def __init__(self, text: str = "", *, commit: str) -> None:
        super().__init__(text)
        self.commit = commit


class TooLarge(PFSError):
    """The answer does not fit into one message of the protocol."""


class CommitFinished(PFSError):
    """The target of a write is a finished commit."""


class PathConflict(PFSError):
    """A file stands where the call needs a directory, or the other way round."""


class Invalid(PFSError):
    """A name or path that the server does not take."""


class NotAuthenticated(PFSError):
    """No token, or one that is not good; `token_sent` tells which."""

    def __init__(self, text: str, *, token_sent: bool) -> None:
        super().__init__(text)
        self.token_sent = token_sent


class NotAuthorized(PFSError):
    """The token is good, its scope is not enough."""


class OutOfSpace(PFSError):
    """The store has no space left for what was to be written; reading goes on."""


class Unavailable(PFSError):
    """The server cannot be reached, is stopping, or did not answer in time."""


class TookTooLong(Unavailable):
    """The server is there, as far as is known, and did not answer in time."""


class Upload(Protocol):
    """A PutFile stream: any number of files and deletions that become one commit, all or nothing.

    Nothing is visible before `finish`. Exactly one of `finish` and `abort` ends it; `abort` after a failed
    call, or after the end, does nothing. One call at a time.
    """

    async def begin_file(self, path: str) -> None:
        """Begin a file that replaces whatever stands at `path`, a directory too."""

    async def write(self, data: bytes) -> None:
        """More bytes of the file begun last; returns when there is room for the next.

        Raises PFSError when the server has ended the call.
        """

    async def delete_path(self, path: str) -> None:
        """Delete the file, or the directory with all below it; nothing there is no error."""

    async def hashes(self) -> tuple[bytes, ...]:
        """What `finish` will return; after it nothing more is written. Nothing is visible yet."""

    async def finish(self) -> tuple[bytes, ...]:
        """Half-close and wait for the commit.

        Returns, for each file begun, its hash as PFS reckons it (FileInfo.hash), from the bytes sent.
        Raises PFSError: nothing was committed, but for Unavailable, after which it may have been.
        """

    async def abort(self) -> None:
        """Cancel the call: nothing is committed."""


class PFS(Protocol):
    """Calls made with one token. Each may raise NotAuthenticated, NotAuthorized, Unavailable and PFSError."""

    async def who_am_i(self) -> str | None:
        """The token's subject; None where auth is not active. Raises NotAuthenticated for a bad or no token.

        For where the server answers without judging the token: ListRepo with no repos, RepoNotFound and
        BranchNotFound.
        """

    async def authorize(self, repo: str, scope: Scope) -> bool:
        """Whether the token has the scope; True where auth is not active. A missing repo has no owners."""

    async def create_repo(self, repo: str) -> None:
        """Raises AlreadyExists, Invalid."""

    async def inspect_repo(self, repo: str) -> RepoInfo:
        """Raises RepoNotFound."""

    async def list_repo(self) -> list[RepoInfo]:
        """Every repo, newest first."""

    async def delete_repo(self, repo: str) -> None:
        """No error where there is none."""

    async def create_branch(self, repo: str, branch: str, *, head: str | None = None) -> None:
        """Make the branch or move it; without `head` it has none afterwards, even if it had one.

        Raises RepoNotFound, CommitNotFound, Invalid.
        """

    async def inspect_branch(self, repo: str, branch: str) -> BranchInfo:
        """Raises BranchNotFound, also for a missing repo."""

    async def list_branch(self, repo: str) -> list[BranchInfo]:
        """Newest first. Raises RepoNotFound."""

    async def delete_branch(self, repo: str, branch: str) -> None:
        """The branch's commits stay. No error where there is none. Raises RepoNotFound."""

    async def start_commit(self, repo: str, branch: str, *, description: str = "") -> str:
        """Open a commit on the branch's head, which it becomes; the branch is made where it is missing.

        Returns its id. Raises RepoNotFound, Invalid.
        """

    async def finish_commit(self, repo: str, commit: str) -> None:
        """Close an open commit: from here on it never changes. Raises CommitFinished, CommitNotFound."""

    async def delete_commit(self, repo: str, commit: str) -> None:
        """Remove the commit, open or not; its children get its parent. Raises CommitNotFound."""

    async def inspect_commit(self, repo: str, commit: str) -> CommitInfo:
        """Raises CommitNotFound, BranchNotFound."""

    async def list_commit(self, repo: str, *, to: str | None = None, number: int = 0) -> Batches[CommitInfo]:
        """Newest first: the commits of the repo, or `to` and its ancestors; at most `number`, 0 all."""

    async def inspect_file(self, repo: str, commit: str, path: str) -> FileInfo:
        """Raises PathNotFound, CommitNotFound, BranchNotFound."""

    async def list_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """The directory's children, or the file itself, in PFS order. Raises PathNotFound."""

    async def list_file_at_once(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """As list_file, all of them read when it returns. Raises TooLarge too. The cheapest way to all."""

    async def list_file_stream(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """As list_file, as they come: the first are there before the last are read, and each costs more."""

    async def walk_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """The directory and all below it, or the file itself, in PFS order; a missing path has none."""

    async def diff_file(self, repo: str, commit: str, path: str = "/") -> Difference:
        """What the finished commit changed at the path and below, against its parent.

        Raises CommitNotFound, PathNotFound, TooLarge.
        """

    async def copy_file(
        self,
        repo: str,
        commit: str,
        path: str,
        *,
        to_repo: str,
        to_commit: str,
        to_path: str,
        overwrite: bool,
    ) -> None:
        """Copy a file, or a directory with all below it, without moving bytes.

        Into an open commit, or as a commit of its own on the branch `to_commit`. With `overwrite` it replaces
        what stands at `to_path`; without, a file's bytes are appended. The source must have been seen in this
        very commit: of one that is not there PFS makes an open commit. Raises CommitNotFound, BranchNotFound,
        CommitFinished, PathConflict, Invalid.
        """

    async def get_file(
        self,
        repo: str,
        commit: str,
        path: str,
        *,
        offset: int = 0,
        size: int | None = None,
        at_once: bool = False,
    ) -> Source:
        """The file's bytes from `offset` on, at most `size`. Errors come from the first read at the latest.

        `at_once`: it is a file of one object, of a finished commit, and has so many bytes; few of them are
        then fetched in a cheaper way. Closing the source before its end cancels the call.
        """

    async def get_files(self, repo: str, commit: str, pattern: str) -> Source:
        """The bytes of all files that match the glob pattern, joined; b"" where there are none."""

    async def put_file(self, repo: str, branch: str) -> Upload:
        """Begin a commit on the branch, which is made where it is missing, or a write into its open head.

        `branch` may be the id of an open commit: a write into that one.
        """

    async def change_files(self, repo: str, branch: str, changes: Sequence[FileChange]) -> None:
        """As a PutFile stream of all the changes: they become one commit, or a write into an open head.

        For files whose bytes are in hand, each less than a message. No path may come twice, or lie below
        another. Raises PFSError: nothing was committed, but for Unavailable, after which it may have been.
        """

    async def file_hash(self, data: Sequence[bytes]) -> bytes:
        """FileInfo.hash of a file with these bytes, put at once. Asks no server; raises Unavailable."""


class Sessions(Protocol):
    """Where a PFS for a token comes from."""

    def session(self, token: str | None, *, request_id: str = "") -> PFS:
        """Calls made with `token`, None: with no token at all. Cheap; nothing is sent yet."""
