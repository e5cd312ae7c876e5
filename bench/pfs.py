"""The process of the embedded PFS under measurement: start, memory, disk, stop."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO


class Server:
    """`python -m pachgw.localpfs` over one state directory, on a unix socket as the gateway has it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._sockets = tempfile.TemporaryDirectory()
        socket = Path(self._sockets.name, "pfs.sock")
        # Its log stays out of the table.
        log = state.with_name(f"{state.name}.log")
        with log.open("wb") as stderr:
            self._process = self._start(socket, stderr)
        if not (self._process.stdout and json.loads(self._process.stdout.readline() or "{}")):
            raise SystemExit(f"the embedded PFS did not start: {log.read_text()}")
        self.target = f"unix:{socket}"

    def _start(self, socket: Path, stderr: IO[bytes]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pachgw.localpfs", f"--state-dir={self.state}", f"--socket={socket}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def _status(self, key: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def peak_bytes(self) -> int:
        """The largest resident size since `reset_peak`."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new peak (proc(5), clear_refs)."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def disk_bytes(self) -> int:
        """What the state directory takes on disk, in blocks that are allocated."""
        return sum(path.lstat().st_blocks * 512 for path in self.state.rglob("*") if not path.is_dir())

    def stop(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._sockets.cleanup()
