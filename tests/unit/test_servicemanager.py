"""What systemd is told, on a socket as it makes one; time is the test's."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from pachgw.servicemanager import EXTENSION_SECONDS, LIFE_SIGNS, ServiceManager


class Systemd:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        """Everything since it was asked last: a message each."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with tempfile.TemporaryDirectory() as folder:
        made = Systemd(str(Path(folder, "n")))
        with made.socket:
            yield made


def test_a_life(systemd: Systemd) -> None:
    manager = ServiceManager(systemd.environ, Clock())
    assert manager.wants_to_know
    manager.start()
    manager.status("starting: PFS does not answer")
    manager.status("starting: PFS does not answer")
    manager.reloading()
    manager.reloaded()
    assert systemd.heard() == ["STATUS=starting", "STATUS=starting: PFS does not answer"]
    manager.ready("serving")
    assert systemd.heard() == ["READY=1\nSTATUS=serving"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading()
    (message,) = systemd.heard()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=([0-9]+)", message)
    assert found
    assert before <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloaded()
    assert systemd.heard() == ["READY=1\nSTATUS=serving"]
    manager.stopping(30)
    manager.reloaded()
    assert systemd.heard() == ["STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=30000000"]
    manager.stop()
    manager.status("more")
    assert systemd.heard() == []


def test_the_watchdog_hears_of_a_reactor_that_runs(systemd: Systemd) -> None:
    clock = Clock()
    environ = systemd.environ | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    manager = ServiceManager(environ, clock)
    assert manager.round_seconds == 30 / LIFE_SIGNS
    manager.start()
    assert systemd.heard() == ["STATUS=starting", "WATCHDOG=1"]
    clock.advance(9.9)
    assert systemd.heard() == []
    clock.pump([0.1, 10, 10])
    assert systemd.heard() == ["WATCHDOG=1"] * 3
    manager.stop()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "30", "WATCHDOG_PID": "1"}],
)
def test_no_watchdog_of_ours(systemd: Systemd, environ: dict[str, str]) -> None:
    clock = Clock()
    manager = ServiceManager(systemd.environ | environ, clock)
    assert manager.round_seconds is None
    manager.start()
    assert clock.getDelayedCalls() == []


def test_a_start_that_takes_its_time(systemd: Systemd) -> None:
    clock = Clock()
    manager = ServiceManager(systemd.environ, clock)
    manager.extend_start()
    clock.advance(EXTENSION_SECONDS / LIFE_SIGNS)
    assert systemd.heard() == ["EXTEND_TIMEOUT_USEC=30000000"] * 2
    manager.end_extension()
    assert clock.getDelayedCalls() == []


def test_children_have_nothing_of_it(systemd: Systemd) -> None:
    others = {"PATH": "/bin", "STATE_DIRECTORY": "/var/lib/pachgw"}
    environ = (
        systemd.environ
        | others
        | dict.fromkeys(
            ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"),
            "1",
        )
    )
    ServiceManager(environ, Clock())
    assert environ == others


def test_a_socket_without_a_file(systemd: Systemd) -> None:
    other = Systemd(f"@pachgw-test-{os.getpid()}")
    with other.socket:
        ServiceManager(other.environ, Clock()).ready("serving")
        assert other.heard() == ["READY=1\nSTATUS=serving"]


def test_a_line_break_begins_no_second_message(systemd: Systemd) -> None:
    ServiceManager(systemd.environ, Clock()).status("cannot start: a\nREADY=1")
    assert systemd.heard() == ["STATUS=cannot start: a READY=1"]


def test_who_was_not_started_by_one_tells_nobody() -> None:
    clock = Clock()
    manager = ServiceManager({}, clock)
    assert not manager.wants_to_know
    manager.start()
    manager.extend_start()
    manager.ready("serving")
    manager.stopping(1)
    assert clock.getDelayedCalls() == []


def test_one_that_has_gone_is_no_reason_to_end(systemd: Systemd) -> None:
    events: list[LogEvent] = []
    systemd.socket.close()
    globalLogPublisher.addObserver(events.append)
    try:
        ServiceManager(systemd.environ, Clock()).ready("serving")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [eventAsText(event, includeTimestamp=False) for event in events] == [
        "[pachgw.daemon#warn] systemd cannot be told READY: [Errno 111] Connection refused"
    ]
