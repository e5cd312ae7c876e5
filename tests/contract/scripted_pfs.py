"""A gRPC server of pfs.API that does what a test tells it, and tells the test what it saw."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BytesValue

from pachgw.pfs.proto import auth_pb2_grpc, pfs_pb2, pfs_pb2_grpc

MAX_MESSAGE = 20 << 20
WAIT_SECONDS = 50
"""Only a test that is about to fail waits so long."""


class Seen:
    """One PutFile stream as the server saw it."""

    def __init__(self) -> None:
        self.messages: list[pfs_pb2.PutFileRequest] = []
        self.half_closed = False
        self.over = threading.Event()

    @property
    def bytes(self) -> int:
        return sum(len(message.value) for message in self.messages)


class ScriptedPFS(pfs_pb2_grpc.APIServicer, auth_pb2_grpc.APIServicer):
    """Methods not set answer UNIMPLEMENTED. `gate` holds back the readers of PutFile while it is clear."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.uploads: list[Seen] = []
        self.metadata: list[dict[str, str]] = []
        self.refuse_upload: tuple[int, str] | None = None
        self.on_inspect_file: Callable[[Any, grpc.ServicerContext], pfs_pb2.FileInfo] | None = None
        self.on_get_file: Callable[[Any, grpc.ServicerContext], Iterator[bytes]] | None = None
        self.on_list_file: Callable[[Any, grpc.ServicerContext], pfs_pb2.FileInfos] | None = None
        self.on_walk_file: Callable[[Any, grpc.ServicerContext], Iterator[pfs_pb2.FileInfo]] | None = None

    def _note(self, context: grpc.ServicerContext) -> None:
        self.metadata.append(dict(context.invocation_metadata()))

    def InspectFile(self, request: Any, context: grpc.ServicerContext) -> pfs_pb2.FileInfo:
        self._note(context)
        assert self.on_inspect_file is not None
        return self.on_inspect_file(request, context)

    def GetFile(self, request: Any, context: grpc.ServicerContext) -> Iterator[BytesValue]:
        self._note(context)
        assert self.on_get_file is not None
        for data in self.on_get_file(request, context):
            yield BytesValue(value=data)

    def WalkFile(self, request: Any, context: grpc.ServicerContext) -> Iterator[pfs_pb2.FileInfo]:
        assert self.on_walk_file is not None
        yield from self.on_walk_file(request, context)

    def ListFile(self, request: Any, context: grpc.ServicerContext) -> pfs_pb2.FileInfos:
        assert self.on_list_file is not None
        return self.on_list_file(request, context)

    def ListFileStream(self, request: Any, context: grpc.ServicerContext) -> Iterator[pfs_pb2.FileInfo]:
        assert self.on_walk_file is not None
        yield from self.on_walk_file(request, context)

    def PutFile(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Empty:
        self._note(context)
        seen = Seen()
        self.uploads.append(seen)
        try:
            while True:
                self.gate.wait(WAIT_SECONDS)
                message = next(requests, None)
                if message is None:
                    break
                seen.messages.append(message)
                if self.refuse_upload is not None and len(seen.messages) == self.refuse_upload[0]:
                    context.abort(grpc.StatusCode.UNKNOWN, self.refuse_upload[1])
            # A stream that the client cancels ends its iterator by an exception.
            seen.half_closed = True
        finally:
            seen.over.set()
        return Empty()


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a unix socket's 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="pfs"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def serve(
    servicer: ScriptedPFS, address: str, credentials: grpc.ServerCredentials | None = None
) -> grpc.Server:
    """A running server, with TLS where it has credentials; stopped by its own stop().

    Its port is `server.bound_port`, for an address of 127.0.0.1:0.
    """
    server = grpc.server(
        ThreadPoolExecutor(32),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            # More than the client takes, so that it is the client that refuses.
            ("grpc.max_send_message_length", 2 * MAX_MESSAGE),
        ],
    )
    pfs_pb2_grpc.add_APIServicer_to_server(servicer, server)
    if credentials is None:
        server.bound_port = server.add_insecure_port(address)
    else:
        server.bound_port = server.add_secure_port(address, credentials)
    server.start()
    return server
