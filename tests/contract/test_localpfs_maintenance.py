"""What the operator's commands ask of a running store, and garbage collection beside those who write."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from localpfs_process import LocalPFS, running
from recorded import generated

from pachgw.localpfs import lock
from pachgw.localpfs.authority import TOKEN_KEY
from pachgw.localpfs.proto import maintenance_pb2 as maintenance
from pachgw.localpfs.proto.maintenance_pb2_grpc import MaintenanceStub
from pachgw.pfs.proto import auth_pb2 as auth
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

BIG = generated(3, 3 << 20)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[LocalPFS]:
    with running(folder / "state", folder / "s", "--listen=127.0.0.1:0") as server:
        yield server


def commit(repo: str, name: str = "master") -> pb.Commit:
    return pb.Commit(repo=pb.Repo(name=repo), id=name)


def put(channel: grpc.Channel, repo: str, *content: tuple[str, bytes], branch: str = "master") -> None:
    def messages() -> Iterator[pb.PutFileRequest]:
        for path, data in content:
            file = pb.File(commit=commit(repo, branch), path=path)
            yield pb.PutFileRequest(file=file, overwrite_index=pb.OverwriteIndex())
            for start in range(0, len(data), 1 << 20):
                yield pb.PutFileRequest(value=data[start : start + (1 << 20)])

    APIStub(channel).PutFile(messages())


def get(channel: grpc.Channel, repo: str, path: str, name: str = "master") -> bytes:
    request = pb.GetFileRequest(file=pb.File(commit=commit(repo, name), path=path))
    return b"".join(piece.value for piece in APIStub(channel).GetFile(request))


def make_repo(channel: grpc.Channel, name: str) -> None:
    APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=name)))


def check(channel: grpc.Channel) -> list[str]:
    findings = MaintenanceStub(channel).Check(maintenance.CheckRequest(read_data=True))
    return [finding.problem for finding in findings]


def collect(channel: grpc.Channel) -> maintenance.Collected:
    return MaintenanceStub(channel).CollectGarbage(maintenance.CollectRequest())


def files_on_disk(state: Path) -> list[Path]:
    return [path for path in (state / "chunks").rglob("*") if path.is_file()]


def test_maintenance_over_the_socket(server: LocalPFS, folder: Path) -> None:
    with server.channel() as channel:
        make_repo(channel, "r")
        put(channel, "r", ("/big", BIG), ("/small", b"small"))
        assert check(channel) == []
        assert collect(channel) == maintenance.Collected()
        assert get(channel, "r", "/big") == BIG
        (path,) = files_on_disk(folder / "state")
        data = bytearray(path.read_bytes())
        data[1 << 20] ^= 1
        path.write_bytes(data)
        (problem,) = check(channel)
        assert problem.startswith("r@")
        assert problem.endswith(f":/big: object {path.parent.name}{path.name} is damaged")
        APIStub(channel).DeleteRepo(pb.DeleteRepoRequest(repo=pb.Repo(name="r")))
        collected = collect(channel)
        assert (collected.nodes, collected.small_objects, collected.files) == (1, 1, 1)
        assert collected.bytes > len(BIG) + 5
        assert files_on_disk(folder / "state") == []
        assert check(channel) == []


def test_maintenance_over_tcp_is_refused(server: LocalPFS) -> None:
    with grpc.insecure_channel(server.ready["listen"]) as channel:
        stub = MaintenanceStub(channel)
        calls = (
            lambda: list(stub.Check(maintenance.CheckRequest())),
            lambda: stub.CollectGarbage(maintenance.CollectRequest()),
            lambda: stub.OperatorToken(Empty()),
            lambda: stub.RevokeTokens(maintenance.RevokeTokensRequest(subject="robot:a")),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "unix socket" in refused.value.details()


def test_operator_token_and_revocation(folder: Path) -> None:
    tokens = folder / "tokens"
    tokens.write_text('[[token]]\ntoken = "alice-1"\nsubject = "robot:alice"\n')
    tokens.chmod(0o600)
    with running(folder / "state", folder / "s", f"--tokens={tokens}") as server, server.channel() as channel:
        stub = MaintenanceStub(channel)
        operator = [(TOKEN_KEY, stub.OperatorToken(Empty()).token)]
        alice = [(TOKEN_KEY, "alice-1")]
        whoami = AuthStub(channel).WhoAmI
        assert whoami(auth.WhoAmIRequest(), metadata=operator).username == "pach:root"
        assert whoami(auth.WhoAmIRequest(), metadata=alice).username == "robot:alice"
        assert stub.RevokeTokens(maintenance.RevokeTokensRequest(subject="robot:alice")).revoked == 1
        with pytest.raises(grpc.RpcError) as refused:
            whoami(auth.WhoAmIRequest(), metadata=alice)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_collect_garbage_while_a_backup_runs(server: LocalPFS, folder: Path) -> None:
    with server.channel() as channel:
        descriptor = lock.keep_objects(folder / "state", wait=False)
        with pytest.raises(grpc.RpcError) as refused:
            collect(channel)
        os.close(descriptor)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.value.details() == "garbage cannot be collected now: a backup is running"
        assert collect(channel) == maintenance.Collected()


def test_collect_garbage_takes_what_a_kill_left(folder: Path) -> None:
    server = LocalPFS(folder / "state", folder / "s")
    with server.channel() as channel:
        make_repo(channel, "r")
    server.kill()
    # As after a kill between the renaming of a file and its transaction.
    orphan = folder / "state" / "chunks" / "ab" / ("c" * 126)
    orphan.write_bytes(b"orphan")
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        collected = collect(channel)
    assert (collected.files, collected.bytes) == (1, 6)
    assert not orphan.exists()


def test_collect_garbage_leaves_a_running_upload(server: LocalPFS, folder: Path) -> None:
    """What a stream has brought so far stays, in files and in the database, until the stream ends."""
    small = [(f"/small/{number}", generated(number, 16 << 10)) for number in range(300)]
    go_on, begun = threading.Event(), threading.Event()

    def messages() -> Iterator[pb.PutFileRequest]:
        for path, data in [("/big", BIG), *small]:
            yield pb.PutFileRequest(file=pb.File(commit=commit("r"), path=path))
            yield pb.PutFileRequest(value=data)
        begun.set()
        go_on.wait()

    with server.channel() as channel:
        make_repo(channel, "r")
        call = APIStub(channel).PutFile.future(messages())
        begun.wait()
        for _ in range(3):
            assert collect(channel) == maintenance.Collected()
        go_on.set()
        call.result()
        assert get(channel, "r", "/big") == BIG
        assert all(get(channel, "r", path) == data for path, data in small)
        assert check(channel) == []


class Writer:
    """Writes, copies and deletes in a repo of its own, and knows what each commit has to hold."""

    # Few, so that what has become garbage is written again in the moment in which it is collected.
    CONTENTS = tuple(generated(number, size) for number, size in enumerate((10, 3000, 40_000, 1_500_000)))

    def __init__(self, channel: grpc.Channel, number: int) -> None:
        self.repo = f"r{number}"
        self.commits: dict[str, dict[str, bytes]] = {}
        self._channel = channel
        self._stub = APIStub(channel)
        self._chance = random.Random(number)
        self._now: dict[str, bytes] = {}

    def run(self) -> None:
        make_repo(self._channel, self.repo)
        for number in range(40):
            self._put()
            if number % 5 == 4:
                self._delete_commit()
            if number % 7 == 6:
                self._delete_all_files()
            if number % 9 == 8:
                self._copy(f"/copy{number}")

    def _made(self, now: dict[str, bytes]) -> None:
        head = self._stub.InspectCommit(pb.InspectCommitRequest(commit=commit(self.repo)))
        self._now = self.commits[head.commit.id] = now

    def _put(self) -> None:
        chance = self._chance
        content = {
            f"/d{chance.randrange(3)}/{chance.randrange(8)}": chance.choice(self.CONTENTS) for _ in range(2)
        }
        put(self._channel, self.repo, *content.items())
        self._made({**self._now, **content})

    def _delete_commit(self) -> None:
        """Any but the head: what the branch then holds would be another commit's."""
        gone = self._chance.choice(list(self.commits)[:-1])
        self._stub.DeleteCommit(pb.DeleteCommitRequest(commit=commit(self.repo, gone)))
        del self.commits[gone]

    def _delete_all_files(self) -> None:
        self._stub.DeleteFile(pb.DeleteFileRequest(file=pb.File(commit=commit(self.repo), path="/")))
        self._made({})

    def _copy(self, target: str) -> None:
        if self._now:
            path, data = self._chance.choice(sorted(self._now.items()))
            source = pb.File(commit=commit(self.repo), path=path)
            copy = pb.File(commit=commit(self.repo), path=target)
            self._stub.CopyFile(pb.CopyFileRequest(src=source, dst=copy, overwrite=True))
            self._made({**self._now, target: data})


