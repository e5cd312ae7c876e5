"""What the daemon tells the service manager that started it: sd_notify(3), as systemd defines it.

Nobody is told anything where nobody wants to know. What is true is the daemon's to say; here it is only told,
and time is kept.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.logger import Logger

SEND_SECONDS = 1.0
"""So long a message may wait for a service manager that is busy, if it is of these; others are lost."""
MUST_ARRIVE = {"READY", "RELOADING", "STOPPING"}
LIFE_SIGNS = 3
"""So many times within the limit of the watchdog it is told that the reactor runs."""
EXTENSION_SECONDS = 30.0
"""So long at a time a start takes longer, while what takes its time is known to go on."""

_log = Logger("pachgw.daemon")


class ServiceManager:
    """One daemon's way to it. All methods may be called whether there is one or not."""

    def __init__(self, environ: MutableMapping[str, str], reactor: Any) -> None:
        """What is in the environment for this process alone is taken out: children have none of it."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog_seconds(environ)
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            environ.pop(name, None)
        self._reactor = reactor
        self._is_ready = False
        self._life: Any = None
        self._extension: Any = None
        self._status = ""

    @property
    def wants_to_know(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    @property
    def round_seconds(self) -> float | None:
        """How often all that may be blocked is to show that it is not; None: nobody watches."""
        return None if self._watchdog_seconds is None else self._watchdog_seconds / LIFE_SIGNS

    def start(self) -> None:
        """Begin to tell that the reactor runs, as often as the watchdog wants."""
        self.status("starting")
        if self.round_seconds is not None:
            self._live()

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        if text != self._status:
            self._status = text
            self._tell(STATUS=text)

    def extend_start(self) -> None:
        """From now on the start may take longer, and nothing is wrong; until end_extension()."""
        if not self._address:
            return
        self._tell(EXTEND_TIMEOUT_USEC=_usec(EXTENSION_SECONDS))
        self._extension = self._reactor.callLater(EXTENSION_SECONDS / LIFE_SIGNS, self.extend_start)

    def end_extension(self) -> None:
        """What takes its time is done."""
        if self._extension is not None:
            self._extension.cancel()
            self._extension = None

    def ready(self, status: str) -> None:
        """Requests may come: after a start, and after what was read again is in force."""
        self._is_ready = True
        self._status = status
        self._tell(READY="1", STATUS=status)

    def reloading(self) -> None:
        """What can change is read again; ready() is to follow. Before the first one nothing is told."""
        if self._is_ready:
            self._tell(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def reloaded(self) -> None:
        """The end of reloading()."""
        if self._is_ready:
            self.ready(self._status)

    def stopping(self, seconds: float) -> None:
        """The daemon stops, which takes up to so many seconds."""
        self.end_extension()
        self._is_ready = False
        self._tell(STOPPING="1", STATUS="stopping", EXTEND_TIMEOUT_USEC=_usec(seconds))

    def stop(self) -> None:
        """Tell no more."""
        self.end_extension()
        if self._life is not None:
            self._life.cancel()
            self._life = None
        self._address = ""

    def _live(self) -> None:
        self._tell(WATCHDOG="1")
        self._life = self._reactor.callLater(self.round_seconds, self._live)

    def _tell(self, **what: str) -> None:
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in what.items())
        # One that begins with @ is in no file system.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.settimeout(SEND_SECONDS if MUST_ARRIVE & what.keys() else 0)
                end.sendto(text.encode(), address)
        except OSError as error:
            _log.warn("systemd cannot be told {what}: {error}", what=next(iter(what)), error=error)


def _watchdog_seconds(environ: MutableMapping[str, str]) -> float | None:
    """After so long without a sign of life the daemon is taken for blocked."""
    text, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if pid not in ("", str(os.getpid())):
        return None
    return int(text) / 1_000_000 if text.isascii() and text.isdecimal() and int(text) else None


def _usec(seconds: float) -> str:
    return str(round(seconds * 1_000_000))
