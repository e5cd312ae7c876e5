"""The embedded PFS as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc

MAX_MESSAGE = 20 << 20
_END_SECONDS = 20


class LocalPFS:
    """A running server: its process, and channels to it."""

    def __init__(self, state: Path, socket: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pachgw.localpfs", f"--state-dir={state}", f"--socket={socket}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = self.process.stdout.readline() if self.process.stdout else b""
        if not line:
            self.process.wait(_END_SECONDS)
            raise RuntimeError(f"the server ended with status {self.process.returncode}")
        self.ready = json.loads(line)
        self.socket = socket

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
def running(state: Path, socket: Path, *options: str) -> Iterator[LocalPFS]:
    server = LocalPFS(state, socket, *options)
    try:
        yield server
    finally:
        server.close()
