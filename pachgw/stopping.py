"""How the daemon heeds SIGTERM and SIGINT: the first one stops it in order, the next one ends it at once.

Twisted's own handlers have the process end by the signal, even after all was stopped as it should be, and go
on waiting whatever comes next.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.logger import Logger

_log = Logger("pachgw.daemon")


class StopSignals:
    """The process's handlers of both signals."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._twisted_on_interrupt: Callable[[int, FrameType | None], Any] = signal.default_int_handler

    def install(self) -> None:
        """Take the place of the reactor's handlers once it has set them; does nothing where it sets none."""
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        if signal.getsignal(signal.SIGTERM) in {signal.SIG_DFL, signal.SIG_IGN}:
            return
        signal.signal(signal.SIGTERM, self._terminate)
        on_interrupt = signal.getsignal(signal.SIGINT)
        # A shell that starts it in the background has it ignore Ctrl-C.
        if callable(on_interrupt):
            self._twisted_on_interrupt = on_interrupt
            signal.signal(signal.SIGINT, self._interrupt)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._next_one_ends()
        _log.info("Received SIGTERM, shutting down.")
        self._reactor.callFromThread(self._stop)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._next_one_ends()
        # In the end the process sends itself the signal, so that a shell sees that its user pressed Ctrl-C.
        self._twisted_on_interrupt(number, frame)

    @staticmethod
    def _next_one_ends() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()
