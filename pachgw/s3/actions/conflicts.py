"""What stands at paths before a write, and whether they can be written.

PFS has directories, so a key and a key below it cannot both be objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pachgw.pfs.port import (
    PFS,
    CommitNotFound,
    CommitUnreadable,
    FileInfo,
    NoHead,
    PathNotFound,
    PFSError,
)
from pachgw.s3.actions.together import together
from pachgw.s3.errors import S3Error, path_conflict
from pachgw.s3.keys import ancestors
from pachgw.s3.names import BucketRef
from pachgw.s3.writing.heads import Heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands at a path before a write."""

    commit: str | None
    """The head that was looked at, None for a branch without commits."""
    file: FileInfo | None
    """The file at the path, None where there is none."""
    is_open: bool = False
    """The head is an open commit: a write goes into it."""
    is_unseen: bool = False
    """PFS does not let anybody look: what is at the path is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A path that is looked at before a write."""

    pfs: PFS
    path: str
    key: str
    is_to_go: bool = False
    """Only a file at the path matters: nothing is to be put there."""


Seen = Standing | S3Error | PFSError


async def check_path(
    pfs: PFS, ref: BucketRef, path: str, *, key: str, heads: Heads | None = None
) -> Standing:
    """What stands at the path; raises InvalidFilePath where a file there would hide or be hidden by others.

    To be trusted only until the next write to the branch. A directory without files below it is no conflict.
    Raises BranchNotFound.
    """
    (seen,) = await look(ref, [Spot(pfs=pfs, path=path, key=key)], heads or Heads())
    if isinstance(seen, Standing):
        return seen
    raise seen


async def look(ref: BucketRef, spots: Sequence[Spot], heads: Heads) -> list[Seen]:
    """What stands at each of the paths, or the error of that one; as check_path.

    The spots are of one token. Each path is asked for by itself, directories above them once for all. With
    others writing in between they may be of different commits. Of a pipeline's output that cannot be read
    before it is finished nothing is known.
    """
    repo, branch = ref.repo, ref.branch
    infos = await together(_inspect(spot.pfs, repo, branch, spot.path) for spot in spots)
    missing: dict[int, str] = {}
    results: list[Seen] = []
    for index, (spot, info) in enumerate(zip(spots, infos, strict=True)):
        seen: Seen = Standing(commit=None, file=None)
        if isinstance(info, FileInfo):
            seen = await _judge(spot, repo, info)
        elif isinstance(info, PathNotFound):
            seen = Standing(commit=info.commit, file=None)
            if not spot.is_to_go:
                missing[index] = info.commit or branch
        elif isinstance(info, CommitUnreadable) and ref.is_output:
            seen = Standing(commit=info.commit, file=None, is_open=True, is_unseen=True)
        elif not isinstance(info, NoHead):
            seen = info
        results.append(seen)
    if missing:
        nearest = await _nearest(repo, branch, {index: spots[index] for index in missing}, missing, heads)
        for index, above in nearest.items():
            results[index] = above
    return results


async def _judge(spot: Spot, repo: str, info: FileInfo) -> Seen:
    is_open = info.committed is None
    if not info.is_dir:
        return Standing(commit=info.commit, file=info, is_open=is_open)
    if not spot.is_to_go:
        try:
            if await has_files(spot.pfs, repo, info.commit, info):
                return path_conflict(spot.key)
        except PFSError as error:
            return error
    return Standing(commit=info.commit, file=None, is_open=is_open)


async def _nearest(
    repo: str, branch: str, spots: dict[int, Spot], commits: dict[int, str], heads: Heads
) -> dict[int, Seen]:
    """What the nearest thing above each path, where nothing stands, makes of it.

    From the nearest up: the first that exists is a directory, and so is all above it, or a file.
    """
    found: dict[int, Seen] = {}
    above = {index: [*reversed(ancestors(spot.path)), "/"] for index, spot in spots.items()}
    asked: dict[tuple[str, str], FileInfo | PFSError] = {}
    while above:
        wanted: dict[tuple[str, str], PFS] = {}
        for index, rest in list(above.items()):
            commit = commits[index]
            if heads.is_directory((repo, branch), commit, rest[0]):
                found[index] = Standing(commit=commit, file=None)
                del above[index]
            elif (commit, rest[0]) not in asked:
                wanted[commit, rest[0]] = spots[index].pfs
        infos = await together(
            _inspect_at(pfs, repo, branch, commit, path) for (commit, path), pfs in wanted.items()
        )
        asked |= zip(wanted, infos, strict=True)
        for info in infos:
            if isinstance(info, FileInfo) and info.is_dir and info.committed is not None:
                heads.learn((repo, branch), info.commit, info.path)
        for index, rest in list(above.items()):
            info = asked[commits[index], rest[0]]
            if isinstance(info, PathNotFound) and len(rest) > 1:
                del rest[0]
                continue
            found[index] = _below(spots[index], info)
            del above[index]
    return found


def _below(spot: Spot, info: FileInfo | PFSError) -> Seen:
    if isinstance(info, PathNotFound):
        # The root of a commit is always there; only a head that went away meanwhile leads here.
        return Standing(commit=None, file=None)
    if isinstance(info, PFSError):
        return info
    if not info.is_dir:
        return path_conflict(spot.key)
    return Standing(commit=info.commit, file=None, is_open=info.committed is None)


async def _inspect(pfs: PFS, repo: str, commit: str, path: str) -> FileInfo | PFSError:
    """What PFS says of the path, be it an error."""
    try:
        return await pfs.inspect_file(repo, commit, path)
    except PFSError as error:
        return error


async def _inspect_at(pfs: PFS, repo: str, branch: str, commit: str, path: str) -> FileInfo | PFSError:
    """As _inspect; of a commit that has just been deleted, what the branch has by now."""
    info = await _inspect(pfs, repo, commit, path)
    if isinstance(info, CommitNotFound) and commit != branch:
        return await _inspect(pfs, repo, branch, path)
    return info


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
