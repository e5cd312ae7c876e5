"""The objects that parts read: `small-N`, and a directory `many/` of 1 KiB each; a tree of a million.

Put into PFS in a stream, written where rclone reads, and sent to an endpoint that has not got them. What is
there already is left as it is.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import grpc

from bench.apart import separate
from bench.bare import REPLACE
from bench.client import Client, Refused, make_bucket
from bench.stage import Stage
from bench.subjects import S3, branch_and_repo
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto import pfs_pb2_grpc

SMALL = 64
SMALL_KEYS = "small-%d"
PUT_KEYS = "put-%d"
MANY_KEYS = "many/%06d"
OBJECT_BYTES = 1024
MILLION_KEYS = 1000
"""In each of the tree's directories."""


def make_repo(stub: pfs_pb2_grpc.APIStub, bucket: str) -> None:
    """The bucket's repo and branch are there."""
    branch, repo = branch_and_repo(bucket)
    try:
        stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=repo)))
    except grpc.RpcError as error:
        if "already exists" not in str(error):
            raise
    head = pb.Branch(repo=pb.Repo(name=repo), name=branch)
    try:
        stub.InspectBranch(pb.InspectBranchRequest(branch=head))
    except grpc.RpcError:
        stub.CreateBranch(pb.CreateBranchRequest(branch=head))


def _is_there(stub: pfs_pb2_grpc.APIStub, bucket: str, path: str) -> bool:
    branch, repo = branch_and_repo(bucket)
    file = pb.File(commit=pb.Commit(repo=pb.Repo(name=repo), id=branch), path=path)
    try:
        stub.InspectFile(pb.InspectFileRequest(file=file))
    except grpc.RpcError:
        return False
    return True


def put_files(stub: pfs_pb2_grpc.APIStub, bucket: str, files: Iterable[tuple[str, bytes]]) -> None:
    """All of them in one stream, one commit."""
    branch, repo = branch_and_repo(bucket)
    commit = pb.Commit(repo=pb.Repo(name=repo), id=branch)

    def messages() -> Iterator[pb.PutFileRequest]:
        for path, data in files:
            yield pb.PutFileRequest(
                file=pb.File(commit=commit, path=path), value=data, overwrite_index=REPLACE
            )

    stub.PutFile(messages())


def fill(stage: Stage, many: int) -> None:
    """The objects are in PFS."""
    with stage.channel() as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        make_repo(stub, stage.bucket)
        own = f"{stage.branch}.{stage.bare_writing().repo}"
        make_repo(stub, own)
        put_files(stub, own, ((f"/{PUT_KEYS % number}", b"") for number in range(SMALL)))
        for keys, count in ((SMALL_KEYS, SMALL), (MANY_KEYS, many)):
            if not _is_there(stub, stage.bucket, f"/{keys % (count - 1)}"):
                files = ((f"/{keys % number}", random.randbytes(OBJECT_BYTES)) for number in range(count))
                put_files(stub, stage.bucket, files)


def fill_million(stage: Stage, bucket: str, count: int) -> None:
    """A tree of so many files, a thousand in a directory, is in PFS."""
    with stage.channel() as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        make_repo(stub, bucket)
        path = "/{:04d}/{:03d}".format
        if not _is_there(stub, bucket, path(*divmod(count - 1, MILLION_KEYS))):
            files = ((path(*divmod(number, MILLION_KEYS)), b"%d" % number) for number in range(count))
            put_files(stub, bucket, files)


def write(directory: Path, bucket: str, many: int) -> None:
    """The objects are files below the directory."""
    (directory / bucket / "many").mkdir(parents=True, exist_ok=True)
    for keys, count in ((SMALL_KEYS, SMALL), (MANY_KEYS, many)):
        for number in range(count):
            (directory / bucket / (keys % number)).write_bytes(os.urandom(OBJECT_BYTES))


def settle(gateway: S3) -> None:
    """The gateway has read the history of the bucket, and seen that the objects are there."""
    with closing(Client(gateway.told())) as client:
        client.ask("GET", SMALL_KEYS % 0)
        client.ask("GET", query={"versions": "", "max-keys": "1"})


def send(endpoint: S3, many: int) -> None:
    """The objects are behind the endpoint: sent, unless they are there, as where it serves the same PFS."""
    make_bucket(endpoint.told(), endpoint.bucket)
    client = Client(endpoint.told())
    for keys, count in ((SMALL_KEYS, SMALL), (MANY_KEYS, many)):
        try:
            client.ask("HEAD", keys % (count - 1))
        except Refused:
            order = {
                **endpoint.told(),
                "method": "PUT",
                "connections": 8,
                "seconds": 24 * 3600.0,
                "keys": keys,
                "walk": count,
                "limit": count,
                "body": OBJECT_BYTES,
            }
            separate("bench.http", told=order)
    client.close()
