"""Turns: who may look at a branch and then write to it, with no other write of this gateway in between."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger()


class Turns:
    """A lock for each name that is in use, taken in the order of asking; an idle name costs nothing."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[DeferredLock, int]] = {}

    async def run(self, name: Hashable, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What section() returns or raises, run when no other section of the same name runs.

        Cancelling the caller ends its waiting, not the section: a write that PFS may have taken by then must
        not overlap with the next one's checks.
        """
        running = Deferred.fromCoroutine(self._in_turn(name, section))
        answer: Deferred[T] = Deferred()

        def deliver(result: T | Failure) -> None:
            if not answer.called:
                answer.callback(result)
            elif isinstance(result, Failure) and not isinstance(result.value, CancelledError):
                _log.info("a write whose client had gone ended with: {error}", error=result.value)

        running.addBoth(deliver)
        return await answer

    async def _in_turn(self, name: Hashable, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
        lock, users = self._locks.get(name, (DeferredLock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                return await section()
            finally:
                lock.release()
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)

    def __len__(self) -> int:
        """How many names are in use."""
        return len(self._locks)
