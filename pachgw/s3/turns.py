"""Turns: who may look at a branch and then write to it, with no other write of this gateway in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
Section = Callable[[], Coroutine[Any, Any, Any]]

_log = Logger()


class Turns:
    """A queue for each name that is in use, served in the order of asking; an idle name costs nothing."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[tuple[Section, Deferred[Any]]]] = {}

    async def run(self, name: Hashable, section: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What section() returns or raises, run when no other section of the same name runs.

        Cancelling the caller ends its waiting, not the section, be it running or still to come: a write that
        PFS may have taken by then must not overlap with the next one's checks, and a section ends or gives up
        what it was made for.
        """
        answer: Deferred[T] = Deferred()
        queue = self._queues.get(name)
        if queue is not None:
            queue.append((section, answer))
        else:
            self._queues[name] = deque([(section, answer)])
            Deferred.fromCoroutine(self._serve(name, self._queues[name]))
        return await answer

    async def _serve(self, name: Hashable, queue: deque[tuple[Section, Deferred[Any]]]) -> None:
        # A loop and not a chain of locks: sections that end at once would be as many frames on the stack.
        while queue:
            section, answer = queue.popleft()
            await Deferred.fromCoroutine(_call(section)).addBoth(_deliver, answer)
        del self._queues[name]

    def __len__(self) -> int:
        """How many names are in use."""
        return len(self._queues)


async def _call(section: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await section()


def _deliver(result: T | Failure, answer: Deferred[T]) -> None:
    if not answer.called:
        answer.callback(result)
    elif isinstance(result, Failure) and not isinstance(result.value, CancelledError):
        _log.info("a write whose client had gone ended with: {error}", error=result.value)
