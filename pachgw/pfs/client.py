"""The port over gRPC to any server of Pachyderm 1.x's pfs.API and auth.API: which RPC a call is, and no more.

Threads and streams are in bridge.py, downloads.py and uploads.py, texts of errors in errors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from twisted.python.threadpool import ThreadPool

from pachgw.messages import Spent
from pachgw.pfs import values
from pachgw.pfs.answered import AT_ONCE_BYTES, AnsweredFile
from pachgw.pfs.answeredlists import AnsweredList
from pachgw.pfs.bridge import Bridge, Reactor, Stopped
from pachgw.pfs.changes import INLINE_HASH_BYTES, hash_of, send_changes
from pachgw.pfs.channel import Channels, parse_address
from pachgw.pfs.downloads import FileSource, MatchesSource, ResponseStream, ValueBatches
from pachgw.pfs.errors import auth_is_inactive, is_too_large, pfs_error
from pachgw.pfs.handshakes import Handshakes
from pachgw.pfs.port import (
    BranchInfo,
    CommitInfo,
    Difference,
    FileChange,
    FileInfo,
    NotAuthenticated,
    PFSError,
    RepoInfo,
    Scope,
    TooLarge,
    Unavailable,
)
from pachgw.pfs.proto import auth_pb2, pfs_pb2
from pachgw.pfs.repeating import Repeats
from pachgw.pfs.timeouts import RPCS, Timeouts
from pachgw.pfs.uploads import ROOM_BYTES, PutFileUpload
from pachgw.pfs.watching import CallWatch, Metadata, name_of
from pachgw.room import Room
from pachgw.streams import Batches, BytesSource, Source

R = TypeVar("R")

TOKEN_KEY = "authn-token"
REQUEST_ID_KEY = "x-request-id"


class GrpcPFS:
    """The port's Sessions on one server. Makes no thread and no socket before start()."""

    def __init__(
        self,
        address: str,
        *,
        reactor: Reactor,
        threads: int = 8,
        timeouts: Timeouts | None = None,
        ca_certificates: bytes | None = None,
        uploads_bytes: int = ROOM_BYTES,
        watch: CallWatch | None = None,
    ) -> None:
        """`address` as channel.parse_address takes it, raises ValueError; `ca_certificates` are PEM, None the
        system's. `threads` bounds the pool for messages of streams and for hashes, `uploads_bytes` what all
        uploads have in hand."""
        parse_address(address)
        self._address = address
        self._ca_certificates = ca_certificates
        self._handshakes = Handshakes(address)
        self._timeouts = timeouts or Timeouts()
        self._uploads_room = Room(uploads_bytes)
        self._watch = watch
        self._bridge = Bridge(reactor, threads=threads, name="pachgw-pfs")
        self._channels: Channels | None = None

    def start(self) -> None:
        """Make the pool and the channel; connects with the first call. After the daemon has forked."""
        self._bridge.start()
        self._channels = Channels(
            self._address,
            ca_certificates=self._ca_certificates,
            watch=self._watch,
            keepalive_seconds=self._timeouts.keepalive,
        )

    @property
    def pool(self) -> ThreadPool | None:
        """The threads for messages of streams and for hashes; None while it does not run."""
        return self._bridge.pool

    async def stop(self) -> None:
        """Cancel what is under way, close the connection, end the pool. Does nothing the second time."""
        if self._channels is not None:
            channels, self._channels = self._channels, None
            channels.close()
        self._bridge.stop()

    def session(self, token: str | None, *, request_id: str = "") -> Session:
        """Calls made with `token`, None: with no token at all."""
        if self._channels is None:
            raise Unavailable("the client of PFS is not running")
        metadata: list[tuple[str, str]] = []
        if token is not None:
            metadata.append((TOKEN_KEY, token))
        if request_id and _fits_metadata(request_id):
            metadata.append((REQUEST_ID_KEY, request_id))
        return Session(
            channels=self._channels,
            bridge=self._bridge,
            timeouts=self._timeouts,
            uploads_room=self._uploads_room,
            metadata=Metadata(tuple(metadata), Spent()),
            token=token,
            handshakes=self._handshakes,
        )


