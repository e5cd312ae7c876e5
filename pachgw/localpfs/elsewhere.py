"""The services of a Pachyderm cluster that this server has nothing of: what their callers are told.

What only asks for what there is, or deletes all of it, is answered as a cluster does that has none. The rest
is refused with a sentence that says what it belongs to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc import aio

_NONE: Final = frozenset(
    (
        "/pps.API/ListPipeline",
        "/pps.API/ListJob",
        "/pps.API/ListSecret",
        "/pps.API/DeleteAll",
        "/transaction.API/ListTransaction",
        "/transaction.API/DeleteAll",
        "/enterprise.API/GetState",
    )
)
"""Answered by an empty message: no items, state NONE. `pachctl delete all` makes three of these calls."""

_NO_ITEMS: Final = frozenset(("/pps.API/ListJobStream",))
"""Answered by a stream of no messages."""

TRANSACTIONS: Final = "transactions belong to Pachyderm clusters; here each call takes effect by itself"

_BELONGS: Final = {
    "pps.API": "pipelines, jobs and their secrets belong to Pachyderm clusters; this server keeps files only",
    "transaction.API": TRANSACTIONS,
    "enterprise.API": "licences belong to Pachyderm clusters; this server needs none",
    "debug.Debug": "profiles and dumps belong to Pachyderm clusters; this server writes a log",
    "admin.API": "extract and restore belong to Pachyderm clusters; this store is copied by pachgw backup",
    "pfs.ObjectAPI": "objects belong to their files, and are read and written as files by whoever may",
}

_SPECIAL: Final = {
    "/pps.API/GarbageCollect": "garbage is collected by the server itself, and by pachgw gc",
}

Context = aio.ServicerContext[Any, Any]


class Elsewhere(grpc.GenericRpcHandler):
    """Handles what no handler before it does, if it is of one of these services."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method: str = handler_call_details.method
        if method in _NO_ITEMS:
            return _handler(_no_items)
        if method in _NONE:
            return _handler(_none)
        sentence = _SPECIAL.get(method) or _BELONGS.get(method[1:].rpartition("/")[0])
        return None if sentence is None else _handler(_refusal(sentence))


def _handler(
    behaviour: Callable[[AsyncIterator[bytes], Context], Awaitable[None]],
) -> grpc.RpcMethodHandler[Any, Any]:
    # Streams of bytes both ways are on the wire what every kind of call is.
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = grpc.stream_stream_rpc_method_handler
    return make(behaviour)


async def _none(requests: AsyncIterator[bytes], context: Context) -> None:
    await context.write(b"")


async def _no_items(requests: AsyncIterator[bytes], context: Context) -> None:
    return None


def _refusal(sentence: str) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def refuse(requests: AsyncIterator[bytes], context: Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)

    return refuse
