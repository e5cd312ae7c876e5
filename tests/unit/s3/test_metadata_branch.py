"""MetadataBranches: what is remembered of repos without one, and how writes share a stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pachgw.pfs.port import BranchNotFound, NotAuthorized, Unavailable
from pachgw.s3.metadata.branch import (
    MISSING_SECONDS,
    READ_LIMIT,
    REMEMBERED_BYTES,
    REMEMBERED_SECONDS,
    File,
    MetadataBranches,
)
from pachgw.s3.processes.notices import Notices
from pachgw.s3.turns import NoTurn, Turns
from pachgw.streams import BytesSource


class FakePFS:
    """Has a branch once something was written; uploads end when the test says so."""

    def __init__(self, *, is_there: bool = False) -> None:
        self.is_there = is_there
        self.reads = 0
        self.streams: list[list[str]] = []
        self.ends: list[Deferred[None]] = []
        self.content = b"line\n"
        self.reading: Deferred[None] | None = None

    async def get_files(self, repo: str, commit: str, pattern: str) -> Any:
        self.reads += 1
        is_there = self.is_there
        if self.reading is not None:
            await self.reading
        if not is_there:
            raise BranchNotFound(commit)
        return BytesSource(self.content)

    async def put_file(self, repo: str, branch: str) -> Any:
        self.streams.append([])
        return FakeUpload(self)


class FakeUpload:
    def __init__(self, pfs: FakePFS) -> None:
        self.pfs = pfs
        self.said = pfs.streams[-1]

    async def begin_file(self, path: str) -> None:
        self.said.append(path)

    async def write(self, data: bytes) -> None:
        self.said[-1] += f"={data.decode()}"

    async def delete_path(self, path: str) -> None:
        self.said.append(f"-{path}")

    async def finish(self) -> None:
        end: Deferred[None] = Deferred()
        self.pfs.ends.append(end)
        await end
        self.pfs.is_there = True

    async def abort(self) -> None:
        self.said.append("aborted")


class Case:
    def __init__(self, **words: Any) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.pfs = FakePFS(**words)
        self.branches = MetadataBranches(Turns(), lambda: self.now)

    def read(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.branches.read(self.pfs, "r", "/p"))  # type: ignore[arg-type]

    def write(self, name: str, writer: str = "w", removed: tuple[str, ...] = ()) -> Deferred[None]:
        written = self.branches.write(
            self.pfs,  # type: ignore[arg-type]
            "r",
            writer=writer,
            files=[File(path=name, data=b"x")],
            removed=removed,
        )
        return Deferred.fromCoroutine(written)


def result(deferred: Deferred[Any]) -> Any:
    assert deferred.called
    results: list[Any] = []
    deferred.addCallback(results.append)
    return results[0]


def test_a_missing_branch_is_remembered_for_some_seconds() -> None:
    case = Case()
    assert result(case.read()) == b""
    assert case.branches.is_known_missing("r")
    assert not case.branches.is_known_missing("s")
    assert (result(case.read()), case.pfs.reads) == (b"", 1)
    # Another gateway makes it.
    case.pfs.is_there = True
    case.now += timedelta(seconds=MISSING_SECONDS - 0.001)
    assert result(case.read()) == b""
    case.now += timedelta(seconds=0.001)
    assert (result(case.read()), case.pfs.reads) == (b"line\n", 2)


def test_an_own_write_ends_it_at_once() -> None:
    case = Case()
    assert result(case.read()) == b""
    written = case.write("a")
    case.pfs.ends.pop().callback(None)
    assert written.called
    assert result(case.read()) == b"line\n"


def test_a_look_that_began_before_a_write_says_nothing() -> None:
    case = Case()
    case.pfs.reading = Deferred()
    early = case.read()
    case.write("a")
    case.pfs.ends.pop().callback(None)
    case.pfs.reading.callback(None)
    case.pfs.reading = None
    assert result(early) == b""
    assert result(case.read()) == b"line\n"


def test_what_comes_in_the_meantime_goes_out_together() -> None:
    case = Case(is_there=True)
    first = case.write("a")
    others = [case.write("b"), case.write("c", removed=("z",)), case.write("d", writer="v"), case.write("e")]
    assert case.pfs.streams == [["a=x"]]
    case.pfs.ends.pop().callback(None)
    assert first.called
    assert not any(other.called for other in others)
    assert case.pfs.streams == [["a=x"], ["-z", "b=x", "c=x", "e=x"]]
    case.pfs.ends.pop().callback(None)
    assert [other.called for other in others] == [True, True, False, True]
    assert case.pfs.streams[2:] == [["d=x"]]
    case.pfs.ends.pop().callback(None)
    assert others[2].called


@pytest.mark.parametrize("error", [NotAuthorized("no"), Unavailable("away")])
def test_a_failure_is_told_to_each_that_shared_the_stream(error: Exception) -> None:
    case = Case(is_there=True)
    case.write("a")
    others = [case.write("b"), case.write("c")]
    case.pfs.ends.pop().callback(None)
    case.pfs.ends.pop().errback(error)
    failures: list[Any] = []
    for other in others:
        other.addErrback(failures.append)
    assert [failure.value for failure in failures] == [error, error]
    assert case.pfs.streams[1][-1] == "aborted"
    again = case.write("d")
    case.pfs.ends.pop().callback(None)
    assert again.called


def test_a_client_that_has_gone_takes_nothing_from_the_others() -> None:
    case = Case(is_there=True)
    case.write("a")
    gone, stays = case.write("b"), case.write("c")
    gone.addErrback(lambda _: None)
    gone.cancel()
    case.pfs.ends.pop().callback(None)
    case.pfs.ends.pop().callback(None)
    assert stays.called
    assert case.pfs.streams[1] == ["b=x", "c=x"]


def test_no_more_is_read_than_the_limit() -> None:
    case = Case(is_there=True)

    class Endless:
        async def read(self) -> bytes:
            return bytes(1 << 20)

        async def aclose(self) -> None:
            self.closed = True

    endless = Endless()

    async def get_files(*_: object) -> Endless:
        return endless

    case.pfs.get_files = get_files  # type: ignore[method-assign,assignment]
    assert len(result(case.read())) == READ_LIMIT
    assert endless.closed


def test_what_was_read_is_remembered_for_some_seconds() -> None:
    case = Case(is_there=True)
    assert case.branches.recall("r", "/p") is None
    case.read()
    assert case.branches.recall("r", "/p") == b"line\n"
    assert case.branches.recall("r", "/q") is None
    assert case.branches.recall("s", "/p") is None
    case.now += timedelta(seconds=REMEMBERED_SECONDS)
    assert case.branches.recall("r", "/p") is None
    assert (result(case.read()), case.pfs.reads) == (b"line\n", 2)


def test_an_own_write_ends_what_is_remembered() -> None:
    case = Case(is_there=True)
    case.read()
    case.pfs.reading = Deferred()
    early = case.read()
    case.write("a")
    case.pfs.ends.pop().callback(None)
    assert case.branches.recall("r", "/p") is None
    # It was asked for before the write.
    case.pfs.reading.callback(None)
    assert result(early) == b"line\n"
    assert case.branches.recall("r", "/p") is None


def test_a_write_of_another_process_ends_what_is_remembered() -> None:
    case, notices = Case(is_there=True), Notices()
    case.branches = MetadataBranches(Turns(), lambda: case.now, notices)
    case.read()
    assert case.branches.recall("r", "/p") == b"line\n"
    notices.tell("r")
    assert case.branches.recall("r", "/p") is None
    case.pfs.is_there = False
    assert result(case.read()) == b""
    assert case.branches.is_known_missing("r")
    notices.tell("r")
    assert not case.branches.is_known_missing("r")
    # One that comes while the branch is read.
    case.pfs.reading = Deferred()
    case.read()
    notices.tell("r")
    case.pfs.reading.callback(None)
    assert not case.branches.is_known_missing("r")


def test_who_waits_hears_that_there_are_no_turns() -> None:
    case = Case(is_there=True)

    class NoTurns(Turns):
        async def run(self, *_: Any, **__: Any) -> Any:
            await turn
            raise NoTurn("the disk is gone")

    turn: Deferred[None] = Deferred()
    case.branches = MetadataBranches(NoTurns(), lambda: case.now)
    failures: list[Any] = []
    for name in "ab":
        case.write(name).addErrback(failures.append)
    turn.callback(None)
    assert [failure.type for failure in failures] == [NoTurn, NoTurn]
    assert case.pfs.streams == []


def test_memory_has_a_bound() -> None:
    case = Case(is_there=True)
    case.pfs.content = bytes(1 << 20)
    for number in range(2 * REMEMBERED_BYTES // (1 << 20)):
        read = case.branches.read(case.pfs, "r", f"/{number}")  # type: ignore[arg-type]
        assert len(result(Deferred.fromCoroutine(read))) == 1 << 20
    kept = [number for number in range(100) if case.branches.recall("r", f"/{number}")]
    assert kept == list(range(8, 16))
