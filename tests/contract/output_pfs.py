"""A gRPC server before a real PFS that lets nobody read one commit, as Pachyderm does with open outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import grpc
from counting_pfs import OPTIONS, CountingPFS

from pachgw.pfs.proto import pfs_pb2

READS = (
    "GetFile",
    "GlobFile",
    "GlobFileStream",
    "InspectFile",
    "ListFile",
    "ListFileStream",
    "WalkFile",
)


class OutputPFS(CountingPFS):
    """Of the open commit `output` everything may be asked that does not look into it."""

    output = ""

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        name = handler_call_details.method.rpartition("/")[2]
        passing_on = super().service(handler_call_details)

        def forward(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            first = next(requests, b"")
            if self._looks_into_it(name, first):
                context.abort(grpc.StatusCode.UNKNOWN, f"output commit {self.output} not finished")
            yield from passing_on.stream_stream(chain((first,), requests), context)

        return grpc.stream_stream_rpc_method_handler(forward)

    def _looks_into_it(self, name: str, request: bytes) -> bool:
        if not self.output:
            return False
        if name == "CopyFile":
            # Of this a real server dies.
            assert pfs_pb2.CopyFileRequest.FromString(request).src.commit.id != self.output
        # Also by the name of its branch, whose head it is.
        return name in READS and (self.output.encode() in request or b"master" in request)


@contextlib.contextmanager
def output_pfs(target: str, address: str) -> Iterator[OutputPFS]:
    """A server at `address` that passes on to `target`; both as grpcio takes them."""
    pfs = OutputPFS(target)
    server = grpc.server(ThreadPoolExecutor(16), handlers=(pfs,), options=OPTIONS)
    server.add_insecure_port(address)
    server.start()
    try:
        yield pfs
    finally:
        server.stop(0).wait()
        pfs.close()
