"""pfs.API's calls that read files: messages to store and back, and who may make them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import grpc

from pachgw.localpfs import commits, contents, faults, files, infos, opencommits
from pachgw.localpfs.authority import Authority, Caller, Scope
from pachgw.localpfs.calls import MAX_MESSAGE_BYTES, Calls
from pachgw.localpfs.commits import Commit
from pachgw.localpfs.faults import Fault, unset
from pachgw.localpfs.globs import is_pattern
from pachgw.localpfs.paths import clean
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import DirEntry, Entry, FileEntry, ObjectRef
from pachgw.localpfs.work import Changes, Workers
from pachgw.pfs.proto import pfs_pb2 as pb

_READS_AT_ONCE = 8
"""Messages of GetFile that are read, or have been and wait for the event loop: a call that comes meanwhile
waits for no more than these, and not for one of each stream."""

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
    def __init__(self, store: Store, authority: Authority, workers: Workers, changes: Changes) -> None:
        super().__init__(store, authority, workers, changes)
        self._outgoing = contents.Outgoing()
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)

    async def settled(self, repo: str, target: str) -> Commit:
        """The commit, with all that was written into it in its tree. Raises Fault."""
        commit = commits.resolve(self.reader, repo, target)
        if commit.finished is not None:
            return commit
        if opencommits.has_pending(self.reader, commit):
            return await self.workers.write(self.store.database.write, opencommits.settle, self.store, commit)
        # Each statement sees the moment it runs in: what was noted may have come into the tree just between
        # the two, for another call.
        now = commits.by_seq(self.reader, commit.seq)
        if now is None:
            raise faults.commit_missing(commit.repo, commit.id)
        return now

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
        with self.store.reading(commit.tree):
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

    async def ListFile(self, request: pb.ListFileRequest, caller: Caller) -> bytes:
        return await self._together(await self._listed(request, caller))

    async def ListFileStream(self, request: pb.ListFileRequest, caller: Caller) -> AsyncIterator[bytes]:
        async for message in self._one_by_one(await self._listed(request, caller)):
            yield message

    async def WalkFile(self, request: pb.WalkFileRequest, caller: Caller) -> AsyncIterator[bytes]:
        commit = await self._readable(request, caller)
        walked = self._infos(commit, files.walk(self.store.tree, commit, request.file.path))
        async for message in self._one_by_one(walked):
            yield message

    async def _together(self, found: Iterator[pb.FileInfo]) -> bytes:
        """A serialized pfs.FileInfos. Raises Fault where no message holds them all."""
        answer = bytearray()
        async for batch in self.workers.batches(infos.file_infos(found)):
            for part in batch:
                answer += part
            if len(answer) > MAX_MESSAGE_BYTES:
                raise Fault(
                    f"the answer is a message larger than max ({MAX_MESSAGE_BYTES} bytes)",
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                )
        return bytes(answer)

    async def _one_by_one(self, found: Iterator[pb.FileInfo]) -> AsyncIterator[bytes]:
        """Serialized, as they are found."""
        async for batch in self.workers.batches(info.SerializeToString() for info in found):
            for message in batch:
                yield message

    async def _globbed(self, request: pb.GlobFileRequest, caller: Caller) -> Iterator[pb.FileInfo]:
        if not request.HasField("commit"):
            raise unset("commit")
        if not request.commit.HasField("repo"):
            raise unset("commit repo")
        repo = request.commit.repo.name
        self.authority.require(self.reader, caller, repo, Scope.READER)
        commit = await self.settled(repo, request.commit.id)
        return self._infos(commit, files.matches(self.store.tree, commit.tree, request.pattern))

    async def GlobFile(self, request: pb.GlobFileRequest, caller: Caller) -> bytes:
        return await self._together(await self._globbed(request, caller))

    async def GlobFileStream(self, request: pb.GlobFileRequest, caller: Caller) -> AsyncIterator[bytes]:
        async for message in self._one_by_one(await self._globbed(request, caller)):
            yield message

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
        with self.store.reading(old_tree), self.store.reading(new.tree):
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

    async def GetFile(self, request: pb.GetFileRequest, caller: Caller) -> AsyncIterator[bytes]:
        commit = await self._readable(request, caller)
        wanted = contents.Range(request.offset_bytes, request.size_bytes)
        with self.store.reading(commit.tree):
            async for refs in self._objects(commit, request.file.path):
                for span in wanted.cut(iter(refs)):
                    small = contents.small(self.store, span)
                    if small is None:
                        async with contextlib.aclosing(self._messages(span)) as messages:
                            async for message in messages:
                                yield message
                                del message  # not kept while the next is read
                    elif small:
                        yield infos.bytes_value([small])
                if wanted.done:
                    return

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

    async def _messages(self, span: contents.Span) -> AsyncGenerator[bytes, None]:
        """A part of an object that has a file of its own, as GetFile's messages."""
        pieces = contents.Pieces(self.store, span)
        # Reserved by this call: for the message that is read, and for the one before it while it is sent.
        taken: list[int] = []
        coming: asyncio.Future[tuple[bytes, bool]] | None = None

        async def read(size: int) -> tuple[bytes, bool]:
            async with self._reads:
                return await self.workers.read(_message, pieces, size)

        def begin() -> asyncio.Future[tuple[bytes, bool]]:
            taken.append(self._outgoing.take())
            return asyncio.ensure_future(read(taken[-1]))

        more = True
        try:
            while more:
                message, more = await (coming or begin())
                coming = begin() if more and self._outgoing.is_ample else None
                yield message
                del message
                self._outgoing.give(taken.pop(0))
        finally:
            if coming is not None:
                coming.cancel()
            for size in taken:
                self._outgoing.give(size)
            # In a thread, since one may be reading for this call yet.
            self.workers.clean_up(pieces.close)


def _message(pieces: contents.Pieces, size: int) -> tuple[bytes, bool]:
    """The next message, and whether one comes after it. Blocks."""
    return infos.bytes_value(pieces.read(size)), pieces.left


def _join(path: str, below: str) -> str:
    """A path as the request spelled it, and what is below."""
    if not below:
        return path
    return path + below if not path or path.endswith("/") else f"{path}/{below}"
