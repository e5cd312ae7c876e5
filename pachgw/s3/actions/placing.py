"""The bytes of a key and what is said of them become one version: the end of every write of an object.

PutObject, CopyObject and uploads in parts differ in how the bytes come to PFS; the rest is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.logger import Logger

from pachgw.pfs.port import PFS, CommitInfo, NotFound, PathNotFound, PFSError, Unavailable
from pachgw.s3.actions.conflicts import Standing
from pachgw.s3.actions.metadata import read_records, remove_record, write_again, write_record
from pachgw.s3.changes.history import KeyChange
from pachgw.s3.context import Call
from pachgw.s3.metadata.records import Description, Record
from pachgw.s3.names import BucketRef

MAX_STEPS = 1000
"""How many commits that others made since are looked at before giving up."""

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """What a write is to make of a key."""

    key: str
    path: str
    size: int
    file_hash: bytes
    """As PFS will have it (FileInfo.hash)."""
    description: Description


async def place(
    call: Call, ref: BucketRef, standing: Standing, new: NewObject, write: Callable[[], Awaitable[object]]
) -> CommitInfo | None:
    """The commit that has the new version, after `write` has put the bytes at its path.

    To be called in the branch's turn, with what was just seen to stand at the path. What is said of a version
    with new bytes is on disk before the bytes are, and counts only with them. Of the bytes that the key had
    before it is written after them: until then the version is the one that was there. None where others wrote
    so much that the commit cannot be told; never raises NotFound, since the write has been done. Raises what
    `write` raises: then nothing was said.
    """
    parent, commit_id = standing.commit, None
    if standing.is_open and standing.commit is not None:
        # The open commit is the version's own.
        commit_id = standing.commit
        parent = (await call.pfs.inspect_commit(ref.repo, commit_id)).parent
    same_bytes = standing.file is not None and standing.file.hash == new.file_hash
    record = _record(call, new, parent, commit_id)
    is_said = not new.description.says_nothing
    if not is_said and (same_bytes or standing.is_open):
        # What was said of these bytes before is not to be taken for it.
        is_said = bool(await read_records(call, ref.repo, new.key, new.file_hash))
    if same_bytes or not is_said:
        await write()
    else:
        await _write_with_record(call, ref, record, write)
    commit = await _own_commit(call.pfs, ref, new, parent)
    if commit is None:
        return None
    if same_bytes:
        said = _record(call, new, commit.parent, commit.id) if is_said else None
        await write_again(call, ref.repo, commit.id, new.key, said)
    elif is_said and (final := _record(call, new, commit.parent, commit.id)).path != record.path:
        # Somebody else's commit came in between, or it is the branch's first.
        await write_record(call, ref.repo, final, instead_of=record)
    # Only where nobody came between is it known that the commit changed nothing else.
    if commit.finished is not None and commit.parent == parent and not standing.is_open:
        change = KeyChange(key=new.key, size=new.size, hash=new.file_hash)
        call.shared.history.note(call.pfs, ref.repo, commit, (change,))
    return commit


def _record(call: Call, new: NewObject, parent: str | None, commit: str | None) -> Record:
    return Record(
        key=new.key,
        file_hash=new.file_hash,
        parent=parent,
        commit=commit if parent is None else None,
        written=call.shared.clock(),
        description=new.description,
    )


async def _write_with_record(
    call: Call, ref: BucketRef, record: Record, write: Callable[[], Awaitable[object]]
) -> None:
    await write_record(call, ref.repo, record)
    try:
        await write()
    except Unavailable:
        # PFS may have taken it.
        raise
    except BaseException:
        try:
            await remove_record(call, ref.repo, record)
        except PFSError as error:
            _log.info("a record without data stays in {repo}: {error}", repo=ref.repo, error=error)
        raise


async def _own_commit(pfs: PFS, ref: BucketRef, new: NewObject, parent: str | None) -> CommitInfo | None:
    """The commit that a write just made; PutFile and CopyFile answer without telling it.

    The head, where its parent is the one that was the head before. Where somebody wrote in between, the
    commit after `parent` in which the path got this hash.
    """
    try:
        head = await pfs.inspect_commit(ref.repo, ref.branch)
        if head.parent == parent:
            return head
        return await search_back(pfs, ref.repo, head.id, new, parent)
    except NotFound:
        # Whoever took the branch or its commits away did so after the write.
        return None


async def search_back(
    pfs: PFS, repo: str, head: str, new: NewObject, parent: str | None
) -> CommitInfo | None:
    """The commit behind `parent`, on the way to `head`, in which the path got the object's hash.

    None where there is none, or it lies too far back. Raises PFSError.
    """
    found: CommitInfo | None = None
    commits = await pfs.list_commit(repo, to=head, number=MAX_STEPS)
    try:
        while batch := await commits.read():
            for commit in batch:
                if commit.id == parent:
                    return found
                if await _has(pfs, repo, commit.id, new):
                    found = commit
                elif found is not None:
                    return found
    finally:
        await commits.aclose()
    return found if parent is None else None


async def _has(pfs: PFS, repo: str, commit: str, new: NewObject) -> bool:
    try:
        return (await pfs.inspect_file(repo, commit, new.path)).hash == new.file_hash
    except PathNotFound:
        return False
