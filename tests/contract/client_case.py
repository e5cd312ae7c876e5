"""What the tests of the gRPC client share: a scripted server, a tap on the wire, a client that is started."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import grpc
from http2_tap import Tap
from scripted_pfs import WAIT_SECONDS, ScriptedPFS, Seen, serve, short_directory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import PFS
from pachgw.pfs.proto import pfs_pb2
from pachgw.pfs.timeouts import Timeouts

MIB = 1024 * 1024


def file_info(path: str, *, size: int = 0) -> pfs_pb2.FileInfo:
    commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="r"), id="c")
    file = pfs_pb2.File(commit=commit, path=path)
    return pfs_pb2.FileInfo(file=file, file_type=pfs_pb2.FILE, size_bytes=size, hash=b"h" * 32)


def pfs_hash(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha512(data).hexdigest().encode()).digest()


class ClientCase(TestCase):
    """A scripted server on a unix socket, a client that is started, and a pool to wait for events in."""

    timeout = 60
    timeouts = Timeouts()

    def setUp(self) -> None:
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        directory = self.stack.enter_context(short_directory())
        self.address = f"unix:{directory}/server"
        self.waiters = ThreadPool(0, 4, name="test-waiters")
        self.waiters.start()
        self.stack.callback(self.waiters.stop)
        self.pfs_server = ScriptedPFS()
        self.server: grpc.Server | None = None
        self.start_server()
        self.stack.callback(self.stop_server)
        self.tap = Tap(f"{directory}/tap", f"{directory}/server")
        self.stack.callback(self.tap.close)
        self.client = GrpcPFS(
            f"unix:{directory}/tap",
            reactor=reactor,  # type: ignore[arg-type]
            timeouts=self.timeouts,
        )
        self.client.start()
        self.pfs: PFS = self.client.session("token", request_id="q-1")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))

    def start_server(self) -> None:
        self.server = serve(self.pfs_server, self.address)

    def stop_server(self) -> None:
        if self.server is not None:
            self.pfs_server.gate.set()
            self.server.stop(0).wait(WAIT_SECONDS)
            self.server = None

    async def event(self, event: threading.Event) -> None:
        """Wait for an event of the server's threads without blocking the reactor."""
        came = await deferToThreadPool(reactor, self.waiters, event.wait, WAIT_SECONDS)
        self.assertTrue(came, "the server saw nothing")

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            await deferLater(reactor, 0)

    async def raises(self, kind: type[BaseException], awaited: Coroutine[Any, Any, Any]) -> Any:
        try:
            await awaited
        except kind as error:
            self.assertIs(type(error), kind)
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    async def upload_seen(self) -> Seen:
        while not self.pfs_server.uploads:
            await self.turns()
        return self.pfs_server.uploads[-1]
