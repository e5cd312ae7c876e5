"""The embedded PFS as a Twisted service: where its process listens, and what it says once it serves.

How a process is started, watched and stopped is process.py's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pachgw.interpreter import running
from pachgw.process import KeptProcess, Message, ProcessError

MAX_SOCKET_PATH = 100
"""Bytes; Linux takes 107, and temporary names next to it are a little longer."""

KILL_SECONDS = 10.0
"""How long it may take to stop."""

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
    """Runs `python -m pachgw.localpfs` while the service runs."""

    def __init__(
        self,
        state_dir: Path,
        socket_path: Path,
        *,
        listen: str | None = None,
        tokens_file: Path | None = None,
        reactor: Any,
        command: Sequence[str] = running("pachgw.localpfs"),
        kill_seconds: float = KILL_SECONDS,
    ) -> None:
        self.process = KeptProcess(
            [
                *command,
                *("--state-dir", str(state_dir), "--socket", str(socket_path)),
                *(("--listen", listen) if listen else ()),
                *(("--tokens", str(tokens_file)) if tokens_file else ()),
            ],
            name="the embedded PFS",
            reactor=reactor,
            log=_log,
            complained=_complained,
            kill_seconds=kill_seconds,
        )
        self.ready: Deferred[Ready] = self.process.ready.addCallbacks(_ready, _refused)
        """Fires when the process serves for the first time; fails with EmbeddedPFSError if it ends before."""

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return self.process.pid

    def startService(self) -> None:
        """Start the process."""
        super().startService()
        self.process.startService()

    def stopService(self) -> Deferred[None] | None:
        """End the process, by SIGKILL where it takes longer than `kill_seconds`."""
        super().stopService()
        return self.process.stopService()


def _complained(line: str) -> None:
    _log.info("{line}", line=line)


def _ready(said: Message) -> Ready:
    return Ready(listen=said["listen"], pid=said["pid"])


def _refused(failure: Failure) -> Failure:
    failure.trap(ProcessError)
    return Failure(EmbeddedPFSError(str(failure.value)))
