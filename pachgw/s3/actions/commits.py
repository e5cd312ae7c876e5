"""What an action asks of commits: which one a write became, and when one's files were last modified."""

from __future__ import annotations

from datetime import datetime

from pachgw.pfs.port import PFS, BranchNotFound, CommitNotFound, FileInfo, NoHead, PathNotFound

MAX_STEPS = 1000
"""How many commits that others made since are looked at before giving up."""


async def last_modified(pfs: PFS, repo: str, info: FileInfo) -> datetime:
    """When the commit that `info` was read from was finished; of an open one, when it was started.

    That is the latest time that is not later than a write to it. Raises CommitNotFound.
    """
    if info.committed is not None:
        return info.committed
    return (await pfs.inspect_commit(repo, info.commit)).started


async def commit_with(
    pfs: PFS, repo: str, branch: str, path: str, *, file_hash: bytes, since: str | None
) -> str | None:
    """The id of a commit of the branch in which `path` has this hash; None where it cannot be told.

    PutFile answers without telling it.

    Usually the head. Where somebody wrote in between, the newest of the commits back to `since`, the head
    before the write. Never raises NotFound: the write has been done, whatever became of it.
    """
    try:
        info = await pfs.inspect_file(repo, branch, path)
        if info.hash == file_hash:
            return info.commit
        head = info.commit
    except PathNotFound:
        try:
            head = (await pfs.inspect_branch(repo, branch)).head or ""
        except BranchNotFound:
            return None
    except (BranchNotFound, CommitNotFound, NoHead):
        return None
    try:
        return await _search_back(pfs, repo, head, path, file_hash=file_hash, since=since)
    except (BranchNotFound, CommitNotFound, NoHead):
        return None


async def _search_back(
    pfs: PFS, repo: str, head: str, path: str, *, file_hash: bytes, since: str | None
) -> str | None:
    commits = await pfs.list_commit(repo, to=head, number=MAX_STEPS)
    try:
        while batch := await commits.read():
            for commit in batch:
                if commit.id == since:
                    return None
                try:
                    info = await pfs.inspect_file(repo, commit.id, path)
                except PathNotFound:
                    continue
                if info.hash == file_hash:
                    return commit.id
    finally:
        await commits.aclose()
    return None
