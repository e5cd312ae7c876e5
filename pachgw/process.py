"""A process of our own that is kept running: started, watched, started again, and stopped.

Knows it by its command line, the lines that it says and its end, not what it does.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.interpreter import environment

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
GOOD_SECONDS = 30.0
"""A process that was up for so long is started again after the shortest wait."""
MAX_LINE = 16384
"""Bytes; of a longer line of errors the log gets pieces."""
MAX_MESSAGE = 1024 * 1024
"""Bytes of a line of output."""

Message = dict[str, Any]
"""An object of JSON on a line of its own."""


class ProcessError(Exception):
    """The process cannot start; the text is the last line that it said."""


class KeptProcess(Service):
    """Runs a command while the service runs.

    What it writes to its standard output is read as messages, each on a line: the one with the key `ready`
    says that it serves. What it reads from its standard input are messages too. It is to end when that ends,
    so that no kill of ours leaves it behind.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        reactor: Any,
        log: Logger,
        complained: Callable[[str], None],
        heard: Callable[[Message], bool] | None = None,
        ended: Callable[[], None] | None = None,
        order: Message | None = None,
        descriptors: Sequence[int] = (),
        parting: Message | None = None,
        kill_seconds: float,
    ) -> None:
        """`complained` gets each line of errors; `heard` each message but `ready`, and returns whether it
        is one; `ended` is called at each end of the process. `order` is the first message that it gets. It
        has `descriptors` as its own from 3 on. Told to stop, it gets `parting`, or with None the end of its
        input and SIGTERM; after `kill_seconds` SIGKILL.
        """
        self._command = list(command)
        self._name = name
        self._reactor = reactor
        self._log = log
        self._complained = complained
        self._heard = heard
        self._ended = ended
        self._order = order
        self._descriptors = tuple(descriptors)
        self._parting = parting
        self._kill_seconds = kill_seconds
        self._process: _Run | None = None
        self._backoff = FIRST_BACKOFF_SECONDS
        self._was_ready = False
        self._restart: Any = None
        self._stopped: Deferred[None] | None = None
        self.ready: Deferred[Message] = Deferred()
        """Fires with what it said when it first serves; fails with ProcessError if it ends before."""

    def startService(self) -> None:
        """Start the process."""
        super().startService()
        self._spawn()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return None if self._process is None else self._process.transport.pid

    @property
    def serves(self) -> bool:
        """Whether there is a process that has said that it serves."""
        return self._process is not None and self._process.is_ready

    def kill(self) -> None:
        """End the process at once, by SIGKILL; while the service runs it is started again."""
        if self._process is not None:
            self._process.kill()

    def say(self, message: Message) -> bool:
        """Write the message to the process; whether there is one."""
        if self._process is None:
            return False
        self._process.say(message)
        return True

    def order_from_now_on(self, order: Message) -> None:
        """Let this be the first message to every process that is started later."""
        self._order = order

    def _spawn(self) -> None:
        self._restart = None
        self._process = _Run(self, self._reactor.seconds())
        descriptors: Mapping[int, int | str] = {0: "w", 1: "r", 2: "r"} | dict(
            enumerate(self._descriptors, start=3)
        )
        self._reactor.spawnProcess(
            self._process, self._command[0], self._command, env=environment(), childFDs=descriptors
        )
        if self._order is not None:
            self._process.say(self._order)

    # What a run of the process tells.

    def run_complained(self, line: str) -> None:
        self._complained(line)

    def run_said(self, run: _Run, line: str) -> None:
        """One line of output; what is no message of ours is some library's print."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            run.complain(line)
        elif "ready" in message:
            self._is_ready(run, message)
        elif self._heard is None or not self._heard(message):
            run.complain(line)

    def _is_ready(self, run: _Run, message: Message) -> None:
        run.is_ready = True
        if self._was_ready:
            self._log.info("{name} serves again, pid {pid}", name=self._name, pid=message.get("pid"))
        self._was_ready = True
        if not self.ready.called:
            self.ready.callback(message)

    def run_ended(self, run: _Run, reason: Failure) -> None:
        """It has been reaped."""
        self._process = None
        if self._ended is not None:
            self._ended()
        if self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
            return
        if not self.running:
            return
        if not self._was_ready:
            if not self.ready.called:
                said = run.last_line or f"{self._name} ended ({_end(reason)})"
                self.ready.errback(ProcessError(said))
            return
        if self._reactor.seconds() - run.started_seconds >= GOOD_SECONDS:
            self._backoff = FIRST_BACKOFF_SECONDS
        seconds, self._backoff = self._backoff, min(self._backoff * 2, MAX_BACKOFF_SECONDS)
        self._restart = self._reactor.callLater(seconds, self._spawn)
        self._log.error(
            "{name} ended ({end}); it is started again in {seconds} s",
            name=self._name,
            end=_end(reason),
            seconds=seconds,
        )

    def stopService(self) -> Deferred[None] | None:
        """End the process, by SIGKILL where it takes longer than `kill_seconds`."""
        super().stopService()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._process is None:
            return None
        process = self._process
        stopped = self._stopped = Deferred()
        if self._parting is None:
            process.end()
        elif process.is_ready:
            process.say(self._parting)
        else:
            # It has nothing to end in order, and may not listen yet.
            process.kill()
        killer = self._reactor.callLater(self._kill_seconds, process.kill)

        def done(_: None) -> None:
            if killer.active():
                killer.cancel()

        return stopped.addCallback(done)


class _Run(ProcessProtocol):
    """One run of the process: lines of output are messages, each line of errors is a complaint."""

    transport: Any

    def __init__(self, service: KeptProcess, started_seconds: float) -> None:
        self._service = service
        self._output = _Lines(self._said, MAX_MESSAGE)
        self._errors = _Lines(self.complain, MAX_LINE)
        self.started_seconds = started_seconds
        self.is_ready = False
        self.last_line = ""

    def outReceived(self, data: bytes) -> None:
        self._output.feed(data)

    def errReceived(self, data: bytes) -> None:
        self._errors.feed(data)

    def processEnded(self, reason: Failure) -> None:
        self._errors.end()
        self._service.run_ended(self, reason)

    def _said(self, line: str) -> None:
        self._service.run_said(self, line)

    def complain(self, line: str) -> None:
        self.last_line = line
        self._service.run_complained(line)

    def say(self, message: Message) -> None:
        self.transport.write(json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        """Ask it to stop."""
        self.transport.closeStdin()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Stop it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.transport.pid is not None:
            self.transport.signalProcess(number.name.removeprefix("SIG"))


class _Lines:
    """Hands on what comes in pieces line by line, without the line breaks; too long a line in pieces."""

    def __init__(self, receive: Callable[[str], None], most: int) -> None:
        self._receive = receive
        self._most = most
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._receive(line.decode("utf-8", "replace"))
        if len(self._rest) > self._most:
            self.end()

    def end(self) -> None:
        """No more comes: what is left is a line too."""
        rest, self._rest = self._rest, b""
        if rest:
            self._receive(rest.decode("utf-8", "replace"))


def _end(reason: Failure) -> str:
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return f"signal {error.signal}, {signal.Signals(error.signal).name}"
    return f"exit status {getattr(error, 'exitCode', 0)}"
