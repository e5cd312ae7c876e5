"""The supervisor's end of the workers, with a small script in the place of the real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.trial.unittest import TestCase

from pachgw.config import Cluster, Config
from pachgw.process import ProcessError
from pachgw.workers import crew as crew_module
from pachgw.workers.crew import Crew
from pachgw.workers.order import Handed, Order
from pachgw.workers.shares import ABSENT, Shares
from pachgw.workers.sockets import Listener

BEGIN = """
    import json, os, signal, sys, time
    from pachgw.workers.shares import Shares
    order = json.loads(sys.stdin.readline())["order"]
    index = order["index"]
    def send(**message):
        print(json.dumps(message), flush=True)
    def log(text, level="info", namespace="pachgw.test", time=1.5):
        send(log=[{"time": time, "level": level, "namespace": namespace, "text": text}])
    def ready():
        send(ready=True, pid=os.getpid())
"""
SERVE = """
ready()
for line in sys.stdin:
    log("told " + line.strip())
    break
"""


class CrewTest(TestCase):
    """Each test has a crew of its own, which is stopped whatever happens."""

    timeout = 60

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.events: list[LogEvent] = []
        self._waiting: list[tuple[str, Deferred[str]]] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: LogEvent) -> None:
        self.events.append(event)
        text = eventAsText(event)
        for part, waiter in list(self._waiting):
            if part in text:
                self._waiting.remove((part, waiter))
                waiter.callback(text)

    def logged(self, part: str) -> Deferred[str]:
        waiter: Deferred[str] = Deferred()
        self._waiting.append((part, waiter))
        return waiter

    @property
    def log(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]

    def crew(self, script: str, *, workers: int = 2, drain_seconds: int = 10) -> Crew:
        path = self.directory / "worker.py"
        path.write_text(textwrap.dedent(BEGIN) + script, encoding="utf-8")
        config = Config(
            listen=(),
            backend=Cluster(address="grpc://h:1", source="test"),
            key_encoding="percent",
            cache_dir=None,
            workers=workers,
            drain_seconds=drain_seconds,
        )
        self.read, self.write = os.pipe()
        self.addCleanup(os.close, self.read)
        self.addCleanup(os.close, self.write)
        order = Order(
            config=config,
            pfs_address="grpc://h:1",
            cors=None,
            shared_dir=None,
            listeners=(Listener(descriptor=self.write, endpoint=None, url="http://x"),),
        )
        made = Crew(order, reactor=reactor, command=(sys.executable, str(path)))
        self.stopped = False
        self.addCleanup(self.stop, made)
        return made

    async def stop(self, made: Crew) -> None:
        if not self.stopped:
            self.stopped = True
            await made.stop()

    async def test_each_is_told_who_it_is_and_what_it_has(self) -> None:
        made = self.crew(
            '(listener,) = order["listeners"]\n'
            'os.write(listener["descriptor"], bytes([65 + index]))\n'
            'Shares(order["shares"], 2).tell(index, 10 + index)\n' + SERVE
        )
        await made.start()
        assert sorted(os.read(self.read, 10)) == [65, 66]
        assert made._shares.least() == 10
        (line,) = [line for line in self.log if "2 workers serve" in line]
        assert len(set(line.rpartition("pids ")[2].split(", "))) == 2

    async def test_all_are_told_to_stop_at_once(self) -> None:
        made = self.crew(SERVE)
        await made.start()
        told = [
            self.logged("worker 1 pachgw.test#info] told"),
            self.logged("worker 2 pachgw.test#info] told"),
        ]
        await self.stop(made)
        for each in told:
            assert '{"stop": true}' in await each
        assert not [line for line in self.log if "started again" in line]

    async def test_lines_of_their_logs_keep_time_level_and_place(self) -> None:
        made = self.crew(
            'log("failed\\nTraceback\\n  here {x}", "critical", "pachgw.web")\n' + SERVE, workers=1
        )
        await made.start()
        (event,) = [event for event in self.events if event.get("text", "").startswith("failed")]
        assert event["log_level"] is LogLevel.critical
        assert event["log_time"] == 1.5
        assert event["worker"] == 1
        text = eventAsText(event, includeTimestamp=False)
        assert text == "[worker 1 pachgw.web#critical] failed\nTraceback\n  here {x}"

    async def test_what_they_print_is_logged_too(self) -> None:
        said = [self.logged("[worker 1] to nobody"), self.logged("[worker 1] in vain")]
        made = self.crew(
            'print("to nobody", flush=True)\nprint("in vain", file=sys.stderr, flush=True)\n' + SERVE,
            workers=1,
        )
        await made.start()
        for each in said:
            await each

    async def test_the_first_that_cannot_start_says_why(self) -> None:
        made = self.crew('if index == 1:\n    sys.exit("no room")\n' + SERVE)
        with pytest.raises(ProcessError, match=r"^no room$"):
            await made.start()

    async def test_one_that_dies_is_absent_and_replaced(self) -> None:
        made = self.crew("Shares(order['shares'], 2).tell(index, index)\n" + SERVE)
        ended, again = self.logged("worker 1 ended"), self.logged("worker 1 serves again")
        await made.start()
        (first, _) = await self._pids()
        os.kill(first, signal.SIGKILL)
        assert "(signal 9, SIGKILL); it is started again in 0.1 s" in await ended
        assert made._shares.least() == 1
        assert int((await again).rpartition(" ")[2]) != first

    async def _pids(self) -> list[int]:
        (line,) = [line for line in self.log if "workers serve, pids" in line]
        return [int(pid) for pid in line.rpartition("pids ")[2].split(", ")]

    async def test_what_is_renewed_is_told_to_all_and_waited_for(self) -> None:
        made = self.crew(
            "ready()\n"
            "for line in sys.stdin:\n"
            "    message = json.loads(line)\n"
            "    if 'stop' in message:\n"
            "        break\n"
            "    had = {'time': 1, 'level': 'info', 'namespace': 'test', 'text': 'had ' + line.strip()}\n"
            "    send(log=[had])\n"
            "    send(renewed=message['number'])\n"
        )
        await made.start()
        for text in ("first", "second"):
            await made.renew(Handed(name="keys", texts=(text,)))
            # Not before every one has taken it.
            had = [line for line in self.log if "had " in line and f'"{text}"' in line]
            assert {line[:9] for line in had} == {"[worker 1", "[worker 2"}

    async def test_one_that_dies_is_not_waited_for_and_the_next_has_what_is_newest(self) -> None:
        taken = self.logged("of worker 1: newest")
        made = self.crew(
            "texts = [one['texts'] for one in order['handed'] if one['name'] == 'keys']\n"
            "log(f'of worker {index + 1}: {texts[0][0] if texts else None}')\n"
            "ready()\n"
            "for line in sys.stdin:\n"
            "    message = json.loads(line)\n"
            "    if 'stop' in message:\n"
            "        break\n"
            "    if index == 0:\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    send(renewed=message['number'])\n"
        )
        await made.start()
        await made.renew(Handed(name="keys", texts=("newest",)))
        await taken

    async def test_what_nobody_asked_for_is_no_answer(self) -> None:
        made = self.crew("send(renewed=7)\n" + SERVE, workers=1)
        await made.start()
        assert not made._renewals

    async def test_one_that_takes_too_long_is_killed(self) -> None:
        self.patch(crew_module, "KILL_SECONDS", 0.1)
        made = self.crew("ready()\nwhile True:\n    time.sleep(60)", drain_seconds=0)
        await made.start()
        pids = await self._pids()
        await self.stop(made)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    async def test_one_that_has_not_begun_is_not_waited_for(self) -> None:
        began = self.logged("began")
        made = self.crew('log("began")\ntime.sleep(600)', workers=1)
        starting = Deferred.fromCoroutine(made.start())
        starting.addErrback(lambda _: None)
        await began
        starting.cancel()
        await self.stop(made)


def test_the_supervisor_does_without_what_only_serving_needs() -> None:
    script = "import sys, pachgw.daemon; print([name for name in ('grpc', 'klein') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert said == "[]\n"


def test_shares_of_nobody() -> None:
    memory = Shares.make(3)
    shares = Shares(memory, 3)
    os.close(memory)
    assert shares.least() == ABSENT
    shares.tell(2, 4)
    shares.tell(0, 5)
    assert shares.least() == 4
    shares.close()
