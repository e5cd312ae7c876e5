"""Uploads of the gRPC client share a room: what they hold is bounded, and given back however they end."""

from __future__ import annotations

from client_case import MIB, ClientCase, pfs_hash
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import PFSError, Unavailable
from pachgw.pfs.uploads import MESSAGE_BYTES, SLOW_MESSAGE_BYTES

PIECE = 64 * 1024
WRITERS = 12
ROOM = 4 * MIB
HEADS = 100
"""A message is a little longer than the bytes in it."""


class TestRoom(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        # As ClientCase's, with little room.
        self.small = GrpcPFS(self.address, reactor=reactor, uploads_bytes=ROOM)  # type: ignore[arg-type]
        self.small.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.small.stop()))
        self.session = self.small.session("token")
        self.room = self.session.uploads_room

    async def test_many_writers_share_it_and_their_bytes_arrive(self) -> None:
        self.pfs_server.gate.clear()
        data = bytes(range(256)) * 4096 * 3
        most = 0

        async def put(number: int) -> tuple[bytes, ...]:
            nonlocal most
            upload = await self.session.put_file("r", "master")
            await upload.begin_file(f"/{number}")
            for start in range(0, len(data), PIECE):
                await upload.write(data[start : start + PIECE])
                most = max(most, self.room.used)
            return await upload.finish()

        writing = gatherResults([Deferred.fromCoroutine(put(number)) for number in range(WRITERS)])
        while len(self.pfs_server.uploads) < WRITERS:
            await self.turns()
        self.pfs_server.gate.set()
        self.assertEqual(await writing, [(pfs_hash(data),)] * WRITERS)
        self.assertGreater(most, ROOM // 2)
        # Each may have the least of a message gathered, in hand, and kept by grpcio.
        self.assertLessEqual(most, ROOM + WRITERS * (3 * SLOW_MESSAGE_BYTES + HEADS))
        self.assertEqual(self.room.used, 0)
        for seen in self.pfs_server.uploads:
            self.assertEqual(b"".join(message.value for message in seen.messages), data)
            self.assertLess(max(len(message.value) for message in seen.messages), MESSAGE_BYTES)

    async def test_an_upload_that_ends_before_its_time_gives_its_room_back(self) -> None:
        aborted = await self.session.put_file("r", "master")
        await aborted.begin_file("/f")
        await aborted.write(bytes(MIB))
        self.assertGreater(self.room.used, 0)
        await aborted.abort()
        self.assertEqual(self.room.used, 0)

        self.pfs_server.refuse_upload = (1, "no")
        refused = await self.session.put_file("r", "master")
        await refused.begin_file("/f")
        with self.assertRaises(PFSError):
            for _ in range(100):
                await refused.write(bytes(MIB))
        self.assertEqual(self.room.used, 0)

        self.pfs_server.refuse_upload = None
        cut = await self.session.put_file("r", "master")
        await cut.begin_file("/f")
        await cut.write(bytes(MIB))
        self.assertGreater(self.room.used, 0)
        await self.small.stop()
        await self.raises(Unavailable, cut.finish())
        self.assertEqual(self.room.used, 0)

    async def test_small_upload_gives_its_room_back(self) -> None:
        upload = await self.session.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.write(b"abc")
        self.assertEqual(self.room.used, 3)
        await upload.finish()
        self.assertEqual(self.room.used, 0)
