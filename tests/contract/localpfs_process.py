"""The embedded PFS as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc

MAX_MESSAGE = 20 << 20
_END_SECONDS = 60


class LocalPFS:
    """A running server: its process, and channels to it."""

    def __init__(
        self,
        state: Path,
        socket: Path,
        *options: str,
        program: Sequence[str] = ("-m", "pachgw.localpfs"),
        under: Sequence[str] = (),
        wait: bool = True,
        **popen: Any,
    ) -> None:
        """Start it; `wait`: return once it serves. `program`: arguments of Python before the server's own.
        `under`: a program, with its options, that becomes Python.

        Raises RuntimeError where it ends instead.
        """
        self.process = subprocess.Popen(
            [*under, sys.executable, *program, f"--state-dir={state}", f"--socket={socket}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **popen,
        )
        self.socket = socket
        self.ready: dict[str, Any] = {}
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return once it serves. Raises RuntimeError where it ends instead."""
        line = self.process.stdout.readline() if self.process.stdout else b""
        if not line:
            status = self._end()
            raise RuntimeError(f"the server ended with status {status}")
        self.ready = json.loads(line)

    def channel(self) -> grpc.Channel:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", -1),
            # Channels to a socket that an earlier server had are not to be shared.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.insecure_channel(f"unix:{self.socket}", options=options)

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def close(self) -> int:
        """Let it end as when its parent dies; its exit status."""
        if self.process.stdin:
            self.process.stdin.close()
        return self._end()

    def _end(self) -> int:
        try:
            return self.process.wait(_END_SECONDS)
        finally:
            self.process.kill()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


@contextlib.contextmanager
def running(state: Path, socket: Path, *options: str, **popen: Any) -> Iterator[LocalPFS]:
    server = LocalPFS(state, socket, *options, **popen)
    try:
        yield server
    finally:
        server.close()