def _fits_metadata(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The port's PFS with one token."""

    channels: Channels
    bridge: Bridge
    timeouts: Timeouts
    uploads_room: Room
    metadata: Metadata = field(repr=False)
    token: str | None = field(repr=False)
    handshakes: Handshakes

    @property
    def spent(self) -> Spent:
        """What the calls of this session took."""
        return self.metadata.spent

    async def who_am_i(self) -> str | None:
        """WhoAmI: the subject, None where auth is not active."""
        try:
            return await self._ask(
                self.channels.auth.WhoAmI, auth_pb2.WhoAmIRequest(), lambda answer: answer.username
            )
        except _AuthInactive:
            return None

    async def authorize(self, repo: str, scope: Scope) -> bool:
        """Authorize: whether the token has the scope, True where auth is not active."""
        request = auth_pb2.AuthorizeRequest(repo=repo, scope=auth_pb2.Scope.ValueType(scope))
        try:
            return await self._ask(
                self.channels.auth.Authorize, request, lambda answer: bool(answer.authorized)
            )
        except _AuthInactive:
            return True

    async def create_repo(self, repo: str) -> None:
        """CreateRepo. Raises AlreadyExists, Invalid."""
        await self._ask(self.channels.pfs.CreateRepo, pfs_pb2.CreateRepoRequest(repo=_repo(repo)), _nothing)

    async def inspect_repo(self, repo: str) -> RepoInfo:
        """InspectRepo. Raises RepoNotFound."""
        request = pfs_pb2.InspectRepoRequest(repo=_repo(repo))
        return await self._ask(self.channels.pfs.InspectRepo, request, values.repo_info)

    async def list_repo(self) -> list[RepoInfo]:
        """ListRepo, newest first."""
        return await self._ask(
            self.channels.pfs.ListRepo,
            pfs_pb2.ListRepoRequest(),
            lambda answer: [values.repo_info(info) for info in answer.repo_info],
        )

    async def delete_repo(self, repo: str) -> None:
        """DeleteRepo."""
        await self._ask(self.channels.pfs.DeleteRepo, pfs_pb2.DeleteRepoRequest(repo=_repo(repo)), _nothing)

    async def create_branch(self, repo: str, branch: str, *, head: str | None = None) -> None:
        """CreateBranch. Raises RepoNotFound, CommitNotFound, BranchNotFound, Invalid."""
        request = pfs_pb2.CreateBranchRequest(
            branch=_branch(repo, branch), head=None if head is None else _commit(repo, head)
        )
        await self._ask(self.channels.pfs.CreateBranch, request, _nothing)

    async def inspect_branch(self, repo: str, branch: str) -> BranchInfo:
        """InspectBranch. Raises BranchNotFound."""
        request = pfs_pb2.InspectBranchRequest(branch=_branch(repo, branch))
        return await self._ask(self.channels.pfs.InspectBranch, request, values.branch_info)

    async def list_branch(self, repo: str) -> list[BranchInfo]:
        """ListBranch, newest first. Raises RepoNotFound."""
        return await self._ask(
            self.channels.pfs.ListBranch,
            pfs_pb2.ListBranchRequest(repo=_repo(repo)),
            lambda answer: [values.branch_info(info) for info in answer.branch_info],
        )

    async def delete_branch(self, repo: str, branch: str) -> None:
        """DeleteBranch. Raises RepoNotFound."""
        request = pfs_pb2.DeleteBranchRequest(branch=_branch(repo, branch))
        await self._ask(self.channels.pfs.DeleteBranch, request, _nothing)

    async def start_commit(self, repo: str, branch: str, *, description: str = "") -> str:
        """StartCommit. Raises RepoNotFound, Invalid."""
        request = pfs_pb2.StartCommitRequest(
            parent=pfs_pb2.Commit(repo=_repo(repo)), branch=branch, description=description
        )
        return await self._ask(self.channels.pfs.StartCommit, request, lambda answer: str(answer.id))

    async def finish_commit(self, repo: str, commit: str) -> None:
        """FinishCommit. Raises CommitFinished, CommitNotFound."""
        request = pfs_pb2.FinishCommitRequest(commit=_commit(repo, commit))
        await self._ask(self.channels.pfs.FinishCommit, request, _nothing)

    async def delete_commit(self, repo: str, commit: str) -> None:
        """DeleteCommit. Raises CommitNotFound."""
        request = pfs_pb2.DeleteCommitRequest(commit=_commit(repo, commit))
        await self._ask(self.channels.pfs.DeleteCommit, request, _nothing)

    async def inspect_commit(self, repo: str, commit: str) -> CommitInfo:
        """InspectCommit. Raises CommitNotFound, BranchNotFound, NoHead."""
        request = pfs_pb2.InspectCommitRequest(commit=_commit(repo, commit))
        return await self._ask(self.channels.pfs.InspectCommit, request, values.commit_info)

    async def list_commit(self, repo: str, *, to: str | None = None, number: int = 0) -> Batches[CommitInfo]:
        """ListCommitStream, newest first. A refusal is raised here already, as by the other lists."""
        request = pfs_pb2.ListCommitRequest(
            repo=_repo(repo), to=None if to is None else _commit(repo, to), number=number
        )
        return await self._list(self.channels.lists.ListCommitStream, request, values.commit_infos)

    async def inspect_file(self, repo: str, commit: str, path: str) -> FileInfo:
        """InspectFile. Raises PathNotFound, CommitNotFound, BranchNotFound, NoHead."""
        request = pfs_pb2.InspectFileRequest(file=_file(repo, commit, path))
        return await self._ask(self.channels.pfs.InspectFile, request, values.file_info)

    async def list_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """ListFile. Raises PathNotFound, CommitNotFound, BranchNotFound, NoHead.

        In one answer: a message for each file costs several times as much on both sides. A directory that is
        too large for one comes by ListFileStream.
        """
        try:
            return await self.list_file_at_once(repo, commit, path)
        except TooLarge:
            return await self.list_file_stream(repo, commit, path)

    async def list_file_at_once(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """ListFile. Raises as list_file, and TooLarge."""
        request = pfs_pb2.ListFileRequest(file=_file(repo, commit, path))
        answer = await self._ask(self.channels.list_file, request, _as_it_is)
        return AnsweredList(answer, values.encoded_file_infos, bridge=self.bridge)

    async def list_file_stream(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """ListFileStream. Raises as list_file."""
        request = pfs_pb2.ListFileRequest(file=_file(repo, commit, path))
        return await self._list(self.channels.lists.ListFileStream, request, values.file_infos)

    async def walk_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        """WalkFile. Raises CommitNotFound, BranchNotFound, NoHead."""
        request = pfs_pb2.WalkFileRequest(file=_file(repo, commit, path))
        return await self._list(self.channels.lists.WalkFile, request, values.file_infos)

    async def diff_file(self, repo: str, commit: str, path: str = "/") -> Difference:
        """DiffFile against the parent. Raises CommitNotFound, PathNotFound, TooLarge."""
        request = pfs_pb2.DiffFileRequest(new_file=_file(repo, commit, path))
        return await self._ask(self.channels.pfs.DiffFile, request, values.difference)

    async def copy_file(
        self,
        repo: str,
        commit: str,
        path: str,
        *,
        to_repo: str,
        to_commit: str,
        to_path: str,
        overwrite: bool,
    ) -> None:
        """CopyFile. Raises CommitNotFound, BranchNotFound, CommitFinished, PathConflict, Invalid."""
        request = pfs_pb2.CopyFileRequest(
            src=_file(repo, commit, path),
            dst=_file(to_repo, to_commit, to_path),
            overwrite=overwrite,
        )
        await self._ask(self.channels.pfs.CopyFile, request, _nothing)

    async def get_file(
        self,
        repo: str,
        commit: str,
        path: str,
        *,
        offset: int = 0,
        size: int | None = None,
        at_once: bool = False,
    ) -> Source:
        """GetFile; errors come from the first read. `size` 0 asks for nothing and calls nobody."""
        if size == 0:
            # PFS takes 0 for "all".
            return BytesSource(b"")
        request = pfs_pb2.GetFileRequest(
            file=_file(repo, commit, path), offset_bytes=offset, size_bytes=size or 0
        )

        def stream() -> FileSource:
            return FileSource(
                self._starter(self.channels.get_file, request),
                bridge=self.bridge,
                idle_seconds=self.timeouts.idle,
                failed=self._failed,
                repeats=self._repeats(self.channels.get_file),
            )

        if not at_once or size is None or size > AT_ONCE_BYTES:
            return stream()
        return AnsweredFile(
            size,
            ask=lambda: self._ask(
                self.channels.get_file_at_once, request, _bytes_or_none, seconds=self.timeouts.at_once
            ),
            stream=stream,
        )

    async def get_files(self, repo: str, commit: str, pattern: str) -> Source:
        """GetFile of a glob pattern."""
        return MatchesSource(await self.get_file(repo, commit, pattern))

    async def put_file(self, repo: str, branch: str) -> PutFileUpload:
        """PutFile; errors come from the calls on it, from finish() at the latest."""
        self._check_token()
        return PutFileUpload(
            repo,
            branch,
            channels=self.channels,
            bridge=self.bridge,
            metadata=self.metadata,
            idle_seconds=self.timeouts.idle,
            commit_seconds=self.timeouts.commit,
            failed=self._failed,
            room=self.uploads_room,
        )

    async def change_files(self, repo: str, branch: str, changes: Sequence[FileChange]) -> None:
        """PutFile with changes that are in hand."""
        self._check_token()
        await send_changes(
            repo,
            branch,
            changes,
            channels=self.channels,
            bridge=self.bridge,
            metadata=self.metadata,
            seconds=self.timeouts.commit,
            failed=self._failed,
        )

    async def file_hash(self, data: Sequence[bytes]) -> bytes:
        """FileInfo.hash of a file with these bytes, put at once. Asks no server."""
        if sum(map(len, data)) <= INLINE_HASH_BYTES:
            return hash_of(data)
        try:
            return await self.bridge.run(hash_of, data)
        except Stopped:
            raise Unavailable("the client of PFS has been stopped") from None

    async def _ask(
        self,
        method: grpc.UnaryUnaryMultiCallable[Any, Any],
        request: object,
        convert: Callable[[Any], R],
        *,
        seconds: float | None = None,
    ) -> R:
        """convert(the answer), which has `seconds` to come, None: as the table of timeouts has it.

        Cancelling the wait cancels the call. Raises PFSError, _AuthInactive.
        """
        self._check_token()
        repeats = self._repeats(method)
        clock = self.bridge.reactor.seconds
        until = clock() + (seconds or self.timeouts.answer(RPCS[name_of(method)]))
        while True:
            try:
                call = method.future(request, timeout=max(until - clock(), 0), metadata=self.metadata)
            except ValueError as error:  # the channel is closed
                raise Unavailable(str(error)) from None
            try:
                return await self.bridge.answer(call, convert)
            except grpc.RpcError as error:
                if isinstance(error, grpc.Call) and auth_is_inactive(error):
                    raise _AuthInactive from None
                if isinstance(error, grpc.Call) and is_too_large(error):
                    raise TooLarge(str(error.details())) from None
                wait = repeats.wait_after(error)
                if wait is None:
                    raise self._failed(error) from None
            except grpc.FutureCancelledError:
                raise Unavailable("the call was cancelled") from None
            await self.bridge.wait(wait)

    def _repeats(self, method: object) -> Repeats:
        return Repeats(name_of(method), self.channels.watch)

    async def _list(
        self,
        method: grpc.UnaryStreamMultiCallable[Any, Any],
        request: object,
        convert: Callable[[list[Any]], list[R]],
    ) -> Batches[R]:
        batches = ValueBatches(
            self._starter(method, request),
            convert,
            bridge=self.bridge,
            idle_seconds=self.timeouts.idle,
            failed=self._failed,
            repeats=self._repeats(method),
        )
        await batches.open()
        return batches

    def _starter(
        self, method: grpc.UnaryStreamMultiCallable[Any, Any], request: object
    ) -> Callable[[], ResponseStream]:
        def start() -> ResponseStream:
            self._check_token()
            try:
                return method(request, metadata=self.metadata)
            except ValueError as error:  # the channel is closed
                raise Unavailable(str(error)) from None

        return start

    def _check_token(self) -> None:
        """A token that cannot be sent is none that the server has made. Raises NotAuthenticated."""
        if self.token is not None and not _fits_metadata(self.token):
            raise NotAuthenticated("the token is not printable ASCII", token_sent=True)

    def _failed(self, error: grpc.RpcError) -> PFSError:
        if not isinstance(error, grpc.Call):
            return PFSError(str(error))
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            self.handshakes.failed(error.details())
        return pfs_error(error.code(), error.details(), token_sent=self.token is not None)


class _AuthInactive(PFSError):
    """The server has no auth to ask."""


def _as_it_is(answer: R) -> R:
    return answer


def _bytes_or_none(answer: bytes | None) -> bytes:
    # A stream without messages is an answer that has not come.
    return answer or b""


def _nothing(_answer: object) -> None:
    return None


def _repo(name: str) -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=name)


def _branch(repo: str, name: str) -> pfs_pb2.Branch:
    return pfs_pb2.Branch(repo=_repo(repo), name=name)


def _commit(repo: str, commit: str) -> pfs_pb2.Commit:
    return pfs_pb2.Commit(repo=_repo(repo), id=commit)


def _file(repo: str, commit: str, path: str) -> pfs_pb2.File:
    return pfs_pb2.File(commit=_commit(repo, commit), path=path)
