"""Starts the real daemon as users do, `twistd --nodaemon pachgw`, and stops it by its own handle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30


class Daemon:
    """One running daemon, on a free port of 127.0.0.1."""

    def __init__(self, state_dir: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.options = options
        self.environ = environ or {}
        self.log: list[str] = []
        self.s3_url = ""
        self.pfs_address = ""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()

    def start(self) -> Daemon:
        """Start, and return once S3 listens."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PACH")}
        own = (
            []
            if any(option == "--pachd" for option in self.options)
            else ["--state-dir", str(self.state_dir)]
        )
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "twistd"),
                "--nodaemon",
                "--pidfile=",
                "pachgw",
                "--listen",
                "tcp:0:interface=127.0.0.1",
                *own,
                *self.options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environ | self.environ,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.s3_url = self.wait_for(r"S3 listens on (http://\S+)")
        found = re.search(r"PFS listens on (grpc://\S+)", "\n".join(self.log))
        self.pfs_address = found[1] if found else ""
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.log.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.log.append("<end of log>")
            self._changed.notify_all()

    def wait_for(self, pattern: str, *, after: int = 0, seconds: float = START_SECONDS) -> str:
        """The first group (or the whole) of the first log line from `after` on that matches."""
        found: list[str] = []

        def there() -> bool:
            for line in self.log[after:]:
                if match := re.search(pattern, line):
                    found.append(match[1] if match.groups() else match[0])
                    return True
                if line == "<end of log>":
                    raise AssertionError("the daemon ended:\n" + "\n".join(self.log))
            return False

        with self._changed:
            if not self._changed.wait_for(there, timeout=seconds):
                raise AssertionError(f"no {pattern!r} in {seconds} s:\n" + "\n".join(self.log))
        return found[0]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def pfs_pid(self) -> int:
        """The embedded PFS's process, the daemon's only child."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        (child,) = map(int, children)
        return child

    def kill(self) -> None:
        """SIGKILL the daemon and its PFS at once."""
        pfs = self.pfs_pid
        os.kill(self.pid, signal.SIGKILL)
        os.kill(pfs, signal.SIGKILL)
        self._join()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self._join()

    def _join(self) -> int:
        assert self._process is not None
        assert self._reader is not None
        assert self._process.stdout is not None
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError("the daemon does not stop:\n" + "\n".join(self.log)) from None
        self._reader.join(STOP_SECONDS)
        self._process.stdout.close()
        self._process = None
        return status

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
