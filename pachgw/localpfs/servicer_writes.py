"""pfs.API's calls that write files: messages to store, and who may make them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator

from google.protobuf.empty_pb2 import Empty

from pachgw.fields import start_of_only_field
from pachgw.localpfs import commits, faults, files, opencommits
from pachgw.localpfs.authority import Caller, Scope
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.faults import Fault, unset
from pachgw.localpfs.globs import is_pattern
from pachgw.localpfs.names import is_commit_id
from pachgw.localpfs.paths import PathError, check_above_root, clean, validate
from pachgw.localpfs.servicer_files import file_repo
from pachgw.localpfs.tree import FileEntry
from pachgw.localpfs.uploads import Upload
from pachgw.localpfs.work import Workers
from pachgw.localpfs.writes import Change, Put, Remove, RemoveMatches
from pachgw.pfs.proto import pfs_pb2 as pb

_VALUE_TAG = b"\x1a"
"""Field 3 of PutFileRequest, `value`, with wire type 2."""


def _removal(path: str) -> Change:
    """The change for a path as a request spells it. Raises Fault."""
    try:
        check_above_root(path)
    except PathError as error:
        raise Fault(str(error)) from error
    return RemoveMatches(pattern=path) if is_pattern(path) else Remove(path=clean(path))


def _writable(path: str) -> str:
    """The clean path of a file that may be written. Raises Fault."""
    try:
        validate(path)
    except PathError as error:
        raise Fault(str(error)) from error
    return clean(path)


class _Feed:
    """Hands an upload's bytes to a thread, one message there while the next arrives."""

    def __init__(self, workers: Workers, upload: Upload) -> None:
        self._workers = workers
        self._upload = upload
        self._running: asyncio.Future[None] | None = None

    async def add(self, data: bytes | memoryview) -> None:
        """More bytes of the file; returns when there is room for the next message. Raises Fault."""
        await self._settle()
        if self._upload.is_small(len(data)):
            self._upload.add(data)
        elif data:
            self._running = self._workers.begin_store(self._upload.add, data)

    async def end_file(self) -> None:
        """The file begun last, if any, is complete. Raises Fault."""
        await self._settle()
        if self._upload.is_small(0):
            self._upload.end_file()
        else:
            await self._workers.store(self._upload.end_file)
        if self._upload.must_spill:
            await self._workers.write(self._upload.spill)

    async def _settle(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running


class WriteCalls(Calls):
    async def PutFile(self, requests: AsyncIterator[pb.PutFileRequest | memoryview], caller: Caller) -> Empty:
        upload = Upload(self.store)
        try:
            target = await self._receive(requests, caller, upload)
            if target is not None:
                await self.write(self._commit, caller, *target, upload)
            upload.committed()
        except BaseException:
            # Not awaited: the call may have been cancelled, and then there is nobody to tell.
            self.workers.clean_up(upload.abort)
            raise
        return Empty()

    async def _receive(
        self, requests: AsyncIterator[pb.PutFileRequest | memoryview], caller: Caller, upload: Upload
    ) -> tuple[str, str] | None:
        """Take all that the stream has; repo and commit that it is for, None for one without messages.

        Raises Fault.
        """
        feed = _Feed(self.workers, upload)
        target: tuple[str, str] | None = None
        async for request in requests:
            if isinstance(request, memoryview):
                value: bytes | memoryview = request
            else:
                value = request.value
                if request.HasField("file"):
                    target = self._same_target(request.file, target, caller)
                    await feed.end_file()
                    if not _begin(upload, request):
                        continue
            if target is None:
                raise Fault("must send a request with a file first")
            await feed.add(value)
        await feed.end_file()
        return target

    def _same_target(self, file: pb.File, target: tuple[str, str] | None, caller: Caller) -> tuple[str, str]:
        repo, commit = file_repo(file), file.commit.id
        if target is None:
            # Judged here so that nothing is sent in vain, and again when it is committed.
            self.authority.require(self.reader, caller, repo, Scope.READER)
            if is_commit_id(commit):
                commits.resolve(self.reader, repo, commit)
            self.authority.require(self.reader, caller, repo, Scope.WRITER)
            return repo, commit
        same = "all requests in a put files call must have the same"
        if repo != target[0]:
            raise Fault(f"{same} repo name; expected '{target[0]}', got '{repo}'")
        if commit != target[1]:
            raise Fault(f"{same} commit ID; expected '{target[1]}', got '{commit}'")
        return target

    def _commit(
        self, connection: sqlite3.Connection, caller: Caller, repo: str, target: str, upload: Upload
    ) -> None:
        self.authority.require(connection, caller, repo, Scope.READER)
        self.authority.require(connection, caller, repo, Scope.WRITER)
        upload.record(connection)
        opencommits.write(connection, self.store, repo, target, upload.changes, make_branch=True)

    async def DeleteFile(self, request: pb.DeleteFileRequest, caller: Caller) -> Empty:
        if not request.HasField("file"):
            raise unset("file")
        repo, target = file_repo(request.file), request.file.commit.id
        await self.write(self._delete, caller, repo, target, request.file.path)
        return Empty()

    def _delete(
        self, connection: sqlite3.Connection, caller: Caller, repo: str, target: str, path: str
    ) -> None:
        self.authority.require(connection, caller, repo, Scope.WRITER)
        opencommits.write(connection, self.store, repo, target, [_removal(path)])

    async def CopyFile(self, request: pb.CopyFileRequest, caller: Caller) -> Empty:
        if not request.HasField("src"):
            raise unset("src")
        if not request.HasField("dst"):
            raise unset("dst")
        source, target = file_repo(request.src, "src"), file_repo(request.dst, "dst")
        await self.write(self._copy, caller, request, source, target)
        return Empty()

    def _copy(
        self,
        connection: sqlite3.Connection,
        caller: Caller,
        request: pb.CopyFileRequest,
        source_repo: str,
        target_repo: str,
    ) -> None:
        self.authority.require(connection, caller, source_repo, Scope.READER)
        self.authority.require(connection, caller, target_repo, Scope.WRITER)
        to = _writable(request.dst.path)
        source = opencommits.settle(
            connection, self.store, commits.resolve(connection, source_repo, request.src.commit.id)
        )
        start = clean(request.src.path)
        exists = self.store.writing_tree(connection).lookup(source.tree, start) is not None
        changes: Iterable[Change] = self._copied(connection, source, start, to)
        if request.overwrite:
            changes = _first(Remove(path=to), changes)
        opencommits.write(
            connection,
            self.store,
            target_repo,
            request.dst.commit.id,
            changes,
            headless=True,
            # As in Pachyderm 1.13: the copy of nothing leaves the commit that it made open.
            finish=exists,
        )

    def _copied(
        self, connection: sqlite3.Connection, source: Commit, start: str, to: str
    ) -> Iterator[Change]:
        for path, entry in files.walk(self.store.writing_tree(connection), source, start):
            if isinstance(entry, FileEntry):
                below = path[len(start) :] if start != "/" else path
                yield Put(path=to + below, objects=entry.objects, keep=None)


def _begin(upload: Upload, request: pb.PutFileRequest) -> bool:
    """Take up a message that names a file; whether bytes of it follow. Raises Fault."""
    if request.delete:
        upload.changes.append(_removal(request.file.path))
        return False
    if request.url:
        raise faults.unimplemented(
            "fetching from a url belongs to Pachyderm clusters; this server is sent bytes"
        )
    if request.delimiter != pb.NONE:
        if request.delimiter not in pb.Delimiter.values():
            raise Fault(f"unrecognized delimiter {request.delimiter}")
        raise faults.unimplemented("splitting by a delimiter belongs to pipelines, which are not served")
    if request.target_file_datums or request.target_file_bytes or request.header_records:
        raise Fault(
            "cannot set split options--targetFileBytes, targetFileDatums, or headerRecords--with delimiter =="
            " NONE, split disabled"
        )
    keep = request.overwrite_index.index if request.HasField("overwrite_index") else None
    if keep is not None and keep < 0:
        raise Fault(f"overwrite_index must not be negative, it is {keep}")
    upload.begin_file(_writable(request.file.path), keep)
    return True


def put_request(message: bytes) -> pb.PutFileRequest | memoryview:
    """A PutFileRequest as it came; the bytes alone where it is nothing but `value`, without a copy of them.

    Raises DecodeError.
    """
    start = start_of_only_field(message, _VALUE_TAG)
    return pb.PutFileRequest.FromString(message) if start is None else memoryview(message)[start:]


def _first(change: Change, rest: Iterable[Change]) -> Iterator[Change]:
    yield change
    yield from rest
