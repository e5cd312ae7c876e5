"""HAProxy and nginx, set up as docs/connect.md has them, before gateways of a test."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from raw import ask

PAGE = (Path(__file__).parents[2] / "docs" / "connect.md").read_text(encoding="utf-8")
PORT = "9000"
GATEWAYS = ("10.0.0.11:30600", "10.0.0.12:30600")
"""What the page has in its examples."""

TRIES = 600
STOP_SECONDS = 30


def program(name: str) -> str:
    """The balancer, which comes from the system if at all."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        # Not even where all clients have to be there: no target of the Makefile installs it.
        pytest.skip(f"{name} is not installed")
    return found


def configuration(language: str, port: int, gateways: Sequence[str]) -> str:
    """The page's block of this language, for these addresses."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert text.count(PORT) == 1
    text = text.replace(PORT, str(port))
    for named, address in zip(GATEWAYS, gateways, strict=True):
        assert text.count(named) == 1
        text = text.replace(named, address)
    return str(text)


class Balancer:
    """One that runs, from start to stop by its own handle."""

    def __init__(self, name: str, gateways: Sequence[str], directory: Path) -> None:
        """The gateways as host:port."""
        self._name = name
        self._gateways = gateways
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Balancer:
        binary = program(self._name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = configuration(self._name, port, self._gateways)
        path = self._directory / f"{self._name}.conf"
        if self._name == "haproxy":
            command = [binary, "-db", "-f", str(path)]
        else:
            # Where it may write, as whoever runs the tests.
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            places = "".join(f"{kind}_temp_path {self._directory}/{kind};\n" for kind in kinds)
            text = text.replace("http {\n", f"http {{\n{places}")
            words = f"daemon off; pid {self._directory}/nginx.pid;"
            command = [binary, "-e", "stderr", "-p", str(self._directory), "-c", str(path), "-g", words]
        path.write_text(text, encoding="utf-8")
        log = (self._directory / f"{self._name}.log").open("wb")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.url = f"http://127.0.0.1:{port}"
        self._wait()
        return self

    def _wait(self) -> None:
        """Until it passes requests on: it looks at the gateways first."""
        assert self._process is not None
        for _ in range(TRIES):
            assert self._process.poll() is None, self.log
            try:
                if ask(self.url, "GET", "/~/ready").status == 200:
                    return
            except OSError:
                pass
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        self.__exit__()
        pytest.fail(f"{self._name} does not serve:\n{self.log}")

    @property
    def log(self) -> str:
        return (self._directory / f"{self._name}.log").read_text(encoding="utf-8", errors="replace")

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
