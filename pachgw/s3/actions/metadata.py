"""Records in PFS: which one speaks of the version that is read, and how new ones get there.

What a record says is in records.py, the branch that holds them in metadata/branch.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pachgw.pfs.port import FileInfo
from pachgw.s3.changes.history import Change
from pachgw.s3.context import Call
from pachgw.s3.keys import decode_path
from pachgw.s3.metadata.branch import File
from pachgw.s3.metadata.records import (
    NOTHING,
    Description,
    Record,
    again_note,
    again_path,
    choose_record,
    last_record,
    parse_records,
    record_line,
    records_pattern,
)


async def read_records(call: Call, repo: str, key: str, file_hash: bytes) -> list[Record]:
    """The records of every version in which the key has these bytes. Raises PFSError."""
    lines = await call.shared.metadata.read(call.pfs, repo, records_pattern(key, file_hash))
    return parse_records(lines, key=key, file_hash=file_hash) if lines else []


async def find_record(call: Call, repo: str, info: FileInfo) -> Record | None:
    """What was said of the version of the file that `info` is of; None where nothing was. Raises PFSError.

    Where the history of the key is not known, as in an open commit, it is the record written last of those
    that can be of it.
    """
    records = await read_records(call, repo, decode_path(info.path), info.hash)
    if not records:
        return None
    if info.committed is None:
        return last_record(records, commit=info.commit, positions={})
    change = await _change(call, repo, info)
    if change is None:
        positions = await call.shared.history.order(call.pfs, repo, info.commit, _bound(records))
        return last_record(records, commit=info.commit, positions=positions)
    return await _choose(call, repo, info, records, change)


async def find_description(call: Call, repo: str, info: FileInfo) -> Description:
    """What the record of find_record says; of an object without one, nothing."""
    record = await find_record(call, repo, info)
    return NOTHING if record is None else record.description


async def recall_description(call: Call, repo: str, info: FileInfo) -> Description:
    """As find_description; what was found a moment ago, if it is known to be of this version.

    What is in it never changes, but for tags that another gateway may have set since.
    """
    if call.shared.metadata.is_known_missing(repo):
        return NOTHING
    key = decode_path(info.path)
    lines = call.shared.metadata.recall(repo, records_pattern(key, info.hash))
    if lines and info.committed is not None and (change := await _change(call, repo, info)) is not None:
        records = parse_records(lines, key=key, file_hash=info.hash)
        if (record := await _choose(call, repo, info, records, change)) is not None:
            return record.description
    return await find_description(call, repo, info)


async def _change(call: Call, repo: str, info: FileInfo) -> Change | None:
    """The commit that put the file, which is finished; None where it is not known."""
    change = await call.shared.history.change_of(call.pfs, repo, info.commit, info.path)
    return change if change is not None and change.hash == info.hash else None


async def _choose(
    call: Call, repo: str, info: FileInfo, records: Sequence[Record], change: Change
) -> Record | None:
    positions: Mapping[str, int] = {}
    bound = _bound(records)
    if not bound <= {change.parent, change.commit}:
        history = call.shared.history
        positions = await history.order(call.pfs, repo, info.commit, {change.commit, *bound})
    return choose_record(records, commit=change.commit, parent=change.parent, positions=positions)


def _bound(records: Sequence[Record]) -> set[str]:
    """The commits that the records are bound to."""
    return {commit for record in records if (commit := record.parent or record.commit) is not None}


async def new_record(call: Call, repo: str, info: FileInfo) -> Record:
    """A record that speaks of the version of the file that `info` is of, and says nothing yet.

    Where the history of the key is not known, of the commit that was read. Raises PFSError.
    """
    commit, parent = await _version(call, repo, info)
    return Record(
        key=decode_path(info.path),
        file_hash=info.hash,
        parent=parent,
        commit=commit if parent is None else None,
        written=call.shared.clock(),
        description=Description(),
    )


async def _version(call: Call, repo: str, info: FileInfo) -> tuple[str, str | None]:
    """The commit that put the file, and its parent."""
    if info.committed is not None:
        change = await _change(call, repo, info)
        if change is not None:
            return change.commit, change.parent
    return info.commit, (await call.pfs.inspect_commit(repo, info.commit)).parent


async def write_record(call: Call, repo: str, record: Record) -> None:
    """Write one record. Raises PFSError."""
    await write_records(call, repo, [record])


async def write_records(
    call: Call,
    repo: str,
    records: Sequence[Record],
    *,
    commit: str = "",
    again: Iterable[str] = (),
    instead_of: Iterable[Record] = (),
) -> None:
    """Write the records, all in one stream; does nothing where there is nothing to write. Raises PFSError.

    `again` are the keys to note as put anew, by `commit`, with the bytes that they had; `instead_of` are
    records to remove, which were written too early, or whose data never came.
    """
    files = [File(path=again_path(commit, key), data=again_note(key)) for key in again]
    files += [File(path=record.path, data=record_line(record)) for record in records]
    removed = [record.path for record in instead_of]
    if files or removed:
        writer = call.identity.token
        await call.shared.metadata.write(call.pfs, repo, writer=writer, files=files, removed=removed)
