"""Work that outlasts its request, and an answer that keeps its connection alive meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger()


async def pause(reactor: IReactorTime, seconds: float) -> None:
    """Return after that many seconds."""
    over: Deferred[None] = Deferred()
    timer = reactor.callLater(seconds, over.callback, None)
    try:
        await over
    finally:
        if timer.active():
            timer.cancel()


class Work(Generic[T]):
    """A coroutine that runs to its end whoever waits for it, or no longer does."""

    def __init__(self, reactor: IReactorTime, coroutine: Coroutine[Any, Any, T]) -> None:
        self._reactor = reactor
        self._result: T | Failure | None = None
        self._ended = False
        self._waiting: list[Deferred[None]] = []
        self._is_taken = False
        self._is_left = False
        Deferred.fromCoroutine(coroutine).addBoth(self._end)

    async def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most so many seconds."""
        if not self._ended:
            woken: Deferred[None] = Deferred()
            self._waiting.append(woken)
            timer = self._reactor.callLater(seconds, self._wake, woken)
            try:
                await woken
            finally:
                if timer.active():
                    timer.cancel()
                if woken in self._waiting:
                    self._waiting.remove(woken)
        return self._ended

    def result(self) -> T:
        """What it returned; raises what it raised. Only when it has ended."""
        self._is_taken = True
        if isinstance(self._result, Failure):
            self._result.raiseException()
        return self._result  # type: ignore[return-value]

    def leave(self) -> None:
        """Nobody waits any more; a failure is logged instead."""
        self._is_left = True
        self._tell()

    def _end(self, result: T | Failure) -> None:
        self._ended = True
        self._result = result
        for woken in list(self._waiting):
            self._wake(woken)
        self._tell()

    def _wake(self, woken: Deferred[None]) -> None:
        if woken in self._waiting:
            self._waiting.remove(woken)
            woken.callback(None)

    def _tell(self) -> None:
        if self._is_left and not self._is_taken and isinstance(self._result, Failure):
            _log.info("work whose client had gone ended with: {error}", error=self._result.value)


class KeptAlive(Generic[T]):
    """A Source: a beginning, white space while the work goes on, then what is made of its result."""

    def __init__(
        self, work: Work[T], *, begin: bytes, every_seconds: float, end: Callable[[Work[T]], bytes]
    ) -> None:
        """`end` gets the work when it has ended."""
        self._work = work
        self._begin = begin
        self._seconds = every_seconds
        self._end = end
        self._is_over = False

    async def read(self) -> bytes:
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        if self._is_over:
            return b""
        if await self._work.wait(self._seconds):
            self._is_over = True
            return self._end(self._work)
        return b" "

    async def aclose(self) -> None:
        self._work.leave()
