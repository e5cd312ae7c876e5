"""A repo that can be written, as PFS does it, call by call: each waits until the test lets it go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from model_pfs import REPO, Batches, ModelPFS, at_once, hash_of
from ready_body import Body
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.messages import RequestHead, Response
from pachgw.pfs.port import (
    BranchInfo,
    BranchNotFound,
    CommitInfo,
    CommitNotFound,
    FileChange,
    FileInfo,
    NoHead,
    PathConflict,
    PathNotFound,
    PFSError,
    Scope,
    Unavailable,
)
from pachgw.s3.gateway import Gateway
from pachgw.s3.keys import decode_path, encode_key
from pachgw.s3.reserved import METADATA_BRANCH
from pachgw.streams import BytesSource


class Upload:
    """A PutFile stream on the way."""

    def __init__(self, owner: WritablePFS, branch: str) -> None:
        self._owner, self._branch = owner, branch
        self._files: dict[str, bytes | None] = {}
        self._last = ""

    async def begin_file(self, path: str) -> None:
        self._last = path
        self._files[path] = b""

    async def write(self, data: bytes) -> None:
        self._files[self._last] = (self._files[self._last] or b"") + data

    async def delete_path(self, path: str) -> None:
        self._files[path] = None

    async def hashes(self) -> tuple[bytes, ...]:
        return tuple(hash_of(data.decode()) for data in self._files.values() if data is not None)

    async def finish(self) -> tuple[bytes, ...]:
        changes = [
            FileChange(path=path, data=None if data is None else (data,))
            for path, data in self._files.items()
        ]
        await self._owner.change_files(REPO, self._branch, changes)
        return await self.hashes()

    async def abort(self) -> None:
        self._files = {}


class WritablePFS(ModelPFS):
    """One repo with the branch `master`, and the branch of records, which has no history here."""

    def __init__(self) -> None:
        super().__init__()
        self.head: str | None = None
        self.records: dict[str, bytes] | None = None
        """Of the metadata branch, by path; None where there is no such branch."""
        self.waiting: list[Deferred[None]] | None = None
        """Where it is a list, each call waits there before it does anything, and again before it answers."""
        self.streams: list[tuple[FileChange, ...]] = []
        """What each PutFile stream to `master` had, in order, those that failed too."""
        self.under_way = 0
        """Streams to `master` that have been begun and are not answered."""
        self.refuse: Callable[[Sequence[FileChange]], PFSError | None] = lambda changes: None
        self.lose: Callable[[Sequence[FileChange]], bool | None] = lambda changes: None
        """Whether the answer to a stream is lost; then it says whether it was committed before."""
        self.members: dict[str, tuple[FileChange, ...]] = {}
        """Of the streams that became commits, by the commit."""
        self.tokens: dict[str, Scope] = {}
        """Rights of tokens; whoever is not here has all."""

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        return self

    async def pause(self) -> None:
        """Let others come first."""
        if self.waiting is not None:
            turn: Deferred[None] = Deferred()
            self.waiting.append(turn)
            await turn

    def let_go(self, number: int) -> None:
        """One of the calls that wait goes on."""
        assert self.waiting
        self.waiting.pop(number % len(self.waiting)).callback(None)

    def resolve(self, commit: str) -> str:
        if commit == "master":
            if self.head is None:
                raise NoHead("no head")
            return self.head
        if commit not in self.commits:
            raise CommitNotFound(commit)
        return commit

    def write(self, changes: dict[str, str | None]) -> str:
        """A commit by somebody who needs no gateway."""
        self.head = self.commit(self.head, changes)
        return self.head

    async def who_am_i(self) -> str | None:
        return None

    async def authorize(self, repo: str, scope: Scope) -> bool:
        self.calls.append("authorize")
        await self.pause()
        return True

    async def inspect_branch(self, repo: str, branch: str) -> BranchInfo:
        return BranchInfo(repo=repo, name=branch, head=self.head)

    async def inspect_commit(self, repo: str, commit: str) -> CommitInfo:
        self.calls.append("inspect_commit")
        await self.pause()
        info = self.info(self.resolve(commit))
        await self.pause()
        return info

    async def list_commit(self, repo: str, *, to: str | None = None, number: int = 0) -> Batches[CommitInfo]:
        if to is None or to == METADATA_BRANCH:
            raise Unavailable("nobody sweeps here")
        await self.pause()
        return await super().list_commit(repo, to=self.resolve(to), number=number)

    async def inspect_file(self, repo: str, commit: str, path: str) -> FileInfo:
        self.calls.append("inspect_file")
        await self.pause()
        try:
            return self._look(self.resolve(commit), path)
        finally:
            await self.pause()

    def _look(self, commit: str, path: str) -> FileInfo:
        tree = self.commits[commit].tree
        key = decode_path(path)
        if key in tree:
            return self._file(commit, key, tree[key])
        below = path if path == "/" else f"{path}/"
        if path == "/" or any(encode_key(each).startswith(below) for each in tree):
            return self._directory(commit, path, tree)
        raise PathNotFound(path, commit=commit)

    async def walk_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        await self.pause()
        commit = self.resolve(commit)
        tree = self.commits[commit].tree
        below = [key for key in tree if encode_key(key).startswith(f"{path}/")]
        return Batches([self._file(commit, key, tree[key]) for key in below])

    async def file_hash(self, data: Sequence[bytes]) -> bytes:
        return hash_of(b"".join(data).decode())

    async def get_files(self, repo: str, commit: str, pattern: str) -> BytesSource:
        await self.pause()
        if self.records is None:
            raise BranchNotFound(commit)
        return BytesSource(
            b"".join(data for path, data in self.records.items() if fnmatchcase(path, pattern))
        )

    async def put_file(self, repo: str, branch: str) -> Any:
        return Upload(self, branch)

    async def change_files(self, repo: str, branch: str, changes: Sequence[FileChange]) -> None:
        if branch == METADATA_BRANCH:
            self.calls.append("put_file record")
            await self.pause()
            records = self.records = self.records or {}
            for change in changes:
                records.pop(change.path, None)
                if change.data is not None:
                    records[change.path] = b"".join(change.data)
            await self.pause()
            return
        self.calls.append("put_file data")
        self.streams.append(tuple(changes))
        self.under_way += 1
        try:
            await self.pause()
            lost = self.lose(changes)
            if lost is not False:
                self._apply(changes)
            if lost is not None:
                raise Unavailable("lost")
            await self.pause()
        finally:
            self.under_way -= 1

    def _apply(self, changes: Sequence[FileChange]) -> None:
        if (error := self.refuse(changes)) is not None:
            raise error
        tree = dict(self.commits[self.head].tree) if self.head else {}
        made: dict[str, str | None] = {}
        for change in changes:
            below = {key for key in tree if encode_key(key).startswith(f"{change.path}/")}
            # As PFS does: what goes, or is overwritten, may be a directory.
            for gone in {decode_path(change.path), *below} & set(tree):
                tree.pop(gone)
                made[gone] = None
            if change.data is not None:
                key = decode_path(change.path)
                if any(change.path.startswith(f"{encode_key(other)}/") for other in tree):
                    raise PathConflict(change.path)
                tree[key] = made[key] = b"".join(change.data).decode()
        self.head = self.commit(self.head, made)
        self.members[self.head] = tuple(changes)


class Asked:
    """A request, and its answer when it has come."""

    def __init__(self, gateway: Gateway, method: str, key: str, data: bytes, headers: dict[str, str]) -> None:
        sent = {"content-length": str(len(data))} | headers
        head = RequestHead(
            method=method,
            raw_uri=f"/master.{REPO}/{key}".encode(),
            headers=tuple((name.encode(), value.encode()) for name, value in sent.items()),
        )
        self.answers: list[Response] = []
        self.waiting = Deferred.fromCoroutine(gateway.handle(head, Body(data)))
        self.waiting.addCallback(self.answers.append)

    @property
    def response(self) -> Response:
        (answer,) = self.answers
        return answer

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def version(self) -> str | None:
        return dict(self.response.headers).get("x-amz-version-id")

    @property
    def code(self) -> str:
        body = self.response.body
        text = body.decode() if isinstance(body, bytes) else ""
        return text.partition("<Code>")[2].partition("</Code>")[0]


class Asking:
    """A gateway on such a PFS, and what is asked of it."""

    def __init__(self) -> None:
        self.pfs = WritablePFS()
        self.gateway = Gateway(self.pfs, offload=at_once, reactor=Clock())

    def put(self, key: str, data: str, **headers: str) -> Asked:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Asked(self.gateway, "PUT", key, data.encode(), named)

    def delete(self, key: str) -> Asked:
        return Asked(self.gateway, "DELETE", key, b"", {})
