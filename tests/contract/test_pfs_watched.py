"""Every call of the client says for which request it is made, and is counted with its code and its time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from client_case import ClientCase, file_info
from scripted_pfs import WAIT_SECONDS
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from pachgw.metrics import Metrics
from pachgw.pfs.client import REQUEST_ID_KEY, GrpcPFS, Session
from pachgw.pfs.port import FileChange, PFSError, Scope


class Noting(grpc.GenericRpcHandler):
    """Has no method, and notes what it is asked for."""

    def __init__(self, seen: list[tuple[str, dict[str, str]]]) -> None:
        self._seen = seen

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        metadata: Any = handler_call_details.invocation_metadata
        self._seen.append((handler_call_details.method, dict(metadata)))


class WatchedTest(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics()
        self.watched = GrpcPFS(self.address, reactor=reactor, watch=self.metrics)  # type: ignore[arg-type]
        self.watched.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.watched.stop()))
        self.session: Session = self.watched.session("token", request_id="q-7")

    def value(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def ended(self, count: int) -> None:
        """Wait until so many calls were counted: their ends are heard of in another thread."""
        while self.value("pachgw_pfs_call_seconds_count") < count:
            await self.turns()

    async def test_unary_calls_are_counted_by_code(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, context: file_info("/f")
        await self.session.inspect_file("r", "c", "/f")
        with contextlib.suppress(PFSError):
            await self.session.inspect_repo("r")
        await self.ended(2)
        self.assertEqual(1, self.value("pachgw_pfs_call_seconds_count", method="InspectFile", code="OK"))
        self.assertEqual(
            1, self.value("pachgw_pfs_call_seconds_count", method="InspectRepo", code="UNIMPLEMENTED")
        )
        self.assertEqual(0, self.value("pachgw_pfs_calls_in_flight"))
        self.assertGreater(self.session.spent.seconds, 0)
        total = self.value("pachgw_pfs_call_seconds_sum")
        self.assertAlmostEqual(total, self.session.spent.seconds)
        self.assertEqual(0, self.watched.session("other").spent.seconds)

    async def test_streams_are_counted_to_their_ends(self) -> None:
        self.pfs_server.on_get_file = lambda request, context: iter([b"abc"])
        self.pfs_server.on_walk_file = lambda request, context: iter([file_info("/f")])
        source = await self.session.get_file("r", "c", "/f")
        self.assertEqual(0, self.value("pachgw_pfs_calls_in_flight", method="GetFile"))
        self.assertEqual(b"abc", await source.read())
        self.assertEqual(b"", await source.read())
        batches = await self.session.walk_file("r", "c", "/")
        self.assertEqual(1, len(await batches.read()))
        self.assertEqual([], await batches.read())
        upload = await self.session.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(3 << 20))
        self.assertEqual(1, self.value("pachgw_pfs_calls_in_flight", method="PutFile"))
        await upload.finish()
        await self.session.change_files(
            "r", "master", [FileChange(path=f"/{name}", data=(b"x",)) for name in "ab"]
        )
        await self.ended(4)
        for method, count in (("GetFile", 1), ("WalkFile", 1), ("PutFile", 2)):
            self.assertEqual(
                count, self.value("pachgw_pfs_call_seconds_count", method=method, code="OK"), method
            )
        self.assertEqual(0, self.value("pachgw_pfs_calls_in_flight"))

    async def test_what_is_given_up_is_counted_as_cancelled(self) -> None:
        self.pfs_server.on_get_file = lambda request, context: iter([b"x" * (2 << 20)] * 20)
        source = await self.session.get_file("r", "c", "/f")
        await source.read()
        await source.aclose()
        upload = await self.session.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(3 << 20))
        await upload.abort()
        await self.ended(2)
        for method in ("GetFile", "PutFile"):
            self.assertEqual(
                1, self.value("pachgw_pfs_call_seconds_count", method=method, code="CANCELLED"), method
            )
        self.assertEqual(0, self.value("pachgw_pfs_calls_in_flight"))

    async def test_every_call_has_the_id_of_its_request(self) -> None:
        self.stop_server()
        seen: list[tuple[str, dict[str, str]]] = []
        server = grpc.server(ThreadPoolExecutor(4), handlers=(Noting(seen),))
        server.add_insecure_port(self.address)
        server.start()
        self.stack.callback(lambda: server.stop(0).wait(WAIT_SECONDS))
        session = self.session
        repo = ("r",)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "who_am_i": session.who_am_i,
            "authorize": lambda: session.authorize("r", Scope.READER),
            "create_repo": lambda: session.create_repo(*repo),
            "inspect_repo": lambda: session.inspect_repo(*repo),
            "list_repo": session.list_repo,
            "delete_repo": lambda: session.delete_repo(*repo),
            "create_branch": lambda: session.create_branch("r", "b"),
            "inspect_branch": lambda: session.inspect_branch("r", "b"),
            "list_branch": lambda: session.list_branch("r"),
            "delete_branch": lambda: session.delete_branch("r", "b"),
            "start_commit": lambda: session.start_commit("r", "b"),
            "finish_commit": lambda: session.finish_commit("r", "c"),
            "delete_commit": lambda: session.delete_commit("r", "c"),
            "inspect_commit": lambda: session.inspect_commit("r", "c"),
            "list_commit": lambda: session.list_commit("r"),
            "inspect_file": lambda: session.inspect_file("r", "c", "/f"),
            "list_file": lambda: session.list_file("r", "c", "/f"),
            "list_file_stream": lambda: session.list_file_stream("r", "c", "/f"),
            "walk_file": lambda: session.walk_file("r", "c", "/f"),
            "diff_file": lambda: session.diff_file("r", "c"),
            "copy_file": lambda: session.copy_file(
                "r", "c", "/f", to_repo="r", to_commit="c", to_path="/g", overwrite=True
            ),
            "get_file": lambda: self.read(offset=0),
            "get_file_at_once": lambda: self.read(size=3, at_once=True),
            "put_file": lambda: self.put(1),
            "put_file_stream": lambda: self.put(3 << 20),
            "change_file": lambda: self.change("a"),
            "change_files": lambda: self.change("ab"),
        }
        for name, call in calls.items():
            seen.clear()
            with contextlib.suppress(PFSError):
                await call()
            self.assertTrue(seen, name)
            for method, metadata in seen:
                self.assertEqual("q-7", metadata.get(REQUEST_ID_KEY), method)

    async def read(self, **options: Any) -> None:
        source = await self.session.get_file("r", "c", "/f", **options)
        await source.read()

    async def put(self, size: int) -> None:
        upload = await self.session.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(size))
        await upload.finish()

    async def change(self, names: str) -> None:
        changes = [FileChange(path=f"/{name}", data=(b"x",)) for name in names]
        await self.session.change_files("r", "master", changes)
