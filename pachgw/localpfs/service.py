"""The embedded PFS as a Twisted service: its process is started, watched, started again, and stopped.

Knows the process by its command line, its one line of readiness and its end, not what it does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

MAX_SOCKET_PATH = 100
"""Bytes; Linux takes 107, and temporary names next to it are a little longer."""

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
GOOD_SECONDS = 30.0
"""A process that was up for so long is started again after the shortest wait."""
KILL_SECONDS = 10.0
"""How long it may take to stop."""
MAX_LINE = 16384
"""Bytes; of a longer line the log gets pieces."""

_log = Logger("pachgw.localpfs")


class EmbeddedPFSError(Exception):
    """The embedded PFS cannot start; the text is the last line it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the process says once it serves."""

    listen: str | None
    """`host:port`, None without TCP."""
    pid: int


def socket_path_for(state_dir: Path) -> Path:
    """Where the embedded PFS of this directory listens: in the directory, if the path is short enough.

    Else in a private directory (0700) of the user below the one for temporary files.
    """
    path = state_dir / "pfs.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = sha256(os.fsencode(state_dir)).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    directory = Path(base, f"pachgw-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.lstat().st_uid != os.getuid() or directory.is_symlink():
        raise EmbeddedPFSError(f"{directory} belongs to somebody else; set XDG_RUNTIME_DIR")
    return directory / f"{name}.sock"


class EmbeddedPFS(Service):
    """Runs `python -m pachgw.localpfs` while the service runs.

    The process ends with its standard input, so that no kill of ours leaves it behind.
    """

    def __init__(
        self,
        state_dir: Path,
        socket_path: Path,
        *,
        listen: str | None = None,
        tokens_file: Path | None = None,
        reactor: Any,
        command: Sequence[str] = (sys.executable, "-P", "-m", "pachgw.localpfs"),
        kill_seconds: float = KILL_SECONDS,
    ) -> None:
        self._command = [
            *command,
            *("--state-dir", str(state_dir), "--socket", str(socket_path)),
            *(("--listen", listen) if listen else ()),
            *(("--tokens", str(tokens_file)) if tokens_file else ()),
        ]
        self._reactor = reactor
        self._kill_seconds = kill_seconds
        self._process: _Process | None = None
        self._backoff = FIRST_BACKOFF_SECONDS
        self._was_ready = False
        self._restart: Any = None
        self._stopped: Deferred[None] | None = None
        self.ready: Deferred[Ready] = Deferred()
        """Fires when the process serves for the first time; fails with EmbeddedPFSError if it ends before."""

    def startService(self) -> None:
        """Start the process."""
        super().startService()
        self._spawn()

    def _spawn(self) -> None:
        self._restart = None
        self._process = _Process(self, self._reactor.seconds())
        # Modules are found where ours were, whatever put them on the path, also with `python -I`; and with -P
        # nowhere else: `-m` alone would look into the working directory first.
        environ = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        }
        self._reactor.spawnProcess(self._process, self._command[0], self._command, env=environ)

    def process_ready(self, ready: Ready) -> None:
        """Called by the process's protocol."""
        if self._was_ready:
            _log.info("the embedded PFS serves again, pid {pid}", pid=ready.pid)
        self._was_ready = True
        if not self.ready.called:
            self.ready.callback(ready)

    def process_ended(self, process: _Process, reason: Failure) -> None:
        """Called by the process's protocol when it has ended and been reaped."""
        self._process = None
        if self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
            return
        if not self.running:
            return
        if not self._was_ready:
            if not self.ready.called:
                said = process.last_line or f"the embedded PFS ended ({_end(reason)})"
                self.ready.errback(EmbeddedPFSError(said))
            return
        if self._reactor.seconds() - process.started_seconds >= GOOD_SECONDS:
            self._backoff = FIRST_BACKOFF_SECONDS
        seconds, self._backoff = self._backoff, min(self._backoff * 2, MAX_BACKOFF_SECONDS)
        self._restart = self._reactor.callLater(seconds, self._spawn)
        _log.error(
            "the embedded PFS ended ({end}); it is started again in {seconds} s",
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
        process.end()
        killer = self._reactor.callLater(self._kill_seconds, process.kill)

        def done(_: None) -> None:
            if killer.active():
                killer.cancel()

        return stopped.addCallback(done)


class _Process(ProcessProtocol):
    """One run of the process: its first line of output is readiness, each line of errors is logged."""

    transport: Any

    def __init__(self, service: EmbeddedPFS, started_seconds: float) -> None:
        self._service = service
        self._output = _Lines(self._said)
        self._errors = _Lines(self._complained)
        self.started_seconds = started_seconds
        self.last_line = ""

    def outReceived(self, data: bytes) -> None:
        self._output.feed(data)

    def errReceived(self, data: bytes) -> None:
        self._errors.feed(data)

    def processEnded(self, reason: Failure) -> None:
        self._errors.end()
        self._service.process_ended(self, reason)

    def _said(self, line: str) -> None:
        try:
            said = json.loads(line)
            ready = Ready(listen=said["listen"], pid=said["pid"])
        except (ValueError, TypeError, KeyError):
            # Some library's print; nothing of ours.
            self._complained(line)
        else:
            self._service.process_ready(ready)

    def _complained(self, line: str) -> None:
        self.last_line = line
        _log.info("{line}", line=line)

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
    """Hands on what comes in pieces line by line, without the line breaks."""

    def __init__(self, receive: Callable[[str], None]) -> None:
        self._receive = receive
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._receive(line.decode("utf-8", "replace"))
        if len(self._rest) > MAX_LINE:
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
