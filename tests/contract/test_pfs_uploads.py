"""Uploads of the gRPC client: order, bounds, refusals, and that nothing but finish() ever half-closes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Coroutine
from typing import Any

from client_case import MIB, ClientCase, pfs_hash
from scripted_pfs import WAIT_SECONDS
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from pachgw.pfs import channel, uploads
from pachgw.pfs.filehash import FileHash
from pachgw.pfs.port import (
    NotAuthorized,
    PFSError,
    Unavailable,
)


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

    async def test_large_file_arrives_whole_in_messages_of_bounded_size(self) -> None:
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
        self.assertGreaterEqual(min(sizes), uploads.MESSAGE_BYTES)
        self.assertLess(max(sizes), uploads.MESSAGE_BYTES + step)
        self.assertNotIn(True, [message.HasField("file") for message in seen.messages[1:]])

    async def test_write_larger_than_a_message_is_cut(self) -> None:
        data = bytes(range(256)) * 4096 * 25
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(data)
        self.assertEqual(await upload.finish(), (pfs_hash(data),))
        [seen] = self.pfs_server.uploads
        self.assertEqual(b"".join(message.value for message in seen.messages), data)

    async def test_bytes_are_sent_while_they_are_not_hashed_yet(self) -> None:
        may_hash = threading.Event()
        self.addCleanup(may_hash.set)
        in_vain: list[int] = []

        class HeldHash(FileHash):
            def update(self, data: bytes) -> None:
                if not may_hash.wait(WAIT_SECONDS):
                    in_vain.append(len(data))
                super().update(data)

        self.patch(uploads, "FileHash", HeldHash)
        data = bytes(2 * MIB)
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(data)
        seen = await self.upload_seen()
        while seen.bytes < len(data):
            await self.turns()
        may_hash.set()
        self.assertEqual(await upload.finish(), (pfs_hash(data),))
        self.assertEqual(in_vain, [])

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
        # It may be ended before the client hears that nobody is there to take that.
        await self.raises(Unavailable, upload.finish())

    async def test_upload_known_to_be_lost_is_never_half_closed(self) -> None:
        upload = await self.pfs.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(bytes(2 * MIB))
        await self.upload_seen()
        await deferToThreadPool(reactor, self.waiters, self.stop_server)

        async def fill() -> None:
            while True:
                await upload.write(bytes(MIB))

        await self.raises(Unavailable, fill())
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
