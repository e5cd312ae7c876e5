"""Which calls are made again when PFS goes away under them: what reads, a few times; what writes, never."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from client_case import MIB, ClientCase, file_info
from twisted.internet.defer import Deferred

import pachgw.pfs
from pachgw.pfs.port import PFS, FileChange, PathNotFound, Scope, Unavailable
from pachgw.pfs.proto import auth_pb2, pfs_pb2
from pachgw.pfs.timeouts import AGAIN_AFTER_SECONDS, RPCS, Kind

READ_CALLS = 1 + len(AGAIN_AFTER_SECONDS)

DATA = (b"data",)


async def _put(pfs: PFS, size: int) -> None:
    upload = await pfs.put_file("r", "master")
    await upload.begin_file("/f")
    await upload.write(bytes(size))
    await upload.finish()


async def _get(pfs: PFS, *, at_once: bool) -> None:
    await (await pfs.get_file("r", "c", "/f", size=10, at_once=at_once)).read()


CALLS: dict[str, Callable[[PFS], Awaitable[Any]]] = {
    "WhoAmI": lambda pfs: pfs.who_am_i(),
    "Authorize": lambda pfs: pfs.authorize("r", Scope.READER),
    "InspectRepo": lambda pfs: pfs.inspect_repo("r"),
    "ListRepo": lambda pfs: pfs.list_repo(),
    "InspectBranch": lambda pfs: pfs.inspect_branch("r", "master"),
    "ListBranch": lambda pfs: pfs.list_branch("r"),
    "InspectCommit": lambda pfs: pfs.inspect_commit("r", "c"),
    "InspectFile": lambda pfs: pfs.inspect_file("r", "c", "/f"),
    "ListFile": lambda pfs: pfs.list_file("r", "c", "/"),
    "DiffFile": lambda pfs: pfs.diff_file("r", "c"),
    "ListCommitStream": lambda pfs: pfs.list_commit("r"),
    "ListFileStream": lambda pfs: pfs.list_file_stream("r", "c", "/"),
    "WalkFile": lambda pfs: pfs.walk_file("r", "c", "/"),
    "GetFile": lambda pfs: _get(pfs, at_once=False),
    "CreateRepo": lambda pfs: pfs.create_repo("r"),
    "DeleteRepo": lambda pfs: pfs.delete_repo("r"),
    "CreateBranch": lambda pfs: pfs.create_branch("r", "b"),
    "DeleteBranch": lambda pfs: pfs.delete_branch("r", "b"),
    "StartCommit": lambda pfs: pfs.start_commit("r", "master"),
    "FinishCommit": lambda pfs: pfs.finish_commit("r", "c"),
    "DeleteCommit": lambda pfs: pfs.delete_commit("r", "c"),
    "CopyFile": lambda pfs: pfs.copy_file(
        "r", "c", "/f", to_repo="r", to_commit="master", to_path="/g", overwrite=True
    ),
    "PutFile": lambda pfs: pfs.change_files("r", "master", [FileChange(path="/f", data=DATA)]),
}

MORE: dict[str, tuple[Callable[[PFS], Awaitable[Any]], ...]] = {
    "GetFile": (lambda pfs: _get(pfs, at_once=True),),
    "PutFile": (
        lambda pfs: _put(pfs, 10),
        lambda pfs: _put(pfs, 3 * MIB),
        lambda pfs: pfs.change_files("r", "master", [FileChange(path=f"/{n}", data=DATA) for n in range(2)]),
    ),
}
"""Other ways in which the same RPC is made."""


class _Away(grpc.GenericRpcHandler):
    """Counts each call, and answers it as a server that goes away under it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method.rpartition("/")[2]

        def handle(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._lock:
                self.calls[method] += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield b""

        return grpc.stream_stream_rpc_method_handler(handle)


def test_the_table_has_each_call_that_is_made_and_its_kind() -> None:
    services = (pfs_pb2.DESCRIPTOR, auth_pb2.DESCRIPTOR)
    methods = {method.name: method for file in services for method in file.services_by_name["API"].methods}
    made: set[str] = set()
    for module in ("client", "channel"):
        text = Path(pachgw.pfs.__path__[0], f"{module}.py").read_text(encoding="utf-8")
        made |= set(re.findall(r"channels\.(?:pfs|auth|lists)\.(\w+)", text))
        made |= set(re.findall(r'"/pfs\.API/(\w+)"', text))
    assert made == set(RPCS) == set(CALLS)
    for name, kind in RPCS.items():
        assert methods[name].server_streaming == (kind is Kind.READ), name
        assert methods[name].client_streaming == (kind is Kind.PUT), name
        assert kind.only_reads == (re.match("Inspect|List|Walk|Get|Diff|WhoAmI|Authorize", name) is not None)


class TestAServerThatGoesAway(ClientCase):
    def start_server(self) -> None:
        self.away = _Away()
        self.server = grpc.server(ThreadPoolExecutor(4), handlers=[self.away])
        self.server.add_insecure_port(self.address)
        self.server.start()

    async def test_what_reads_is_made_again_and_what_writes_never_is(self) -> None:
        for name, call in CALLS.items():
            for way in (call, *MORE.get(name, ())):
                self.away.calls.clear()
                try:
                    await way(self.pfs)
                except Unavailable:
                    pass
                else:
                    raise AssertionError(f"{name} did not fail")
                expected = READ_CALLS if RPCS[name].only_reads else 1
                self.assertEqual(dict(self.away.calls), {name: expected})

    async def test_where_nobody_listens_a_call_fails_once(self) -> None:
        self.stop_server()
        counted: list[str] = []
        channels = self.client._channels
        assert channels is not None
        channels.watch.call_retried = counted.append  # type: ignore[method-assign]
        self.tap.close()
        for call in CALLS.values():
            try:
                await call(self.pfs)
            except Unavailable:
                continue
            raise AssertionError("a call without a server did not fail")
        # The first may have been on its way when the connection went.
        self.assertLessEqual(len(counted), 1)


class TestAServerThatComesBack(ClientCase):
    """It goes away under the first calls, and answers the next."""

    def _failing(self, times: int, message: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        left = [times]

        def handle(request: object, context: grpc.ServicerContext) -> Any:
            if left[0]:
                left[0] -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, message)
            return answer(request, context)

        return handle

    async def test_a_question(self) -> None:
        for times in range(1, READ_CALLS):
            self.pfs_server.on_inspect_file = self._failing(times, "lost", lambda *_: file_info("/f", size=3))
            self.assertEqual((await self.pfs.inspect_file("r", "c", "/f")).size, 3)

    async def test_a_stream_before_its_first_message(self) -> None:
        def failing() -> Callable[..., Iterator[Any]]:
            answers = self._failing(2, "lost", lambda *_: None)

            def handle(request: object, context: grpc.ServicerContext) -> Iterator[Any]:
                answers(request, context)
                yield from (file_info("/a"), file_info("/b"))

            return handle

        self.pfs_server.on_walk_file = failing()
        batches = await self.pfs.walk_file("r", "c", "/")
        self.assertEqual([info.path for info in await batches.read()], ["/a", "/b"])
        self.assertEqual(await batches.read(), [])

    async def test_a_stream_after_its_first_message_fails(self) -> None:
        calls: list[object] = []

        def break_off(request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            calls.append(request)
            yield b"x" * (2 * MIB)
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")

        self.pfs_server.on_get_file = break_off
        source = await self.pfs.get_file("r", "c", "/f")
        self.assertEqual(len(await source.read()), 2 * MIB)
        await self.raises(Unavailable, source.read())
        self.assertEqual(len(calls), 1)

    async def test_other_errors_are_answers(self) -> None:
        calls: list[object] = []

        def refuse(request: object, context: grpc.ServicerContext) -> Any:
            calls.append(request)
            context.abort(grpc.StatusCode.UNKNOWN, 'file "/f" not found')

        self.pfs_server.on_inspect_file = refuse
        await self.raises(PathNotFound, self.pfs.inspect_file("r", "c", "/f"))
        self.assertEqual(len(calls), 1)

    async def test_who_gives_up_while_it_is_waited_ends_it(self) -> None:
        calls: list[object] = []
        failed = threading.Event()

        def go(request: object, context: grpc.ServicerContext) -> Any:
            calls.append(request)
            context.add_callback(failed.set)
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")

        self.pfs_server.on_inspect_file = go
        asking = Deferred.fromCoroutine(self.pfs.inspect_file("r", "c", "/f"))
        asking.addErrback(lambda _: None)
        await self.event(failed)
        asking.cancel()
        await asking
        seen = len(calls)
        await self.client.stop()
        self.assertEqual(len(calls), seen)
