"""Many GetFile streams that nobody hurries to read: other calls pass, memory is bounded, no byte is lost."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from localpfs_process import LocalPFS, running
from recorded import generated

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

STREAMS = 200
SIZE = (5 << 20) + 12345
COMMIT = pb.Commit(repo=pb.Repo(name="rec"), id="master")
FILE = pb.File(commit=COMMIT, path="/large")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPFS]:
    # Not tmp_path: the name of a unix socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory() as name, running(Path(name, "state"), Path(name, "sock")) as server:
        with server.channel() as channel:
            stub = APIStub(channel)
            stub.CreateRepo(pb.CreateRepoRequest(repo=COMMIT.repo))
            data = generated(7, SIZE)
            messages = [pb.PutFileRequest(file=FILE)]
            messages += [pb.PutFileRequest(value=data[at : at + 999_999]) for at in range(0, SIZE, 999_999)]
            stub.PutFile(iter(messages))
        yield server


@pytest.fixture
def channel(server: LocalPFS) -> Iterator[grpc.Channel]:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 20 << 20),
        # The client takes nothing ahead, so that what is not read stays with the server.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 65536),
    ]
    with grpc.insecure_channel(f"unix:{server.socket}", options=options) as channel:
        yield channel


def peak_bytes(server: LocalPFS) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_streams_that_are_read_slowly_hold_up_nobody(server: LocalPFS, channel: grpc.Channel) -> None:
    stub = APIStub(channel)
    data = generated(7, SIZE)
    before = peak_bytes(server)
    starts = range(0, SIZE, SIZE // STREAMS)
    streams = [stub.GetFile(pb.GetFileRequest(file=FILE, offset_bytes=start)) for start in starts]
    heads = [next(stream).value for stream in streams]
    assert stub.InspectFile(pb.InspectFileRequest(file=FILE)).size_bytes == SIZE
    stub.PutFile(iter([pb.PutFileRequest(file=pb.File(commit=COMMIT, path="/small"), value=b"x")]))
    assert b"".join(message.value for message in stub.GetFile(pb.GetFileRequest(file=FILE))) == data
    # With two megabytes for each it would be 400 MiB.
    assert peak_bytes(server) - before < 120 << 20
    for start, head, stream in zip(starts, heads, streams, strict=True):
        assert head + b"".join(message.value for message in stream) == data[start:]


def test_streams_that_are_given_up_leave_room_for_large_messages(
    server: LocalPFS, channel: grpc.Channel
) -> None:
    stub = APIStub(channel)
    request = pb.GetFileRequest(file=FILE)
    streams = [stub.GetFile(request) for _ in range(STREAMS)]
    for stream in streams:
        next(stream)
        stream.cancel()
    whole: list[int] = []
    # The server may hear of the last of them a moment later.
    for _ in range(100):
        whole = [len(message.value) for message in stub.GetFile(request)]
        if whole[0] == 2 << 20:
            break
    assert whole == [2 << 20, 2 << 20, SIZE - (4 << 20)]


def test_a_range_has_the_bytes_of_the_file(server: LocalPFS, channel: grpc.Channel) -> None:
    stub = APIStub(channel)
    data = generated(7, SIZE)
    held = [stub.GetFile(pb.GetFileRequest(file=FILE)) for _ in range(STREAMS)]
    for stream in held:
        next(stream)  # from here on messages are small
    for start, size in ((0, 1), (65535, 2), (1 << 20, 1 << 20), (1_000_000, 3_000_000), (SIZE - 1, 5)):
        request = pb.GetFileRequest(file=FILE, offset_bytes=start, size_bytes=size)
        found = b"".join(message.value for message in stub.GetFile(request))
        assert found == data[start : start + size]
    for stream in held:
        stream.cancel()
