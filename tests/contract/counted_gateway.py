"""A gateway on a real PFS whose calls are counted at the gRPC server, and a second writer beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import grpc
from counting_pfs import counting
from localpfs_process import LocalPFS, running
from ready_body import Body
from scripted_pfs import short_directory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from pachgw.messages import RequestHead, Response
from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.proto import auth_pb2, auth_pb2_grpc, pfs_pb2, pfs_pb2_grpc
from pachgw.s3.gateway import Gateway

T = TypeVar("T")
REPO, BUCKET = "r", "master.r"


async def offload(function: Callable[..., T], /, *args: object) -> T:
    return await deferToThread(function, *args)


class Writer:
    """PFS without a gateway, in whatever thread."""

    def __init__(self, channel: grpc.Channel, token: str | None = None) -> None:
        self.stub = pfs_pb2_grpc.APIStub(channel)
        self.metadata = (("authn-token", token),) if token else ()

    def make_bucket(self) -> None:
        self.stub.CreateRepo(pfs_pb2.CreateRepoRequest(repo=_repo()), metadata=self.metadata)
        request = pfs_pb2.CreateBranchRequest(branch=pfs_pb2.Branch(repo=_repo(), name="master"))
        self.stub.CreateBranch(request, metadata=self.metadata)

    def put(self, path: str, *pieces: bytes, commit: str = "master", append: bool = False) -> None:
        """Each piece becomes an object of the file."""
        for number, piece in enumerate(pieces):
            index = None if number or append else pfs_pb2.OverwriteIndex(index=0)
            message = pfs_pb2.PutFileRequest(file=_file(path, commit), value=piece, overwrite_index=index)
            self.stub.PutFile(iter([message]), metadata=self.metadata)

    def delete(self, path: str, commit: str = "master") -> None:
        request = pfs_pb2.DeleteFileRequest(file=_file(path, commit))
        self.stub.DeleteFile(request, metadata=self.metadata)

    def open_commit(self) -> str:
        request = pfs_pb2.StartCommitRequest(parent=pfs_pb2.Commit(repo=_repo()), branch="master")
        return str(self.stub.StartCommit(request, metadata=self.metadata).id)

    def finish_commit(self, commit: str) -> None:
        request = pfs_pb2.FinishCommitRequest(commit=pfs_pb2.Commit(repo=_repo(), id=commit))
        self.stub.FinishCommit(request, metadata=self.metadata)


def _repo() -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=REPO)


def _file(path: str, commit: str) -> pfs_pb2.File:
    return pfs_pb2.File(commit=pfs_pb2.Commit(repo=_repo(), id=commit), path=path)


class CountedCase(TestCase):
    """With `auth`, auth is active and `token` is an admin's."""

    timeout = 60
    auth = False
    token: str | None = None

    def setUp(self) -> None:
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        directory = Path(self.stack.enter_context(short_directory()))
        server: LocalPFS = self.stack.enter_context(running(directory / "state", directory / "socket"))
        channel = self.stack.enter_context(server.channel())
        if self.auth:
            answer = auth_pb2_grpc.APIStub(channel).Activate(auth_pb2.ActivateRequest(subject="robot:admin"))
            self.token = answer.pach_token
        self.writer = Writer(channel, self.token)
        self.writer.make_bucket()
        address = f"unix:{directory}/counting"
        self.server = self.stack.enter_context(counting(f"unix:{directory}/socket", address))
        self.client = GrpcPFS(address, reactor=reactor)  # type: ignore[arg-type]
        self.client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))
        self.gateway = self.make_gateway()

    def make_gateway(self, **words: Any) -> Gateway:
        """Without an index of changes, which asks PFS behind the requests."""
        gateway = Gateway(self.client, offload=offload, reactor=reactor, **words)  # type: ignore[arg-type]
        gateway.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(gateway.stop()))
        return gateway

    def head(self, method: str, key: str, **words: str) -> RequestHead:
        return RequestHead(
            method=method,
            raw_uri=f"/{BUCKET}/{key}".encode(),
            headers=tuple((name.replace("_", "-").encode(), value.encode()) for name, value in words.items()),
        )

    async def ask(
        self, method: str, key: str, data: bytes = b"", gateway: Gateway | None = None, **words: str
    ) -> Response:
        words["content_length"] = str(len(data))
        head = self.head(method, key, **words)
        return await (gateway or self.gateway).handle(head, Body(data))

    async def bytes_of(self, response: Response) -> bytes:
        """The whole body, held against Content-Length; the source is closed."""
        if isinstance(response.body, bytes):
            return response.body
        pieces = []
        try:
            while piece := await response.body.read():
                pieces.append(piece)
        finally:
            await response.body.aclose()
        return b"".join(pieces)

    async def get(self, key: str, gateway: Gateway | None = None, **words: str) -> bytes:
        response = await self.ask("GET", key, gateway=gateway, **words)
        self.assertIn(response.status, (200, 206))
        return await self.bytes_of(response)

    def taken(self) -> list[str]:
        """The calls since this was asked last."""
        calls, self.server.calls[:] = list(self.server.calls), []
        return calls


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    """The data, cut."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
