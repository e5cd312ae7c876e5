"""The gRPC client of PFS against a server that misbehaves on demand: streams, cancels, losses, limits."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

sys.path.insert(0, str(Path(__file__).parent))

from http2_tap import Tap
from scripted_pfs import WAIT_SECONDS, ScriptedPFS, Seen, serve, short_directory

from pachgw.pfs import channel, downloads, uploads
from pachgw.pfs.client import GrpcPFS, Timeouts
from pachgw.pfs.port import (
    PFS,
    NotAuthenticated,
    NotAuthorized,
    PathNotFound,
    PFSError,
    Unavailable,
)
from pachgw.pfs.proto import pfs_pb2

MIB = 1024 * 1024


def file_info(path: str, *, size: int = 0) -> pfs_pb2.FileInfo:
    commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="r"), id="c")
    file = pfs_pb2.File(commit=commit, path=path)
    return pfs_pb2.FileInfo(file=file, file_type=pfs_pb2.FILE, size_bytes=size, hash=b"h" * 32)


def pfs_hash(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha512(data).hexdigest().encode()).digest()


class ClientCase(TestCase):
    """A scripted server on a unix socket, a client that is started, and a pool to wait for events in."""

    timeout = 60
    timeouts = Timeouts()

    def setUp(self) -> None:
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        directory = self.stack.enter_context(short_directory())
        self.address = f"unix:{directory}/server"
        self.waiters = ThreadPool(0, 4, name="test-waiters")
        self.waiters.start()
        self.stack.callback(self.waiters.stop)
        self.pfs_server = ScriptedPFS()
        self.server: grpc.Server | None = None
        self.start_server()
        self.stack.callback(self.stop_server)
        self.tap = Tap(f"{directory}/tap", f"{directory}/server")
        self.stack.callback(self.tap.close)
        self.client = GrpcPFS(f"unix:{directory}/tap", reactor=reactor, timeouts=self.timeouts)  # type: ignore[arg-type]
        self.client.start()
        self.pfs: PFS = self.client.session("token", request_id="q-1")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))

    def start_server(self) -> None:
        self.server = serve(self.pfs_server, self.address)

    def stop_server(self) -> None:
        if self.server is not None:
            self.pfs_server.gate.set()
            self.server.stop(0).wait(WAIT_SECONDS)
            self.server = None

    async def event(self, event: threading.Event) -> None:
        """Wait for an event of the server's threads without blocking the reactor."""
        came = await deferToThreadPool(reactor, self.waiters, event.wait, WAIT_SECONDS)
        self.assertTrue(came, "the server saw nothing")

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            await deferLater(reactor, 0)

    async def raises(self, kind: type[BaseException], awaited: Coroutine[Any, Any, Any]) -> Any:
        try:
            await awaited
        except kind as error:
            self.assertIs(type(error), kind)
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    async def upload_seen(self) -> Seen:
        while not self.pfs_server.uploads:
            await self.turns()
        return self.pfs_server.uploads[-1]


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
        for count in (0, 1, downloads.INLINE_VALUES + 1, 2500):
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
        await self.raises(Unavailable, self.pfs.inspect_file("r", "c", "/f"))

    async def test_streams_have_a_limit_to_silence(self) -> None:
        def hang(*_: object) -> Iterator[Any]:
            self.release.wait(WAIT_SECONDS)
            yield from ()

        self.pfs_server.on_get_file = hang
        self.pfs_server.on_walk_file = hang
        source = await self.pfs.get_file("r", "c", "/f")
        error = await self.raises(Unavailable, source.read())
        self.assertIn("no message", str(error))
        error = await self.raises(Unavailable, self.pfs.walk_file("r", "c", "/"))
        self.assertIn("no message", str(error))

    async def test_upload_that_the_server_does_not_take_fails(self) -> None:
        self.pfs_server.gate.clear()
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")

        async def fill() -> None:
            while True:
                await upload.write(bytes(MIB))

        await self.raises(Unavailable, fill())
        await self.raises(Unavailable, upload.finish())
        await upload.abort()
        seen = await self.upload_seen()
        self.pfs_server.gate.set()
        await self.event(seen.over)
        self.assertEqual(self.tap.half_closed, set())

    async def test_commit_that_takes_too_long_fails(self) -> None:
        for size in (1, 3 * MIB):
            self.pfs_server.gate.clear()
            upload = await self.pfs.put_file("r", "master")
            await upload.begin_file("/f")
            await upload.write(bytes(size))
            await self.raises(Unavailable, upload.finish())
            self.pfs_server.gate.set()


