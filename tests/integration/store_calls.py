"""PutFile and GetFile on branch master of one repo, as tests of the store want them."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto.pfs_pb2_grpc import APIStub

REPO = pb.Repo(name="r")
MASTER = pb.Commit(repo=REPO, id="master")
_MESSAGE_BYTES = 1_000_000


def create_repo(channel: grpc.Channel) -> None:
    APIStub(channel).CreateRepo(pb.CreateRepoRequest(repo=REPO))


def put(channel: grpc.Channel, files: dict[str, bytes]) -> None:
    """All the files in one stream, in place of what was there."""

    def messages() -> Iterator[pb.PutFileRequest]:
        for path, data in files.items():
            request = pb.PutFileRequest(file=pb.File(commit=MASTER, path=path), value=data[:_MESSAGE_BYTES])
            request.overwrite_index.index = 0
            yield request
            for start in range(_MESSAGE_BYTES, len(data), _MESSAGE_BYTES):
                yield pb.PutFileRequest(value=data[start : start + _MESSAGE_BYTES])

    APIStub(channel).PutFile(messages())


def get(
    channel: grpc.Channel, path: str, offset: int = 0, size: int = 0
) -> tuple[bytes, grpc.RpcError | None]:
    """The bytes that came, and what ended them where it was not their end. A size of 0 is all."""
    request = pb.GetFileRequest(file=pb.File(commit=MASTER, path=path), offset_bytes=offset, size_bytes=size)
    came = bytearray()
    try:
        for piece in APIStub(channel).GetFile(request):
            came += piece.value
    except grpc.RpcError as error:
        return bytes(came), error
    return bytes(came), None


def paths(channel: grpc.Channel) -> set[str]:
    """Of all files at the head."""
    walked = APIStub(channel).WalkFile(pb.WalkFileRequest(file=pb.File(commit=MASTER, path="/")))
    return {info.file.path for info in walked if info.file_type == pb.FILE}
