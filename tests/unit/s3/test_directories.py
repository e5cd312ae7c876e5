"""Directories as they are read for pages: the first page before the last row, once for all, and bounded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tree_pfs import COMMIT, TreePFS, done, inline, kept_by, read_again
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pachgw.pfs.port import NotAuthorized, PFSError, TooLarge, Unavailable
from pachgw.s3.listing import tablefiles
from pachgw.s3.listing.directories import TABLE_BYTES, Directories
from pachgw.s3.listing.keytable import ROWS_IN_A_BLOCK
from pachgw.s3.listing.pages import ListParams, Page
from pachgw.s3.listing.places import AT_ONCE, HEDGES, LINGERING, Places
from pachgw.s3.listing.reading import HEDGE_SECONDS, IDLE_SECONDS, PATIENCE_SECONDS, POLL_SECONDS
from pachgw.s3.listing.tablefiles import TableFiles

ROOT = ("repo", COMMIT, "/")
KEYS = {f"k{number:04}": 1 for number in range(3000)}


def never(_path: str) -> Deferred[None]:
    return Deferred()


def raising(error: PFSError) -> Callable[[str], Deferred[None] | None]:
    def answer(_path: str) -> Deferred[None] | None:
        raise error

    return answer


class Held:
    """Answers that wait for the test."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    def __call__(self, _which: object) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class DirectoriesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.directories = self.make()

    def make(self, limit: int = 1 << 20, files: TableFiles | None = None) -> Directories:
        directories = Directories(limit, reactor=self.clock, offload=inline, files=files)
        self.addCleanup(directories.stop)
        return directories

    def asks(
        self,
        pfs: TreePFS,
        directories: Directories | None = None,
        *,
        after: str = "",
        wants_all: bool = True,
        goes_on: bool = False,
    ) -> Deferred[Page]:
        """One page of up to 100 keys, asked for."""
        params = ListParams(version=2, start_after=after, max_keys=100)
        opener = kept_by(directories or self.directories, pfs, wants_all=wants_all, goes_on=goes_on)
        return Deferred.fromCoroutine(read_again(pfs, params, opener))

    def keys(self, asked: Deferred[Page]) -> list[str]:
        return [entry.key for entry in self.successResultOf(asked).contents]


