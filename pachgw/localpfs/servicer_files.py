"""pfs.API's calls that read files: messages to store and back, and who may make them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from google.protobuf.wrappers_pb2 import BytesValue

from pachgw.localpfs import commits, contents, faults, files, infos, opencommits
from pachgw.localpfs.authority import Caller, Scope
from pachgw.localpfs.calls import Calls
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.faults import unset
from pachgw.localpfs.globs import is_pattern
from pachgw.localpfs.paths import clean
from pachgw.localpfs.tree import DirEntry, Entry, FileEntry, ObjectRef
from pachgw.pfs.proto import pfs_pb2 as pb

_MAX_CHUNK = 2 << 20
_MIN_CHUNK = 64 << 10
_CHUNKS_TOTAL = 16 << 20
"""Bytes that all messages of GetFile together may hold before they are made smaller than _MAX_CHUNK."""

_READ_AHEAD = 8
"""With more streams open none reads its next message before the last one was sent."""

_HASHED_AT_ONCE = 64
"""A directory of more files is hashed in a thread."""


def file_repo(file: pb.File, what: str = "file") -> str:
    """The repo of the file; raises Fault where a part of the message is not set."""
    if not file.HasField("commit"):
        raise unset(f"{what} commit")
    if not file.commit.HasField("repo"):
        raise unset(f"{what} commit repo")
    return file.commit.repo.name


class FileCalls(Calls):
    _streams = 0

    async def settled(self, repo: str, target: str) -> Commit:
        """The commit, with all that was written into it in its tree. Raises Fault."""
        commit = commits.resolve(self.reader, repo, target)
        if opencommits.has_pending(self.reader, commit):
            commit = await self.workers.write(
                self.store.database.write, opencommits.settle, self.store, commit
            )
        return commit

    async def _readable(
        self,
        request: pb.GetFileRequest | pb.InspectFileRequest | pb.ListFileRequest | pb.WalkFileRequest,
        caller: Caller,
    ) -> Commit:
        if not request.HasField("file"):
            raise unset("file")
        return await self._commit_of(request.file, caller)

    async def _commit_of(self, file: pb.File, caller: Caller) -> Commit:
        repo = file_repo(file)
        self.authority.require(self.reader, caller, repo, Scope.READER)
        return await self.settled(repo, file.commit.id)

    async def _hash(self, entry: Entry) -> bytes:
        if isinstance(entry, FileEntry) or entry.root is None or 0 < entry.files <= _HASHED_AT_ONCE:
            return self.store.tree.entry_hash(entry)
        return await self.workers.read(self.store.tree.entry_hash, entry)

    async def InspectFile(self, request: pb.InspectFileRequest, caller: Caller) -> pb.FileInfo:
        commit = await self._readable(request, caller)
        entry = files.inspect(self.store.tree, commit, request.file.path)
        return infos.file_info(commit, request.file.path, entry, await self._hash(entry), objects=True)

    def _infos(
        self, commit: Commit, found: Iterator[files.Found], *, objects: bool = False
    ) -> Iterator[pb.FileInfo]:
        for path, entry in found:
            yield infos.file_info(commit, path, entry, self.store.tree.entry_hash(entry), objects=objects)

    async def _listed(self, request: pb.ListFileRequest, caller: Caller) -> Iterator[pb.FileInfo]:
        commit = await self._readable(request, caller)
        tree, path = self.store.tree, request.file.path
        if not request.history:
            return self._infos(commit, files.list_file(tree, commit, path), objects=request.full)
        found = files.versions(self.reader, tree, commit, path, request.history)
        return (
            infos.file_info(holder, at, entry, tree.entry_hash(entry), objects=True)
            for holder, at, entry in found
        )

    async def ListFile(self, request: pb.ListFileRequest, caller: Caller) -> pb.FileInfos:
        listed = await self._listed(request, caller)
        return pb.FileInfos(file_info=[i async for batch in self.workers.batches(listed) for i in batch])

    async def ListFileStream(self, request: pb.ListFileRequest, caller: Caller) -> AsyncIterator[pb.FileInfo]:
        async for batch in self.workers.batches(await self._listed(request, caller)):
            for info in batch:
                yield info

    async def WalkFile(self, request: pb.WalkFileRequest, caller: Caller) -> AsyncIterator[pb.FileInfo]:
        commit = await self._readable(request, caller)
        walked = self._infos(commit, files.walk(self.store.tree, commit, request.file.path))
        async for batch in self.workers.batches(walked):
            for info in batch:
                yield info

    async def _globbed(self, request: pb.GlobFileRequest, caller: Caller) -> Iterator[pb.FileInfo]:
        if not request.HasField("commit"):
            raise unset("commit")
        if not request.commit.HasField("repo"):
            raise unset("commit repo")
        repo = request.commit.repo.name
        self.authority.require(self.reader, caller, repo, Scope.READER)
        commit = await self.settled(repo, request.commit.id)
        return self._infos(commit, files.matches(self.store.tree, commit.tree, request.pattern))

    async def GlobFile(self, request: pb.GlobFileRequest, caller: Caller) -> pb.FileInfos:
        globbed = await self._globbed(request, caller)
        return pb.FileInfos(file_info=[i async for batch in self.workers.batches(globbed) for i in batch])

    async def GlobFileStream(self, request: pb.GlobFileRequest, caller: Caller) -> AsyncIterator[pb.FileInfo]:
        async for batch in self.workers.batches(await self._globbed(request, caller)):
            for info in batch:
                yield info

    async def DiffFile(self, request: pb.DiffFileRequest, caller: Caller) -> pb.DiffFileResponse:
        if not request.HasField("new_file"):
            raise unset("file")
        new_file = request.new_file
        old_file = request.old_file if request.HasField("old_file") else None
        for file in (new_file, old_file):
            if file is not None:
                self.authority.require(self.reader, caller, file_repo(file), Scope.READER)
        new = await self.settled(file_repo(new_file), new_file.commit.id)
        if old_file is not None:
            old: Commit | None = await self.settled(file_repo(old_file), old_file.commit.id)
            old_path = old_file.path
        else:
            old, old_path = commits.parent(self.reader, new), new_file.path
        return await self.workers.read(self._differences, new, new_file.path, old, old_path, request.shallow)

    def _differences(
        self, new: Commit, new_path: str, old: Commit | None, old_path: str, shallow: bool
    ) -> pb.DiffFileResponse:
        response = pb.DiffFileResponse()
        tree = self.store.tree
        old_tree = DirEntry(None, 0, 0) if old is None else old.tree
        for below, entry, is_new in files.differences(
            tree, old_tree, new.tree, old_path, new_path, shallow=shallow
        ):
            entry_hash = tree.entry_hash(entry)
            if is_new:
                info = infos.file_info(new, _join(new_path, below), entry, entry_hash)
                response.new_files.append(info)
            elif old is not None:
                info = infos.file_info(old, _join(old_path, below), entry, entry_hash)
                response.old_files.append(info)
        return response

    async def GetFile(self, request: pb.GetFileRequest, caller: Caller) -> AsyncIterator[BytesValue]:
        commit = await self._readable(request, caller)
        path = request.file.path
        wanted = contents.Range(request.offset_bytes, request.size_bytes)
        self._streams += 1
        try:
            async for refs in self._objects(commit, path):
                for span in wanted.cut(iter(refs)):
                    async for data in self._pieces(span):
                        yield BytesValue(value=data)
                if wanted.done:
                    return
        finally:
            self._streams -= 1

    async def _objects(self, commit: Commit, path: str) -> AsyncIterator[tuple[ObjectRef, ...]]:
        """The objects of the file, or of each file that matches. Raises Fault where there is none."""
        if not is_pattern(path):
            entry = self.store.tree.lookup(commit.tree, clean(path))
            if entry is None:
                raise faults.path_missing(clean(path))
            if isinstance(entry, FileEntry):
                yield entry.objects
            return
        found = False
        async for batch in self.workers.batches(files.matches(self.store.tree, commit.tree, path)):
            found = True
            for _, entry in batch:
                if isinstance(entry, FileEntry):
                    yield entry.objects
        if not found:
            raise faults.file_missing(commit.repo, commit.id, path)

    async def _pieces(self, span: contents.Span) -> AsyncIterator[bytes]:
        data = contents.small(self.store, span)
        if data is not None:
            if data:
                yield data
            return
        pieces = contents.Pieces(self.store, span)
        coming: asyncio.Future[bytes] | None = None
        left = span.stop - span.start
        try:
            while left:
                data = await (coming or self.workers.read(pieces.read, self._chunk))
                left -= len(data)
                coming = None
                if left and self._streams <= _READ_AHEAD:
                    coming = asyncio.ensure_future(self.workers.read(pieces.read, self._chunk))
                yield data
        finally:
            if coming is not None:
                coming.cancel()
            # In a thread, since one may be reading for this call yet.
            self.workers.clean_up(pieces.close)

    @property
    def _chunk(self) -> int:
        """Bytes of a message: many open streams share what memory their messages may take."""
        return max(_MIN_CHUNK, min(_MAX_CHUNK, _CHUNKS_TOTAL // max(1, self._streams)))


def _join(path: str, below: str) -> str:
    """A path as the request spelled it, and what is below."""
    if not below:
        return path
    return path + below if not path or path.endswith("/") else f"{path}/{below}"
