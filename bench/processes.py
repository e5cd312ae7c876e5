"""The daemon under measurement, its memory, and the bytes that are sent through it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

START_LINES = 200
OBJECT_BYTES = 512 << 20
"""Where PFS cuts a large file into objects."""
FORGOTTEN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that serves."""

    process: subprocess.Popen[str]
    s3_host: str
    s3_port: int
    pfs: str
    """gRPC target of the embedded PFS."""

    def peak_bytes(self) -> int:
        """The gateway's largest resident size since reset_peak."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def resident_bytes(self) -> int:
        """The gateway's resident size now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def reset_peak(self) -> None:
        """Begin a new peak (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        self.process.terminate()
        for _ in self.process.stdout or ():
            pass
        self.process.wait()


def start(state_dir: Path, *options: str) -> Running:
    """The daemon on a free port, with an embedded PFS in `state_dir`."""
    environ = {name: value for name, value in os.environ.items() if name != "PACHD_ADDRESS"}
    command = [
        str(Path(sys.executable).parent / "twistd"),
        *("--nodaemon", "--pidfile=", "pachgw", "--listen", "tcp:0:interface=127.0.0.1"),
        *("--state-dir", str(state_dir), "--pfs-listen", "127.0.0.1:0"),
        *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ
    )
    pfs = ""
    assert process.stdout is not None
    for _ in range(START_LINES):
        line = process.stdout.readline()
        if found := re.search(r"PFS listens on (unix:\S+)", line):
            pfs = found[1]
        if found := re.search(r"S3 listens on http://([\d.]+):(\d+)", line):
            return _drained(process, found[1], int(found[2]), pfs)
        if not line:
            break
    raise SystemExit("the daemon did not start")


def _drained(process: subprocess.Popen[str], host: str, port: int, pfs: str) -> Running:
    """The daemon, with a reader for its log so that it never waits for us."""
    import threading

    def read() -> None:
        for _ in process.stdout or ():
            pass

    threading.Thread(target=read, daemon=True).start()
    return Running(process=process, s3_host=host, s3_port=port, pfs=pfs)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory on the disk that holds the tree, not in memory: PFS syncs to it."""
    base = Path(__file__).parent / "results"
    base.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=base)


def freshen(path: Path) -> None:
    """Make the file one that no store has seen a part of, and let the disk come to rest."""
    with path.open("r+b") as file:
        for offset in range(0, path.stat().st_size, OBJECT_BYTES):
            file.seek(offset)
            file.write(os.urandom(64))
    os.sync()


def forget(path: Path) -> None:
    """Have what the kernel keeps in memory of the file, or of all files below it, read from disk again."""
    os.sync()
    for one in [path] if path.is_file() else path.rglob("*"):
        if one.is_file() and one.stat().st_size >= FORGOTTEN_BYTES:
            descriptor = os.open(one, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def random_file(path: Path, size: int) -> Path:
    """A file of `size` bytes that do not repeat within any chunk, so that nothing is stored once for two."""
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 16 * 1024 * 1024)))
    return path
