"""How many directories a process reads from PFS at a time, which bounds the memory that it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

AT_ONCE = 8
"""Answers of ListFile, each of at most 20 MiB, that are waited for or worked on."""

LINGERING = 4
"""As many more whose answer takes long: that of large directories do not keep others waiting."""

HEDGES = 4
"""Streams beside an answer that is waited for."""


class Place:
    """Held by one reader; given back by `leave`."""

    def __init__(self, leave: Callable[[], None], linger: Callable[[], Callable[[], None] | None]) -> None:
        self._leave: Callable[[], None] | None = leave
        self._linger = linger

    def leave(self) -> None:
        """May be called twice."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def linger(self) -> None:
        """It takes long: make room for others, as far as there is any."""
        if self._leave is not None and (instead := self._linger()) is not None:
            leave, self._leave = self._leave, instead
            leave()


class Places:
    """Hands out places in the order in which they are asked for."""

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._lingering = LINGERING
        self._hedges = HEDGES
        self._waiting: deque[Deferred[None]] = deque()

    async def enter(self) -> Place:
        """A place, when there is one."""
        if self._free == 0:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            # Whoever leaves gives the place on, so that nobody comes in between.
            await waiter
        else:
            self._free -= 1
        return Place(self._leave, self._linger)

    def _leave(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.called:
                waiter.callback(None)
                return
        self._free += 1

    def _linger(self) -> Callable[[], None] | None:
        if self._lingering == 0:
            return None
        self._lingering -= 1
        return self._stop_lingering

    def _stop_lingering(self) -> None:
        self._lingering += 1

    def stream(self, *, must: bool) -> Place | None:
        """A place for a stream; None where there are enough and it is not the only way."""
        if self._hedges <= 0 and not must:
            return None
        self._hedges -= 1
        return Place(self._leave_stream, lambda: None)

    def _leave_stream(self) -> None:
        self._hedges += 1
