"""Uploads in parts on a real PFS, with faults, other gateways and requests between any two calls to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from test_gateway_records import REPO, RecordsCase
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from watched_pfs import WatchedSessions

from pachgw.messages import Response
from pachgw.pfs.port import Unavailable
from pachgw.s3.actions import completing
from pachgw.s3.gateway import Gateway
from pachgw.s3.multipart import rules as partrules


def body_of(seed: object) -> bytes:
    return f"the part {seed} ".encode()


async def read(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    pieces = []
    while piece := await response.body.read():
        pieces.append(piece)
    await response.body.aclose()
    return b"".join(pieces)


def texts(name: str, body: bytes) -> list[str]:
    return [text.decode() for text in re.findall(rf"<{name}>([^<]*)</{name}>".encode(), body)]


class TestMultipart(RecordsCase):
    timeout = 120

    def make_gateway(  # type: ignore[override]
        self, name: str | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC), days: int = 7
    ) -> tuple[WatchedSessions, Gateway]:
        sessions = WatchedSessions(self.client)

        async def offload(function: Callable[..., Any], /, *args: object) -> Any:
            return function(*args)

        gateway = Gateway(
            sessions,
            offload=offload,
            reactor=reactor,  # type: ignore[arg-type]
            cache_dir=None,
            clock=clock,
            abandoned_uploads_days=days,
        )
        gateway.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(gateway.stop()))
        return sessions, gateway

    def setUp(self) -> Any:
        # Or each part would have 5 MiB.
        self.patch(partrules, "MIN_PART_BYTES", 1)
        self.patch(completing, "TAKE_OVER_SECONDS", 0.1)
        self.patch(completing, "LOOK_SECONDS", 0.02)
        # On a busy machine an answer would begin before its end is known.
        self.patch(completing, "ANSWER_SECONDS", 60)
        return super().setUp()

    async def begin(self, key: str = "k", gateway: Gateway | None = None, **words: str) -> str:
        answer = await self.ask("POST", f"{key}?uploads", gateway=gateway, **words)
        self.assertEqual(answer.status, 200)
        (upload_id,) = texts("UploadId", await read(answer))
        return upload_id

    async def part(
        self, upload_id: str, number: int, data: bytes, key: str = "k", gateway: Gateway | None = None
    ) -> Response:
        return await self.ask("PUT", f"{key}?partNumber={number}&uploadId={upload_id}", data, gateway)

    async def list_of(self, upload_id: str, bodies: list[bytes], key: str = "k") -> bytes:
        """The parts as they are uploaded, as a list to complete them with."""
        parts = []
        for number, body in enumerate(bodies, 1):
            answer = await self.part(upload_id, number, body, key)
            self.assertEqual(answer.status, 200)
            etag = dict(answer.headers)["ETag"]
            parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        return f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()

    async def complete(
        self, upload_id: str, listed: bytes, gateway: Gateway | None = None, key: str = "k", **words: str
    ) -> Response:
        return await self.ask("POST", f"{key}?uploadId={upload_id}", listed, gateway, **words)

    async def bytes_of(self, key: str = "k", gateway: Gateway | None = None) -> bytes:
        answer = await self.ask("GET", key, gateway=gateway)
        self.assertEqual(answer.status, 200)
        return await read(answer)

    async def commits(self) -> int:
        found = 0
        commits = await self.pfs.list_commit(REPO, to="master")
        while batch := await commits.read():
            found += len(batch)
        return found

    async def left_behind(self) -> list[str]:
        names = [branch.name for branch in await self.pfs.list_branch(REPO)]
        commits = await self.pfs.list_commit(REPO)
        while batch := await commits.read():
            names += [commit.branch or "" for commit in batch]
        return [name for name in names if name.startswith("_s3_upload_")]

    def refused(self, answer: Response, status: int, code: str) -> None:
        body = answer.body
        assert isinstance(body, bytes)
        self.assertEqual((answer.status, texts("Code", body)), (status, [code]))

    async def test_what_each_action_costs(self) -> None:
        calls = self.sessions.calls
        calls.clear()
        upload_id = await self.begin()
        await self.settled()
        self.assertEqual(calls, ["inspect_file", "inspect_file", "start_commit", "list_branch"])
        calls.clear()
        listed = await self.list_of(upload_id, [body_of(1), b"end"])
        self.assertEqual(calls, ["put_file"] * 2)
        calls.clear()
        self.assertEqual((await self.complete(upload_id, listed)).status, 200)
        self.assertEqual(
            [call for call in calls if call != "list_commit"],
            [
                # What is there, joined.
                "inspect_commit",
                "walk_file",
                "copy_file",
                "copy_file",
                "finish_commit",
                "inspect_file",
                # The branch's turn.
                "inspect_file",
                "inspect_file",
                "inspect_branch",
                "put_file",
                "copy_file",
                "inspect_commit",
                # Cleaning up.
                "delete_commit",
                "delete_branch",
            ],
        )

    async def settled(self) -> None:
        await deferLater(reactor, 0.05)  # type: ignore[arg-type]

    async def test_a_crash_at_any_call(self) -> None:
        """Complete breaks off before or after each of its calls; another gateway ends what was begun."""
        _, other = self.make_gateway("b")
        bodies = [body_of(1), b"end"]
        commits = await self.commits()
        number = 0
        went_through = False
        while not went_through:
            for when in ("before", "after"):
                key = f"k{number}{when}"
                upload_id = await self.begin(key, content_type="a/b")
                listed = await self.list_of(upload_id, [*bodies[:1], key.encode()], key)
                await self.settled()
                start = len(self.sessions.calls)

                async def crash(at: int, _: str, last: int = start + number) -> None:
                    if at >= last:
                        raise Unavailable("gone")

                setattr(self.sessions, when, crash)
                answer = await self.complete(upload_id, listed, key=key)
                self.sessions.before = self.sessions.after = None
                # What fails only in cleaning up is no failure; of the rest nobody knows.
                self.assertIn(answer.status, (200, 503))
                went_through = answer.status == 200 and len(self.sessions.calls) <= start + number
                again = await self.complete(upload_id, listed, other, key)
                self.assertEqual(again.status, 200, (number, when, await read(again)))
                for gateway in (self.gateway, other):
                    self.assertEqual(await self.bytes_of(key, gateway), bodies[0] + key.encode())
                    self.assertEqual(await self.kind_of(key, gateway), "a/b")
                commits += 1
                self.assertEqual(await self.commits(), commits, (number, when))
                self.assertEqual(
                    (await read(await self.complete(upload_id, listed, other, key))), await read(again)
                )
                self.assertEqual(await self.left_behind(), [], (number, when))
            number += 1
        self.assertGreater(number, 10)

    async def test_two_gateways_at_once(self) -> None:
        """One commit, and both get the same answer."""
        _, other = self.make_gateway("b")
        self.patch(completing, "TAKE_OVER_SECONDS", 60)
        for _ in range(3):
            upload_id = await self.begin()
            listed = await self.list_of(upload_id, [body_of(1), upload_id.encode()])
            commits = await self.commits()
            works = [
                Deferred.fromCoroutine(self.complete(upload_id, listed, gateway))
                for gateway in (self.gateway, other, self.gateway)
            ]
            answers = [await work for work in works]
            self.assertEqual([answer.status for answer in answers], [200] * 3)
            self.assertEqual(len({await read(answer) for answer in answers}), 1)
            self.assertEqual(len({dict(answer.headers)["x-amz-version-id"] for answer in answers}), 1)
            self.assertEqual(await self.commits(), commits + 1)
            self.assertEqual(await self.left_behind(), [])

    async def test_a_gateway_that_is_only_slow(self) -> None:
        """It is taken for dead, another ends the upload, and then it goes on."""
        for name in ("finish_commit", "inspect_branch", "inspect_file"):
            _, other = self.make_gateway("b")
            upload_id = await self.begin()
            listed = await self.list_of(upload_id, [body_of(name), b"end"])
            commits = await self.commits()
            gate: Deferred[None] = Deferred()

            async def wait(gate: Deferred[None] = gate) -> None:
                await gate

            self.sessions.on(name, wait)
            slow = Deferred.fromCoroutine(self.complete(upload_id, listed))
            quick = await self.complete(upload_id, listed, other)
            self.assertEqual(quick.status, 200)
            gate.callback(None)
            answer = await slow
            self.assertEqual((answer.status, await read(answer)), (200, await read(quick)))
            self.assertEqual(await self.commits(), commits + 1, name)
            self.assertEqual(await self.left_behind(), [])

    async def test_aborted_by_another_gateway(self) -> None:
        """Before and after each call of Complete: either it is done, or there is no such upload."""
        _, other = self.make_gateway("b")
        outcomes = set()
        for number in range(12):
            key = f"k{number}"
            upload_id = await self.begin(key)
            listed = await self.list_of(upload_id, [body_of(1), b"end"], key)
            await self.settled()
            start = len(self.sessions.calls)
            commits = await self.commits()
            aborts: list[int] = []

            async def abort(
                at: int,
                _: str,
                last: int = start + number,
                target: str = f"{key}?uploadId={upload_id}",
                aborts: list[int] = aborts,
            ) -> None:
                if at == last:
                    aborts.append((await self.ask("DELETE", target, gateway=other)).status)

            self.sessions.before = abort
            answer = await self.complete(upload_id, listed, key=key)
            self.sessions.before = None
            self.assertEqual(aborts, [204], number)
            outcomes.add(answer.status)
            self.assertIn(answer.status, (200, 404), number)
            if answer.status == 404:
                self.refused(answer, 404, "NoSuchUpload")
            self.assertEqual(await self.commits(), commits + (answer.status == 200))
            head = await self.ask("HEAD", key)
            self.assertEqual(head.status, answer.status)
            self.assertEqual(await self.left_behind(), [], number)
        self.assertEqual(outcomes, {200, 404})

    async def test_a_part_that_is_put_again_while_it_is_joined(self) -> None:
        for bodies in ([body_of(1), b"end"], [b"alone"]):
            for name in ("copy_file", "finish_commit"):
                upload_id = await self.begin()
                listed = await self.list_of(upload_id, bodies)
                commits = await self.commits()

                async def again(upload_id: str = upload_id) -> None:
                    answer = await self.part(upload_id, 1, body_of("again"))
                    # Of one part nothing is joined: it is copied when the upload takes no parts any more.
                    self.assertIn(answer.status, (200, 404))

                self.sessions.on(name, again)
                answer = await self.complete(upload_id, listed)
                if answer.status != 200:
                    self.refused(answer, 409, "OperationAborted")
                    self.assertEqual(await self.commits(), commits)
                    listed = await self.list_of(upload_id, [body_of("last"), b"end"])
                    self.assertEqual((await self.complete(upload_id, listed)).status, 200)
                    self.assertEqual(await self.bytes_of(), body_of("last") + b"end")
                else:
                    self.assertEqual(await self.bytes_of(), b"".join(bodies))
                self.assertEqual(await self.left_behind(), [])

    async def test_an_upload_that_was_opened_anew_elsewhere(self) -> None:
        """This gateway still remembers the commit that it was."""
        _, other = self.make_gateway("b")
        upload_id = await self.begin("d/k")
        listed = await self.list_of(upload_id, [b"1"], "d/k")
        await self.write_by_pfs("d", b"in the way")
        answer = await self.complete(upload_id, listed, other, "d/k")
        self.refused(answer, 400, "InvalidFilePath")
        self.assertEqual((await self.part(upload_id, 1, b"2", "d/k")).status, 503)
        self.assertEqual((await self.part(upload_id, 1, b"1", "d/k")).status, 200)
        self.assertEqual((await self.ask("DELETE", "d")).status, 204)
        self.assertEqual((await self.complete(upload_id, listed, key="d/k")).status, 200)
        self.assertEqual(await self.bytes_of("d/k"), b"1")
        self.assertEqual(await self.left_behind(), [])

    async def test_an_abort_while_the_parts_are_walked(self) -> None:
        """PFS may find nothing then: that is no list with a wrong part."""
        _, other = self.make_gateway("b")
        upload_id = await self.begin()
        listed = await self.list_of(upload_id, [body_of(1), b"end"])
        await self.settled()
        walks = self.sessions.calls.count("walk_file")

        async def abort() -> None:
            answer = await self.ask("DELETE", f"k?uploadId={upload_id}", gateway=other)
            self.assertEqual(answer.status, 204)
            empty = await self.pfs.walk_file(REPO, "master", "/nothing-here")
            self.sessions.instead = empty

        self.sessions.on("walk_file", abort)
        self.refused(await self.complete(upload_id, listed), 404, "NoSuchUpload")
        self.assertGreater(self.sessions.calls.count("walk_file"), walks)

    async def test_what_others_write_while_it_is_completed(self) -> None:
        """A condition that held at first does not any more: refused, and the upload stays usable."""
        upload_id = await self.begin()
        listed = await self.list_of(upload_id, [body_of(1), b"end"])

        async def write() -> None:
            await self.write_by_pfs("k", b"theirs")

        self.sessions.on("finish_commit", write)
        answer = await self.complete(upload_id, listed, if_none_match="*")
        self.refused(answer, 412, "PreconditionFailed")
        self.assertEqual(await self.bytes_of(), b"theirs")
        self.assertEqual((await self.part(upload_id, 3, b"more")).status, 200)
        self.assertEqual((await self.complete(upload_id, listed)).status, 200)
        self.assertEqual(await self.bytes_of(), body_of(1) + b"end")
        self.assertEqual(await self.left_behind(), [])

    async def test_the_bucket_goes_while_it_is_completed(self) -> None:
        upload_id = await self.begin()
        listed = await self.list_of(upload_id, [b"1"])

        async def go() -> None:
            await self.pfs.delete_branch(REPO, "master")

        self.sessions.on("finish_commit", go)
        self.refused(await self.complete(upload_id, listed), 404, "NoSuchBucket")

    async def test_an_abort_while_a_part_comes(self) -> None:
        _, other = self.make_gateway("b")
        for size in (10, 2_000_000):
            upload_id = await self.begin()

            async def abort(target: str = f"k?uploadId={upload_id}") -> None:
                self.assertEqual((await self.ask("DELETE", target, gateway=other)).status, 204)

            self.sessions.on("put_file", abort)
            self.refused(await self.part(upload_id, 1, bytes(size)), 404, "NoSuchUpload")
            self.assertEqual(await self.left_behind(), [])

    async def test_a_part_that_fails_changes_nothing(self) -> None:
        upload_id = await self.begin()
        listed = await self.list_of(upload_id, [b"old"])

        async def crash() -> None:
            raise Unavailable("gone")

        self.sessions.on("put_file", crash)
        self.refused(await self.part(upload_id, 1, b"new"), 503, "ServiceUnavailable")
        self.assertEqual((await self.complete(upload_id, listed)).status, 200)
        self.assertEqual(await self.bytes_of(), b"old")

    async def test_the_answer_of_a_long_complete(self) -> None:
        """200 at once, white space, and in the end what came of it, also where nobody else was told."""
        self.patch(completing, "ANSWER_SECONDS", 0.01)
        self.patch(completing, "ALIVE_SECONDS", 0.01)
        for words in ({}, {"if_match": '"other"'}):
            upload_id = await self.begin()
            listed = await self.list_of(upload_id, [body_of(1), b"end"])
            gate: Deferred[None] = Deferred()

            async def wait(gate: Deferred[None] = gate) -> None:
                await gate

            self.sessions.on("walk_file", wait)
            answer = await self.complete(upload_id, listed, **words)
            self.assertEqual(answer.status, 200)
            self.assertNotIn("x-amz-version-id", dict(answer.headers))
            assert not isinstance(answer.body, bytes)
            begin = await answer.body.read()
            self.assertTrue(begin.startswith(b"<?xml"))
            self.assertEqual([await answer.body.read() for _ in range(3)], [b" "] * 3)
            gate.callback(None)
            rest = await read(answer)
            if words:
                self.assertEqual(texts("Code", rest), ["PreconditionFailed"])
                self.assertEqual((await self.ask("DELETE", f"k?uploadId={upload_id}")).status, 204)
            else:
                self.assertEqual(texts("Key", rest), ["k"])
                self.assertNotIn(b"<?xml", rest)
            self.assertEqual(await self.bytes_of(), body_of(1) + b"end")
            self.assertEqual(await self.left_behind(), [])

    async def test_a_client_that_goes_while_it_is_completed(self) -> None:
        upload_id = await self.begin()
        listed = await self.list_of(upload_id, [body_of(1), b"end"])
        gate: Deferred[None] = Deferred()
        self.sessions.on("finish_commit", lambda: _until(gate))
        work = Deferred.fromCoroutine(self.complete(upload_id, listed))
        while "finish_commit" not in self.sessions.calls:
            await self.settled()
        work.cancel()
        work.addErrback(lambda _: None)
        gate.callback(None)
        # It goes on; who asks again gets the answer.
        self.assertEqual((await self.complete(upload_id, listed)).status, 200)
        self.assertEqual(await self.bytes_of(), body_of(1) + b"end")
        self.assertEqual(await self.left_behind(), [])

    async def test_abandoned_uploads_are_swept(self) -> None:
        old = [await self.begin(f"old{number}") for number in range(3)]
        await self.part(old[0], 1, b"x", "old0")
        later = datetime.now(UTC) + timedelta(days=7, minutes=1)
        _, never = self.make_gateway("never", lambda: later, days=0)
        young = await self.begin("young", never)
        await self.settled()
        self.assertEqual(len(set(await self.left_behind())), 4)
        sessions, other = self.make_gateway("later", lambda: later)
        self.assertEqual((await self.ask("GET", "?uploads", gateway=other)).status, 200)
        while len(set(await self.left_behind())) > 1:
            await self.settled()
        self.assertEqual(set(await self.left_behind()), {f"_s3_upload_{young}"})
        # Not again so soon.
        sessions.calls.clear()
        await self.begin("more", other)
        await self.settled()
        self.assertNotIn("list_branch", sessions.calls)

    async def test_a_reserved_branch_of_somebody_else(self) -> None:
        """What looks like an upload and is none is listed nowhere and stays."""
        await self.pfs.create_branch(REPO, "_s3_upload_x")
        upload_id = await self.begin()
        await self.ask("DELETE", f"k?uploadId={upload_id}")
        commit = await self.pfs.start_commit(REPO, f"_s3_upload_{upload_id}", description="mine")
        answer = await self.ask("GET", "?uploads")
        self.assertEqual(texts("UploadId", await read(answer)), [])
        for method, target in (("GET", "k?uploadId="), ("DELETE", "k?uploadId=")):
            for name in ("x", upload_id):
                self.refused(await self.ask(method, target + name), 404, "NoSuchUpload")
        self.assertIsNone((await self.pfs.inspect_commit(REPO, commit)).finished)


async def _until(gate: Deferred[None]) -> None:
    await gate
