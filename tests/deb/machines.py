"""A container whose PID 1 is systemd: started, used from inside and over its own network, and powered off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bases import run

START_SECONDS = 180
POWER_OFF = signal.SIGRTMIN + 4
"""What systemd takes for it."""
ENVIRON = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb")
"""In the machine nothing is as it is on this host."""
TOOLS = Path(sys.executable).parent


class Machine:
    """It has no network but its own loopback, which `at_its_network` reaches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._console: IO[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        self._console = (self.root.parent / "console.log").open("wb")
        self._process = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no"),
                *("--keep-unit", "--console=pipe", "--private-network"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
        )
        until(self._has_init, "no systemd in the container", START_SECONDS)
        until(
            lambda: (
                self.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"}
            ),
            "systemd does not come up",
            START_SECONDS,
        )
        return self

    def _has_init(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.root.parent / "console.log").read_text(errors="replace")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            # Before that it is nspawn's own, which sets up the container.
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._init = int(child)
        return bool(self._init)

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        assert self._console is not None
        if self._init:
            os.kill(self._init, POWER_OFF)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._console.close()

    def run(self, *command: str, check: bool = True) -> str:
        """What a command says in the machine."""
        return run("nsenter", "-t", str(self._init), "-a", "env", "-i", *ENVIRON, *command, check=check)

    def shell(self, script: str, *, check: bool = True) -> str:
        return self.run("/bin/sh", "-ec", script, check=check)

    def at_its_network(
        self, *command: str | Path, check: bool = True, environ: dict[str, str] | None = None
    ) -> str:
        """What a program of this host says whose network is the machine's."""
        words = (f"{name}={value}" for name, value in (environ or {}).items())
        return run("nsenter", "-t", str(self._init), "-n", "env", *words, *command, check=check)

    def started_at_its_network(self, *command: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["nsenter", "-t", str(self._init), "-n", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def aws(self, *words: str | Path, url: str = "http://127.0.0.1:30600", **environ: str) -> str:
        """What the AWS CLI of this host says."""
        credentials = {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return self.at_its_network(
            TOOLS / "aws", "--endpoint-url", url, *words, environ=credentials | environ
        )

    def unit(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "pachgw.service", "-P", name).strip()

    def journal(self) -> str:
        return self.run("journalctl", "-u", "pachgw", "-o", "cat", "--no-pager")

    def write(self, path: str, text: str) -> None:
        """The content of a file of the machine; its owner and mode stay, if it is there."""
        (self.root / path.lstrip("/")).write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")


def until(true: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait for something that nobody tells us."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)
