"""GET of a file of an open commit, while others write into it exactly between the calls."""

from __future__ import annotations

from collections.abc import Callable

from counted_gateway import CountedCase

from pachgw.pfs.port import PFSError
from pachgw.s3.actions.objects import ATTEMPTS
from pachgw.s3.errors import S3Error

MIB = 1 << 20
MESSAGE = 2 * MIB


def _etag(headers: tuple[tuple[str, str], ...]) -> str:
    return dict(headers)["ETag"]


class TestOpenCommits(CountedCase):
    def setUp(self) -> None:
        super().setUp()
        self.writer.put("/k", b"finished")
        self.commit = self.writer.open_commit()

    async def _settle(self) -> None:
        """Have the gateway know that no metadata is kept, so that a GetFile is one of bytes."""
        await self.ask("HEAD", "k")
        self.taken()

    def put(self, *pieces: bytes) -> Callable[[], None]:
        return lambda: self.writer.put("/k", *pieces, commit=self.commit)

    async def _etag_of(self, *pieces: bytes) -> str:
        self.put(*pieces)()
        return _etag((await self.ask("HEAD", "k")).headers)

    async def test_what_it_costs(self) -> None:
        self.put(b"open")()
        await self.ask("HEAD", "k")
        self.taken()
        for _ in range(2):
            # Held against the hash, nothing is kept.
            self.assertEqual(await self.get("k"), b"open")
            self.assertEqual(self.taken(), ["InspectFile", "GetFile"])
            # A part of it cannot be: it is asked again whether it is the same file.
            self.assertEqual(await self.get("k", range="bytes=1-2"), b"pe")
            self.assertEqual(self.taken(), ["InspectFile", "GetFile", "InspectFile"])
            await self.ask("HEAD", "k")
            self.assertEqual(self.taken(), ["InspectFile"])
            await self.ask("GET", "k", if_none_match="*")
            self.assertEqual(self.taken(), ["InspectFile"])

    async def test_when_the_commit_was_started_is_asked_once(self) -> None:
        calls = []
        for _ in range(2):
            await self.ask("HEAD", "k")
            calls += self.taken()
        self.assertEqual(calls.count("InspectCommit"), 1)

    async def test_what_the_open_commit_had_is_not_kept(self) -> None:
        for data in (b"a", b"b", b"a"):
            self.put(data)()
            self.assertEqual(await self.get("k"), data)
        self.writer.finish_commit(self.commit)
        self.taken()
        self.assertEqual(await self.get("k"), b"a")
        self.assertIn("GetFile", self.taken())

    async def test_changed_between_the_calls(self) -> None:
        await self._settle()
        for old, new in (
            ((b"old",), (b"new",)),
            ((b"old",), (b"much longer",)),
            ((b"much longer",), (b"new",)),
            ((b"ab", b"cd"), (b"cd", b"ab")),
        ):
            etag = await self._etag_of(*new)
            self.put(*old)()
            self.server.before.append(("GetFile", self.put(*new)))
            answer = await self.ask("GET", "k")
            found = (_etag(answer.headers), await self.bytes_of(answer))
            self.assertEqual(found, (etag, b"".join(new)), self.taken())

    async def test_the_same_bytes_in_other_objects(self) -> None:
        """The bytes are those of the version that was looked up, by their hash."""
        await self._settle()
        etag = await self._etag_of(b"abcd")
        self.server.before.append(("GetFile", self.put(b"ab", b"cd")))
        answer = await self.ask("GET", "k")
        self.assertEqual((_etag(answer.headers), await self.bytes_of(answer)), (etag, b"abcd"))

    async def test_changed_and_changed_back(self) -> None:
        await self._settle()
        etag = await self._etag_of(b"old")
        self.server.before += [("GetFile", self.put(b"new")), ("GetFile", self.put(b"old"))]
        answer = await self.ask("GET", "k")
        self.assertEqual((_etag(answer.headers), await self.bytes_of(answer)), (etag, b"old"))

    async def test_a_range_of_a_file_that_is_changed(self) -> None:
        await self._settle()
        self.put(b"0123")()
        self.server.before.append(("GetFile", self.put(b"4567")))
        answer = await self.ask("GET", "k", range="bytes=1-2")
        self.assertEqual(await self.bytes_of(answer), b"56")

    async def test_deleted_between_the_calls(self) -> None:
        await self._settle()
        self.put(b"old")()
        self.server.before.append(("GetFile", lambda: self.writer.delete("/k", self.commit)))
        self.assertEqual((await self.ask("GET", "k")).status, 404)

    async def test_finished_between_the_calls(self) -> None:
        await self._settle()
        self.put(b"open")()
        self.server.before.append(("GetFile", lambda: self.writer.finish_commit(self.commit)))
        self.assertEqual(await self.get("k"), b"open")

    async def test_changed_every_time(self) -> None:
        await self._settle()
        self.put(b"old")()
        self.server.before += [("GetFile", self.put(b"%d" % number)) for number in range(ATTEMPTS)]
        answer = await self.ask("GET", "k")
        self.assertEqual(answer.status, 503)
        self.assertEqual(await self.get("k"), b"%d" % (ATTEMPTS - 1))

    async def test_a_large_file_that_is_changed_after_its_first_bytes(self) -> None:
        """Its last piece never leaves: the client has too few bytes, and its connection is cut."""
        old = b"a" * (3 * MESSAGE)
        for new, words in (
            ((b"b" * len(old),), {}),
            ((b"short",), {}),
            ((old[:MIB], old[MIB:]), {"range": f"bytes=0-{len(old) - 2}"}),
        ):
            self.put(old)()
            answer = await self.ask("GET", "k", **words)
            self.assertIn(answer.status, (200, 206))
            assert not isinstance(answer.body, bytes)
            sent = await answer.body.read()
            self.assertEqual(set(sent), {ord("a")})
            self.put(*new)()
            total = len(sent)
            if not words:
                # GetFile reads one moment: what was opened before comes whole, and it is the ETag's.
                while piece := await answer.body.read():
                    total += len(piece)
                self.assertEqual(total, len(old))
            else:
                error = None
                try:
                    while piece := await answer.body.read():
                        total += len(piece)
                except (S3Error, PFSError) as raised:
                    error = raised
                self.assertIsInstance(error, S3Error)
                self.assertLess(total, len(old) - 1)
            await answer.body.aclose()

    async def test_a_large_file_that_is_another_one_when_it_is_opened(self) -> None:
        await self._settle()
        old, new = (letter * (2 * MESSAGE) for letter in (b"a", b"b"))
        self.put(old)()
        self.server.before.append(("GetFile", self.put(new)))
        answer = await self.ask("GET", "k")
        assert not isinstance(answer.body, bytes)
        total = 0
        with self.assertRaises(S3Error):
            while piece := await answer.body.read():
                total += len(piece)
        await answer.body.aclose()
        self.assertLess(total, len(old))
