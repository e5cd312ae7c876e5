"""Records that no commit made true: what a gateway that ended between a record and its data leaves behind.

They speak of nothing and are small; what is done here is bounded, behind the requests, once for each repo
that a gateway writes records to, by one of its processes. One that ends so leaves them in the last commits of
the metadata branch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.pfs.port import PFS, FileInfo, NotFound, PFSError
from pachgw.s3.keys import encode_key
from pachgw.s3.metadata.branch import MetadataBranches
from pachgw.s3.metadata.records import RECORDS_DIRECTORY, Record, parse_record
from pachgw.s3.processes.notices import Notices
from pachgw.s3.reserved import METADATA_BRANCH, is_reserved
from pachgw.streams import TooLong, read_all

COMMITS = 64
"""How many of the metadata branch's last commits are looked through."""
AGE = timedelta(hours=1)
"""Younger records may be of writes that are under way."""
OTHER_COMMITS = 2000
"""How many of the repo's last commits are known as parents and children."""

_RECORD_LIMIT = 1024 * 1024

_log = Logger()


class Sweeper:
    """Owned by the gateway, which stops it."""

    def __init__(self, metadata: MetadataBranches, clock: Callable[[], datetime], notices: Notices) -> None:
        self._metadata = metadata
        self._clock = clock
        self._notices = notices
        self._running: set[Deferred[None]] = set()
        self._is_stopped = False
        metadata.first_write = self._begin

    def stop(self) -> None:
        """End what is under way; nothing is begun any more."""
        self._is_stopped = True
        for running in list(self._running):
            running.cancel()

    def _begin(self, pfs: PFS, repo: str, writer: Hashable) -> None:
        if self._is_stopped:
            return
        # What is younger would not be swept anyway.
        now, seconds = self._clock().timestamp(), AGE.total_seconds()
        if not self._notices.claim(f"sweep records of {repo}", now=now, seconds=seconds):
            return
        running = Deferred.fromCoroutine(self._sweep(pfs, repo, writer))
        self._running.add(running)
        running.addErrback(_tell, repo)
        running.addBoth(lambda _: self._running.discard(running))

    async def _sweep(self, pfs: PFS, repo: str, writer: Hashable) -> None:
        removed = await unused_records(pfs, repo, before=self._clock() - AGE)
        if removed:
            await self._metadata.write(pfs, repo, writer=writer, files=(), removed=removed)
            _log.info(
                "{number} records without data were removed from {repo}", number=len(removed), repo=repo
            )


async def unused_records(pfs: PFS, repo: str, *, before: datetime) -> list[str]:
    """The paths of records, written before that time, that no commit made true. Raises PFSError.

    Only of those that the branch's last commits brought, and only where a later commit shows that theirs
    never came: else a write of the same may be about to come.
    """
    candidates = [
        record for path in await _late_paths(pfs, repo, before) if (record := await _record(pfs, repo, path))
    ]
    # One that names its own commit was written after it.
    candidates = [record for record in candidates if record.commit is None and record.written < before]
    if not candidates:
        return []
    children = await _children(pfs, repo)
    return [
        record.path
        for record in candidates
        if (followers := children.get(record.parent))
        and not any([await _has(pfs, repo, commit, record) for commit in followers])
    ]


async def _late_paths(pfs: PFS, repo: str, before: datetime) -> list[str]:
    """Where the last commits of the branch put records that still lie there."""
    paths: dict[str, None] = {}
    commits = await pfs.list_commit(repo, to=METADATA_BRANCH, number=COMMITS)
    try:
        while batch := await commits.read():
            for commit in batch:
                if commit.finished is not None and commit.finished < before:
                    paths |= dict.fromkeys(info.path for info in await _new_records(pfs, repo, commit.id))
    finally:
        await commits.aclose()
    return list(paths)


async def _new_records(pfs: PFS, repo: str, commit: str) -> list[FileInfo]:
    try:
        difference = await pfs.diff_file(repo, commit, RECORDS_DIRECTORY)
    except NotFound:
        return []
    return [info for info in difference.new if not info.is_dir]


async def _record(pfs: PFS, repo: str, path: str) -> Record | None:
    """The record that lies at the path now, None where there is none any more."""
    source = await pfs.get_files(repo, METADATA_BRANCH, path)
    try:
        record = parse_record((await read_all(source, _RECORD_LIMIT)).rstrip(b"\n"))
    except TooLong:
        return None
    finally:
        await source.aclose()
    return record if record is not None and record.path == path else None


async def _children(pfs: PFS, repo: str) -> dict[str | None, list[str]]:
    """The finished commits of buckets by their parents, of the repo's last commits.

    None of a parent that has an open child, whose contents may still change.
    """
    children: dict[str | None, list[str]] = {}
    open_parents: set[str | None] = set()
    commits = await pfs.list_commit(repo, number=OTHER_COMMITS)
    try:
        while batch := await commits.read():
            for commit in batch:
                if commit.finished is None:
                    open_parents.add(commit.parent)
                elif not is_reserved(commit.branch or ""):
                    children.setdefault(commit.parent, []).append(commit.id)
    finally:
        await commits.aclose()
    return {parent: ids for parent, ids in children.items() if parent not in open_parents}


async def _has(pfs: PFS, repo: str, commit: str, record: Record) -> bool:
    try:
        return (await pfs.inspect_file(repo, commit, encode_key(record.key))).hash == record.file_hash
    except NotFound:
        return False


def _tell(failure: Failure, repo: str) -> Failure | None:
    if not isinstance(failure.value, PFSError | CancelledError):
        return failure
    _log.info("records of {repo} were not swept: {error}", repo=repo, error=failure.value)
    return None
