"""The gRPC client of PFS against a server that misbehaves on demand: calls, downloads, limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc
from client_case import MIB, ClientCase, file_info
from scripted_pfs import WAIT_SECONDS
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from pachgw.pfs import channel, downloads
from pachgw.pfs.port import (
    NotAuthenticated,
    PathNotFound,
    PFSError,
    TookTooLong,
    Unavailable,
)
from pachgw.pfs.proto import pfs_pb2
from pachgw.pfs.timeouts import Timeouts


class TestCalls(ClientCase):
    async def test_call_carries_token_and_request_id(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, _: file_info(request.file.path, size=3)
        info = await self.pfs.inspect_file("r", "master", "/f")
        self.assertEqual((info.path, info.size, info.commit, info.hash), ("/f", 3, "c", b"h" * 32))
        metadata = self.pfs_server.metadata[0]
        self.assertEqual((metadata["authn-token"], metadata["x-request-id"]), ("token", "q-1"))

    async def test_call_without_token_sends_none(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, _: file_info("/f")
        await self.client.session(None).inspect_file("r", "master", "/f")
        self.assertNotIn("authn-token", self.pfs_server.metadata[0])

    async def test_token_that_no_header_holds_is_no_good_token(self) -> None:
        for token in ("tökèn", "a\nb", " a", "a\0"):
            pfs = self.client.session(token)
            error = await self.raises(NotAuthenticated, pfs.inspect_file("r", "master", "/f"))
            self.assertTrue(error.token_sent)
            await self.raises(NotAuthenticated, (await pfs.get_file("r", "master", "/f")).read())
            await self.raises(NotAuthenticated, pfs.put_file("r", "master"))
        self.assertEqual(self.pfs_server.metadata, [])

    async def test_refusal_is_an_error_of_the_port(self) -> None:
        def refuse(_request: object, context: grpc.ServicerContext) -> pfs_pb2.FileInfo:
            context.abort(grpc.StatusCode.UNKNOWN, "file /f not found in repo r at commit c")

        self.pfs_server.on_inspect_file = refuse
        await self.raises(PathNotFound, self.pfs.inspect_file("r", "master", "/f"))

    async def test_cancelled_wait_cancels_the_call(self) -> None:
        begun, cancelled = threading.Event(), threading.Event()

        def hang(_request: object, context: grpc.ServicerContext) -> pfs_pb2.FileInfo:
            context.add_callback(cancelled.set)
            begun.set()
            cancelled.wait(WAIT_SECONDS)
            return file_info("/f")

        self.pfs_server.on_inspect_file = hang
        waiting = Deferred.fromCoroutine(self.pfs.inspect_file("r", "master", "/f"))
        await self.event(begun)
        waiting.cancel()
        await self.failed(waiting, CancelledError)
        await self.event(cancelled)

    async def failed(self, waiting: Deferred[Any], kind: type[Exception]) -> None:
        try:
            await waiting
        except kind:
            return
        raise AssertionError(f"{kind.__name__} was not raised")

    async def test_server_away_and_back(self) -> None:
        self.pfs_server.on_inspect_file = lambda request, _: file_info("/f")
        await self.pfs.inspect_file("r", "master", "/f")
        self.stop_server()
        await self.raises(Unavailable, self.pfs.inspect_file("r", "master", "/f"))
        await self.raises(Unavailable, (await self.pfs.get_file("r", "master", "/f")).read())
        await self.raises(Unavailable, self.pfs.walk_file("r", "master", "/"))
        self.start_server()
        while True:
            try:
                await self.pfs.inspect_file("r", "master", "/f")
                return
            except Unavailable:
                await self.turns()

    async def test_stop_ends_what_is_under_way(self) -> None:
        begun, release = threading.Event(), threading.Event()

        def hang(_request: object, context: grpc.ServicerContext) -> pfs_pb2.FileInfo:
            context.add_callback(release.set)
            begun.set()
            release.wait(WAIT_SECONDS)
            return file_info("/f")

        self.pfs_server.on_inspect_file = hang
        waiting = Deferred.fromCoroutine(self.pfs.inspect_file("r", "master", "/f"))
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(2 * MIB))
        await self.event(begun)
        await self.client.stop()
        await self.failed(waiting, Unavailable)
        await self.raises(Unavailable, self.pfs.inspect_file("r", "master", "/f"))
        await self.raises(Unavailable, self.pfs.walk_file("r", "master", "/"))
        await self.raises(Unavailable, upload.finish())
        self.assertEqual([name.name for name in threading.enumerate() if "pachgw-pfs" in name.name], [])
        seen = await self.upload_seen()
        await self.event(seen.over)
        # One is the call's, which is a half-closed stream from its beginning.
        self.assertEqual(len(self.tap.half_closed), 1)


class TestDownloads(ClientCase):
    async def test_get_file_in_pieces(self) -> None:
        pieces = [b"a" * 2 * MIB, b"", b"b" * 2 * MIB, b"c", b"d" * 5]
        self.pfs_server.on_get_file = lambda *_: iter(pieces)
        source = await self.pfs.get_file("r", "c", "/f")
        got = []
        while piece := await source.read():
            got.append(piece)
        self.assertEqual(b"".join(got), b"".join(pieces))
        self.assertEqual([await source.read(), await source.read()], [b"", b""])
        await source.aclose()
        await source.aclose()

    async def test_get_file_of_nothing_is_not_asked_for(self) -> None:
        source = await self.pfs.get_file("r", "c", "/f", size=0)
        self.assertEqual(await source.read(), b"")
        self.assertEqual(self.pfs_server.metadata, [])

    async def test_error_after_a_short_message_comes_after_its_bytes(self) -> None:
        def get(_request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield b"abc"
            context.abort(grpc.StatusCode.UNKNOWN, 'file "/f" not found')

        self.pfs_server.on_get_file = get
        source = await self.pfs.get_file("r", "c", "/f")
        self.assertEqual(await source.read(), b"abc")
        await self.raises(PathNotFound, source.read())
        await source.aclose()

    async def test_slow_reader_holds_the_server_back_and_no_thread(self) -> None:
        sent: list[int] = []

        def get(request: Any, _context: grpc.ServicerContext) -> Iterator[bytes]:
            for _ in range(50):
                sent.append(1)
                yield bytes(2 * MIB)

        self.pfs_server.on_get_file = get
        self.pfs_server.on_inspect_file = lambda request, _: file_info("/f")
        sources = [await self.pfs.get_file("r", "c", "/f") for _ in range(10)]
        for source in sources:
            await source.read()
        # More streams than the client has threads; calls still pass.
        for _ in range(30):
            await self.pfs.inspect_file("r", "c", "/f")
        # Each has been given one message; what lies between is the window and one message on its way.
        self.assertLessEqual(len(sent), 10 * 4)
        self.assertLessEqual(len([1 for thread in threading.enumerate() if "pachgw-pfs" in thread.name]), 8)
        for source in sources:
            await source.aclose()

    async def test_closing_before_the_end_cancels(self) -> None:
        over = threading.Event()

        def get(_request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.add_callback(over.set)
            while context.is_active():
                yield bytes(2 * MIB)

        self.pfs_server.on_get_file = get
        source = await self.pfs.get_file("r", "c", "/f")
        await source.read()
        await source.aclose()
        await self.event(over)

    async def test_cancelled_read_cancels(self) -> None:
        begun, over = threading.Event(), threading.Event()

        def get(_request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.add_callback(over.set)
            begun.set()
            over.wait(WAIT_SECONDS)
            yield b""

        self.pfs_server.on_get_file = get
        source = await self.pfs.get_file("r", "c", "/f")
        reading = Deferred.fromCoroutine(source.read())
        await self.event(begun)
        reading.cancel()
        try:
            await reading
        except CancelledError:
            await self.event(over)
        else:
            raise AssertionError("the read was not cancelled")

    async def test_lost_connection_is_unavailable(self) -> None:
        begun, over = threading.Event(), threading.Event()

        def get(_request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.add_callback(over.set)
            yield bytes(2 * MIB)
            begun.set()
            over.wait(WAIT_SECONDS)

        self.pfs_server.on_get_file = get
        source = await self.pfs.get_file("r", "c", "/f")
        await source.read()
        reading = Deferred.fromCoroutine(source.read())
        await self.event(begun)
        await deferToThreadPool(reactor, self.waiters, self.stop_server)
        try:
            await reading
        except Unavailable:
            return
        raise AssertionError("the loss was not noticed")

    async def test_list_comes_in_batches_in_order(self) -> None:
        self.pfs_server.on_walk_file = lambda *_: (file_info(f"/{n:05}", size=n) for n in range(2500))
        batches = await self.pfs.walk_file("r", "c", "/")
        got = []
        while batch := await batches.read():
            self.assertLessEqual(len(batch), downloads.BATCH_VALUES)
            got += batch
        self.assertEqual([(info.path, info.size) for info in got], [(f"/{n:05}", n) for n in range(2500)])
        self.assertEqual(await batches.read(), [])
        await batches.aclose()

    async def test_directory_comes_whole_and_is_handed_over_in_batches(self) -> None:
        for count in (0, 1, 200, 2500):
            infos = [file_info(f"/{n:05}", size=n) for n in range(count)]
            answer = pfs_pb2.FileInfos(file_info=infos)
            self.pfs_server.on_list_file = lambda *_, answer=answer: answer
            batches = await self.pfs.list_file("r", "c", "/")
            got = []
            while batch := await batches.read():
                self.assertLessEqual(len(batch), downloads.BATCH_VALUES)
                got += [info.path for info in batch]
            self.assertEqual(got, [f"/{n:05}" for n in range(count)])
            self.assertEqual(await batches.read(), [])
            await batches.aclose()

    async def test_directory_too_large_for_one_answer_comes_as_a_stream(self) -> None:
        def refuse(_request: object, context: grpc.ServicerContext) -> pfs_pb2.FileInfos:
            text = "grpc: trying to send message larger than max (20971521 vs. 20971520)"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

        # One that the server refuses to send, and one that this side refuses to take.
        name = "n" * (channel.MAX_MESSAGE_BYTES // 2)
        huge = pfs_pb2.FileInfos(file_info=[file_info(f"/{name}{n}") for n in range(2)])
        self.pfs_server.on_walk_file = lambda *_: (file_info(f"/{n}") for n in range(3))
        for answer in (refuse, lambda *_: huge):
            self.pfs_server.on_list_file = answer
            batches = await self.pfs.list_file("r", "c", "/")
            got: list[str] = []
            await self._read_to_the_end(batches.read, got)
            self.assertEqual(got, ["/0", "/1", "/2"])

    async def test_empty_list_ends_at_once(self) -> None:
        self.pfs_server.on_walk_file = lambda *_: iter(())
        batches = await self.pfs.walk_file("r", "c", "/")
        self.assertEqual([await batches.read(), await batches.read()], [[], []])

    async def test_refused_list_is_refused_when_asked_for(self) -> None:
        def walk(_request: object, context: grpc.ServicerContext) -> Iterator[pfs_pb2.FileInfo]:
            context.abort(grpc.StatusCode.UNKNOWN, 'file "/x" not found')
            yield file_info("/")

        self.pfs_server.on_walk_file = walk
        await self.raises(PathNotFound, self.pfs.walk_file("r", "c", "/x"))

    async def test_list_that_fails_on_its_way_raises_after_its_values(self) -> None:
        def walk(_request: object, context: grpc.ServicerContext) -> Iterator[pfs_pb2.FileInfo]:
            for n in range(10):
                yield file_info(f"/{n}")
            context.abort(grpc.StatusCode.UNKNOWN, "failed")

        self.pfs_server.on_walk_file = walk
        batches = await self.pfs.walk_file("r", "c", "/")
        got: list[str] = []
        error = await self.raises(PFSError, self._read_to_the_end(batches.read, got))
        self.assertEqual((len(got), str(error)), (10, "failed"))

    async def _read_to_the_end(
        self, read: Callable[[], Coroutine[Any, Any, list[Any]]], got: list[str]
    ) -> None:
        while batch := await read():
            got += [info.path for info in batch]

    async def test_closed_list_leaves_nothing_with_grpc(self) -> None:
        # The names are private to grpcio; this says so when a release changes them.
        over = threading.Event()

        def walk(_request: object, context: grpc.ServicerContext) -> Iterator[pfs_pb2.FileInfo]:
            context.add_callback(over.set)
            while context.is_active():
                yield file_info("/f")

        self.pfs_server.on_walk_file = walk
        batches = await self.pfs.walk_file("r", "c", "/")
        call = batches._call  # type: ignore[attr-defined]
        self.assertTrue(callable(call._consume_next_event))
        self.assertTrue(call._state.due)
        await batches.aclose()
        await self.event(over)
        while call._state.due:
            await self.turns()


class TestSilentServer(ClientCase):
    timeouts = Timeouts(call=0.2, idle=0.2, commit=0.2)

    def setUp(self) -> None:
        super().setUp()
        self.release = threading.Event()
        self.stack.callback(self.release.set)

    async def test_unary_call_has_a_deadline(self) -> None:
        def hang(*_: object) -> pfs_pb2.FileInfo:
            self.release.wait(WAIT_SECONDS)
            return file_info("/f")

        self.pfs_server.on_inspect_file = hang
        await self.raises(TookTooLong, self.pfs.inspect_file("r", "c", "/f"))

    async def test_streams_have_a_limit_to_silence(self) -> None:
        def hang(*_: object) -> Iterator[Any]:
            self.release.wait(WAIT_SECONDS)
            yield from ()

        self.pfs_server.on_get_file = hang
        self.pfs_server.on_walk_file = hang
        source = await self.pfs.get_file("r", "c", "/f")
        error = await self.raises(TookTooLong, source.read())
        self.assertIn("no message", str(error))
        error = await self.raises(TookTooLong, self.pfs.walk_file("r", "c", "/"))
        self.assertIn("no message", str(error))

    async def test_upload_that_the_server_does_not_take_fails(self) -> None:
        self.pfs_server.gate.clear()
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(MIB + 1))
        # Of a call that is given up before, a busy server may never hear.
        seen = await self.upload_seen()

        async def fill() -> None:
            while True:
                await upload.write(bytes(MIB))

        await self.raises(TookTooLong, fill())
        await self.raises(TookTooLong, upload.finish())
        await upload.abort()
        self.pfs_server.gate.set()
        await self.event(seen.over)
        self.assertEqual(self.tap.half_closed, set())


class TestSlowCommit(ClientCase):
    # Only this one is short: a busy machine may need long to hash and to send.
    timeouts = Timeouts(commit=0.2)

    async def test_commit_that_takes_too_long_fails(self) -> None:
        for size in (1, 3 * MIB):
            self.pfs_server.gate.clear()
            upload = await self.pfs.put_file("r", "master")
            await upload.begin_file("/f")
            await upload.write(bytes(size))
            await self.raises(TookTooLong, upload.finish())
            self.pfs_server.gate.set()
