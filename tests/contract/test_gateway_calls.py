"""What GET and HEAD of an object cost in calls, counted at the gRPC server; what is kept of small objects."""

from __future__ import annotations

import base64
import hmac
import threading
from dataclasses import replace
from email.utils import formatdate

from counted_gateway import Body, CountedCase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from pachgw.messages import RequestHead
from pachgw.s3.reading.smallobjects import SMALL_BYTES

LARGE = bytes(range(256)) * (SMALL_BYTES // 256 + 1)


class TestCalls(CountedCase):
    async def _settled(self, gateway: object = None) -> None:
        """One request, after which it is known that no metadata is kept."""
        await self.ask("HEAD", "other", gateway=gateway)  # type: ignore[arg-type]
        self.writer.put("/seen", b"seen")
        await self.ask("HEAD", "seen", gateway=gateway)  # type: ignore[arg-type]
        self.taken()

    async def test_get_and_head(self) -> None:
        await self._settled()
        for name, data in (("small", b"bytes"), ("large", LARGE)):
            self.writer.put(f"/{name}", data)
            self.assertEqual(await self.get(name), data)
            self.assertEqual(self.taken(), ["InspectFile", "GetFile"])
            await self.ask("HEAD", name)
            self.assertEqual(self.taken(), ["InspectFile"])

    async def test_repeated(self) -> None:
        await self._settled()
        self.writer.put("/small", b"bytes")
        self.writer.put("/large", LARGE)
        for name, calls in (("small", ["InspectFile"]), ("large", ["InspectFile", "GetFile"])):
            first = await self.get(name)
            self.taken()
            self.assertEqual(await self.get(name), first)
            self.assertEqual(self.taken(), calls)

    async def test_a_file_of_several_objects_comes_whole_and_is_not_kept(self) -> None:
        await self._settled()
        self.writer.put("/parts", b"one", b"two", b"three")
        for _ in range(2):
            self.assertEqual(await self.get("parts"), b"onetwothree")
            self.assertEqual(self.taken(), ["InspectFile", "GetFile"])

    async def test_equal_bytes_under_another_key(self) -> None:
        await self._settled()
        self.writer.put("/a", b"equal")
        self.writer.put("/b", b"equal")
        await self.get("a")
        self.taken()
        self.assertEqual(await self.get("b"), b"equal")
        self.assertEqual(self.taken(), ["InspectFile"])

    async def test_ranges(self) -> None:
        await self._settled()
        self.writer.put("/k", b"0123456789")
        self.assertEqual(await self.get("k", range="bytes=2-4"), b"234")
        self.assertEqual(self.taken(), ["InspectFile", "GetFile"])
        # A part of it was not the whole: nothing is kept.
        self.assertEqual(await self.get("k", range="bytes=2-4"), b"234")
        self.assertEqual(self.taken(), ["InspectFile", "GetFile"])
        await self.get("k")
        self.taken()
        for header, data in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=9-", b"9")):
            self.assertEqual(await self.get("k", range=header), data)
            self.assertEqual(self.taken(), ["InspectFile"])

    async def test_what_has_no_body(self) -> None:
        await self._settled()
        self.writer.put("/k", b"bytes")
        self.writer.put("/empty", b"")
        etag = dict((await self.ask("HEAD", "k")).headers)["ETag"]
        self.taken()
        for key, words, status in (
            ("k", {"if_none_match": etag}, 304),
            ("k", {"if_match": '"other"'}, 412),
            ("k", {"range": "bytes=9-"}, 416),
            ("missing", {}, 404),
            ("empty", {}, 200),
        ):
            for method in ("GET", "HEAD"):
                answer = await self.ask(method, key, **words)
                self.assertEqual(answer.status, status)
                self.assertEqual(self.taken(), ["InspectFile"], (method, key, words))

    async def test_a_version(self) -> None:
        await self._settled()
        self.writer.put("/k", b"bytes")
        version = dict((await self.ask("HEAD", "k")).headers)["x-amz-version-id"]
        self.writer.put("/k", b"later")
        self.taken()
        # Once, whether the commit is one of a reserved branch.
        await self.ask("HEAD", f"k?versionId={version}")
        self.assertEqual(self.taken(), ["InspectCommit", "InspectFile"])
        for calls in (["InspectFile", "GetFile"], ["InspectFile"]):
            self.assertEqual(await self.get(f"k?versionId={version}"), b"bytes")
            self.assertEqual(self.taken(), calls)

    async def test_where_metadata_is_kept(self) -> None:
        self.gateway = self.make_gateway(cache_bytes=0)
        await self.ask("PUT", "k", b"bytes", content_type="a/b")
        self.taken()
        for _ in range(2):
            answer = await self.ask("GET", "k")
            self.assertEqual(dict(answer.headers)["Content-Type"], "a/b")
            calls = self.taken()
            self.assertEqual(
                (calls[0], sorted(calls)), ("InspectFile", ["GetFile", "GetFile", "InspectFile"])
            )
            await self.ask("HEAD", "k")
            self.assertEqual(self.taken(), ["InspectFile", "GetFile"])

    async def test_records_come_beside_the_bytes(self) -> None:
        self.gateway = self.make_gateway(cache_bytes=0)
        await self.ask("PUT", "k", b"bytes", content_type="a/b")
        both = threading.Barrier(2, timeout=50)
        # Neither is answered before the other has come.
        self.server.before += [("GetFile", both.wait), ("GetFile", both.wait)]
        self.assertEqual(await self.get("k"), b"bytes")
        self.assertFalse(both.broken)

    async def test_nothing_is_kept_where_there_is_no_room(self) -> None:
        self.gateway = self.make_gateway(cache_bytes=0)
        await self._settled()
        self.writer.put("/k", b"bytes")
        for _ in range(2):
            self.assertEqual(await self.get("k"), b"bytes")
            self.assertEqual(self.taken(), ["InspectFile", "GetFile"])

    async def test_a_get_that_is_cancelled_leaves_nothing(self) -> None:
        await self._settled()
        self.writer.put("/k", b"bytes")
        called, gate = threading.Event(), threading.Event()
        self.addCleanup(gate.set)

        def hold() -> None:
            called.set()
            gate.wait()

        self.server.before.append(("GetFile", hold))
        getting = Deferred.fromCoroutine(self.ask("GET", "k"))
        await deferToThread(called.wait)
        getting.cancel()
        with self.assertRaises(CancelledError):
            await getting
        gate.set()
        self.taken()
        self.assertEqual(await self.get("k"), b"bytes")
        self.assertEqual(self.taken(), ["InspectFile", "GetFile"])

    async def test_what_is_written_directly_is_seen_at_once(self) -> None:
        for data in (b"one", b"two", b"one"):
            self.writer.put("/k", data)
            self.assertEqual(await self.get("k"), data)
        self.writer.delete("/k")
        self.assertEqual((await self.ask("GET", "k")).status, 404)


class TestCallsWithAuth(CountedCase):
    auth = True

    def head(self, method: str, key: str, **words: str) -> RequestHead:
        head = super().head(method, key, **words)
        return head if self.token is None else _signed(head, self.token)

    async def test_get_and_head(self) -> None:
        await self.ask("HEAD", "other")
        self.writer.put("/k", b"bytes")
        await self.ask("HEAD", "k")
        self.taken()
        for calls in (["InspectFile", "GetFile"], ["InspectFile"]):
            self.assertEqual(await self.get("k"), b"bytes")
            self.assertEqual(self.taken(), calls)
        await self.ask("HEAD", "k")
        self.assertEqual(self.taken(), ["InspectFile"])
        self.assertEqual((await self.ask("GET", "missing")).status, 404)
        self.assertEqual(self.taken(), ["InspectFile"])

    async def test_refused(self) -> None:
        words = {"date": formatdate(usegmt=True), "authorization": f"AWS {self.token}:bm8="}
        self.taken()
        admin, self.token = self.token, None
        self.assertEqual((await self.ask("GET", "k", **words)).status, 403)
        self.assertEqual(self.taken(), ["WhoAmI"])
        # Of a missing repo PFS may say to anybody that it is missing.
        self.token = admin
        head = replace(super().head("GET", "k"), raw_uri=b"/master.missing/k")
        self.assertEqual((await self.gateway.handle(_signed(head, str(admin)), Body(b""))).status, 404)
        self.assertEqual(self.taken(), ["InspectFile", "WhoAmI"])

    async def test_what_is_kept_is_for_no_other_token(self) -> None:
        self.writer.put("/k", b"bytes")
        self.assertEqual(await self.get("k"), b"bytes")
        admin, self.token = self.token, "nobody's"
        self.taken()
        answer = await self.ask("GET", "k")
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.taken(), ["InspectFile"])
        self.token = None
        self.assertEqual((await self.ask("GET", "k")).status, 403)
        self.assertEqual(self.taken(), ["InspectFile"])
        self.token = admin
        self.assertEqual(await self.get("k"), b"bytes")


def _signed(head: RequestHead, token: str) -> RequestHead:
    """The request with a version 2 signature, of which the token is both keys."""
    date = formatdate(usegmt=True)
    path = head.raw_uri.partition(b"?")[0].decode()
    text = "\n".join((head.method, "", "", date, path))
    signature = base64.b64encode(hmac.digest(token.encode(), text.encode(), "sha1")).decode()
    more = ((b"date", date.encode()), (b"authorization", f"AWS {token}:{signature}".encode()))
    return replace(head, headers=head.headers + more)
