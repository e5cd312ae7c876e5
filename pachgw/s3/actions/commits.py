"""What an action asks of the commits behind a bucket: which to read, and which last changed a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pachgw.pfs.port import PFS, FileInfo
from pachgw.s3.context import Call
from pachgw.s3.names import BucketRef, looks_like_commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The commit that stands for a version of a key, and its time."""

    commit: str
    time: datetime


async def last_modified(pfs: PFS, repo: str, info: FileInfo) -> datetime:
    """When the commit that `info` was read from was finished; of an open one, when it was started.

    That is the latest time that is not later than a write to it. Raises CommitNotFound.
    """
    if info.committed is not None:
        return info.committed
    return (await pfs.inspect_commit(repo, info.commit)).started


async def stamp(call: Call, repo: str, info: FileInfo) -> Stamp:
    """The commit that last changed the file; where that is not known, the one that it was read from.

    Also where the index has other bytes for the key than PFS: then it is wrong.
    """
    if info.committed is None:
        # As last_modified.
        started = await call.shared.starts.of(call.pfs, repo, info.commit)
        return Stamp(commit=info.commit, time=started)
    change = await call.shared.history.change_of(call.pfs, repo, info.commit, info.path)
    if change is not None and change.hash == info.hash:
        return Stamp(commit=change.commit, time=change.time)
    return Stamp(commit=info.commit, time=info.committed)


async def date_of(call: Call, repo: str, info: FileInfo) -> datetime:
    """When the file was last changed, for the conditions of a write; exact only where they name a date."""
    if call.head.header("if-unmodified-since") is None and call.head.header("if-modified-since") is None:
        return info.committed or call.shared.clock()
    return (await stamp(call, repo, info)).time


async def inspect_target(pfs: PFS, ref: BucketRef) -> None:
    """Return where the branch, or open commit, that writes go to is there.

    Raises BranchNotFound, CommitNotFound.
    """
    if looks_like_commit(ref.branch):
        await pfs.inspect_commit(ref.repo, ref.branch)
    else:
        await pfs.inspect_branch(ref.repo, ref.branch)


async def commit_to_read(call: Call, ref: BucketRef) -> str:
    """The bucket's branch, or its commit. Raises CommitNotFound for a commit of a reserved branch."""
    if ref.commit is None:
        return ref.branch
    await check_commit(call, ref.repo, ref.commit)
    return ref.commit


async def check_commit(call: Call, repo: str, commit: str) -> None:
    """Return where the request may name the commit. Raises CommitNotFound for one of a reserved branch."""
    await call.shared.visible.check(call.pfs, repo, commit)
