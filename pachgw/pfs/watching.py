"""Counts the calls that are made through a gRPC channel: by method and code, how long, how many at once.

Stands between a channel and the stubs that are made of it, so that no call is made past it. Makes none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from pachgw.messages import Pairs, Spent


class Metadata(tuple[tuple[str, str], ...]):
    """The metadata of one session's calls, with what they took."""

    spent: Spent

    def __new__(cls, pairs: Pairs, spent: Spent) -> Metadata:
        made = super().__new__(cls, pairs)
        made.spent = spent
        return made


class CallWatch(Protocol):
    """Who counts; called in whatever thread a call begins or ends."""

    def call_begun(self, method: str) -> None: ...
    def call_ended(self, method: str, code: str, seconds: float) -> None: ...
    def call_retried(self, method: str) -> None: ...


class NotWatched:
    """Who counts where nobody does."""

    def call_begun(self, method: str) -> None:
        pass

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        pass

    def call_retried(self, method: str) -> None:
        pass


def name_of(callable_: Any) -> str:
    """The RPC's name, of what a stub of a WatchedChannel has for it."""
    name: str = callable_.name
    return name


class WatchedChannel:
    """A grpc.Channel as far as stubs need one."""

    def __init__(self, channel: Any, watch: CallWatch) -> None:
        self._channel = channel
        self._watch = watch

    def unary_unary(self, method: str, **options: Any) -> Any:
        return _Answers(method, self._channel.unary_unary(method, **options), self._watch)

    def unary_stream(self, method: str, **options: Any) -> Any:
        return _Streams(method, self._channel.unary_stream(method, **options), self._watch)

    def stream_unary(self, method: str, **options: Any) -> Any:
        return _Answers(method, self._channel.stream_unary(method, **options), self._watch)

    def stream_stream(self, method: str, **options: Any) -> Any:
        return _Streams(method, self._channel.stream_stream(method, **options), self._watch)


class _Watched:
    """A multi-callable, whose calls are counted."""

    def __init__(self, path: str, callable_: Any, watch: CallWatch) -> None:
        self.name = path.rpartition("/")[2]
        self._callable = callable_
        self._watch = watch

    def _watched(self, begin: Callable[..., Any], request: Any, options: dict[str, Any]) -> Any:
        spent: Spent | None = getattr(options.get("metadata"), "spent", None)
        trace_ended: Callable[[str], None] | None = None
        if spent is not None and spent.trace is not None:
            pairs, trace_ended = spent.trace.call(self.name)
            options["metadata"] = (*options["metadata"], *pairs)
        started = time.perf_counter()
        call = begin(request, **options)
        method, watch = self.name, self._watch
        watch.call_begun(method)

        def ended() -> None:
            seconds = time.perf_counter() - started
            if spent is not None:
                # Of two calls that end in two threads at once one may be lost, which a log can bear.
                spent.seconds += seconds
            code = call.code().name
            watch.call_ended(method, code, seconds)
            if trace_ended is not None:
                trace_ended(code)

        if not call.add_callback(ended):
            ended()
        return call


class _Answers(_Watched):
    """One answer."""

    def future(self, request: Any, **options: Any) -> Any:
        return self._watched(self._callable.future, request, options)

    def __call__(self, request: Any, **options: Any) -> Any:
        """The answer, for who has nothing else to do: the operator's commands. Raises grpc.RpcError."""
        return self.future(request, **options).result()


class _Streams(_Watched):
    """A stream of answers."""

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._watched(self._callable, request, options)