class TestUploads(ClientCase):
    async def test_small_file_is_one_message(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(b"ab")
        await upload.write(b"")
        await upload.write(b"c")
        self.assertEqual(await upload.finish(), (pfs_hash(b"abc"),))
        [seen] = self.pfs_server.uploads
        [message] = seen.messages
        self.assertEqual((message.file.path, message.value), ("/f", b"abc"))
        self.assertEqual((message.file.commit.repo.name, message.file.commit.id), ("r", "master"))
        self.assertTrue(message.HasField("overwrite_index"))
        self.assertEqual(self.pfs_server.metadata[0]["authn-token"], "token")

    async def test_large_file_arrives_whole_in_messages_of_one_size(self) -> None:
        data = bytes(range(256)) * 4096 * 9 + b"end"
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        step = 65_521
        for start in range(0, len(data), step):
            await upload.write(data[start : start + step])
        self.assertEqual(await upload.finish(), (pfs_hash(data),))
        [seen] = self.pfs_server.uploads
        self.assertEqual(b"".join(message.value for message in seen.messages), data)
        sizes = {len(message.value) for message in seen.messages[:-1]}
        self.assertEqual(sizes, {uploads.MESSAGE_BYTES})
        self.assertEqual([message.HasField("file") for message in seen.messages[1:]], [False] * 9)

    async def test_write_larger_than_a_message_is_cut(self) -> None:
        data = bytes(range(256)) * 4096 * 25
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(data)
        self.assertEqual(await upload.finish(), (pfs_hash(data),))
        [seen] = self.pfs_server.uploads
        self.assertEqual(b"".join(message.value for message in seen.messages), data)

    async def test_several_files_and_deletions_keep_their_order(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        contents = [b"", b"one", bytes(3 * MIB), b"", bytes(100_000)]
        for n, data in enumerate(contents):
            await upload.delete_path(f"/old{n}")
            await upload.begin_file(f"/new{n}")
            await upload.write(data)
        self.assertEqual(await upload.finish(), tuple(pfs_hash(data) for data in contents))
        [seen] = self.pfs_server.uploads
        heads = [message for message in seen.messages if message.HasField("file")]
        expected = [(f"/{kind}{n}", kind == "old") for n in range(5) for kind in ("old", "new")]
        self.assertEqual([(head.file.path, head.delete) for head in heads], expected)
        self.assertEqual(seen.bytes, sum(map(len, contents)))

    async def test_deletion_alone(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.delete_path("/f")
        self.assertEqual(await upload.finish(), ())
        [seen] = self.pfs_server.uploads
        self.assertTrue(seen.messages[0].delete)

    async def test_bytes_without_a_file_are_refused(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await self.raises(ValueError, upload.write(b"x"))
        await upload.delete_path("/f")
        await self.raises(ValueError, upload.write(b"x"))
        await upload.abort()

    async def test_upload_of_nothing_calls_nobody(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        self.assertEqual(await upload.finish(), ())
        self.assertEqual(self.pfs_server.uploads, [])

    async def test_abort_after_finish_does_nothing(self) -> None:
        for size in (1, 2 * MIB):
            upload = await self.pfs.put_file("r", "master")
            await upload.begin_file("/f")
            await upload.write(bytes(size))
            await upload.finish()
            await upload.abort()
            self.assertTrue(self.pfs_server.uploads[-1].half_closed)

    async def test_slow_server_holds_the_writer_back(self) -> None:
        self.pfs_server.gate.clear()
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        written = 0

        async def fill() -> None:
            nonlocal written
            for _ in range(64):
                await upload.write(bytes(MIB))
                written += MIB

        filling = Deferred.fromCoroutine(fill())
        seen = await self.upload_seen()
        # Waits for a message to be accepted by the transport over and over; with the gate shut it stops.
        await self.turns(200)
        self.assertFalse(filling.called)
        in_flight = uploads.MESSAGE_BYTES * 2 + channel.LOOKAHEAD_BYTES + 4 * MIB
        self.assertLessEqual(written, uploads.IN_HAND_BYTES + in_flight)
        self.pfs_server.gate.set()
        await filling
        self.assertEqual(await upload.finish(), (pfs_hash(bytes(64 * MIB)),))
        self.assertEqual(seen.bytes, 64 * MIB)

    async def test_refusal_on_the_way_is_raised_by_write(self) -> None:
        text = "a is not authorized to perform this operation on the repo r, must have at least WRITER access"
        self.pfs_server.refuse_upload = (2, text)
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")

        async def fill() -> None:
            while True:
                await upload.write(bytes(MIB))
                await self.turns()

        await self.raises(NotAuthorized, fill())
        await self.raises(NotAuthorized, upload.write(b"x"))
        await self.raises(NotAuthorized, upload.finish())
        await upload.abort()

    async def test_refusal_while_write_waits_for_room_is_raised(self) -> None:
        self.pfs_server.gate.clear()
        self.pfs_server.refuse_upload = (1, "commit c in repo r has already finished")
        upload = await self.pfs.put_file("r", "c")
        await upload.begin_file("/f")
        waiting = Deferred.fromCoroutine(upload.write(bytes(64 * MIB)))
        await self.upload_seen()
        await self.turns(50)
        self.assertFalse(waiting.called)
        self.pfs_server.gate.set()
        try:
            await waiting
        except PFSError as error:
            self.assertIn("already finished", str(error))
            return
        raise AssertionError("the refusal was not raised")

    async def test_refusal_of_a_small_file_is_raised_by_finish(self) -> None:
        self.pfs_server.refuse_upload = (1, 'attempted to visit "/f", but it\'s not a directory')
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f/g")
        error = await self.raises_any(upload.finish())
        self.assertIn("not a directory", str(error))
        await upload.abort()

    async def raises_any(self, awaited: Coroutine[Any, Any, Any]) -> PFSError:
        try:
            await awaited
        except PFSError as error:
            return error
        raise AssertionError("nothing was raised")

    async def test_lost_connection_is_unavailable(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(2 * MIB))
        await self.upload_seen()
        await deferToThreadPool(reactor, self.waiters, self.stop_server)
        await self.raises(Unavailable, upload.finish())
        self.assertEqual(self.tap.half_closed, set())

    async def test_aborted_upload_is_never_half_closed(self) -> None:
        """However much was written, whether the server reads, and whether the reactor turned meanwhile."""
        # Threads take turns as often as they can, so that the sending thread comes in between.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for round_ in range(120):
            reading = round_ % 2 == 0
            if reading:
                self.pfs_server.gate.set()
            else:
                self.pfs_server.gate.clear()
            upload = await self.pfs.put_file("r", "master")
            await upload.begin_file("/f")
            await upload.write(bytes(MIB * (1 + round_ % 4) + round_ % 3))
            await self.turns(round_ % 5)
            if round_ % 7 == 0:
                await upload.begin_file("/g")
                await upload.write(b"more")
            await upload.abort()
            await self.raises(Unavailable, upload.finish())
            await upload.abort()
        self.pfs_server.gate.set()
        await self._check_no_upload_was_half_closed()

    async def test_upload_given_up_is_never_half_closed(self) -> None:
        """A cancelled write has lost its bytes: such an upload must not be committed by a later finish."""
        for round_ in range(30):
            self.pfs_server.gate.clear()
            upload = await self.pfs.put_file("r", "master")
            await upload.begin_file("/f")
            waiting = Deferred.fromCoroutine(upload.write(bytes(40 * MIB)))
            await self.turns(round_ % 4)
            waiting.cancel()
            try:
                await waiting
            except CancelledError:
                pass
            else:
                raise AssertionError("the write was not cancelled")
            await self.raises(Unavailable, upload.finish())
        self.pfs_server.gate.set()
        await self._check_no_upload_was_half_closed()

    async def test_forgotten_upload_is_never_half_closed(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(2 * MIB))
        seen = await self.upload_seen()
        del upload
        await self.client.stop()
        await self.event(seen.over)
        self.assertEqual(self.tap.half_closed, set())

    async def test_upload_aborted_before_its_first_message_calls_nobody(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(b"x")
        await upload.abort()
        await self.raises(Unavailable, upload.finish())
        self.assertEqual(self.pfs_server.uploads, [])

    async def _check_no_upload_was_half_closed(self) -> None:
        # A finished upload: by its end the wire has carried all that came before.
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/last")
        await upload.write(bytes(2 * MIB))
        await upload.finish()
        for seen in list(self.pfs_server.uploads):
            await self.event(seen.over)
        self.assertGreater(len(self.tap.reset), 1)
        self.assertEqual(len(self.tap.half_closed), 1)
        self.assertEqual(self.tap.begun, self.tap.half_closed | self.tap.reset)
