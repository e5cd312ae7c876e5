"""SIGTERM while requests are under way: which of them end, which are cut, and what is committed then."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from daemons import Daemon
from raw import ask
from secured import Files, SecureWire, port_of
from wire import Closed, Wire

BUCKET = "master.work"
DATA = bytes(range(256)) * 16_384
HALF = len(DATA) // 2


@pytest.fixture(params=["1", "2"], ids=lambda workers: f"{workers}-workers")
def workers(request: pytest.FixtureRequest) -> str:
    return request.param


class Clients:
    """A connection of each kind, with a half of an upload sent on it."""

    def __init__(self, daemon: Daemon, files: Files, stack: ExitStack) -> None:
        self.uploads = {
            "plain": stack.enter_context(Wire(daemon.s3_url)),
            "secure": stack.enter_context(SecureWire(port_of(daemon), files.context())),
        }
        for name, wire in self.uploads.items():
            wire.head(
                "PUT", f"/{BUCKET}/{name}", {"Content-Length": str(len(DATA)), "Expect": "100-continue"}
            )
            # It has come to the handler that reads it.
            assert wire.answer_head()[0] == 100
            wire.send(DATA[:HALF])
        self.idle = [
            stack.enter_context(Wire(daemon.s3_url)),
            stack.enter_context(SecureWire(port_of(daemon), files.context())),
        ]
        for wire in self.idle:
            assert wire.request("GET", f"/{BUCKET}/k").body == b"kept"

    def see_the_stop(self) -> None:
        """Idle connections are closed at once, which tells that it has begun."""
        for wire in self.idle:
            assert wire.read() == b""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def started(files: Files, tmp_path: Path, workers: str) -> Iterator[tuple[Daemon, ExitStack]]:
    options = ("--workers", workers, *files.options)
    with ExitStack() as stack:
        daemon = Daemon(tmp_path / "state", *options)
        yield daemon, stack
        stack.close()
        daemon.stop()


def begin(daemon: Daemon) -> None:
    daemon.start()
    assert ask(daemon.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
    assert ask(daemon.s3_url, "PUT", f"/{BUCKET}/k", body=b"kept").status == 200


def stored(daemon: Daemon) -> dict[str, int]:
    """The statuses of both uploads in a daemon that was started after all."""
    with Daemon(daemon.state_dir) as again:
        found = {}
        for name in ("plain", "secure"):
            answer = ask(again.s3_url, "GET", f"/{BUCKET}/{name}")
            assert answer.status == 404 or answer.body == DATA
            found[name] = answer.status
        return found


def unharmed(daemon: Daemon) -> None:
    for unwanted in ("Traceback", "started again", "error#", "critical"):
        assert not [line for line in daemon.log if unwanted in line]


def test_the_whole_group_is_told_and_slow_uploads_are_committed(
    started: tuple[Daemon, ExitStack], files: Files
) -> None:
    daemon, stack = started
    daemon.options = (*daemon.options, "--drain-seconds", "60")
    begin(daemon)
    clients = Clients(daemon, files, stack)
    # As systemd does: PFS and workers as well, and not last.
    for pid in [daemon.pfs_pid, *daemon.worker_pids, daemon.pid]:
        os.kill(pid, signal.SIGTERM)
    clients.see_the_stop()
    with pytest.raises(ConnectionRefusedError):
        Wire(daemon.s3_url)
    for wire in clients.uploads.values():
        wire.send(DATA[HALF:])
        assert wire.answer("PUT").status == 200
        # Then the connection is closed, with TLS too.
        assert wire.read() == b""
    assert daemon.ended() == 0
    unharmed(daemon)
    assert stored(daemon) == {"plain": 200, "secure": 200}


def test_uploads_that_do_not_end_are_cut_and_leave_nothing(
    started: tuple[Daemon, ExitStack], files: Files
) -> None:
    daemon, stack = started
    daemon.options = (*daemon.options, "--drain-seconds", "1")
    begin(daemon)
    clients = Clients(daemon, files, stack)
    os.kill(daemon.pid, signal.SIGTERM)
    clients.see_the_stop()
    for wire in clients.uploads.values():
        with pytest.raises((Closed, OSError)):
            wire.answer("PUT")
    assert daemon.ended() == 0
    assert not daemon.tracebacks
    assert stored(daemon) == {"plain": 404, "secure": 404}


def test_with_no_time_at_all_requests_are_cut_at_once(
    started: tuple[Daemon, ExitStack], files: Files
) -> None:
    daemon, stack = started
    daemon.options = (*daemon.options, "--drain-seconds", "0")
    begin(daemon)
    clients = Clients(daemon, files, stack)
    assert daemon.stop() == 0
    for wire in clients.uploads.values():
        with pytest.raises((Closed, OSError)):
            wire.answer("PUT")


def test_a_second_signal_ends_at_once_with_tls_too(started: tuple[Daemon, ExitStack], files: Files) -> None:
    daemon, stack = started
    daemon.options = (*daemon.options, "--drain-seconds", "3600")
    begin(daemon)
    clients = Clients(daemon, files, stack)
    os.kill(daemon.pid, signal.SIGTERM)
    clients.see_the_stop()
    assert daemon.stop() == -signal.SIGTERM
    for wire in clients.uploads.values():
        with pytest.raises((Closed, OSError)):
            wire.answer("PUT")
    assert stored(daemon) == {"plain": 404, "secure": 404}


def test_who_does_not_close_a_tls_connection_does_not_hold_up_the_stop(
    started: tuple[Daemon, ExitStack], files: Files
) -> None:
    daemon, stack = started
    daemon.options = (*daemon.options, "--drain-seconds", "3600")
    begin(daemon)
    silent = stack.enter_context(SecureWire(port_of(daemon), files.context()))
    assert silent.request("GET", f"/{BUCKET}/k").body == b"kept"
    # It neither reads nor closes; and this one has not even begun to shake hands.
    stack.enter_context(Wire(f"http://127.0.0.1:{port_of(daemon)}"))
    assert daemon.stop() == 0
    assert silent.read() == b""


def test_the_end_of_the_terminal_stops_in_order(tmp_path: Path) -> None:
    """Who closes a terminal's window gets no SIGHUP heeded as a wish to read files again."""
    controller, terminal = pty.openpty()
    script = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    twistd = str(Path(sys.executable).parent / "twistd")
    log = tmp_path / "log"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PACH")}
    command = [twistd, "--nodaemon", "--pidfile=", f"--logfile={log}", "pachgw", "--pachd", "embedded"]
    command += ["--workers", "1", "--listen", "tcp:0:interface=127.0.0.1", "--state-dir", str(tmp_path / "s")]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command], stdin=terminal, start_new_session=True, env=environ
    )
    try:
        os.close(terminal)
        _wait_for(log, "S3 listens on")
        # With the terminal there it means what it means for every daemon.
        process.send_signal(signal.SIGHUP)
        _wait_for(log, "Received SIGHUP")
        os.close(controller)
        assert process.wait(60) == 0
        assert "Received SIGTERM" in log.read_text()
    finally:
        process.kill()
        process.wait()


def _wait_for(log: Path, text: str) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < end, text
        time.sleep(0.02)
