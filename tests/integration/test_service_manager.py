"""The daemon with systemd's protocol: sockets it is handed, what it tells, what its children have."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Daemon
from raw import ask

WAIT_SECONDS = 60
LISTEN = ("--listen", "systemd:domain=INET:name=s3")


class Systemd:
    """The end that systemd has."""

    def __init__(self, folder: Path) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Names of sockets are short.
        self.path = os.path.relpath(folder / "n")
        self.notify.bind(self.path)
        self.notify.settimeout(WAIT_SECONDS)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self.listening.getsockname())

    def environ(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": f"{Path(self.path).absolute()}", **more}

    def hear(self, pattern: str) -> str:
        """The next message in which the pattern is; those before it are passed over."""
        while True:
            message = self.notify.recv(4096).decode()
            if re.search(pattern, message):
                return message

    def __enter__(self) -> Systemd:
        return self

    def __exit__(self, *exc: object) -> None:
        self.notify.close()
        self.listening.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with Systemd(tmp_path) as made:
        yield made


def _has_nothing_of_it(pid: int, listening: int) -> None:
    environ = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    names = {line.partition("=")[0] for line in environ.split("\0")}
    assert not names & {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    }
    sockets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.append(descriptor.stat().st_ino)
        except FileNotFoundError:
            continue  # It was closed meanwhile.
    assert sockets.count(listening) <= 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_life_with_a_socket_that_outlives_it(tmp_path: Path, systemd: Systemd, workers: str) -> None:
    inode = os.fstat(systemd.listening.fileno()).st_ino
    environ = systemd.environ(WATCHDOG_USEC="30000000")
    options = (*LISTEN, "--workers", workers)
    with Daemon(tmp_path / "state", *options, environ=environ, sockets={"s3": systemd.listening}) as daemon:
        systemd.hear("^READY=1\nSTATUS=serving$")
        daemon.wait_for(re.escape(f"S3 listens on {systemd.url}"))
        assert ask(systemd.url, "PUT", "/master.images").status == 200
        _has_nothing_of_it(daemon.pfs_pid, inode)
        assert inode not in {
            path.stat().st_ino for path in Path(f"/proc/{daemon.pfs_pid}/fd").iterdir() if path.exists()
        }
        for pid in daemon.worker_pids:
            _has_nothing_of_it(pid, inode)
        os.kill(daemon.pid, signal.SIGHUP)
        systemd.hear("^RELOADING=1\nMONOTONIC_USEC=")
        systemd.hear("^READY=1\nSTATUS=serving$")
        assert daemon.stop() == 0
    systemd.hear("^STOPPING=1\n")
    # Who comes between two daemons waits, and is answered by the next one.
    with socket.create_connection(systemd.listening.getsockname()) as client:
        client.settimeout(WAIT_SECONDS)
        client.sendall(b"HEAD /master.images HTTP/1.1\r\nHost: h\r\n\r\n")
        with Daemon(tmp_path / "state", *options, sockets={"s3": systemd.listening}):
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_worker_that_is_blocked_is_replaced(tmp_path: Path, systemd: Systemd) -> None:
    environ = systemd.environ(WATCHDOG_USEC="3000000")
    with Daemon(tmp_path, "--workers", "2", environ=environ) as daemon:
        systemd.hear("^READY=1")
        # In the order of their numbers.
        blocked = int(daemon.wait_for("workers serve, pids ([0-9]+),"))
        os.kill(blocked, signal.SIGSTOP)
        daemon.wait_for("worker 1 is blocked: it answers nothing, and is ended")
        daemon.wait_for("worker 1 serves again")
        assert blocked not in daemon.worker_pids
        assert ask(daemon.s3_url, "GET", "/").status == 200


def test_pfs_that_does_not_answer_holds_up_the_start_and_not_the_clients(
    tmp_path: Path, systemd: Systemd
) -> None:
    # Takes connections and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as mute:
        pachd = "grpc://{}:{}".format(*mute.getsockname())
        with Daemon(tmp_path, "--pachd", pachd, environ=systemd.environ()) as daemon:
            systemd.hear("^STATUS=starting: PFS does not answer$")
            assert ask(daemon.s3_url, "GET", "/~/ready").status == 503
            assert daemon.stop() == 0
        systemd.notify.setblocking(False)
        left = []
        while True:
            try:
                left.append(systemd.notify.recv(4096).decode())
            except BlockingIOError:
                break
        assert left[-1].startswith("STOPPING=1")
        assert not [message for message in left if "READY=1" in message]


@pytest.mark.parametrize("path", ["other", None])
def test_a_socket_that_is_not_there(tmp_path: Path, systemd: Systemd, path: str | None) -> None:
    sockets = {} if path is None else {path: systemd.listening}
    daemon = Daemon(tmp_path / "state", *LISTEN, environ=systemd.environ(), sockets=sockets)
    with pytest.raises(AssertionError, match="the daemon ended"):
        daemon.start()
    (line,) = [line for line in daemon.log if "cannot start" in line]
    assert "cannot listen on systemd:domain=INET:name=s3: systemd has handed over no such socket" in line
    assert "systemctl status pachgw.socket" in line
    assert "Traceback" not in "\n".join(daemon.log)
    systemd.hear("^STATUS=cannot start: cannot listen on systemd:")
    assert daemon.ended() == 1


def test_a_unix_socket_stays_as_systemd_made_it(tmp_path: Path, systemd: Systemd) -> None:
    path = os.path.relpath(tmp_path / "s3.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        Path(path).chmod(0o600)
        listening.listen()
        options = ("--listen", "systemd:domain=UNIX:index=0")
        with Daemon(tmp_path / "state", *options, sockets={"s3": listening}) as daemon:
            daemon.wait_for("S3 listens on unix:")
            done = subprocess.run(
                ["curl", "-sS", "--unix-socket", path, "http://localhost/~/healthy"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout == "ok\n", done.stderr
        assert Path(path).stat().st_mode & 0o777 == 0o600


def test_others_than_this_machine_are_served_only_with_auth(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listening:
        daemon = Daemon(tmp_path, *LISTEN, sockets={"s3": listening})
        with pytest.raises(AssertionError, match="--serve-without-auth"):
            daemon.start()
        assert daemon.ended() == 1
