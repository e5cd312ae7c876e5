"""SIGHUP: what is read again while the daemon runs, in the one process that may read it.

What is read, and who is handed it, is told by add(); no file is known here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from pachgw.workers.order import Handed

_log = Logger("pachgw.daemon")


class ReadError(Exception):
    """Something cannot be used as it is now; the text is one line that shows no secret."""


class Reloads:
    """What is read again. A signal that comes before begin() counts from then on."""

    def __init__(
        self,
        reactor: Any,
        hand_out: Callable[[Handed], Awaitable[None]],
        *,
        began: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`hand_out` returns when every process that serves has what it was given; `began` is called before
        anything is read again, `ended` when all of it is in force or was refused."""
        self._reactor = reactor
        self._hand_out = hand_out
        self._began = began
        self._ended = ended
        self._readers: dict[str, Callable[[], Handed | None]] = {}
        self._running = False
        self._wanted = False
        self._has_terminal = False

    def add(self, name: str, read: Callable[[], Handed | None]) -> None:
        """Call `read` at each SIGHUP, in the reactor's thread, and hand on what it returns, if anything.

        It raises ReadError where what it finds does not fit; then what is in force stays so. `name` is for
        the log: "the certificate".
        """
        self._readers[name] = read

    def install(self) -> None:
        """Heed the signal, which would end the process."""
        self._has_terminal = os.isatty(0)
        signal.signal(signal.SIGHUP, self._hangup)

    def begin(self) -> None:
        """The processes that serve are there."""
        self._running = True
        if self._wanted:
            self.run()

    def end(self) -> None:
        """Read no more."""
        self._running = self._wanted = False

    def _hangup(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_terminal and not os.isatty(0):
            # It was closed: who started us there takes us for ended.
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._reactor.callFromThread(self.run)

    def run(self) -> None:
        """Read everything again, one after the other; the log says what became of each."""
        self._wanted = not self._running
        if not self._running:
            return
        self._began()
        givings: list[Deferred[None]] = []
        if not self._readers:
            _log.info("Received SIGHUP; there is nothing to read again.")
        for name, read in self._readers.items():
            try:
                handed = read()
            except ReadError as error:
                _log.error("{name} stays as it is: {error}", name=name, error=error)
                continue
            giving = Deferred.fromCoroutine(self._give(name, handed))
            giving.addErrback(lambda failure: _log.failure("reading again failed", failure))
            givings.append(giving)
        DeferredList(givings).addCallback(lambda _: self._ended())

    async def _give(self, name: str, handed: Handed | None) -> None:
        if handed is not None:
            await self._hand_out(handed)
        _log.info("{name} was read again, and is in force", name=name)
