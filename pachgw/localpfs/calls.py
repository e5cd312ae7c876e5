"""Between gRPC and the code of the calls: handlers from descriptors, a call's caller, the one error boundary.

A service is given as objects whose methods are named as its RPCs and take (request, caller). What no object
has is refused by what `missing` says.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from pachgw.localpfs.authority import TOKEN_KEY, Authority, Caller
from pachgw.localpfs.db import Reading
from pachgw.localpfs.elsewhere import TRANSACTIONS
from pachgw.localpfs.faults import Fault, store_failed, unimplemented
from pachgw.localpfs.store import Store
from pachgw.localpfs.tree import CorruptNode
from pachgw.localpfs.work import Changes, Workers

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 20 << 20
"""Of one gRPC message, either way."""

_MAX_DETAILS_BYTES = 6000
"""An error text travels in a header; clients take headers of 8 KiB in all."""

REQUEST_ID_KEY = "x-request-id"
"""By what a call may say for which request of the caller's it is made."""
MAX_REQUEST_ID = 64

_TRANSACTION_KEY = "pach-transaction"
_IN_TRANSACTIONS = frozenset(
    f"pfs.API.{name}"
    for name in (
        "CreateRepo",
        "DeleteRepo",
        "StartCommit",
        "FinishCommit",
        "DeleteCommit",
        "CreateBranch",
        "DeleteBranch",
    )
)
"""Calls that a cluster only notes where they name a transaction; all others take effect at once there too."""

Context: TypeAlias = aio.ServicerContext[Any, Any]
Unary: TypeAlias = Callable[[Any, Caller], Awaitable[Message | bytes]]
Streaming: TypeAlias = Callable[[Any, Caller], AsyncGenerator[Message | bytes, None]]
"""Bytes are a message that is serialized already."""


class Calls:
    """What the methods of a service work with."""

    def __init__(self, store: Store, authority: Authority, workers: Workers, changes: Changes) -> None:
        self.store = store
        self.authority = authority
        self.workers = workers
        self.changes = changes

    @property
    def reader(self) -> Reading:
        """For statements that read: a few rows on the event loop, where a hop to a thread costs more."""
        return self.store.database.reading

    async def write(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What function(connection, …) returns, run in a transaction; those who wait for changes are told."""

        def transaction() -> T:
            return self.store.database.write(function, *args, **kwargs)

        result = await self.workers.write(transaction)
        self.changes.notify()
        return result


def handlers(
    service: ServiceDescriptor,
    targets: Sequence[object],
    missing: Callable[[str], Fault],
    *,
    decoders: Mapping[str, Callable[[bytes], Any]] | None = None,
) -> grpc.GenericRpcHandler:
    """Handlers for all methods of the service: the method of that name of the first target to have it.

    `decoders`: by method, what makes of a message's bytes something else than the message.
    """
    table = {}
    for method in service.methods:
        function = next((getattr(t, method.name) for t in targets if hasattr(t, method.name)), None)
        decode = (decoders or {}).get(method.name) or GetMessageClass(method.input_type).FromString
        table[method.name] = _handler(method, function or _refuse(missing(method.name), method), decode)
    return grpc.method_handlers_generic_handler(service.full_name, table)


def _handler(
    method: MethodDescriptor, function: Callable[..., Any], decode: Callable[[bytes], Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = grpc.unary_unary_rpc_method_handler
    if method.server_streaming:
        make = grpc.unary_stream_rpc_method_handler
    elif method.client_streaming:
        make = grpc.stream_unary_rpc_method_handler
    return make(
        _streaming(function)
        if method.server_streaming
        else _unary(
            function,
            client_streaming=method.client_streaming,
            in_transactions=method.full_name in _IN_TRANSACTIONS,
        ),
        request_deserializer=decode,
        response_serializer=_serialized,
    )


def _serialized(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _refuse(fault: Fault, method: MethodDescriptor) -> Callable[..., Any]:
    async def unary(request: object, caller: Caller) -> Message:
        raise fault

    async def streaming(request: object, caller: Caller) -> AsyncIterator[Message]:
        raise fault
        yield  # makes it a generator

    return streaming if method.server_streaming else unary


class _ClientGone(Exception):
    """The client went away before its stream was complete."""


async def _complete(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
    """The client's messages; raises _ClientGone unless the stream was ended by the client itself.

    A lost client and the end of its stream reach a handler in the same way: there is no next message. But
    nothing can be sent to who has gone.
    """
    async for request in requests:
        yield request
    try:
        await context.send_initial_metadata(())
    except aio.InternalError as error:
        raise _ClientGone from error


def _unary(
    function: Unary, *, client_streaming: bool, in_transactions: bool
) -> Callable[[Any, Context], Awaitable[Message | bytes]]:
    async def call(request: Any, context: Context) -> Message | bytes:
        if client_streaming:
            request = _complete(request, context)
        try:
            if in_transactions and any(
                key == _TRANSACTION_KEY for key, _ in context.invocation_metadata() or ()
            ):
                # Its caller wants it to take effect later, or not at all.
                raise unimplemented(TRANSACTIONS)
            return await function(request, _caller(context))
        except Exception as error:
            fault = _fault(error, context)
        await context.abort(fault.code, _details(fault.text))
        raise fault  # abort does not return

    return call


def _streaming(function: Streaming) -> Callable[[Any, Context], Awaitable[None]]:
    if not inspect.isasyncgenfunction(function):
        raise TypeError(f"{function} is no async generator")

    async def call(request: object, context: Context) -> None:
        try:
            async with contextlib.aclosing(function(request, _caller(context))) as messages:
                async for message in messages:
                    try:
                        await context.write(message)
                    except aio.InternalError:
                        return  # the client has gone
                    del message  # not kept while the next is made
            return
        except Exception as error:
            fault = _fault(error, context)
        await context.abort(fault.code, _details(fault.text))

    return call


def _caller(context: Context) -> Caller:
    metadata = context.invocation_metadata() or ()
    return Caller(
        tokens=tuple([str(value) for key, value in metadata if key == TOKEN_KEY]),
        on_socket=context.peer().startswith("unix:"),
    )


def _fault(error: Exception, context: Context) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, _ClientGone):
        return Fault("the client has gone", grpc.StatusCode.CANCELLED)
    if isinstance(error, CorruptNode):
        _log.error("%s%s", error, _for_request(context))
        return Fault(str(error))
    # DatabaseError itself: the file is damaged. Its other subclasses: a mistake of ours.
    if isinstance(error, (OSError, sqlite3.OperationalError)) or type(error) is sqlite3.DatabaseError:
        _log.error("the store failed: %s%s", error, _for_request(context))
        return store_failed(error)
    _log.error("a call failed%s", _for_request(context), exc_info=error)
    return Fault("internal error, see the server's log", grpc.StatusCode.INTERNAL)


def _for_request(context: Context) -> str:
    """Which request of the caller's the call was made for, as the log has it; "" where that is not known."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY:
            # The caller's text: not to make lines of its own.
            return f" (request {str(value)[:MAX_REQUEST_ID]!a})"
    return ""


def _details(text: str) -> str:
    """The text, cut where it would not fit into a header."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= _MAX_DETAILS_BYTES:
        return text
    return encoded[:_MAX_DETAILS_BYTES].decode("utf-8", "ignore") + "…"
