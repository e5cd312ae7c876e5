"""What SIGHUP has read again: when, what fails, and who is handed it."""

from __future__ import annotations

import os
import signal

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import TestCase

from pachgw.workers.order import Handed
from pachgw.workers.reloads import ReadError, Reloads


class ReloadsTest(TestCase):
    timeout = 60

    def setUp(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.handed: list[Handed] = []
        self.taken: Deferred[None] = Deferred()
        self.reloads = Reloads(reactor, self.hand_out)

    @property
    def log(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]

    async def hand_out(self, handed: Handed) -> None:
        self.handed.append(handed)
        await self.taken

    def failing(self) -> Handed:
        raise ReadError("/f: no such thing")

    async def test_a_signal_has_everything_read_and_what_fails_stays(self) -> None:
        read: Deferred[None] = Deferred()
        new = Handed(name="keys", texts=("new",))
        self.reloads.add("the file", self.failing)
        self.reloads.add("the keys", lambda: new)
        self.reloads.add("the log", lambda: read.callback(None))
        self.reloads.install()
        self.reloads.begin()
        os.kill(os.getpid(), signal.SIGHUP)
        await read
        await deferLater(reactor, 0)
        assert self.handed == [new]
        assert self.log == [
            "[pachgw.daemon#error] the file stays as it is: /f: no such thing",
            "[pachgw.daemon#info] the log was read again, and is in force",
        ]
        # Only when all have it.
        self.taken.callback(None)
        assert self.log[2:] == ["[pachgw.daemon#info] the keys was read again, and is in force"]

    def test_before_the_beginning_it_waits(self) -> None:
        read: list[int] = []
        self.reloads.add("the log", lambda: read.append(1))
        self.reloads.run()
        self.reloads.run()
        assert not read
        self.reloads.begin()
        assert read == [1]
        self.reloads.end()
        self.reloads.run()
        assert read == [1]

    def test_nothing_to_read(self) -> None:
        self.reloads.begin()
        self.reloads.run()
        assert self.log == ["[pachgw.daemon#info] Received SIGHUP; there is nothing to read again."]

    def test_what_nobody_can_take_is_an_error(self) -> None:
        self.reloads.add("the keys", lambda: Handed(name="keys", texts=()))
        self.reloads.begin()
        self.reloads.run()
        self.taken.errback(ValueError("no"))
        assert [line for line in self.log if "reading again failed" in line]
        assert len(self.flushLoggedErrors(ValueError)) == 1


def test_a_value_shows_no_texts() -> None:
    assert "secret" not in repr(Handed(name="keys", texts=("secret",)))


@pytest.mark.parametrize("name", ["keys", "other"])
def test_an_order_has_each_name_once(name: str) -> None:
    from dataclasses import replace

    from pachgw.config import load
    from pachgw.workers.order import Order

    config = load({"HOME": "/nonexistent"}, state_dir="/nonexistent/s")
    first, second = Handed(name="keys", texts=("1",)), Handed(name=name, texts=("2",))
    order = Order(config=config, pfs_address="", cors=None, shared_dir=None, listeners=(), handed=(first,))
    expected = (second,) if name == "keys" else (first, second)
    assert order.handing(second) == replace(order, handed=expected)
