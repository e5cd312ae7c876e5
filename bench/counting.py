"""A PFS that passes every call on to another and counts them by name: what a request makes of calls.

`python -m bench.counting TARGET SOCKET` says when it serves; for each line of its input it prints the calls
since the last one, as JSON, and it ends with its input. Bytes pass as they are: it knows no message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from bench.bare import OPTIONS


class _Forward(grpc.GenericRpcHandler):
    """Each call as one of streams both ways, which on the wire is every kind of call."""

    def __init__(self, channel: grpc.aio.Channel, counts: Counter[str]) -> None:
        self._channel = channel
        self._counts = counts

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = details.method
        self._counts[method.rpartition("/")[2]] += 1

        async def forward(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            open_: Any = self._channel.stream_stream(method)
            call = open_(requests, metadata=_own(context.invocation_metadata() or ()))
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(forward)


def _own(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Without what gRPC adds itself."""
    return tuple((name, value) for name, value in metadata if not name.startswith(("grpc-", "user-agent")))


async def serve(target: str, socket: str) -> None:
    counts: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
        server = grpc.aio.server(handlers=(_Forward(channel, counts),), options=OPTIONS)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        print(json.dumps("serving"), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(counts), flush=True)
            counts.clear()
        await server.stop(None)
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