def test_collect_garbage_beside_writers(server: LocalPFS) -> None:
    """Four write for a while, and garbage is collected all that time: nothing is lost, nothing is left."""
    ended = threading.Event()

    def collect_on() -> int:
        with server.channel() as channel:
            for rounds in itertools.count(1):
                collect(channel)
                if ended.is_set():
                    return rounds
        return 0

    with contextlib.ExitStack() as cleanups, ThreadPoolExecutor(5) as pool:
        channels = [cleanups.enter_context(server.channel()) for _ in range(4)]
        writers = [Writer(channel, number) for number, channel in enumerate(channels)]
        collecting = pool.submit(collect_on)
        try:
            for done in [pool.submit(writer.run) for writer in writers]:
                done.result()
        finally:
            ended.set()
        assert collecting.result() > 1
    with server.channel() as channel:
        assert check(channel) == []
        for writer in writers:
            for commit_id, files in writer.commits.items():
                top = pb.File(commit=commit(writer.repo, commit_id), path="/")
                walked = APIStub(channel).WalkFile(pb.WalkFileRequest(file=top))
                assert {info.file.path for info in walked if info.file_type == pb.FILE} == set(files)
                for path, data in files.items():
                    assert get(channel, writer.repo, path, commit_id) == data
            APIStub(channel).DeleteRepo(pb.DeleteRepoRequest(repo=pb.Repo(name=writer.repo)))
        collect(channel)
        assert collect(channel) == maintenance.Collected()
        assert check(channel) == []
