"""Turns among real processes: one at a time, in the order of asking, and freed by whatever ends a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pachgw.s3.processes.locks import PLACES, THREADS
from pachgw.s3.processes.sharedfile import FILE_NAME

SCRIPT = Path(__file__).with_name("turn_process.py")
END_SECONDS = 60


class Process:
    """One that runs turn_process.py."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.said: list[str] = []
        self._is_ready = False

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        if not self._is_ready:
            # Looked for only now, so that several start side by side.
            self._is_ready = True
            self.hear("ready")
        line = self.process.stdout.readline().rstrip("\n")
        assert line, f"the process has ended; it said {self.said}"
        self.said.append(line)
        return line

    def hear(self, text: str) -> None:
        assert self.line() == text

    def ask(self, label: str, name: str = "repo") -> bool:
        """Ask for a turn; whether it has come at once."""
        self.tell(f"ask {label} {name}")
        if (first := self.line()) == f"{label} asked":
            return False
        assert first == f"{label} has it"
        self.hear(f"{label} asked")
        return True

    def end(self, label: str) -> None:
        self.tell(f"end {label}")
        self.hear(f"{label} ended")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


Start = Callable[[], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start() -> Process:
            process = Process(tmp_path / "shared")
            stack.callback(process.close)
            return process

        yield start


def test_one_at_a_time(start: Start, tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    processes = [start() for _ in range(4)]
    for process in processes:
        process.tell(f"count repo {number} 100")
    for process in processes:
        process.hear("counted")
    assert number.read_text() == "400"


def test_other_names_do_not_wait(start: Start) -> None:
    one, other = start(), start()
    assert one.ask("a", "x")
    assert other.ask("b", "y")
    one.end("a")
    other.end("b")
    assert other.ask("c", "x")


def test_the_order_of_asking_holds_among_processes(start: Start) -> None:
    """Who has just had a turn and asks again is behind all that have waited."""
    processes = [start() for _ in range(PLACES - 3)]
    first, *others = processes
    assert first.ask("turn")
    for other in others:
        assert not other.ask("turn")
    for _ in range(2):
        for process, follower in zip(processes, [*others, first], strict=True):
            process.end("turn")
            assert not process.ask("turn")
            follower.hear("turn has it")


def test_a_process_asks_once_for_each_section(start: Start) -> None:
    """However many sections of one process wait, the other's is the next but one."""
    one, other = start(), start()
    assert one.ask("a0")
    for number in range(1, 5):
        assert not one.ask(f"a{number}")
    assert not other.ask("b")
    one.end("a0")
    other.hear("b has it")
    other.end("b")
    for number in range(1, 5):
        one.hear(f"a{number} has it")
        one.end(f"a{number}")


def test_a_process_that_is_killed_lets_the_others_go_on(start: Start) -> None:
    one, other, third = start(), start(), start()
    assert one.ask("a")
    assert not other.ask("b")
    assert not third.ask("c")
    one.kill()
    other.hear("b has it")
    other.kill()
    third.hear("c has it")


def test_one_that_waits_is_killed(start: Start) -> None:
    one, other, third = start(), start(), start()
    assert one.ask("a")
    assert not other.ask("b")
    assert not third.ask("c")
    other.kill()
    # Not the turn, only the place before it has become free.
    late = start()
    assert not late.ask("d")
    assert third.said[-1] == "c asked"
    one.end("a")
    third.hear("c has it")
    third.end("c")
    late.hear("d has it")


def test_a_child_does_not_keep_the_turn_of_its_parent(start: Start) -> None:
    one, other = start(), start()
    assert one.ask("a")
    one.tell("child")
    child = int(one.line())
    try:
        assert not other.ask("b")
        one.kill()
        other.hear("b has it")
    finally:
        os.kill(child, signal.SIGKILL)


def test_who_is_cancelled_leaves_the_section_to_run(start: Start) -> None:
    one, other, third = start(), start(), start()
    assert one.ask("a")
    assert not other.ask("b")
    other.tell("cancel b")
    other.hear("b failed CancelledError")
    assert not third.ask("c")
    one.end("a")
    other.hear("b has it")
    other.tell("end b")
    third.hear("c has it")


def test_more_turns_are_waited_for_than_there_are_threads(start: Start) -> None:
    one, other = start(), start()
    names = [f"repo{number}" for number in range(THREADS + 8)]
    for name in names:
        assert one.ask(name, name)
    for name in names:
        assert not other.ask(name, name)
    assert other.ask("free", "another")
    for name in reversed(names):
        one.end(name)
        other.hear(f"{name} has it")


def test_who_still_waits_at_the_end_is_told(start: Start) -> None:
    one, other = start(), start()
    assert one.ask("a")
    assert other.ask("held", "another")
    assert not other.ask("b")
    other.tell("close")
    other.hear("b failed NoTurn")
    other.hear("closed")
    other.tell("ask c repo")
    other.hear("c failed NoTurn")
    # What it held is free, and its place in the row.
    assert one.ask("d", "another")
    third = start()
    assert not third.ask("e")
    one.end("a")
    third.hear("e has it")


def test_a_process_ends_while_it_waits(start: Start) -> None:
    one, other = start(), start()
    assert one.ask("a")
    assert not other.ask("b")
    other.tell("exit")
    assert other.process.wait(END_SECONDS) == 0
    one.end("a")
    assert start().ask("c")


def test_the_file_is_removed_while_it_is_in_use(start: Start, tmp_path: Path) -> None:
    one, other = start(), start()
    assert one.ask("a")
    assert not other.ask("b")
    (tmp_path / "shared" / FILE_NAME).unlink()
    # Who comes now makes another one; who had the old one open goes over to it.
    late = start()
    assert late.ask("c", "another")
    assert not one.ask("d", "another")
    one.end("a")
    other.hear("b has it")
    assert not late.ask("e")
    other.end("b")
    late.hear("e has it")
