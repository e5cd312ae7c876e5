"""The watcher of the embedded PFS's process: readiness, crashes, logs, and every way to stop it.

Most tests watch a small script in place of the real process.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from pachgw.localpfs.service import (
    MAX_SOCKET_PATH,
    EmbeddedPFS,
    EmbeddedPFSError,
    Ready,
    socket_path_for,
)
from pachgw.process import FIRST_BACKOFF_SECONDS, MAX_LINE

READY = """
    import json, os, signal, sys
    def ready(listen=None):
        print(json.dumps({"ready": True, "socket": "s", "listen": listen, "pid": os.getpid()}), flush=True)
"""
SERVE = """
    ready()
    sys.stdin.read()
"""


class ServiceTest(TestCase):
    """Each test has a service of its own, which is stopped whatever happens."""

    timeout = 60

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.log: list[str] = []
        self._waiting: list[tuple[str, Deferred[str]]] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") != "pachgw.localpfs":
            return
        line = formatEvent(event)
        self.log.append(line)
        for text, waiter in list(self._waiting):
            if text in line:
                self._waiting.remove((text, waiter))
                waiter.callback(line)

    def logged(self, text: str) -> Deferred[str]:
        """Fires with the next line of the log that has the text."""
        waiter: Deferred[str] = Deferred()
        self._waiting.append((text, waiter))
        return waiter

    def service(self, script: str, **words: object) -> EmbeddedPFS:
        path = self.directory / "child.py"
        path.write_text(textwrap.dedent(READY) + textwrap.dedent(script), encoding="utf-8")
        made = EmbeddedPFS(
            self.directory / "state",
            self.directory / "pfs.sock",
            reactor=reactor,
            command=(sys.executable, str(path)),
            **words,
        )
        self.addCleanup(lambda: maybeDeferred(made.stopService))
        return made

    async def started(self, script: str, **words: object) -> tuple[EmbeddedPFS, Ready]:
        made = self.service(script, **words)
        made.startService()
        return made, await made.ready

    async def refused(self, script: str) -> str:
        made = self.service(script)
        made.startService()
        try:
            await made.ready
        except EmbeddedPFSError as error:
            return str(error)
        raise AssertionError("it became ready")

    # Readiness.

    async def test_ready_tells_what_the_process_said(self) -> None:
        _, ready = await self.started('ready("127.0.0.1:7")\nsys.stdin.read()')
        assert ready.listen == "127.0.0.1:7"
        os.kill(ready.pid, 0)

    async def test_the_process_is_told_its_options(self) -> None:
        tokens = self.directory / "tokens.toml"
        script = """
            print(json.dumps(sys.argv[1:]), file=sys.stderr, flush=True)
            ready()
            sys.stdin.read()
        """
        told = self.logged("--state-dir")
        await self.started(script, listen="127.0.0.1:0", tokens_file=tokens)
        assert json.loads(await told) == [
            *("--state-dir", str(self.directory / "state")),
            *("--socket", str(self.directory / "pfs.sock")),
            *("--listen", "127.0.0.1:0"),
            *("--tokens", str(tokens)),
        ]

    async def test_the_process_finds_what_this_one_finds(self) -> None:
        await self.started("import pachgw.localpfs\nready()\nsys.stdin.read()")

    async def test_readiness_may_come_in_pieces(self) -> None:
        script = """
            text = json.dumps({"ready": True, "listen": None, "pid": os.getpid()}) + "\\n"
            for character in text:
                os.write(1, character.encode())
            sys.stdin.read()
        """
        _, ready = await self.started(script)
        assert ready.listen is None

    async def test_other_output_is_logged_and_means_nothing(self) -> None:
        lines = [self.logged(text) for text in ("no JSON", "[1]", '{"x": 1}')]
        script = """
            for line in ("no JSON", "[1]", '{"x": 1}'):
                print(line, flush=True)
            ready()
            sys.stdin.read()
        """
        await self.started(script)
        for line in lines:
            await line

    # Ends.

    async def test_an_end_before_readiness_is_told_with_the_last_line(self) -> None:
        said = await self.refused('print("first", file=sys.stderr)\nsys.exit("the disk is gone")')
        assert said == "the disk is gone"
        assert "first" in self.log

    async def test_the_last_line_may_lack_its_break(self) -> None:
        assert await self.refused('os.write(2, b"half a line")\nos._exit(3)') == "half a line"

    async def test_an_end_without_a_word_is_told_by_its_status(self) -> None:
        assert await self.refused("os._exit(7)") == "the embedded PFS ended (exit status 7)"

    async def test_an_end_by_a_signal_is_told_by_its_name(self) -> None:
        said = await self.refused("os.kill(os.getpid(), signal.SIGABRT)")
        assert said == "the embedded PFS ended (signal 6, SIGABRT)"

    async def test_a_process_that_never_was_ready_is_not_started_again(self) -> None:
        await self.refused("os._exit(1)")
        # trial fails the test for a timer that is left; the log would tell of the restart.
        assert not [line for line in self.log if "started again" in line]

    async def test_a_crash_is_logged_and_mended(self) -> None:
        ended, again = self.logged("the embedded PFS ended"), self.logged("serves again")
        _, first = await self.started(SERVE)
        os.kill(first.pid, signal.SIGKILL)
        assert "(signal 9, SIGKILL)" in await ended
        pid = int((await again).rpartition(" ")[2])
        assert pid != first.pid
        os.kill(pid, 0)

    async def test_each_crash_in_a_row_waits_longer(self) -> None:
        ends = [self.logged("the embedded PFS ended")]
        made = self.service("ready()\nos._exit(4)")
        made.startService()
        for _ in range(2):
            await ends[-1]
            ends.append(self.logged("the embedded PFS ended"))
        await ends[-1]
        waits = [line.split()[-2] for line in self.log if "ended" in line]
        assert waits == [str(FIRST_BACKOFF_SECONDS * factor) for factor in (1, 2, 4)]
        assert all("(exit status 4)" in line for line in self.log if "ended" in line)

    async def test_a_restart_that_fails_is_tried_again(self) -> None:
        again = self.logged("serves again")
        # The second start fails before it is ready.
        counter = self.directory / "starts"
        script = f"""
            with open({str(counter)!r}, "a") as file:
                file.write("x")
            if os.stat({str(counter)!r}).st_size == 2:
                sys.exit("not yet")
            ready()
            sys.stdin.read()
        """
        _, first = await self.started(script)
        os.kill(first.pid, signal.SIGKILL)
        await again
        assert counter.read_text() == "xxx"
        assert "not yet" in self.log

    # The log.

    async def test_what_the_process_complains_of_is_logged_line_by_line(self) -> None:
        long = "y" * (2 * MAX_LINE)
        last = self.logged("the last")
        script = f"""
            os.write(2, b"one\\ntwo\\nthr")
            os.write(2, b"ee\\n\\xff\\n")
            sys.stderr.write("{long}\\n")
            print("the last", file=sys.stderr, flush=True)
            ready()
            sys.stdin.read()
        """
        await self.started(script)
        await last
        assert self.log[:4] == ["one", "two", "three", "\N{REPLACEMENT CHARACTER}"]
        assert "".join(self.log[4:-1]) == long

    # Stopping.

    async def test_stopping_closes_stdin(self) -> None:
        # Only the end of stdin ends it.
        ended = self.logged("stdin ended")
        script = """
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ready()
            sys.stdin.read()
            print("stdin ended", file=sys.stderr, flush=True)
        """
        made, ready = await self.started(script)
        await maybeDeferred(made.stopService)
        await ended
        self.assert_gone(ready.pid)

    async def test_stopping_sends_sigterm(self) -> None:
        ended = self.logged("got SIGTERM")
        script = """
            def stop(*_):
                print("got SIGTERM", file=sys.stderr, flush=True)
                os._exit(0)
            signal.signal(signal.SIGTERM, stop)
            ready()
            while True:
                signal.pause()
        """
        made, ready = await self.started(script)
        await maybeDeferred(made.stopService)
        await ended
        self.assert_gone(ready.pid)

    async def test_a_process_that_heeds_neither_is_killed(self) -> None:
        script = """
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ready()
            while True:
                signal.pause()
        """
        made, ready = await self.started(script, kill_seconds=0.1)
        await maybeDeferred(made.stopService)
        self.assert_gone(ready.pid)

    async def test_a_stopped_process_is_not_started_again(self) -> None:
        made, _ = await self.started(SERVE)
        await maybeDeferred(made.stopService)
        assert not [line for line in self.log if "ended" in line]
        # trial fails the test for any timer that is left.

    async def test_stopping_before_readiness(self) -> None:
        began = self.logged("began")
        made = self.service('print("began", file=sys.stderr, flush=True)\nsys.stdin.read()')
        made.startService()
        await began
        await maybeDeferred(made.stopService)
        self.assertNoResult(made.ready)

    async def test_stopping_while_a_restart_is_due(self) -> None:
        ended = self.logged("the embedded PFS ended")
        made = self.service("ready()\nos._exit(4)")
        made.startService()
        await ended
        await maybeDeferred(made.stopService)
        assert sum("ended" in line for line in self.log) == 1

    async def test_a_readiness_that_nobody_awaits_any_more(self) -> None:
        began = self.logged("began")
        script = """
            print("began", file=sys.stderr, flush=True)
            sys.stdin.readline()
            sys.exit("too late")
        """
        made = self.service(script)
        made.startService()
        await began
        made.ready.addErrback(lambda _: None)
        made.ready.cancel()
        gone = self.logged("too late")
        made.process._process.transport.closeStdin()
        await gone

    def assert_gone(self, pid: int) -> None:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


PARENT = """
import sys
from pathlib import Path
from twisted.internet import reactor
from pachgw.localpfs.service import EmbeddedPFS

directory = Path(sys.argv[1])
service = EmbeddedPFS(directory, directory / "pfs.sock", reactor=reactor)
service.ready.addCallback(lambda ready: print(ready.pid, flush=True))
reactor.callWhenRunning(service.startService)
reactor.run()
"""


def test_the_real_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    with (tmp_path / "lock").open("rb+") as lock:
        # It is held as long as the process lives.
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not (tmp_path / "pfs.sock").exists()


# Where the socket is.


def test_the_socket_is_in_the_state_directory(tmp_path: Path) -> None:
    assert socket_path_for(Path("/var/lib/pachgw")) == Path("/var/lib/pachgw/pfs.sock")


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_path_too_long_for_a_socket(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setenv(variable, base)
        monkeypatch.setattr(tempfile, "tempdir", None)
        long = Path("/" + "x" * 80 + "/" + "é" * 20)
        path = socket_path_for(long)
        assert path == socket_path_for(long)
        assert path != socket_path_for(long / "other")
        assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
        assert path.parent.parent == Path(base)
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_for_sockets_that_is_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"pachgw-{os.getuid()}").symlink_to("elsewhere")
    with pytest.raises(EmbeddedPFSError, match="belongs to somebody else"):
        socket_path_for(Path("/" + "x" * 120))
