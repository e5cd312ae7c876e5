"""Writes that share commits, on a real PFS: how many there are, and what others and faults do in between."""

from __future__ import annotations

from test_gateway_records import REPO, RecordsCase
from twisted.internet.defer import Deferred

from pachgw.messages import Response
from pachgw.pfs.port import FileChange, PathConflict, PathNotFound, Unavailable


class TestGroups(RecordsCase):
    def begin(self, method: str, target: str, data: bytes = b"", **words: str) -> Deferred[Response]:
        return Deferred.fromCoroutine(self.ask(method, target, data, **words))

    async def commit_ids(self) -> list[str]:
        commits = await self.pfs.list_commit(REPO, to="master")
        found: list[str] = []
        while batch := await commits.read():
            found += [commit.id for commit in batch]
        return found

    async def bytes_of(self, key: str, version: str = "") -> bytes:
        answer = await self.ask("GET", f"{key}?versionId={version}" if version else key)
        self.assertEqual(answer.status, 200)
        if isinstance(answer.body, bytes):
            return answer.body
        pieces = []
        while piece := await answer.body.read():
            pieces.append(piece)
        await answer.body.aclose()
        return b"".join(pieces)

    async def test_many_at_once_are_few_commits(self) -> None:
        before = await self.commit_ids()
        puts = [
            self.begin("PUT", f"d{number % 3}/k{number}", b"%d" % number, content_type=f"a/{number}")
            for number in range(64)
        ]
        versions = [self.version(await put) for put in puts]
        made = [commit for commit in await self.commit_ids() if commit not in before]
        self.assertEqual(set(made), set(versions))
        # The first goes at once, and all others came while it did.
        self.assertEqual(len(made), 2)
        for number, version in enumerate(versions):
            target = f"d{number % 3}/k{number}"
            self.assertEqual(await self.bytes_of(target, version), b"%d" % number)
            self.assertEqual(await self.kind_of(f"{target}?versionId={version}"), f"a/{number}")

    async def test_puts_and_deletes_share_a_commit(self) -> None:
        for key in ("a/x", "a/y", "b"):
            await self.put(key, b"old")
        asked = [
            self.begin("PUT", "first", b"1"),
            self.begin("DELETE", "a/x"),
            self.begin("PUT", "a/y", b"new"),
            self.begin("DELETE", "b"),
            self.begin("PUT", "a/z", b"z"),
            # Which waits for those below it, and is a directory by then.
            self.begin("DELETE", "a"),
        ]
        answers = [await each for each in asked]
        self.assertEqual([answer.status for answer in answers], [200, 204, 200, 204, 200, 204])
        ids = [dict(answer.headers).get("x-amz-version-id") for answer in answers]
        self.assertEqual(ids[1:], [ids[1]] * 4 + [None])
        self.assertEqual((await self.commit_ids())[0], ids[1])
        self.assertEqual(await self.bytes_of("a/y"), b"new")
        for key in ("a/x", "b"):
            answer = await self.ask("GET", key)
            self.assertEqual((answer.status, dict(answer.headers)["x-amz-version-id"]), (404, ids[1]))
            self.assertEqual((await self.ask("GET", f"{key}?versionId={ids[1]}")).status, 405)

    async def test_what_pfs_refuses_of_one(self) -> None:
        """Somebody makes a file where a member needs a directory, after the look: it alone fails."""

        async def file_in_the_way() -> None:
            self.sessions.hooks["before_data"] = nothing_more
            await self.write_by_pfs("bad", b"theirs")

        async def nothing_more() -> None:
            pass

        async def first() -> None:
            self.sessions.hooks["before_data"] = file_in_the_way

        self.sessions.hooks["before_data"] = first
        held = self.begin("PUT", "held", b"0")
        puts = [
            self.begin("PUT", key, b"1", content_type="a/b") for key in ("k0", "bad/below", "k1", "k2", "k3")
        ]
        self.assertEqual((await held).status, 200)
        statuses = [(await put).status for put in puts]
        self.assertEqual(statuses, [200, 400, 200, 200, 200])
        self.assertEqual(await self.bytes_of("bad"), b"theirs")
        for key in ("k0", "k1", "k2", "k3"):
            self.assertEqual(await self.bytes_of(key), b"1")
            self.assertEqual(await self.kind_of(key), "a/b")
        self.assertEqual(len(await self.records()), 4)

    async def test_pfs_that_goes_away(self) -> None:
        """All of the group are told so, and it is not sent again."""

        async def gone() -> None:
            raise Unavailable("gone")

        async def first() -> None:
            self.sessions.hooks["before_data"] = gone

        self.sessions.hooks["before_data"] = first
        held = self.begin("PUT", "held", b"0")
        puts = [self.begin("PUT", f"k{number}", b"1") for number in range(5)]
        last = self.version(await held)
        self.assertEqual([(await put).status for put in puts], [503] * 5)
        self.assertEqual(self.sessions.calls.count("put_file data"), 2)
        self.assertEqual((await self.commit_ids())[0], last)

    async def test_an_open_head(self) -> None:
        """All go into it: its id is theirs, and no commit is made."""
        commit = await self.pfs.start_commit(REPO, "master")
        before = await self.commit_ids()
        puts = [self.begin("PUT", f"k{number}", b"%d" % number, content_type="a/b") for number in range(5)]
        self.assertEqual({self.version(await put) for put in puts}, {commit})
        asked = [self.begin("PUT", "k5", b"5"), self.begin("DELETE", "k0"), self.begin("DELETE", "first")]
        answers = [await each for each in asked]
        self.assertEqual([answer.status for answer in answers], [200, 204, 204])
        for answer in answers[1:]:
            self.assertNotIn("x-amz-version-id", dict(answer.headers))
        await self.pfs.finish_commit(REPO, commit)
        self.assertEqual(await self.commit_ids(), before)
        for number in range(1, 5):
            self.assertEqual(await self.bytes_of(f"k{number}"), b"%d" % number)
            self.assertEqual(await self.kind_of(f"k{number}"), "a/b")
        self.assertEqual((await self.ask("HEAD", "k0")).status, 404)

    async def test_changes_as_pfs_takes_them(self) -> None:
        """One stream of many files and deletions is one commit, or nothing."""
        await self.write_by_pfs("gone", b"1")
        files = [FileChange(path=f"/f{number}", data=(b"a", b"%d" % number)) for number in range(100)]
        before = len(await self.commit_ids())
        await self.pfs.change_files(REPO, "master", [FileChange(path="/gone", data=None), *files])
        self.assertEqual(len(await self.commit_ids()), before + 1)
        info = await self.pfs.inspect_file(REPO, "master", "/f7")
        self.assertEqual(info.hash, await self.pfs.file_hash([b"a7"]))
        self.assertEqual(info.size, 2)
        with self.assertRaises(PathNotFound):
            await self.pfs.inspect_file(REPO, "master", "/gone")
        below = FileChange(path="/f0/below", data=(b"x",))
        with self.assertRaises(PathConflict):
            await self.pfs.change_files(REPO, "master", [FileChange(path="/more", data=(b"x",)), below])
        self.assertEqual(len(await self.commit_ids()), before + 1)
        empty = FileChange(path="/empty", data=())
        await self.pfs.change_files(REPO, "master", [empty])
        self.assertEqual(
            (await self.pfs.inspect_file(REPO, "master", "/empty")).hash, await self.pfs.file_hash(())
        )
        large = b"x" * 200_000
        await self.pfs.change_files(REPO, "master", [FileChange(path="/large", data=(large, large))])
        self.assertEqual(
            (await self.pfs.inspect_file(REPO, "master", "/large")).hash,
            await self.pfs.file_hash((large, large)),
        )
