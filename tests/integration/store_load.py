"""A mixed load on the embedded PFS by clients that remember what they were told.

Each client writes into a repo of its own and below a directory of its own in a shared one, one call after the
other. So when the server is killed at most one of its calls has an unknown outcome. What the store must hold
is store_model.py's; looking whether it does, store_audit.py's.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import grpc
from store_model import Change, Delete, Files, Piece, Put, RepoState, changed

from pachgw.localpfs.proto import maintenance_pb2 as maintenance
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

SHARED = "shared"
MESSAGE_BYTES = 1_000_000
_DEADLINE_SECONDS = 60
_OPEN = "open"
_PATHS = tuple(f"/{name}" for name in ("a", "b", "c", "d/a", "d/b", "d/e/a", "d/e/b", "f/a", "f/b", "g"))
_MOST_PIECES = 4
_MOST_COMMITS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of pieces, in bytes: the least and the most of each kind."""

    small: tuple[int, int] = (1, 16 << 10)
    medium: tuple[int, int] = (20_000, 300_000)
    large: tuple[int, int] = (2_000_000, 4_500_000)
    weights: tuple[int, int, int] = (12, 8, 1)


def commit_named(repo: str, text: str) -> pb.Commit:
    return pb.Commit(repo=pb.Repo(name=repo), id=text)


def put_messages(repo: str, target: str, changes: Sequence[Change]) -> Iterator[pb.PutFileRequest]:
    """One PutFile stream that makes all the changes."""
    for change in changes:
        request = pb.PutFileRequest(file=pb.File(commit=commit_named(repo, target), path=change.path))
        match change:
            case Delete():
                request.delete = True
                yield request
            case Put(_, piece, keep):
                if keep is not None:
                    request.overwrite_index.index = keep
                data = piece.content()
                request.value = data[:MESSAGE_BYTES]
                yield request
                for start in range(MESSAGE_BYTES, len(data), MESSAGE_BYTES):
                    yield pb.PutFileRequest(value=data[start : start + MESSAGE_BYTES])


def is_cut(error: grpc.RpcError) -> bool:
    """Whether the server was gone before it had answered."""
    gone = error.code() is grpc.StatusCode.UNAVAILABLE
    return gone or (error.code() is grpc.StatusCode.UNKNOWN and error.details() == "Stream removed")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A call whose answer never came: what the store holds where it was done."""

    operation: str
    repo: RepoState
    shared: Files


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    call: Callable[[APIStub], object]
    repo: RepoState | None = None
    """What the client's repo is afterwards; None: as before."""
    shared: Files | None = None
    new_commit: int | None = None
    """Its number, where the call answers with its id."""
    is_refused: bool = False


