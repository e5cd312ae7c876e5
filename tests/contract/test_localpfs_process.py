"""The process of the embedded PFS: starting, ending, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from localpfs_process import LocalPFS, running
from recorded import generated

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.admin_pb2_grpc import APIStub as AdminStub
from pachgw.pfs.proto.auth_pb2 import WhoAmIRequest
from pachgw.pfs.proto.auth_pb2_grpc import APIStub as AuthStub
from pachgw.pfs.proto.health_pb2_grpc import HealthStub
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub
from pachgw.pfs.proto.version_pb2_grpc import APIStub as VersionStub

REPO = pb.Repo(name="rec")
MASTER = pb.Commit(repo=REPO, id="master")
BIG = generated(7, 5 << 20)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def content(channel: grpc.Channel, path: str) -> bytes:
    pieces = APIStub(channel).GetFile(pb.GetFileRequest(file=pb.File(commit=MASTER, path=path)))
    return b"".join(piece.value for piece in pieces)


def put(channel: grpc.Channel, path: str, data: bytes) -> None:
    messages = [pb.PutFileRequest(file=pb.File(commit=MASTER, path=path))]
    messages += [pb.PutFileRequest(value=data[at : at + 1000000]) for at in range(0, len(data), 1000000)]
    APIStub(channel).PutFile(iter(messages))


def files_on_disk(state: Path) -> list[Path]:
    return [path for path in (state / "chunks").rglob("*") if path.is_file()]


def begin_put(server: LocalPFS, path: str) -> threading.Event:
    """A PutFile whose stream stays open; the event says that the server has taken most of its bytes."""
    taken = threading.Event()

    def messages() -> Iterator[pb.PutFileRequest]:
        yield pb.PutFileRequest(file=pb.File(commit=MASTER, path=path), value=b"first")
        for _ in range(8):
            yield pb.PutFileRequest(value=BIG)
        taken.set()
        forever.wait()

    forever = threading.Event()
    channel = server.channel()
    call = APIStub(channel).PutFile.future(messages())
    call.add_done_callback(lambda _: (forever.set(), channel.close()))
    return taken


def test_start_serves_all_services(folder: Path) -> None:
    with running(folder / "state", folder / "s", "--listen=127.0.0.1:0") as server:
        assert server.ready["socket"] == str(folder / "s")
        assert server.ready["pid"] == server.process.pid
        with server.channel() as channel:
            version = VersionStub(channel).GetVersion(Empty())
            assert (version.major, version.minor, version.micro) == (1, 13, 4)
            assert HealthStub(channel).Health(Empty()) == Empty()
            cluster = AdminStub(channel).InspectCluster(Empty())
        with grpc.insecure_channel(server.ready["listen"]) as channel:
            assert AdminStub(channel).InspectCluster(Empty()) == cluster
    assert not (folder / "s").exists()
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        assert AdminStub(channel).InspectCluster(Empty()) == cluster


def test_signals_for_the_whole_group_are_ignored(folder: Path) -> None:
    """Whoever stops a service may send them to all of its processes; the parent's end of a pipe decides."""
    server = LocalPFS(folder / "state", folder / "s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(server.process.pid, number)
    with server.channel() as channel:
        HealthStub(channel).Health(Empty())
    assert server.close() == 0


def test_start_in_use(folder: Path) -> None:
    """A second process on the same directory says so in one line."""
    with running(folder / "state", folder / "s"):
        second = subprocess.run(
            [
                sys.executable,
                "-m",
                "pachgw.localpfs",
                f"--state-dir={folder / 'state'}",
                f"--socket={folder / 't'}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == f"pachgw.localpfs: {folder / 'state'} is in use by another process\n"


@pytest.mark.parametrize("text", ['[[token]]\ntoken = "x"\n', "[roles]\nnobody = ['SUPER']\n", "x = 1", "["])
def test_start_bad_tokens(folder: Path, text: str) -> None:
    (folder / "tokens").write_text(text)
    arguments = [
        f"--state-dir={folder / 'state'}",
        f"--socket={folder / 's'}",
        f"--tokens={folder / 'tokens'}",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "pachgw.localpfs", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pachgw.localpfs: {folder / 'tokens'}: ")
    assert ended.stderr.count("\n") == 1


def test_auth_stays_active(folder: Path) -> None:
    """A store once guarded by tokens is not opened by leaving the option out."""
    (folder / "tokens").write_text('[[token]]\ntoken = "secret"\nsubject = "robot:a"\n')
    with running(folder / "state", folder / "s", f"--tokens={folder / 'tokens'}"):
        pass
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        with pytest.raises(grpc.RpcError) as refused:
            AuthStub(channel).WhoAmI(WhoAmIRequest())
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = AuthStub(channel).WhoAmI(WhoAmIRequest(), metadata=[("authn-token", "secret")])
        assert answer.username == "robot:a"


def test_put_file_cancelled(folder: Path) -> None:
    """A stream that is given up leaves no commit, no branch and no file."""
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        stub = APIStub(channel)
        stub.CreateRepo(pb.CreateRepoRequest(repo=REPO))
        taken, forever = threading.Event(), threading.Event()

        def messages() -> Iterator[pb.PutFileRequest]:
            yield pb.PutFileRequest(file=pb.File(commit=MASTER, path="/a"), value=BIG)
            yield pb.PutFileRequest(file=pb.File(commit=MASTER, path="/b"), value=BIG)
            taken.set()
            forever.wait()

        call = stub.PutFile.future(messages())
        assert taken.wait(60)
        call.cancel()
        forever.set()
        # Ends after the calls that run, and after what they leave to be cleaned up.
        assert server.close() == 0
    assert files_on_disk(folder / "state") == []
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        assert not APIStub(channel).ListBranch(pb.ListBranchRequest(repo=REPO)).branch_info


def test_put_file_cancelled_often(folder: Path) -> None:
    """A lost client is never taken for the end of its stream, however the two meet."""
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        stub = APIStub(channel)
        stub.CreateRepo(pb.CreateRepoRequest(repo=REPO))
        for number in range(300):
            sent, forever = threading.Event(), threading.Event()

            def messages(sent: threading.Event, forever: threading.Event) -> Iterator[pb.PutFileRequest]:
                yield pb.PutFileRequest(file=pb.File(commit=MASTER, path="/a"), value=b"half of it")
                sent.set()
                forever.wait()

            call = stub.PutFile.future(messages(sent, forever))
            assert sent.wait(60)
            # Another call now and then lets the server take the first message before it hears of the end.
            if number % 2:
                stub.InspectRepo(pb.InspectRepoRequest(repo=REPO))
            call.cancel()
            forever.set()
        put(channel, "/whole", b"all of it")
        commits = list(stub.ListCommitStream(pb.ListCommitRequest(repo=REPO)))
        listed = stub.ListFileStream(pb.ListFileRequest(file=pb.File(commit=MASTER, path="/")))
        assert [info.file.path for info in listed] == ["/whole"]
        assert len(commits) == 1


def test_kill_in_put_file(folder: Path) -> None:
    """SIGKILL while a file arrives, twice: what was acknowledged is there, byte for byte, and no more."""
    acknowledged: dict[str, bytes] = {}
    for round_ in range(2):
        server = LocalPFS(folder / "state", folder / "s")
        with server.channel() as channel:
            if round_ == 0:
                APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=REPO))
            for name, data in (("small", b"x" * round_), ("big", BIG[round_:])):
                put(channel, f"/{name}{round_}", data)
                acknowledged[f"/{name}{round_}"] = data
        assert begin_put(server, f"/torn{round_}").wait(60)
        server.kill()
    with running(folder / "state", folder / "s") as server, server.channel() as channel:
        listed = APIStub(channel).ListFileStream(pb.ListFileRequest(file=pb.File(commit=MASTER, path="/")))
        assert [info.file.path for info in listed] == sorted(acknowledged)
        assert {path: content(channel, path) for path in acknowledged} == acknowledged
        assert not list(APIStub(channel).Fsck(pb.FsckRequest()))
        commits = list(APIStub(channel).ListCommitStream(pb.ListCommitRequest(repo=REPO)))
        assert len(commits) == len(acknowledged)
    assert not list((folder / "state" / "chunks" / "tmp").iterdir())
