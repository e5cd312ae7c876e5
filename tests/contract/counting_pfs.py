"""A gRPC server before a real PFS that passes every call on, counts it, and lets a test in before it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

LIMIT = 20 << 20
OPTIONS = (("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT))


class CountingPFS(grpc.GenericRpcHandler):
    """Each call is in `calls` by its method's name, in the order in which they came."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self.calls: list[str] = []
        self.metadata: list[dict[str, str]] = []
        """Of each of these calls."""
        self.before: list[tuple[str, Callable[[], object]]] = []
        """What is done, each once and in a thread, before the next call of that name."""
        self.between: list[tuple[str, Callable[[], object]]] = []
        """The same between the first and the second message of the answer."""

    def close(self) -> None:
        self._channel.close()

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        method = handler_call_details.method

        def forward(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            name = method.rpartition("/")[2]
            self.calls.append(name)
            self.metadata.append(dict(context.invocation_metadata()))
            self._take(self.before, name)
            call = self._channel.stream_stream(method)(
                requests, metadata=[pair for pair in context.invocation_metadata() if _is_ours(pair[0])]
            )
            context.add_callback(call.cancel)
            try:
                for number, message in enumerate(call):
                    if number == 1:
                        self._take(self.between, name)
                    yield message
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")

        return grpc.stream_stream_rpc_method_handler(forward)

    def _take(self, hooks: list[tuple[str, Callable[[], object]]], name: str) -> None:
        for hook in hooks:
            if hook[0] == name:
                hooks.remove(hook)
                hook[1]()
                return


def _is_ours(name: str) -> bool:
    return name in ("authn-token", "x-request-id")


@contextlib.contextmanager
def counting(target: str, address: str) -> Iterator[CountingPFS]:
    """A server at `address` that passes on to `target`; both as grpcio takes them."""
    pfs = CountingPFS(target)
    server = grpc.server(ThreadPoolExecutor(16), handlers=(pfs,), options=OPTIONS)
    server.add_insecure_port(address)
    server.start()
    try:
        yield pfs
    finally:
        server.stop(0).wait()
        pfs.close()
