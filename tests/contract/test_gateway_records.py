"""The gateway on a real PFS, with other writers and faults exactly between a record and its data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from localpfs_process import running
from ready_body import Body
from scripted_pfs import short_directory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from pachgw.messages import RequestHead, Response
from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import PFS, OutOfSpace, Unavailable, Upload
from pachgw.s3.gateway import Gateway
from pachgw.s3.metadata.sweeping import AGE, unused_records
from pachgw.s3.reserved import METADATA_BRANCH

T = TypeVar("T")
Hook = Callable[[], Awaitable[None]]
REPO, BUCKET = "r", "master.r"


async def _nothing() -> None:
    """What happens in between when nothing does."""


class HookedUpload:
    """An Upload with something in between just before it is finished, or just after."""

    def __init__(self, upload: Upload, before: Hook, after: Hook) -> None:
        self._upload, self._before, self._after = upload, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    async def finish(self) -> tuple[bytes, ...]:
        await self._before()
        hashes = await self._upload.finish()
        await self._after()
        return hashes


class HookedPFS:
    """A session that counts its calls, and lets tests in between."""

    def __init__(self, owner: HookedSessions, pfs: PFS) -> None:
        self._owner, self._pfs = owner, pfs

    def __getattr__(self, name: str) -> Any:
        self._owner.calls.append(name)
        return getattr(self._pfs, name)

    @property
    def spent(self) -> Any:
        # Tells of calls, and is none.
        return self._pfs.spent

    async def put_file(self, repo: str, branch: str) -> Any:
        owner = self._owner
        owner.calls.append(f"put_file {'record' if branch == METADATA_BRANCH else 'data'}")
        upload = await self._pfs.put_file(repo, branch)
        if branch == METADATA_BRANCH:
            return HookedUpload(upload, _nothing, owner.take("after_record"))
        return HookedUpload(upload, owner.take("before_data"), owner.take("after_data"))

    async def file_hash(self, data: Sequence[bytes]) -> bytes:
        # Asks no server, so it is no call.
        return await self._pfs.file_hash(data)

    async def change_files(self, repo: str, branch: str, changes: Any) -> None:
        is_record = branch == METADATA_BRANCH
        self._owner.calls.append(f"put_file {'record' if is_record else 'data'}")
        if not is_record:
            await self._owner.take("before_data")()
        await self._pfs.change_files(repo, branch, changes)
        await self._owner.take("after_record" if is_record else "after_data")()


class HookedSessions:
    def __init__(self, client: GrpcPFS) -> None:
        self._client = client
        self.hooks: dict[str, Hook] = {}
        self.calls: list[str] = []

    def take(self, name: str) -> Hook:
        return self.hooks.pop(name, _nothing)

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        return HookedPFS(self, self._client.session(token, request_id=request_id))


async def _offload(function: Callable[..., T], /, *args: object) -> T:
    return await deferToThread(function, *args)


class RecordsCase(TestCase):
    timeout = 60

    def setUp(self) -> Deferred[None]:
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        directory = Path(self.stack.enter_context(short_directory()))
        self.cache = directory / "cache"
        self.stack.enter_context(running(directory / "state", directory / "socket"))
        self.client = GrpcPFS(f"unix:{directory}/socket", reactor=reactor)  # type: ignore[arg-type]
        self.client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))
        self.pfs: PFS = self.client.session(None)
        self.sessions, self.gateway = self.make_gateway("a")
        return Deferred.fromCoroutine(self._make_bucket())

    def make_gateway(
        self, name: str | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> tuple[HookedSessions, Gateway]:
        sessions = HookedSessions(self.client)
        gateway = Gateway(
            sessions,
            offload=_offload,
            reactor=reactor,  # type: ignore[arg-type]
            cache_dir=self.cache / name if name else None,
            clock=clock,
        )
        gateway.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(gateway.stop()))
        return sessions, gateway

    async def _make_bucket(self) -> None:
        await self.pfs.create_repo(REPO)
        await self.pfs.create_branch(REPO, "master")
        await self.write_by_pfs("first", b"1")

    async def ask(
        self, method: str, target: str, data: bytes = b"", gateway: Gateway | None = None, **words: str
    ) -> Response:
        headers = {name.replace("_", "-"): value for name, value in words.items()} | {
            "content-length": str(len(data))
        }
        head = RequestHead(
            method=method,
            raw_uri=f"/{BUCKET}/{target}".encode(),
            headers=tuple((name.encode(), value.encode()) for name, value in headers.items()),
        )
        return await (gateway or self.gateway).handle(head, Body(data))

    async def put(self, key: str, data: bytes, kind: str = "", gateway: Gateway | None = None) -> Response:
        words = {"content_type": kind} if kind else {}
        return await self.ask("PUT", key, data, gateway, **words)

    async def kind_of(self, target: str, gateway: Gateway | None = None) -> str:
        answer = await self.ask("HEAD", target, gateway=gateway)
        self.assertEqual(answer.status, 200)
        return dict(answer.headers)["Content-Type"]

    async def write_by_pfs(self, path: str, data: bytes) -> None:
        upload = await self.pfs.put_file(REPO, "master")
        await upload.begin_file(f"/{path}")
        await upload.write(data)
        await upload.finish()

    async def records(self) -> list[str]:
        walk = await self.pfs.walk_file(REPO, METADATA_BRANCH, "/keys")
        found: list[str] = []
        while batch := await walk.read():
            found += [info.path for info in batch if not info.is_dir]
        return found

    def version(self, answer: Response) -> str:
        self.assertEqual(answer.status, 200)
        return dict(answer.headers)["x-amz-version-id"]


NOTHING = "binary/octet-stream"


class TestRecords(RecordsCase):
    async def test_what_a_put_costs(self) -> None:
        """Without anything to say: InspectFile, PutFile, InspectCommit; a record is one stream more."""
        # Without an index of changes, which asks PFS behind the requests.
        self.sessions, self.gateway = self.make_gateway(None)
        await self.put("k", b"0")
        self.sessions.calls.clear()
        await self.put("k", b"1")
        self.assertEqual(sorted(self.sessions.calls), ["inspect_commit", "inspect_file", "put_file data"])
        self.sessions.calls.clear()
        await self.put("k", b"2", "a/b")
        # The first record begins a look for those without data, behind the requests.
        calls = [call for call in self.sessions.calls if call != "list_commit"]
        self.assertEqual(
            sorted(calls),
            ["inspect_commit", "inspect_file", "put_file data", "put_file record"],
        )

    async def test_the_record_comes_first(self) -> None:
        seen: list[str] = []

        async def look() -> None:
            seen.append(await self.kind_of("k"))
            seen.extend(await self.records())

        await self.put("k", b"old", "a/old")
        before = await self.records()
        self.sessions.hooks["before_data"] = look
        await self.put("k", b"new", "a/new")
        self.assertEqual(seen[0], "a/old")
        self.assertEqual(len(seen), 1 + len(before) + 1)
        self.assertEqual(await self.kind_of("k"), "a/new")

    async def test_a_put_that_fails_leaves_nothing_said(self) -> None:
        async def full() -> None:
            raise OutOfSpace("no space left")

        self.sessions.hooks["before_data"] = full
        answer = await self.put("k", b"x", "a/b")
        self.assertGreaterEqual(answer.status, 500)
        self.assertEqual(await self.records(), [])
        await self.write_by_pfs("k", b"x")
        self.assertEqual(await self.kind_of("k"), NOTHING)

    async def test_a_crash_between_record_and_data(self) -> None:
        """The record stays, and speaks of nothing: not of what others put at the key since."""

        async def crash() -> None:
            raise Unavailable("gone")

        self.sessions.hooks["before_data"] = crash
        self.assertEqual((await self.put("k", b"x", "a/b")).status, 503)
        self.assertEqual(len(await self.records()), 1)
        await self.write_by_pfs("other", b"o")
        await self.write_by_pfs("k", b"x")
        for gateway in (self.gateway, self.make_gateway("b")[1]):
            self.assertEqual(await self.kind_of("k", gateway), NOTHING)

    async def test_a_crash_before_the_record_of_the_same_bytes(self) -> None:
        """Until the answer the version is the one that was there, with what was said of it."""
        await self.put("k", b"x", "a/old")

        async def crash() -> None:
            raise Unavailable("gone")

        self.sessions.hooks["after_data"] = crash
        self.assertEqual((await self.put("k", b"x", "a/new")).status, 503)
        await self.write_by_pfs("other", b"o")
        for gateway in (self.gateway, self.make_gateway("b")[1]):
            self.assertEqual(await self.kind_of("k", gateway), "a/old")

    async def test_other_writers_in_between(self) -> None:
        """The record is of the commit that came, and the one that was written too early is gone."""
        for number, (name, path) in enumerate(
            [
                ("before_data", "other"),
                ("after_data", "other"),
                ("before_data", "k"),
                ("after_record", "other"),
            ]
        ):
            body = f"body {number}".encode()

            async def write(path: str = path, number: int = number) -> None:
                await self.write_by_pfs(path, f"by PFS {number}".encode())

            await self.put("k", f"before {number}".encode(), "a/before")
            self.sessions.hooks[name] = write
            version = self.version(await self.put("k", body, f"a/{number}"))
            await self.write_by_pfs("other", f"after {number}".encode())
            for gateway in (self.gateway, self.make_gateway(f"b{number}")[1]):
                self.assertEqual(await self.kind_of("k", gateway), f"a/{number}")
                self.assertEqual(await self.kind_of(f"k?versionId={version}", gateway), f"a/{number}")
        self.assertEqual(len(await self.records()), 8)

    async def test_another_put_of_the_key_comes_after(self) -> None:
        async def write() -> None:
            await self.write_by_pfs("k", b"theirs")

        self.sessions.hooks["after_data"] = write
        version = self.version(await self.put("k", b"ours", "a/b"))
        self.assertEqual(await self.kind_of("k"), NOTHING)
        self.assertEqual(await self.kind_of(f"k?versionId={version}"), "a/b")

    async def test_two_gateways_on_one_branch(self) -> None:
        """All at once, by gateways whose turns know nothing of each other: each version has its own type."""
        _, other = self.make_gateway("b")
        puts = [
            Deferred.fromCoroutine(
                self.put(
                    f"k{number % 2}", b"%d" % number, f"a/{number}", self.gateway if number % 4 < 2 else other
                )
            )
            for number in range(16)
        ]
        versions = {number: self.version(await put) for number, put in enumerate(puts)}
        for number, version in versions.items():
            for gateway in (self.gateway, other):
                kind = await self.kind_of(f"k{number % 2}?versionId={version}", gateway)
                self.assertEqual(kind, f"a/{number}")

    async def test_records_without_data_are_swept(self) -> None:
        async def crash() -> None:
            raise Unavailable("gone")

        await self.put("kept", b"x", "a/kept")
        await self.put("k", b"old", "a/old")
        for key, data in (("k", b"new"), ("lost", b"x")):
            self.sessions.hooks["before_data"] = crash
            self.assertEqual((await self.put(key, data, "a/lost")).status, 503)
        later = datetime.now(UTC) + timedelta(minutes=1)
        # Nothing has come after the last of them: it may still come.
        self.assertEqual(await unused_records(self.pfs, REPO, before=later), [])
        await self.put("k", b"old", "a/again")
        await self.put("kept", b"y", "a/y")
        unused = await unused_records(self.pfs, REPO, before=later)
        self.assertEqual(len(unused), 2)
        self.assertEqual(await unused_records(self.pfs, REPO, before=later - timedelta(hours=1)), [])
        _, other = self.make_gateway("b", lambda: datetime.now(UTC) + AGE + timedelta(minutes=1))
        await self.put("first-write", b"z", "a/z", other)
        while set(unused) & set(await self.records()):
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        self.assertEqual(await unused_records(self.pfs, REPO, before=later), [])
        for gateway in (self.gateway, other):
            self.assertEqual(await self.kind_of("k", gateway), "a/again")
            self.assertEqual(await self.kind_of("kept", gateway), "a/y")

    async def test_many_at_once_share_a_stream(self) -> None:
        """Records of one repo that wait for each other go out together; each put is answered for itself."""
        await self.pfs.create_branch(REPO, "dev0")
        for number in range(12):
            await self.pfs.create_branch(REPO, f"b{number}")
        self.sessions.calls.clear()
        puts = []
        for number in range(12):
            head = RequestHead(
                method="PUT",
                raw_uri=f"/b{number}.{REPO}/k".encode(),
                headers=((b"content-length", b"1"), (b"content-type", b"a/%d" % number)),
            )
            puts.append(Deferred.fromCoroutine(self.gateway.handle(head, Body(b"x"))))
        for put in puts:
            self.assertEqual((await put).status, 200)
        # One before the data and one after it, for a branch's first commit: 24, were each alone.
        self.assertLess(self.sessions.calls.count("put_file record"), 24)
        for number in range(12):
            head = RequestHead(method="HEAD", raw_uri=f"/b{number}.{REPO}/k".encode(), headers=())
            answer = await self.gateway.handle(head, Body(b""))
            self.assertEqual(dict(answer.headers)["Content-Type"], f"a/{number}")

    async def test_many_reads_of_one_object_ask_once(self) -> None:
        """As of readers of parts of a large one; another version, or what this gateway writes, asks anew."""
        _, other = self.make_gateway("b")
        await self.put("k", b"x", "a/1")
        await self.kind_of("k")
        self.sessions.calls.clear()
        for _ in range(5):
            self.assertEqual(await self.kind_of("k"), "a/1")
        self.assertEqual(self.sessions.calls.count("get_files"), 0)
        # The same bytes with other headers, by another gateway, in the same moment.
        await self.put("k", b"x", "a/2", other)
        self.assertEqual(await self.kind_of("k"), "a/2")
        await self.put("k", b"x", "a/3")
        self.assertEqual(await self.kind_of("k"), "a/3")
        await self.put("k", b"x")
        self.assertEqual(await self.kind_of("k"), NOTHING)
