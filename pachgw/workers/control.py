"""The worker's end of the talk with its supervisor: messages in, messages and log lines out.

Each message is an object of JSON on a line of its own, with one key of CONTROL. What is done about one is the
receiver's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

ORDER = "order"
"""To a worker, its first message: what to serve (serving.Order)."""
STOP = "stop"
"""To a worker: accept no more, let live requests end, end."""
RENEW = "renew"
"""To a worker: take this (order.Handed) in the place of what had its name; with a `number` for the answer."""
RENEWED = "renewed"
"""From a worker: it has taken what came with this number."""
ASK = "ask"
"""To a worker: tell what was counted, and whether requests may come; with a number for the answer."""
TOLD = "told"
"""From a worker, the answer to the question of this number: messages with a `metric` each, so that none is
too long for a line, and one with `not_ready`, the reason or ""."""
PROBE = "probe"
"""To a worker: say that you are not blocked, and whether requests may come; with a number for the answer."""
PROBED = "probed"
"""From a worker, the answer to the probe of this number, with `not_ready`, the reason or ""."""
READY = "ready"
"""From a worker: it accepts connections; with its `pid`."""
LOG = "log"
"""From a worker: events of its log, in order, each with `time`, `level`, `namespace`, `text`."""

READ_BYTES = 65536

GATHER_SECONDS = 0.02
"""So long events of the log are gathered that are no warnings. With a message for each line of the access log
worker and supervisor take 80 µs more for a request."""
GATHER_CHARACTERS = 65536
"""So much text of them does not wait any longer."""


class Control:
    """Standard input and output of this process, for messages alone from now on."""

    def __init__(self) -> None:
        self._rest = b""
        self._output = os.dup(1)
        # What a library prints must not be taken for a message.
        os.dup2(2, 1)
        self._writing = threading.Lock()

    def receive(self) -> dict[str, Any]:
        """The next message; waits for it. Raises EOFError when the supervisor has gone."""
        # Not by sys.stdin: a thread that waits in it keeps the interpreter from ending.
        while b"\n" not in self._rest:
            data = os.read(0, READ_BYTES)
            if not data:
                raise EOFError
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def receive_all(self, deliver: Callable[[dict[str, Any]], None]) -> None:
        """Hand every message to `deliver`, in a thread; end the process when the supervisor has gone."""

        def read() -> None:
            try:
                while True:
                    deliver(self.receive())
            except EOFError:
                # Nobody would start it again or stop it; and PFS goes too.
                os._exit(1)

        threading.Thread(target=read, name="pachgw-control", daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; from any thread. Waits where the supervisor does not read."""
        data = json.dumps(message).encode() + b"\n"
        with self._writing:
            while data:
                try:
                    data = data[os.write(self._output, data) :]
                except OSError:
                    return  # It has gone, which the reading thread is about to see.


@implementer(ILogObserver)
class LogToSupervisor:
    """Sends each event of Twisted's log, with its traceback, to the daemon's log."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._reactor: Any = None
        self._gathered: list[dict[str, Any]] = []
        self._characters = 0
        self._lock = threading.Lock()

    def gather(self, reactor: Any) -> None:
        """Until end() events of the reactor's thread may wait a moment for others, but for warnings."""
        self._reactor = reactor

    def end(self) -> None:
        """Send what waits; from now on nothing does."""
        self._reactor = None
        self._send()

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "twisted.internet.base" and event.get("log_level") is LogLevel.info:
            return  # That the reactor ended; the daemon's own says so too.
        if event.get("log_format") == "{line}":
            # To format these, most of all that there are, takes as long as the rest.
            text = str(event["line"])
        else:
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if not text:
            return
        level = event.get("log_level", LogLevel.info)
        said = {
            "time": event["log_time"],
            "level": level.name,
            "namespace": event.get("log_namespace", "-"),
            "text": text,
        }
        with self._lock:
            self._gathered.append(said)
            self._characters += len(text)
            is_first, is_much = len(self._gathered) == 1, self._characters >= GATHER_CHARACTERS
        if is_much or level is not LogLevel.info or self._reactor is None or not isInIOThread():
            self._send()
        elif is_first:
            self._reactor.callLater(GATHER_SECONDS, self._send)

    def _send(self) -> None:
        # With the lock, so that no later ones come before them.
        with self._lock:
            if self._gathered:
                self._control.send({LOG: self._gathered})
                self._gathered = []
                self._characters = 0
