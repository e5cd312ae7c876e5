"""The port's contract, as the gateway relies on it, kept by the gRPC client on the embedded PFS.

With PACHGW_TEST_PACHD=ADDRESS it is checked on that server as well; only repos of its own are touched there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

from localpfs_process import running
from scripted_pfs import short_directory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from pachgw.pfs import port
from pachgw.pfs.client import GrpcPFS
from pachgw.streams import Batches, Source, read_all

MIB = 1024 * 1024
NO_COMMIT = "0123456789ab4cde8f00112233445566"


def pfs_hash(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha512(data).hexdigest().encode()).digest()


async def whole(source: Source) -> bytes:
    try:
        return await read_all(source, 64 * MIB)
    finally:
        await source.aclose()


async def values(batches: Batches[Any]) -> list[Any]:
    got = []
    try:
        while batch := await batches.read():
            got += batch
    finally:
        await batches.aclose()
    return got


class PortContract:
    """Tests of any `self.pfs`; mixed into a TestCase that makes it."""

    pfs: port.PFS

    async def raises(self, kind: type[Exception], awaited: Coroutine[Any, Any, Any]) -> Any:
        try:
            await awaited
        except port.PFSError as error:
            assert type(error) is kind, repr(error)
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    async def repo(self) -> str:
        name = f"pachgw-test-{uuid4().hex[:12]}"
        await self.pfs.create_repo(name)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.pfs.delete_repo(name)))  # type: ignore[attr-defined]
        return name

    async def put(self, repo: str, **files: bytes | None) -> tuple[bytes, ...]:
        upload = await self.pfs.put_file(repo, "master")
        for name, data in files.items():
            if data is None:
                await upload.delete_path(f"/{name}")
            else:
                await upload.begin_file(f"/{name}")
                await upload.write(data)
        return await upload.finish()

    async def test_repos(self) -> None:
        one, two = await self.repo(), await self.repo()
        await self.raises(port.AlreadyExists, self.pfs.create_repo(one))
        await self.raises(port.Invalid, self.pfs.create_repo("a b"))
        await self.raises(port.RepoNotFound, self.pfs.inspect_repo(f"{one}-none"))
        info = await self.pfs.inspect_repo(one)
        assert (info.name, info.size, info.branches) == (one, 0, ())
        ours = [info.name for info in await self.pfs.list_repo() if info.name in {one, two}]
        assert ours == [two, one]
        await self.pfs.delete_repo(one)
        await self.pfs.delete_repo(one)
        await self.raises(port.RepoNotFound, self.pfs.inspect_repo(one))

    async def test_open_commits_and_copies(self) -> None:
        """An open commit takes files by its id, and what it holds is copied without being sent again."""
        repo, other = await self.repo(), await self.repo()
        await self.pfs.create_branch(other, "master")
        commit = await self.pfs.start_commit(repo, "side", description="what it is for")
        for path, data in (("/p/1", b"one,"), ("/p/2", b"two")):
            upload = await self.pfs.put_file(repo, commit)
            await upload.begin_file(path)
            await upload.write(data)
            await upload.finish()
        for path in ("/p/1", "/p/2"):
            await self.pfs.copy_file(
                repo, commit, path, to_repo=repo, to_commit=commit, to_path="/whole", overwrite=False
            )
        assert (await self.pfs.inspect_commit(repo, commit)).finished is None
        await self.pfs.finish_commit(repo, commit)
        await self.raises(port.CommitFinished, self.pfs.finish_commit(repo, commit))
        info = await self.pfs.inspect_commit(repo, commit)
        assert (info.branch, info.description, info.finished is None) == ("side", "what it is for", False)
        for _ in range(2):
            await self.pfs.copy_file(
                repo, commit, "/whole", to_repo=other, to_commit="master", to_path="/d/f", overwrite=True
            )
        assert await whole(await self.pfs.get_file(other, "master", "/d/f")) == b"one,two"
        assert len(await values(await self.pfs.list_commit(other))) == 2
        await self.pfs.delete_commit(repo, commit)
        await self.raises(port.CommitNotFound, self.pfs.inspect_commit(repo, commit))
        assert await whole(await self.pfs.get_file(other, "master", "/d/f")) == b"one,two"

    async def test_what_a_commit_changed(self) -> None:
        repo = await self.repo()
        await self.put(repo, a=b"1", b=b"2")
        await self.put(repo, a=b"3", b=None, c=b"4")
        difference = await self.pfs.diff_file(repo, "master")
        assert [(file.path, file.size) for file in difference.new if not file.is_dir] == [
            ("/a", 1),
            ("/c", 1),
        ]
        assert [file.path for file in difference.old if not file.is_dir] == ["/a", "/b"]
        first = await values(await self.pfs.list_commit(repo))
        difference = await self.pfs.diff_file(repo, first[-1].id)
        assert [file.path for file in difference.new if not file.is_dir] == ["/a", "/b"]
        assert not difference.old
        await self.raises(port.CommitNotFound, self.pfs.diff_file(repo, NO_COMMIT))

    async def test_files_of_a_pattern(self) -> None:
        repo = await self.repo()
        await self.put(repo, **{"d/1-a": b"1", "d/1-b": b"2", "d/2-a": b"3"})
        assert await whole(await self.pfs.get_files(repo, "master", "/d/1-*")) == b"12"
        assert await whole(await self.pfs.get_files(repo, "master", "/d/9-*")) == b""
        assert await whole(await self.pfs.get_files(repo, "master", "/none/*")) == b""

    async def test_branches(self) -> None:
        repo = await self.repo()
        await self.pfs.create_branch(repo, "empty")
        await self.put(repo, f=b"1")
        info = await self.pfs.inspect_branch(repo, "empty")
        assert (info.repo, info.name, info.head) == (repo, "empty", None)
        head = (await self.pfs.inspect_branch(repo, "master")).head
        await self.pfs.create_branch(repo, "copy", head=head)
        listed = {info.name: info.head for info in await self.pfs.list_branch(repo)}
        assert listed == {"empty": None, "master": head, "copy": head}
        await self.raises(port.BranchNotFound, self.pfs.inspect_branch(repo, "none"))
        await self.raises(port.BranchNotFound, self.pfs.inspect_branch(f"{repo}-none", "master"))
        await self.raises(port.RepoNotFound, self.pfs.list_branch(f"{repo}-none"))
        await self.raises(port.RepoNotFound, self.pfs.create_branch(f"{repo}-none", "b"))
        await self.raises(port.CommitNotFound, self.pfs.create_branch(repo, "b", head=NO_COMMIT))
        await self.pfs.delete_branch(repo, "copy")
        await self.pfs.delete_branch(repo, "copy")
        await self.raises(port.BranchNotFound, self.pfs.inspect_branch(repo, "copy"))

    async def test_missing_things_are_told_apart(self) -> None:
        repo = await self.repo()
        await self.put(repo, f=b"1")
        await self.pfs.create_branch(repo, "empty")
        for commit, path, kind in (
            ("master", "/none", port.PathNotFound),
            ("none", "/f", port.BranchNotFound),
            ("empty", "/f", port.NoHead),
            (NO_COMMIT, "/f", port.CommitNotFound),
        ):
            await self.raises(kind, self.pfs.inspect_file(repo, commit, path))
            await self.raises(kind, self.pfs.list_file(repo, commit, path))
            await self.raises(kind, whole(await self.pfs.get_file(repo, commit, path)))
            if kind is not port.PathNotFound:
                await self.raises(kind, self.pfs.walk_file(repo, commit, path))
                await self.raises(kind, self.pfs.inspect_commit(repo, commit))
        assert await values(await self.pfs.walk_file(repo, "master", "/none")) == []
        await self.raises(port.BranchNotFound, self.pfs.inspect_file(f"{repo}-none", "master", "/f"))

    async def test_commits(self) -> None:
        repo = await self.repo()
        for data in (b"1", b"22", b"333"):
            await self.put(repo, f=data)
        commits = await values(await self.pfs.list_commit(repo))
        assert [commit.size for commit in commits] == [3, 2, 1]
        assert [commit.parent for commit in commits] == [commits[1].id, commits[2].id, None]
        newest = commits[0]
        assert await self.pfs.inspect_commit(repo, "master") == newest
        assert (newest.repo, newest.branch) == (repo, "master")
        assert newest.finished is not None and newest.finished >= newest.started
        older = await values(await self.pfs.list_commit(repo, to=commits[1].id))
        assert older == commits[1:]
        assert await values(await self.pfs.list_commit(repo, number=2)) == commits[:2]
        info = await self.pfs.inspect_file(repo, commits[2].id, "/f")
        assert (info.commit, info.size, info.committed) == (commits[2].id, 1, commits[2].finished)

    async def test_files_are_read_as_they_were_written(self) -> None:
        repo = await self.repo()
        large = bytes(range(256)) * 4096 * 5 + b"end"
        contents = {"empty": b"", "small": b"abc", "large": large}
        hashes = await self.put(repo, **contents)
        for (name, data), file_hash in zip(contents.items(), hashes, strict=True):
            info = await self.pfs.inspect_file(repo, "master", f"/{name}")
            assert (info.path, info.is_dir, info.size) == (f"/{name}", False, len(data))
            assert info.hash == file_hash == pfs_hash(data)
            assert await whole(await self.pfs.get_file(repo, info.commit, f"/{name}")) == data
        for offset, size in (
            (0, 1),
            (1, None),
            (2 * MIB - 1, 2),
            (len(large) - 3, 100),
            (7, 4 * MIB),
            (0, 0),
        ):
            got = await whole(await self.pfs.get_file(repo, "master", "/large", offset=offset, size=size))
            assert got == large[offset : None if size is None else offset + size]

    async def test_one_upload_is_one_commit(self) -> None:
        repo = await self.repo()
        await self.put(repo, a=b"old", b=b"old", c=b"old")
        await self.put(repo, a=b"new", b=None, d=bytes(3 * MIB))
        files = await values(await self.pfs.walk_file(repo, "master", "/"))
        assert [(info.path, info.size) for info in files if not info.is_dir] == [
            ("/a", 3),
            ("/c", 3),
            ("/d", 3 * MIB),
        ]
        assert len(await values(await self.pfs.list_commit(repo))) == 2

    async def test_lists(self) -> None:
        repo = await self.repo()
        await self.put(repo, **{name: name.encode() for name in ("a/b", "d-e", "d/x", "d/y/z")})
        listed = await values(await self.pfs.list_file(repo, "master", "/"))
        assert [(info.path, info.is_dir) for info in listed] == [("/a", True), ("/d", True), ("/d-e", False)]
        [file] = await values(await self.pfs.list_file(repo, "master", "/d/x"))
        assert (file.path, file.size) == ("/d/x", 3)
        walked = await values(await self.pfs.walk_file(repo, "master", "/d"))
        assert [info.path for info in walked] == ["/d", "/d/x", "/d/y", "/d/y/z"]
        assert [info.path for info in await values(await self.pfs.walk_file(repo, "master", "/"))] == [
            *("/", "/a", "/a/b", "/d", "/d/x", "/d/y", "/d/y/z", "/d-e"),
        ]

    async def test_long_list_is_whole_and_a_part_of_it_may_be_enough(self) -> None:
        repo = await self.repo()
        names = [f"f{n:04}" for n in range(1500)]
        await self.put(repo, **dict.fromkeys(names, b"x"))
        walked = await values(await self.pfs.walk_file(repo, "master", "/"))
        assert [info.path for info in walked] == ["/", *(f"/{name}" for name in names)]
        batches = await self.pfs.walk_file(repo, "master", "/")
        first = await batches.read()
        assert first == walked[: len(first)]
        await batches.aclose()

    async def test_refused_uploads_leave_nothing(self) -> None:
        repo = await self.repo()
        await self.put(repo, f=b"1")
        head = (await self.pfs.inspect_branch(repo, "master")).head or ""
        await self.raises(port.PathConflict, self.put(repo, **{"g": b"2", "f/g": b"2"}))
        await self.raises(port.PathConflict, self.put(repo, **{"g": bytes(3 * MIB), "f/g": b"2"}))
        await self.raises(port.Invalid, self.put(repo, **{"g": b"2", "é": b"2"}))
        upload = await self.pfs.put_file(repo, head)
        await upload.begin_file("/g")
        await self.raises(port.CommitFinished, upload.finish())
        upload = await self.pfs.put_file(f"{repo}-none", "master")
        await upload.begin_file("/g")
        await self.raises(port.RepoNotFound, upload.finish())
        assert (await self.pfs.inspect_branch(repo, "master")).head == head

    async def test_aborted_uploads_leave_nothing(self) -> None:
        repo = await self.repo()
        await self.put(repo, f=b"1")
        head = (await self.pfs.inspect_branch(repo, "master")).head
        for size in (0, 1, MIB, MIB + 1, 6 * MIB):
            for branch in ("master", "new"):
                upload = await self.pfs.put_file(repo, branch)
                await upload.begin_file("/g")
                await upload.write(bytes(size))
                await upload.abort()
        # A commit after them: whatever an aborted one could still do has come before.
        await self.put(repo, f=b"2")
        commits = await values(await self.pfs.list_commit(repo))
        assert [commit.parent for commit in commits] == [head, None]
        assert [info.name for info in await self.pfs.list_branch(repo)] == ["master"]


class TestEmbeddedPort(PortContract, TestCase):
    """On the embedded PFS, one process for all tests."""

    timeout = 60

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = ExitStack()
        directory = cls.stack.enter_context(short_directory())
        cls.server = cls.stack.enter_context(running(directory / "state", directory / "s"))
        cls.address = f"unix:{directory}/s"

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    def setUp(self) -> None:
        self.client = GrpcPFS(self.address, reactor=reactor)  # type: ignore[arg-type]
        self.client.start()
        # Cleanups run last first: the repos go before the client.
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))
        self.pfs = self.client.session("any")

    async def test_without_auth_everybody_may_do_everything(self) -> None:
        for token in (None, "any"):
            pfs = self.client.session(token)
            assert await pfs.who_am_i() is None
            assert await pfs.authorize("none", port.Scope.OWNER) is True


if "PACHGW_TEST_PACHD" in os.environ:

    class TestClusterPort(PortContract, TestCase):
        """On the server that PACHGW_TEST_PACHD names, with the token of PACHGW_TEST_TOKEN."""

        timeout = 120

        def setUp(self) -> None:
            self.client = GrpcPFS(os.environ["PACHGW_TEST_PACHD"], reactor=reactor)  # type: ignore[arg-type]
            self.client.start()
            self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))
            self.pfs = self.client.session(os.environ.get("PACHGW_TEST_TOKEN"))


TOKENS = """
[[token]]
token = "of-alice"
subject = "robot:alice"
[[token]]
token = "of-bob"
subject = "robot:bob"
"""


class TestAuth(TestCase):
    """Auth is on in the embedded PFS."""

    timeout = 60

    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        directory = stack.enter_context(short_directory())
        (directory / "tokens.toml").write_text(TOKENS)
        options = ("--tokens", str(directory / "tokens.toml"))
        stack.enter_context(running(directory / "state", directory / "s", *options))
        self.client = GrpcPFS(f"unix:{directory}/s", reactor=reactor)  # type: ignore[arg-type]
        self.client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.stop()))

    async def test_tokens_are_judged(self) -> None:
        alice, bob = self.client.session("of-alice"), self.client.session("of-bob")
        assert await alice.who_am_i() == "robot:alice"
        await alice.create_repo("r")
        assert await alice.authorize("r", port.Scope.OWNER) is True
        assert await bob.authorize("r", port.Scope.READER) is False
        upload = await alice.put_file("r", "master")
        await upload.begin_file("/f")
        await upload.finish()
        for data in (b"x", bytes(3 * MIB)):
            upload = await bob.put_file("r", "master")
            await self._refused(port.NotAuthorized, self._put(upload, data))
            await upload.abort()
        await self._refused(port.NotAuthorized, bob.inspect_file("r", "master", "/f"))
        await self._refused(port.NotAuthorized, bob.walk_file("r", "master", "/"))
        for token in (None, "", "bad"):
            pfs = self.client.session(token)
            source = await pfs.get_file("r", "master", "/f")
            for call in (
                *(pfs.who_am_i(), pfs.authorize("r", port.Scope.READER), pfs.list_repo()),
                *(pfs.inspect_file("r", "master", "/f"), pfs.list_file("r", "master", "/"), source.read()),
                *(pfs.inspect_branch("r", "master"), pfs.create_repo("s"), pfs.inspect_repo("r")),
            ):
                error = await self._refused(port.NotAuthenticated, call)
                assert error.token_sent is (token is not None)

    async def _put(self, upload: port.Upload, data: bytes) -> None:
        await upload.begin_file("/g")
        await upload.write(data)
        await upload.finish()

    async def _refused(self, kind: type[port.PFSError], awaited: Coroutine[Any, Any, Any]) -> Any:
        try:
            await awaited
        except port.PFSError as error:
            assert type(error) is kind, repr(error)
            return error
        raise AssertionError(f"{kind.__name__} was not raised")
