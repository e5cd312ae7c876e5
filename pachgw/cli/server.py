"""The way to a store: its running server, or one that is started for as long as the command needs it.

So that every command has one way only: gRPC over the unix socket of the one process that has the lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc

from pachgw.cli.access import check_access
from pachgw.cli.outcome import Refused
from pachgw.interpreter import environment, running
from pachgw.localpfs import lock
from pachgw.localpfs.db import FILE_NAME, DatabaseError, open_to_copy
from pachgw.localpfs.upkeep import CLEAN

_READY_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 10.0
_END_SECONDS: Final = 30.0
_OPTIONS: Final = (("grpc.max_receive_message_length", 20 << 20), ("grpc.enable_retries", 0))


class _InUse(Refused):
    """A server cannot be started, since there is one."""


@contextlib.contextmanager
def channel_to(state_dir: Path, *, make: bool = False, changes: bool = True) -> Iterator[grpc.Channel]:
    """A channel to the server of the store, which is started for as long as this lasts where there is none.

    `make`: whether a store is made where there is none; `changes`: whether commits or tokens may change,
    after which a backup is none any more. Raises Refused.
    """
    check_access(state_dir, make=make)
    with contextlib.ExitStack() as cleanups:
        try:
            socket = _socket_of_running(state_dir) or cleanups.enter_context(_started(state_dir, changes))
        except _InUse:
            # The daemon has started at the same moment.
            socket = _socket_of_running(state_dir) or cleanups.enter_context(_started(state_dir, changes))
        channel = cleanups.enter_context(grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS))
        try:
            grpc.channel_ready_future(channel).result(_ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise Refused(f"the server of {state_dir} does not answer on {socket}") from None
        yield channel


@contextlib.contextmanager
def refusals(place: object) -> Iterator[None]:
    """Turns what a call of gRPC fails with into Refused; `place` is named where nobody answers."""
    try:
        yield
    except grpc.RpcError as error:
        call: Any = error
        text = " ".join((call.details() or call.code().name).split())
        if call.code() is grpc.StatusCode.UNAVAILABLE:
            raise Refused(f"{place} does not answer: {text}") from None
        if text == "Method not found!":
            raise Refused(f"the server of {place} is of another release, which does not know this") from None
        if text == "the auth service is not activated":
            raise Refused("auth is off; `pachgw token activate` turns it on") from None
        raise Refused(text) from None


def _socket_of_running(state_dir: Path) -> str | None:
    """Where the process that has the lock serves; None where nobody has it. Raises Refused."""
    deadline = time.monotonic() + _READY_SECONDS
    try:
        while lock.is_taken(state_dir):
            said = lock.said(state_dir)
            if "backup_of" in said:
                raise Refused(f"a backup is just being written to {state_dir}")
            # While it starts it has not said anything yet.
            if "socket" in said:
                return said["socket"]
            if time.monotonic() > deadline:
                raise Refused(f"the process that uses {state_dir} does not say where it listens")
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        raise Refused(f"{state_dir}: {error.strerror}") from None
    return None


@contextlib.contextmanager
def _started(state_dir: Path, changes: bool) -> Iterator[str]:
    """The socket of a server that runs while this lasts. Raises Refused."""
    _refuse_upgrade(state_dir)
    said = {} if changes else lock.said(state_dir)
    with contextlib.ExitStack() as cleanups:
        # The name of a unix socket has to be short: not in the state directory.
        folder = Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="pachgw-")))
        who: dict[str, Any] = {}
        if os.geteuid() == 0 and state_dir.exists():
            # Or the daemon could not open what is made here.
            owner = state_dir.stat()
            if owner.st_uid != 0:
                os.chown(folder, owner.st_uid, owner.st_gid)
                who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        server = cleanups.enter_context(_Server(state_dir, folder / "s", who))
        server.await_ready()
        yield str(folder / "s")
    if "backup_of" in said:
        # Looked at only, and so still a backup.
        with contextlib.suppress(OSError):
            descriptor = lock.take(state_dir)
            try:
                # Said of what is in it now, and not of what the next backup puts there.
                (state_dir / CLEAN).unlink(missing_ok=True)
                lock.say(descriptor, **said)
            finally:
                os.close(descriptor)


def _refuse_upgrade(state_dir: Path) -> None:
    """An older format is the daemon's to upgrade, when its operator has chosen to."""
    if (state_dir / FILE_NAME).exists():
        try:
            open_to_copy(state_dir / FILE_NAME).close()
        except DatabaseError as error:
            raise Refused(str(error)) from None


class _Server:
    """A server process of our own: ends with its standard input, so that nothing is left of it behind us."""

    def __init__(self, state_dir: Path, socket: Path, who: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [
                *running("pachgw.localpfs"),
                *("--state-dir", str(state_dir), "--socket", str(socket)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
            umask=0o077,
            **who,
        )
        self._errors: deque[bytes] = deque(maxlen=1)
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)

    def await_ready(self) -> None:
        """Until it serves. Raises Refused with the last line it said where it cannot."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            json.loads(line)
        except ValueError:
            self._process.wait(_END_SECONDS)
            self._reader.join(_END_SECONDS)
            last = self._errors[-1].decode("utf-8", "replace").strip() if self._errors else ""
            status = f"the server ended with status {self._process.returncode}"
            kind = _InUse if last.endswith("is in use by another process") else Refused
            raise kind(last.removeprefix("pachgw.localpfs: ") or status) from None

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._reader.join(_END_SECONDS)
        process.stderr.close()
