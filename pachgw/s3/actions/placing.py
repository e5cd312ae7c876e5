"""Bytes of keys and what is said of them become versions in one commit: the end of every write of objects.

PutObject, CopyObject and uploads in parts differ in how the bytes come to PFS; the rest is here, for one
change or for several that share a commit. DeleteObject's changes are made here as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from twisted.logger import Logger

from pachgw.pfs.port import PFS, CommitInfo, NotFound, PathNotFound, PFSError, Unavailable
from pachgw.s3.actions.conflicts import Standing
from pachgw.s3.actions.metadata import read_records, write_records
from pachgw.s3.actions.together import together
from pachgw.s3.changes.history import KeyChange
from pachgw.s3.context import Call
from pachgw.s3.metadata.records import Description, Record
from pachgw.s3.names import BucketRef

MAX_STEPS = 1000
"""How many commits that others made since are looked at before giving up."""

MAX_SOUGHT = 256
"""Of a commit with more changes it is not sought where it went when others wrote as well."""

LOOKUPS_AT_ONCE = 16

_log = Logger()

Write = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """What a write is to make of a key."""

    key: str
    path: str
    size: int
    file_hash: bytes
    """As PFS will have it (FileInfo.hash)."""
    description: Description


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a commit is to make of one key, and what was just seen to stand there."""

    key: str
    path: str
    new: NewObject | None
    """None: the file goes."""
    standing: Standing

    @property
    def has_same_bytes(self) -> bool:
        """What is put is there already."""
        return (
            self.new is not None
            and self.standing.file is not None
            and self.standing.file.hash == self.new.file_hash
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What came of changes that were written."""

    commit: CommitInfo | None
    """None where others wrote so much that it cannot be told."""
    failed: PFSError | None = None
    unsaid: frozenset[int] = field(default_factory=frozenset)
    """Changes, by their index, of which something is still to be said, and that failed."""


async def place(
    call: Call, ref: BucketRef, standing: Standing, new: NewObject, write: Write
) -> CommitInfo | None:
    """The commit that has the new version, after `write` has put the bytes at its path; as place_all."""
    change = Change(key=new.key, path=new.path, new=new, standing=standing)
    placed = await place_all(call, ref, [change], write)
    if placed.failed is not None:
        raise placed.failed
    return placed.commit


async def place_all(call: Call, ref: BucketRef, changes: Sequence[Change], write: Write) -> Placed:
    """The commit that has the new versions, after `write` has made all the changes in one.

    To be called in the branch's turn, with what was just seen, of one commit, to stand at the paths; no two
    of them touch each other. What is said of a version with new bytes is on disk before the bytes are, and
    counts only with them. Of the bytes that a key had before it is written after them: until then the version
    is the one that was there. Raises what `write` raises: then nothing was said; and PFSError, but NotFound,
    where the commit cannot be asked for.
    """
    standing = changes[0].standing
    parent, commit_id = standing.commit, None
    if standing.is_open and standing.commit is not None:
        # The open commit is the versions' own.
        commit_id = standing.commit
        parent = (await call.pfs.inspect_commit(ref.repo, commit_id)).parent
    said = await _records_needed(call, ref, changes, parent, commit_id)
    early = {index: record for index, record in said.items() if not changes[index].has_same_bytes}
    if early:
        await _write_with_records(call, ref, list(early.values()), write)
    else:
        await write()
    commit = await _own_commit(call.pfs, ref, changes, parent)
    if commit is None:
        return Placed(commit=None)
    final: dict[int, Record] = {}
    moved: list[Record] = []
    for index, record in said.items():
        new = changes[index].new
        if new is None:
            continue
        now = _record(call, new, commit.parent, commit.id)
        if index not in early:
            final[index] = now
        elif now.path != record.path:
            # Somebody else's commit came in between, or it is the branch's first.
            final[index] = now
            moved.append(record)
    again = {index: change.key for index, change in enumerate(changes) if change.has_same_bytes}
    try:
        await write_records(
            call,
            ref.repo,
            list(final.values()),
            commit=commit.id,
            again=again.values(),
            instead_of=moved,
        )
    except PFSError as error:
        return Placed(commit=commit, failed=error, unsaid=frozenset({*final, *again}))
    # Only where nobody came between is it known that the commit changed nothing else.
    if commit.finished is not None and commit.parent == parent and not standing.is_open:
        _note(call, ref, changes, parent, commit)
    return Placed(commit=commit)


async def _records_needed(
    call: Call, ref: BucketRef, changes: Sequence[Change], parent: str | None, commit_id: str | None
) -> dict[int, Record]:
    """The records of those changes, by their index, that need one."""

    needed: dict[int, NewObject] = {}
    doubtful: dict[int, NewObject] = {}
    for index, change in enumerate(changes):
        if change.new is None:
            continue
        if not change.new.description.says_nothing:
            needed[index] = change.new
        elif change.has_same_bytes or change.standing.is_open:
            doubtful[index] = change.new
    if doubtful:
        # What was said of these bytes before is not to be taken for what is put now.
        said = await together(
            read_records(call, ref.repo, new.key, new.file_hash) for new in doubtful.values()
        )
        needed |= {
            index: new for (index, new), records in zip(doubtful.items(), said, strict=True) if records
        }
    return {index: _record(call, new, parent, commit_id) for index, new in needed.items()}


def _record(call: Call, new: NewObject, parent: str | None, commit: str | None) -> Record:
    return Record(
        key=new.key,
        file_hash=new.file_hash,
        parent=parent,
        commit=commit if parent is None else None,
        written=call.shared.clock(),
        description=new.description,
    )


async def _write_with_records(call: Call, ref: BucketRef, records: Sequence[Record], write: Write) -> None:
    await write_records(call, ref.repo, records)
    try:
        await write()
    except Unavailable:
        # PFS may have taken it.
        raise
    except BaseException:
        try:
            await write_records(call, ref.repo, (), instead_of=records)
        except PFSError as error:
            _log.info("records without data stay in {repo}: {error}", repo=ref.repo, error=error)
        raise


def _note(
    call: Call, ref: BucketRef, changes: Sequence[Change], parent: str | None, commit: CommitInfo
) -> None:
    """Take in, wherever it is kept, what the commit changed."""
    call.shared.history.note(
        call.pfs,
        ref.repo,
        commit,
        tuple(
            KeyChange(key=change.key, size=0, hash=None)
            if change.new is None
            else KeyChange(key=change.key, size=change.new.size, hash=change.new.file_hash)
            for change in changes
        ),
    )
    put = [change.path for change in changes if change.new is not None]
    call.shared.heads.follow((ref.repo, ref.branch), parent, commit.id, put)


async def _own_commit(
    pfs: PFS, ref: BucketRef, changes: Sequence[Change], parent: str | None
) -> CommitInfo | None:
    """The commit that a write just made; PutFile and CopyFile answer without telling it.

    The head, where its parent is the one that was the head before. Where somebody wrote in between, the
    commit after `parent` in which the changes came.
    """
    try:
        head = await pfs.inspect_commit(ref.repo, ref.branch)
        if head.parent == parent:
            return head
        return await _search_back(pfs, ref.repo, head.id, _sought(changes), parent)
    except NotFound:
        # Whoever took the branch or its commits away did so after the write.
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    """What a path has in the commit that is sought."""

    path: str
    hash: bytes | None
    """None: no file."""


def _sought(changes: Sequence[Change]) -> list[_Sought]:
    """By what the commit is told from those before it; if it is only of bytes that were there, by those."""
    telling = [change for change in changes if not change.has_same_bytes] or changes
    return [
        _Sought(path=change.path, hash=None if change.new is None else change.new.file_hash)
        for change in telling
    ]


async def search_back(
    pfs: PFS, repo: str, head: str, new: NewObject, parent: str | None
) -> CommitInfo | None:
    """The commit behind `parent`, on the way to `head`, in which the path got the object's hash.

    None where there is none, or it lies too far back. Raises PFSError.
    """
    return await _search_back(pfs, repo, head, [_Sought(path=new.path, hash=new.file_hash)], parent)


async def _search_back(
    pfs: PFS, repo: str, head: str, sought: Sequence[_Sought], parent: str | None
) -> CommitInfo | None:
    if len(sought) > MAX_SOUGHT:
        return None
    found: CommitInfo | None = None
    commits = await pfs.list_commit(repo, to=head, number=MAX_STEPS)
    try:
        while batch := await commits.read():
            for commit in batch:
                if commit.id == parent:
                    return found
                if await _has_all(pfs, repo, commit.id, sought):
                    found = commit
                elif found is not None:
                    return found
    finally:
        await commits.aclose()
    return found if parent is None else None


async def _has_all(pfs: PFS, repo: str, commit: str, sought: Sequence[_Sought]) -> bool:
    for start in range(0, len(sought), LOOKUPS_AT_ONCE):
        some = sought[start : start + LOOKUPS_AT_ONCE]
        if not all(await together(_has(pfs, repo, commit, each) for each in some)):
            return False
    return True


async def _has(pfs: PFS, repo: str, commit: str, sought: _Sought) -> bool:
    try:
        info = await pfs.inspect_file(repo, commit, sought.path)
    except PathNotFound:
        return sought.hash is None
    return sought.hash is None if info.is_dir else info.hash == sought.hash
