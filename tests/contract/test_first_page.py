"""The first page of a listing over gRPC, from a PFS that holds back the end of its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
from client_case import ClientCase, file_info
from scripted_pfs import WAIT_SECONDS
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThreadPool

from pachgw.pfs.proto import pfs_pb2
from pachgw.s3.listing.directories import Directories
from pachgw.s3.listing.pages import ListParams, Page
from pachgw.s3.listing.reading import PROBE_SECONDS
from pachgw.s3.listing.rows import Rows
from pachgw.s3.listing.walk import Base, read_page

T = TypeVar("T")

COUNT = 5000
FIRST = 2500


class FirstPageTest(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.rest = threading.Event()
        self.stack.callback(self.rest.set)
        self.asked: list[str] = []
        self.came = threading.Event()
        self.cancelled = threading.Event()
        self.pfs_server.on_list_file = self.list_file
        self.pfs_server.on_walk_file = self.list_file_stream
        self.directories = Directories(1 << 24, reactor=reactor, offload=self.offload)  # type: ignore[arg-type]
        self.addCleanup(self.directories.stop)

    async def offload(self, function: Callable[..., T], /, *args: object) -> T:
        return await deferToThreadPool(reactor, self.waiters, function, *args)

    def list_file(self, _request: object, context: grpc.ServicerContext) -> pfs_pb2.FileInfos:
        self.asked.append("ListFile")
        if not context.add_callback(self.cancelled.set):
            self.cancelled.set()
        self.came.set()
        self.rest.wait(WAIT_SECONDS)
        return pfs_pb2.FileInfos(file_info=[file_info(f"/d/{n:05}", size=n) for n in range(COUNT)])

    def list_file_stream(self, _request: object, _context: object) -> Iterator[pfs_pb2.FileInfo]:
        self.asked.append("ListFileStream")
        for number in range(COUNT):
            if number == FIRST:
                self.rest.wait(WAIT_SECONDS)
            yield file_info(f"/d/{number:05}", size=number)

    async def page(self, after: str = "", **more: Any) -> Page:
        goes_on = bool(after)

        async def open_directory(path: str) -> Rows:
            name = ("r", "c", path)
            return self.directories.open(
                name, self.pfs, wants_all=more.get("max_keys", 1000) > 10, goes_on=goes_on
            )

        params = ListParams(version=2, prefix="d/", start_after=after, **more)
        base = Base(directory="/d", last_modified=datetime(2026, 1, 1, tzinfo=UTC), commit="c")
        return await read_page(open_directory, base, params)

    def names(self, page: Page) -> list[str]:
        return [entry.key for entry in page.contents]

    async def test_it_is_there_before_the_rest(self) -> None:
        page = await self.page()
        assert not self.rest.is_set()
        assert self.names(page) == [f"d/{n:05}" for n in range(1000)]
        assert page.is_truncated
        self.rest.set()
        for start in (1000, 2000, 3000, 4000):
            page = await self.page(f"d/{start - 1:05}")
            assert self.names(page) == [f"d/{n:05}" for n in range(start, start + 1000)]
            assert page.is_truncated is (start < 4000)
        assert self.asked == ["ListFile", "ListFileStream"]

    async def test_a_probe_is_answered_and_withdraws_what_it_asked(self) -> None:
        clock = Clock()
        self.directories = Directories(1 << 24, reactor=clock, offload=self.offload)
        self.addCleanup(self.directories.stop)
        reading = Deferred.fromCoroutine(self.page(max_keys=2))
        # Not by a clock that goes on: the call could be withdrawn before the server has heard of it.
        await self.event(self.came)
        clock.advance(PROBE_SECONDS)
        page = await reading
        assert not self.rest.is_set()
        assert (self.names(page), page.is_truncated) == (["d/00000", "d/00001"], True)
        await self.event(self.cancelled)
        assert not self.rest.is_set()
        assert self.directories.nbytes == 0
