"""Between the reactor and gRPC's threads: answers that come back as Deferreds, and a pool for what blocks.

Knows no PFS. A Deferred's cancel cannot stop a thread, so what is cancelled is always the call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")
R = TypeVar("R")


class Reactor(IReactorFromThreads, IReactorTime):
    """What the bridge needs of a reactor."""


class Stopped(Exception):
    """The bridge is not running."""


class PendingCall(Protocol):
    """What a bridge needs of gRPC's futures."""

    def cancel(self) -> bool: ...
    def result(self, timeout: float | None = None) -> Any: ...
    def add_done_callback(self, fn: Callable[[Any], None]) -> None: ...


class Bridge:
    """A named pool of at most `threads` threads, made by start() and ended by stop()."""

    def __init__(self, reactor: Reactor, *, threads: int, name: str) -> None:
        self.reactor = reactor
        self._answered: deque[Callable[[], None]] = deque()
        self._is_woken = False
        self._threads = threads
        self._name = name
        self._pool: ThreadPool | None = None

    def start(self) -> None:
        """Make the pool; its threads come as they are needed."""
        self._pool = ThreadPool(minthreads=0, maxthreads=self._threads, name=self._name)
        self._pool.start()

    def stop(self) -> None:
        """End the pool. Waits for its threads: end what they wait for first."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()

    @property
    def pool(self) -> ThreadPool | None:
        """Its threads, for who looks at how many work; None while it does not run."""
        return self._pool

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """What function(*args) returns or raises in a thread of the pool; raises Stopped.

        A cancelled wait leaves the thread to end by itself.
        """
        if self._pool is None:
            raise Stopped
        return await deferToThreadPool(self.reactor, self._pool, function, *args)

    async def wait(self, seconds: float) -> None:
        """Return so much later."""
        await deferLater(self.reactor, seconds)

    async def answer(self, call: PendingCall, convert: Callable[[Any], R]) -> R:
        """convert(the call's answer); raises grpc.RpcError. A cancelled wait cancels the call.

        No thread waits for the answer. `convert` runs in the channel's own thread, which serves all other
        calls as well: it must not block.
        """

        def cancel(_waiting: Deferred[R]) -> None:
            call.cancel()

        waiting: Deferred[R] = Deferred(cancel)

        def fire(end: Callable[[Any], None], value: R | Failure) -> None:
            if not waiting.called:
                end(value)

        def done(finished: PendingCall) -> None:
            try:
                value = convert(finished.result())
            except Exception:  # whatever it is, it is raised where the call was made
                self._hand_over(partial(fire, waiting.errback, Failure()))
            else:
                self._hand_over(partial(fire, waiting.callback, value))

        call.add_done_callback(done)
        return await waiting

    def _hand_over(self, fire: Callable[[], None]) -> None:
        """Have it called on the reactor, soon; from any thread."""
        self._answered.append(fire)
        if not self._is_woken:
            # To wake the reactor is a write to a pipe, in which the thread lets go of the interpreter.
            self._is_woken = True
            self.reactor.callFromThread(self._fire_all)

    def _fire_all(self) -> None:
        # What comes from here on wakes once more, or is found below.
        self._is_woken = False
        try:
            while self._answered:
                self._answered.popleft()()
        finally:
            if self._answered:
                self.reactor.callFromThread(self._fire_all)
