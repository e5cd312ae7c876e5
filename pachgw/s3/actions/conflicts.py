"""Whether a path can be written: PFS has directories, so a key and a key below it cannot both be objects."""

from __future__ import annotations

from dataclasses import dataclass

from pachgw.pfs.port import PFS, FileInfo, NoHead, PathNotFound
from pachgw.s3.errors import path_conflict
from pachgw.s3.keys import ancestors


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands at a path before a write."""

    commit: str | None
    """The head that was looked at, None for a branch without commits."""
    file: FileInfo | None
    """The file at the path, None where there is none."""
    is_open: bool = False
    """The head is an open commit: a write goes into it."""


async def check_path(pfs: PFS, repo: str, branch: str, path: str, *, key: str) -> Standing:
    """What stands at the path; raises InvalidFilePath where a file there would hide or be hidden by others.

    To be trusted only until the next write to the branch. A directory without files below it is no conflict.
    Raises BranchNotFound.
    """
    try:
        info = await pfs.inspect_file(repo, branch, path)
    except NoHead:
        return Standing(commit=None, file=None)
    except PathNotFound:
        return await _check_ancestors(pfs, repo, branch, path, key=key)
    if not info.is_dir:
        return Standing(commit=info.commit, file=info, is_open=info.committed is None)
    if await has_files(pfs, repo, branch, info):
        raise path_conflict(key)
    return Standing(commit=info.commit, file=None, is_open=info.committed is None)


async def _check_ancestors(pfs: PFS, repo: str, branch: str, path: str, *, key: str) -> Standing:
    """From the nearest up: the first that exists is a directory, and so is all above it, or a file."""
    for ancestor in (*reversed(ancestors(path)), "/"):
        try:
            info = await pfs.inspect_file(repo, branch, ancestor)
        except PathNotFound:
            continue
        if not info.is_dir:
            raise path_conflict(key)
        return Standing(commit=info.commit, file=None, is_open=info.committed is None)
    # The root of a commit is always there; only a head that went away meanwhile leads here.
    return Standing(commit=None, file=None)


async def has_files(pfs: PFS, repo: str, commit: str, directory: FileInfo) -> bool:
    """Whether a file lies anywhere below the directory."""
    if directory.size > 0:
        return True
    # All files below are empty, or there are none.
    walk = await pfs.walk_file(repo, commit, directory.path)
    try:
        while batch := await walk.read():
            if any(not info.is_dir for info in batch):
                return True
    finally:
        await walk.aclose()
    return False