class DirectoriesTest(DirectoriesCase):
    def test_the_first_page_is_answered_while_the_rest_is_unread(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = never
        pfs.stream = lambda given: Deferred() if given >= 150 else None
        page = self.asks(pfs)
        self.assertNoResult(page)
        self.clock.advance(HEDGE_SECONDS)
        found = self.successResultOf(page)
        assert [entry.key for entry in found.contents] == sorted(KEYS)[:100]
        assert found.is_truncated
        assert [stream.given for stream in pfs.streams] == [150]

    def test_the_answer_takes_over_where_it_comes(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = held = Held()
        pfs.stream = lambda given: Deferred() if given >= 150 else None
        first = self.asks(pfs)
        self.clock.advance(HEDGE_SECONDS)
        self.successResultOf(first)
        second = self.asks(pfs, after="k0099")
        self.assertNoResult(second)
        held.waiting[0].callback(None)
        assert self.keys(second) == sorted(KEYS)[100:200]
        assert pfs.streams[0].is_closed
        # And all later pages ask PFS for nothing.
        before = list(pfs.calls)
        for start in range(100, 2900, 100):
            assert self.keys(self.asks(pfs, after=f"k{start - 1:04}")) == sorted(KEYS)[start : start + 100]
        assert pfs.calls == before == [("list_file_at_once", "/"), ("list_file_stream", "/")]

    def test_who_goes_on_leaves_pfs_to_its_answer(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = never
        pfs.stream = lambda given: Deferred() if given >= 150 else None
        self.asks(pfs)
        self.clock.advance(HEDGE_SECONDS)
        second = self.asks(pfs, after="k0099", goes_on=True)
        self.assertNoResult(second)
        assert pfs.streams[0].given == 150
        # Not for ever.
        pfs.streams[0]._gate = lambda _given: None
        self.clock.pump([POLL_SECONDS] * int(PATIENCE_SECONDS / POLL_SECONDS + 1))
        assert self.keys(second) == sorted(KEYS)[100:200]

    def test_a_small_directory_is_asked_for_once_and_never_streamed(self) -> None:
        pfs = TreePFS({"a": 1})
        assert self.keys(self.asks(pfs)) == ["a"] == self.keys(self.asks(pfs))
        assert pfs.calls == [("list_file_at_once", "/")]
        assert not self.clock.getDelayedCalls()

    def test_who_asks_meanwhile_waits_for_the_same(self) -> None:
        pfs = TreePFS(KEYS)
        pfs.at_once = held = Held()
        pages = [self.asks(pfs) for _ in range(5)]
        held.waiting[0].callback(None)
        assert all(self.keys(page) == sorted(KEYS)[:100] for page in pages)
        assert len(pfs.calls) == 1

    def test_a_failure_is_that_of_who_asked_pfs(self) -> None:
        bad, good = TreePFS(KEYS), TreePFS(KEYS)
        bad.at_once = held = Held()
        refused = self.asks(bad)
        others = [self.asks(good) for _ in range(2)]
        assert good.calls == []
        held.waiting[0].errback(NotAuthorized("your token"))
        self.failureResultOf(refused, NotAuthorized)
        assert [self.keys(page) for page in others] == [sorted(KEYS)[:100]] * 2
        assert len(good.calls) == 1

    def test_cancelling_who_asked_first_leaves_the_others(self) -> None:
        pfs = TreePFS(KEYS)
        pfs.at_once = held = Held()
        pages = [self.asks(pfs) for _ in range(2)]
        pages[0].cancel()
        self.failureResultOf(pages[0], CancelledError)
        held.waiting[0].callback(None)
        assert self.keys(pages[1]) == sorted(KEYS)[:100]

    def test_cancelling_the_only_one_keeps_what_comes(self) -> None:
        pfs = TreePFS(KEYS)
        pfs.at_once = held = Held()
        self.asks(pfs).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        held.waiting[0].callback(None)
        assert self.keys(self.asks(pfs)) == sorted(KEYS)[:100]
        assert len(pfs.calls) == 1

    def test_a_probe_of_a_large_directory_leaves_nothing(self) -> None:
        pfs = TreePFS(KEYS, batch=150)
        pfs.at_once = held = Held()
        page = self.asks(pfs, wants_all=False)
        self.clock.advance(HEDGE_SECONDS)
        assert self.keys(page) == sorted(KEYS)[:100]
        assert held.waiting[0].called
        assert [(stream.given, stream.is_closed) for stream in pfs.streams] == [(150, True)]
        assert self.directories.nbytes == 0
        assert not self.clock.getDelayedCalls()

    def test_a_stream_that_fails_is_not_the_end_of_the_directory(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = held = Held()

        def fail(given: int) -> None:
            if given == 50:
                raise Unavailable("lost")

        pfs.stream = fail  # type: ignore[assignment]
        page = self.asks(pfs)
        self.clock.advance(HEDGE_SECONDS)
        self.assertNoResult(page)
        held.waiting[0].callback(None)
        assert self.keys(page) == sorted(KEYS)[:100]

    def test_both_ways_fail(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = held = Held()
        pfs.stream = raising(Unavailable("the stream"))  # type: ignore[assignment]
        page = self.asks(pfs)
        self.clock.advance(HEDGE_SECONDS)
        held.waiting[0].errback(Unavailable("the answer"))
        self.failureResultOf(page, Unavailable)
        assert not self.clock.getDelayedCalls()

    def test_what_no_answer_holds_comes_by_the_stream_alone(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = raising(TooLarge("20 MiB"))
        for start in range(0, 3000, 100):
            page = self.asks(pfs, after=f"k{start - 1:04}" if start else "")
            assert self.keys(page) == sorted(KEYS)[start : start + 100]
            # As far as was asked for, and the one row that tells that there are more.
            assert pfs.streams[0].given == min(3000, start + 150)
        assert [name for name, _ in pfs.calls] == ["list_file_at_once", "list_file_stream"]

    def test_a_stream_that_nobody_reads_on_ends(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = raising(TooLarge("20 MiB"))
        self.successResultOf(self.asks(pfs))
        self.clock.advance(IDLE_SECONDS - 1)
        self.successResultOf(self.asks(pfs, after="k0100"))
        self.clock.advance(IDLE_SECONDS - 1)
        assert not pfs.streams[0].is_closed
        self.clock.advance(1)
        assert pfs.streams[0].is_closed
        assert self.keys(self.asks(pfs, after="k0199")) == sorted(KEYS)[200:300]
        assert len(pfs.streams) == 2

    def test_the_least_recently_used_goes_first_and_0_keeps_nothing(self) -> None:
        pfs = TreePFS({f"{name}/k": 1 for name in "abcd"})
        rows = [self.directories.open(("repo", COMMIT, f"/{name}"), pfs, wants_all=True) for name in "abc"]
        assert [row.count for row in rows] == [1, 1, 1]
        size = self.directories.nbytes // 3
        assert size > TABLE_BYTES
        kept = self.make(3 * size)
        for name, calls in (("a", 1), ("b", 2), ("c", 3), ("a", 3), ("d", 4), ("a", 4), ("c", 4), ("b", 5)):
            pfs.calls.clear() if name == "a" and calls == 1 else None
            kept.open(("repo", COMMIT, f"/{name}"), pfs, wants_all=True).close()
            assert len(pfs.calls) == calls
            assert kept.nbytes <= 3 * size
        nothing = self.make(0)
        for _ in range(3):
            assert self.keys(self.asks(pfs, nothing)) == ["a/k", "b/k", "c/k", "d/k"]
        assert nothing.nbytes == 0

    def test_stopping_ends_what_is_being_read(self) -> None:
        pfs = TreePFS(KEYS, batch=50)
        pfs.at_once = held = Held()
        pfs.stream = lambda given: Deferred() if given else None
        page = self.asks(pfs)
        self.clock.advance(HEDGE_SECONDS)
        self.assertNoResult(page)
        self.directories.stop()
        self.failureResultOf(page, Unavailable)
        assert held.waiting[0].called
        assert pfs.streams[0].is_closed
        assert not self.clock.getDelayedCalls()

    def test_what_changes_is_read_anew(self) -> None:
        pfs = TreePFS(KEYS, batch=70)
        for _ in range(2):
            rows = done(self.directories.open_anew(ROOT, pfs))  # type: ignore[arg-type]
            assert [rows.row_at(index).key.decode() for index in range(rows.count)] == sorted(KEYS)
        assert pfs.calls == [("list_file", "/")] * 2
        assert self.directories.nbytes == 0


class SharedFilesTest(DirectoriesCase):
    """Two processes with one directory for files."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(tablefiles, "FILE_BYTES", 10_000)
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.files = [TableFiles(Path(temporary.name)) for _ in range(2)]
        self.both = [self.make(files=files) for files in self.files]
        for directories in self.both:
            directories.start()

    def test_one_reads_and_the_other_takes_its_file(self) -> None:
        pfs = [TreePFS(KEYS, batch=500) for _ in self.both]
        held = Held()
        for one in pfs:
            one.at_once = held
        pages = [self.asks(*both) for both in zip(pfs, self.both, strict=True)]
        self.clock.advance(HEDGE_SECONDS)
        # Both first pages came by a stream; the second's own question has been withdrawn.
        assert [self.keys(page) for page in pages] == [sorted(KEYS)[:100]] * 2
        assert [waiting.called for waiting in held.waiting] == [False, True]
        held.waiting[0].callback(None)
        for one, directories in zip(pfs, self.both, strict=True):
            before = list(one.calls)
            for start in range(100, 3000, 100):
                page = self.asks(one, directories, after=f"k{start - 1:04}")
                assert self.keys(page) == sorted(KEYS)[start : start + 100]
            assert one.calls == before
        # As does one that comes later, with nothing to ask for.
        assert self.keys(self.asks(TreePFS({}), self.make(files=self.files[0]))) == sorted(KEYS)[:100]

    def test_one_that_ends_leaves_it_to_the_other(self) -> None:
        pfs = [TreePFS(KEYS, batch=500) for _ in self.both]
        for one in pfs:
            one.at_once = Held()
        for one, directories in zip(pfs, self.both, strict=True):
            self.asks(one, directories)
            self.clock.advance(HEDGE_SECONDS)
        self.both[0].stop()
        pfs[1].at_once = lambda _path: None
        page = self.asks(pfs[1], self.both[1], after="k2000")
        assert self.keys(page) == sorted(KEYS)[2001:2101]
        assert [name for name, _ in pfs[1].calls].count("list_file_at_once") == 2
        assert [path.suffix for path in self.files[0].directory.iterdir()] == [".keys"]

    def test_what_no_answer_holds_goes_into_the_file_as_it_comes(self) -> None:
        pfs = TreePFS(KEYS, batch=500)
        pfs.at_once = raising(TooLarge("20 MiB"))
        self.successResultOf(self.asks(pfs, self.both[0]))
        self.successResultOf(self.asks(pfs, self.both[0], after="k1800"))
        [building] = self.files[0].directory.iterdir()
        assert building.stat().st_size > ROWS_IN_A_BLOCK * 44
        self.successResultOf(self.asks(pfs, self.both[0], after="k2950"))
        assert [path.suffix for path in self.files[0].directory.iterdir()] == [".keys"]
        assert self.keys(self.asks(TreePFS({}), self.both[1], after="k1499")) == sorted(KEYS)[1500:1600]

    def test_a_damaged_file_is_read_anew(self) -> None:
        pfs = TreePFS(KEYS, batch=500)
        pfs.at_once = held = Held()
        self.asks(pfs, self.both[0])
        self.clock.advance(HEDGE_SECONDS)
        held.waiting[0].callback(None)
        [path] = self.files[0].directory.iterdir()
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        other = TreePFS(KEYS, batch=500)
        assert self.keys(self.asks(other, self.both[1])) == sorted(KEYS)[:100]
        assert [name for name, _ in other.calls] == ["list_file_at_once"]
        assert not path.exists()

    def test_a_disk_that_is_full_is_no_reason_not_to_list(self) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        self.patch(tablefiles.os, "ftruncate", full)
        pfs = TreePFS(KEYS, batch=500)
        pfs.at_once = held = Held()
        page = self.asks(pfs, self.both[0])
        self.clock.advance(HEDGE_SECONDS)
        held.waiting[0].callback(None)
        assert self.keys(page) == sorted(KEYS)[:100]
        assert self.keys(self.asks(pfs, self.both[0], after="k1000")) == sorted(KEYS)[1001:1101]


class PlacesTest(SynchronousTestCase):
    def test_as_many_as_there_are_and_in_order(self) -> None:
        places = Places()
        entered = [Deferred.fromCoroutine(places.enter()) for _ in range(AT_ONCE + 3)]
        held = [self.successResultOf(one) for one in entered[:AT_ONCE]]
        waiting = entered[AT_ONCE:]
        self.assertNoResult(waiting[0])
        waiting[1].cancel()
        self.failureResultOf(waiting[1], CancelledError)
        held[0].leave()
        held[0].leave()
        self.successResultOf(waiting[0]).leave()
        self.successResultOf(waiting[2])

    def test_those_that_take_long_make_room(self) -> None:
        places = Places()
        held = [self.successResultOf(Deferred.fromCoroutine(places.enter())) for _ in range(AT_ONCE)]
        more = [Deferred.fromCoroutine(places.enter()) for _ in range(AT_ONCE)]
        for place in held:
            place.linger()
        assert [one.called for one in more] == [True] * LINGERING + [False] * (AT_ONCE - LINGERING)
        for place in held:
            place.leave()
        assert all(one.called for one in more)
        # The places for lingering are free again.
        for one in more:
            self.successResultOf(one).linger()
        rest = [Deferred.fromCoroutine(places.enter()) for _ in range(AT_ONCE)]
        assert [one.called for one in rest].count(True) == LINGERING

    def test_streams_beside_an_answer_are_few(self) -> None:
        places = Places()
        held = [places.stream(must=False) for _ in range(HEDGES)]
        assert None not in held
        assert places.stream(must=False) is None
        only_way = places.stream(must=True)
        assert only_way is not None
        only_way.leave()
        assert places.stream(must=False) is None
        held[0].leave()  # type: ignore[union-attr]
        assert places.stream(must=False) is not None