class Client:
    """One client: what it did, what it knows, what it is in doubt about."""

    def __init__(self, number: int, sizes: Sizes) -> None:
        self.name = f"client{number}"
        self.repo = RepoState()
        self.shared: Files = {}
        """Its files in the shared repo; paths begin with /NAME/."""
        self.shared_commits = 0
        self.ids: dict[int, str] = {}
        """Ids of commits by number, as far as they are known."""
        self.doubt: Doubt | None = None
        self.counts: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self._sizes = sizes
        self._commits = 0
        self._random = random.Random()

    def work(self, channel: grpc.Channel, seed: str, stop: threading.Event) -> None:
        """Make calls until told to stop or the server is gone."""
        self._random = random.Random(f"{seed}/{self.name}")
        stub = APIStub(channel)
        while not stop.is_set():
            operation = self._choose(channel)
            self.counts[operation.name] += 1
            after = Doubt(
                operation.name,
                self.repo if operation.repo is None else operation.repo,
                self.shared if operation.shared is None else operation.shared,
            )
            try:
                answer = operation.call(stub)
            except grpc.RpcError as error:
                if is_cut(error):
                    if not operation.is_refused:
                        self.doubt = after
                    return
                if operation.is_refused:
                    continue
                self.unexpected.append(f"{self.name}: {operation.name}: {error.code()} {error.details()}")
                return
            if operation.is_refused:
                self.unexpected.append(f"{self.name}: {operation.name} was not refused")
                return
            if operation.new_commit is not None and isinstance(answer, pb.Commit):
                self.ids[operation.new_commit] = answer.id
            self.settle(after)

    @property
    def doubts_a_change(self) -> bool:
        """Whether there is a call without an answer that would have made a difference."""
        return self.doubt is not None and (
            self.doubt.repo != self.repo or self.doubt.shared is not self.shared
        )

    def settle(self, after: Doubt) -> None:
        """The operation was done."""
        self.shared_commits += after.shared is not self.shared
        self.repo, self.shared = after.repo, after.shared
        self.doubt = None

    def _choose(self, channel: grpc.Channel) -> _Operation:
        if not self.repo.exists:
            return self._create_repo()
        if len(self.repo.commits) > _MOST_COMMITS and self._random.random() < 0.3:
            return self._delete_repo()
        ways: dict[Callable[[], _Operation | None], int] = {
            self._put: 40,
            self._put_shared: 14,
            self._put_cancelled: 5,
            self._put_refused: 3,
            self._copy: 6,
            self._delete_file: 5,
            self._start_commit: 4,
            self._finish_commit: 6,
            self._create_branch: 3,
            self._delete_branch: 2,
            self._delete_commit: 4,
            self._delete_repo: 1,
            lambda: self._collect_garbage(channel): 3,
        }
        while True:
            (way,) = self._random.choices(tuple(ways), tuple(ways.values()))
            if (operation := way()) is not None:
                return operation

    def _next_commit(self) -> int:
        self._commits += 1
        return self._commits

    def _piece(self) -> Piece:
        kinds = (self._sizes.small, self._sizes.medium, self._sizes.large)
        (kind,) = self._random.choices(range(3), self._sizes.weights)
        if self._random.random() < 0.3:
            # Bytes that others put and delete as well.
            seed = self._random.randrange(6)
            return Piece(seed, random.Random(f"{kind}/{seed}").randint(*kinds[kind]))
        return Piece(self._random.getrandbits(40), self._random.randint(*kinds[kind]))

    def _changes(self, files: Files, prefix: str = "") -> list[Change]:
        """A stream's worth, all of which pass."""
        result: list[Change] = []
        for _ in range(self._random.choice((1, 1, 1, 1, 2, 3, 5))):
            path = prefix + self._random.choice(_PATHS)
            if result and self._random.random() < 0.2:
                result.append(Delete(path))
            else:
                long = len(files.get(path, ())) >= _MOST_PIECES
                keep = 0 if long else self._random.choice((None, 0, 0, 1))
                result.append(Put(path, self._piece(), keep))
            files = changed(files, result[-1:])
        return result

    def _put(self) -> _Operation:
        branch = self._random.choice((*self.repo.branches, "master", "dev"))
        head = self.repo.head(branch)
        changes = self._changes({} if head is None else head.files)
        after = self.repo.written(branch, changes, self._next_commit())
        return _Operation(
            "put into an open commit" if head is not None and head.is_open else "put",
            lambda stub: stub.PutFile(put_messages(self.name, branch, changes), timeout=_DEADLINE_SECONDS),
            repo=after,
        )

    def _put_shared(self) -> _Operation:
        after = self.shared
        # One that comes to nothing could not be told from one that was not done: others commit there, too.
        while after == self.shared:
            changes = self._changes(self.shared, f"/{self.name}")
            after = changed(self.shared, changes)
        return _Operation(
            "put into the shared repo",
            lambda stub: stub.PutFile(put_messages(SHARED, "master", changes), timeout=_DEADLINE_SECONDS),
            shared=after,
        )

    def _put_cancelled(self) -> _Operation:
        branch = self._random.choice(("master", "dev"))
        changes = self._changes({})

        def call(stub: APIStub) -> None:
            sent, forever = threading.Event(), threading.Event()

            def messages() -> Iterator[pb.PutFileRequest]:
                yield from put_messages(self.name, branch, changes)
                sent.set()
                forever.wait(_DEADLINE_SECONDS)

            running = stub.PutFile.future(messages(), timeout=_DEADLINE_SECONDS)
            running.add_done_callback(lambda _: sent.set())
            sent.wait(_DEADLINE_SECONDS)
            running.cancel()
            forever.set()
            running.result()

        def expecting_cancel(stub: APIStub) -> None:
            try:
                call(stub)
            except grpc.FutureCancelledError:
                return
            raise AssertionError("a stream without an end was acknowledged")

        return _Operation("cancelled put", expecting_cancel)

    def _put_refused(self) -> _Operation | None:
        """A stream whose last file cannot be: none of the others may stay."""
        head = self.repo.head("master")
        if head is None or head.is_open or "/a" not in head.files:
            return None
        changes = [Put("/a", self._piece(), None), Put("/a/below", self._piece(), None)]
        return _Operation(
            "refused put",
            lambda stub: stub.PutFile(put_messages(self.name, "master", changes), timeout=_DEADLINE_SECONDS),
            is_refused=True,
        )

    def _copy(self) -> _Operation | None:
        head = self.repo.head("master")
        if head is None or not head.files:
            return None
        source, target = self._random.choice(sorted(head.files)), self._random.choice(_PATHS)
        overwrite = self._random.random() < 0.5
        pieces = head.files[source]
        if source == target or (not overwrite and len(head.files.get(target, ()) + pieces) > _MOST_PIECES):
            return None
        changes: list[Change] = [Delete(target)] if overwrite else []
        changes += [Put(target, piece, None) for piece in pieces]
        request = pb.CopyFileRequest(
            src=pb.File(commit=commit_named(self.name, "master"), path=source),
            dst=pb.File(commit=commit_named(self.name, "master"), path=target),
            overwrite=overwrite,
        )
        return _Operation(
            "copy",
            lambda stub: stub.CopyFile(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.written("master", changes, self._next_commit()),
        )

    def _delete_file(self) -> _Operation | None:
        branch = self._random.choice((*self.repo.branches, "master"))
        head = self.repo.head(branch)
        if head is None or not head.files:
            return None
        path = self._random.choice([*sorted(head.files), "/d/e", "/d", "/f"])
        request = pb.DeleteFileRequest(file=pb.File(commit=commit_named(self.name, branch), path=path))
        return _Operation(
            "delete a file",
            lambda stub: stub.DeleteFile(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.written(branch, [Delete(path)], self._next_commit()),
        )

    def _start_commit(self) -> _Operation | None:
        branch = self._random.choice(("master", "dev", _OPEN))
        head = self.repo.head(branch)
        if head is not None and head.is_open:
            return None
        number = self._next_commit()
        request = pb.StartCommitRequest(parent=commit_named(self.name, ""), branch=branch)
        return _Operation(
            "start a commit",
            lambda stub: stub.StartCommit(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.started(branch, number),
            new_commit=number,
        )

    def _finish_commit(self) -> _Operation | None:
        found = [commit for commit in self.repo.commits if commit.is_open and commit.number in self.ids]
        if not found:
            return None
        number = self._random.choice(found).number
        request = pb.FinishCommitRequest(commit=commit_named(self.name, self.ids[number]))
        return _Operation(
            "finish a commit",
            lambda stub: stub.FinishCommit(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.finished(number),
        )

    def _create_branch(self) -> _Operation | None:
        head = self.repo.head("master")
        if head is None:
            return None
        name = self._random.choice(("dev", "old", _OPEN))
        at = self.repo.head(name)
        if at is not None and at.is_open:
            return None
        request = pb.CreateBranchRequest(
            branch=pb.Branch(repo=pb.Repo(name=self.name), name=name), head=commit_named(self.name, "master")
        )
        return _Operation(
            "create a branch",
            lambda stub: stub.CreateBranch(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.with_branch(name, head.number),
        )

    def _delete_branch(self) -> _Operation | None:
        names = [name for name in self.repo.branches if name != "master"]
        if not names:
            return None
        name = self._random.choice(names)
        branch = pb.Branch(repo=pb.Repo(name=self.name), name=name)
        return _Operation(
            "delete a branch",
            lambda stub: stub.DeleteBranch(pb.DeleteBranchRequest(branch=branch), timeout=_DEADLINE_SECONDS),
            repo=self.repo.without_branch(name),
        )

    def _delete_commit(self) -> _Operation | None:
        known = [commit.number for commit in self.repo.commits if commit.number in self.ids]
        if not known:
            return None
        number = self._random.choice(known)
        request = pb.DeleteCommitRequest(commit=commit_named(self.name, self.ids[number]))
        return _Operation(
            "delete a commit",
            lambda stub: stub.DeleteCommit(request, timeout=_DEADLINE_SECONDS),
            repo=self.repo.without(number),
        )

    def _create_repo(self) -> _Operation:
        request = pb.CreateRepoRequest(repo=pb.Repo(name=self.name))
        return _Operation(
            "create the repo",
            lambda stub: stub.CreateRepo(request, timeout=_DEADLINE_SECONDS),
            repo=replace(RepoState(), exists=True),
        )

    def _delete_repo(self) -> _Operation:
        request = pb.DeleteRepoRequest(repo=pb.Repo(name=self.name), force=True)
        return _Operation(
            "delete the repo",
            lambda stub: stub.DeleteRepo(request, timeout=_DEADLINE_SECONDS),
            repo=RepoState(),
        )

    def _collect_garbage(self, channel: grpc.Channel) -> _Operation:
        def call(_: APIStub) -> None:
            try:
                MaintenanceStub(channel).CollectGarbage(
                    maintenance.CollectRequest(), timeout=_DEADLINE_SECONDS
                )
            except grpc.RpcError as error:
                # Another client's is running.
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise

        return _Operation("collect garbage", call)
