"""Starts the real daemon as users do, `twistd --nodaemon pachgw`, and stops it by its own handle."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

START_SECONDS = 90
STOP_SECONDS = 90

KNOBS = (
    # As many on each machine, or a failure on one would not be seen on another.
    ("--workers", "PACHGW_TEST_WORKERS", "1"),
    ("--cache-memory", "PACHGW_TEST_CACHE_MIB", ""),
)
"""An option of the daemon, the variable that sets it for all tests, and what it is without."""

HAND_OVER = """
import os, sys
names, descriptors, *command = sys.argv[1:]
# Out of the way of the numbers that they are to have.
moved = [os.dup2(int(one), 100 + place) for place, one in enumerate(descriptors.split(","))]
for place, descriptor in enumerate(moved):
    os.dup2(descriptor, 3 + place)
    os.close(descriptor)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(moved)), "LISTEN_FDNAMES": names}
os.execvp(command[0], command)
"""


class Daemon:
    """One running daemon, on a free port of 127.0.0.1."""

    def __init__(
        self,
        state_dir: Path,
        *options: str,
        environ: dict[str, str] | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
    ) -> None:
        """`sockets` are handed over by their names, as systemd does."""
        self._sockets = sockets or {}
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
        # Whoever runs the tests may be a user of pachctl.
        environ["PACH_CONFIG"] = "/nonexistent"
        own = (
            []
            if any(option == "--pachd" for option in self.options)
            else ["--state-dir", str(self.state_dir)]
        )
        self._process = subprocess.Popen(
            [
                *self._handing_over(),
                # Tests in the background of a shell would have it ignore Ctrl-C.
                *("env", "--default-signal=INT"),
                str(Path(sys.executable).parent / "twistd"),
                "--nodaemon",
                "--pidfile=",
                "pachgw",
                "--listen",
                "tcp:0:interface=127.0.0.1",
                *own,
                *self._knobs(),
                *self.options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environ | self.environ,
            pass_fds=[one.fileno() for one in self._sockets.values()],
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.s3_url = self.wait_for(r"S3 listens on (http://\S+)")
        found = re.search(r"PFS listens on (grpc://\S+)", "\n".join(self.log))
        self.pfs_address = found[1] if found else ""
        return self

    def _handing_over(self) -> list[str]:
        if not self._sockets:
            return []
        descriptors = [str(one.fileno()) for one in self._sockets.values()]
        return [sys.executable, "-c", HAND_OVER, ":".join(self._sockets), ",".join(descriptors)]

    def _knobs(self) -> list[str]:
        """Options that a whole run of the tests is tried with; those that the test gave itself go first."""
        return [
            word
            for option, variable, default in KNOBS
            if option not in self.options and (value := os.environ.get(variable, default))
            for word in (option, value)
        ]

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
    def tracebacks(self) -> list[str]:
        """What the log has of tracebacks, each with the lines around it; a daemon at work has none."""
        places = [place for place, line in enumerate(self.log) if "Traceback" in line]
        return ["\n".join(self.log[max(place - 2, 0) : place + 40]) for place in places]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def child_pids(self) -> dict[str, list[int]]:
        """The daemon's children by the module that each runs."""
        found: dict[str, list[int]] = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                found.setdefault(words[words.index("-m") + 1] if "-m" in words else "", []).append(int(pid))
        return found

    @property
    def pfs_pid(self) -> int:
        """The embedded PFS's process, of which there is one."""
        (child,) = self.child_pids["pachgw.localpfs"]
        return child

    @property
    def worker_pids(self) -> list[int]:
        """The worker processes; none where the daemon serves itself."""
        return self.child_pids.get("pachgw.workers", [])

    def kill(self) -> None:
        """SIGKILL the daemon and all its children at once."""
        pids = [self.pid, *itertools.chain.from_iterable(self.child_pids.values())]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._join()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self._join()

    def ended(self) -> int:
        """Wait for its end, which something else has caused; the exit status."""
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
