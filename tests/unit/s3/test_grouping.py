"""Writes that share a commit, on a model of PFS that goes on call by call."""

from __future__ import annotations

from collections.abc import Sequence

from writable_pfs import Asked, Asking

from pachgw.pfs.port import FileChange, NotAuthorized, OutOfSpace, PFSError
from pachgw.s3.metadata.records import parse_record


class TestGroups:
    def setup_method(self) -> None:
        self.on = Asking()
        self.pfs = self.on.pfs
        self.pfs.write({"there": "0", "dir/x": "x"})
        self.pfs.calls.clear()

    def hold(self) -> Asked:
        """A PUT that is under way, so that whoever comes now waits."""
        self.pfs.waiting = []
        return self.on.put("held", "h")

    def go(self) -> None:
        """All that wait go on, until nothing waits any more."""
        while self.pfs.waiting:
            self.pfs.let_go(0)
        self.pfs.waiting = None

    def paths(self) -> list[list[str]]:
        """Of each stream, in order."""
        return [[change.path for change in stream] for stream in self.pfs.streams]

    def test_what_a_lone_put_costs(self) -> None:
        """The first in a new directory asks for that as well; from then on it is known."""
        put = self.on.put("new", "1")
        assert put.status == 200
        assert self.pfs.calls == ["inspect_file", "inspect_file", "put_file data", "inspect_commit"]
        for key in ("there", "new", "newer", "newest"):
            self.pfs.calls.clear()
            assert self.on.put(key, key).status == 200
            assert self.pfs.calls == ["inspect_file", "put_file data", "inspect_commit"]

    def test_what_a_group_costs(self) -> None:
        """One look each, one stream, one for all records, and one look at the commit."""
        held = self.hold()
        puts = [self.on.put(f"dir/k{number}", str(number), content_type="a/b") for number in range(64)]
        self.go()
        assert held.status == 200
        assert {put.status for put in puts} == {200}
        assert len({put.version for put in puts}) == 1
        assert puts[0].version != held.version
        calls = self.pfs.calls
        # The held one looked above its path, and the group once at the directory.
        assert calls.count("inspect_file") == 64 + 1 + 2
        assert calls.count("put_file data") == 2
        assert calls.count("put_file record") == 1
        assert calls.count("inspect_commit") == 2
        assert self.pfs.records is not None
        records = [parse_record(line) for line in self.pfs.records.values()]
        assert {record.parent for record in records if record} == {held.version}
        assert len(records) == 64

    def test_puts_and_deletes(self) -> None:
        self.hold()
        deleted, put = self.on.delete("there"), self.on.put("new", "1")
        missing, directory = self.on.delete("missing"), self.on.delete("dir")
        self.go()
        assert self.paths() == [["/held"], ["/there", "/new"]]
        assert put.status == 200
        assert (deleted.status, deleted.version) == (204, put.version)
        for other in (missing, directory):
            assert (other.status, other.version) == (204, None)
        assert self.pfs.commits[self.pfs.head or ""].tree == {"held": "h", "new": "1", "dir/x": "x"}
        assert self.pfs.calls.count("authorize") == 1

    def test_only_deletes_of_what_is_not_there(self) -> None:
        head = self.pfs.head
        assert self.on.delete("missing").status == 204
        assert self.on.delete("dir").status == 204
        assert self.pfs.head == head

    def test_keys_that_touch(self) -> None:
        self.hold()
        puts = [self.on.put(key, data) for key, data in (("k", "1"), ("k", "2"), ("k/x", "3"), ("z", "4"))]
        self.go()
        assert self.paths() == [["/held"], ["/k", "/z"], ["/k"]]
        assert [put.status for put in puts] == [200, 200, 400, 200]
        assert puts[2].code == "InvalidFilePath"
        assert self.pfs.commits[self.pfs.head or ""].tree["k"] == "2"

    def test_the_last_file_of_a_directory_and_its_name(self) -> None:
        """One after the other: in one commit the second would be refused."""
        self.hold()
        deleted, put = self.on.delete("dir/x"), self.on.put("dir", "1")
        self.go()
        assert (deleted.status, put.status) == (204, 200)
        assert self.paths() == [["/held"], ["/dir/x"], ["/dir"]]

    def test_a_member_that_must_not_go(self) -> None:
        """Its own error, and no stream for it; the others go on as if it had not been there."""
        self.hold()
        asked = [
            self.on.put("there", "1", if_none_match="*"),
            self.on.put("good", "2"),
            self.on.put("dir", "3"),
            self.on.put("nowhere", "4", if_match='"x"'),
            self.on.put("there/below", "5"),
        ]
        self.go()
        assert [put.status for put in asked] == [412, 200, 400, 404, 400]
        assert self.paths() == [["/held"], ["/good"]]

    def test_a_member_that_pfs_refuses(self) -> None:
        """It alone fails; the others are tried again by halves, with records that say what is true."""

        def refuse(changes: Sequence[FileChange]) -> PFSError | None:
            return PFSError("no") if any(change.path == "/k5" for change in changes) else None

        self.pfs.refuse = refuse
        self.hold()
        puts = [self.on.put(f"k{number}", str(number), content_type="a/b") for number in range(8)]
        self.go()
        assert [put.status for put in puts] == [200] * 5 + [500] + [200] * 2
        assert [len(stream) for stream in self.pfs.streams] == [1, 8, 4, 4, 2, 1, 1, 2]
        assert set(self.pfs.commits[self.pfs.head or ""].tree) >= {f"k{n}" for n in range(8) if n != 5}
        records = [parse_record(line) for line in (self.pfs.records or {}).values()]
        by_key = {record.key: record.parent for record in records if record}
        assert set(by_key) == {f"k{number}" for number in range(8) if number != 5}
        for number, put in enumerate(puts):
            if number != 5:
                assert by_key[f"k{number}"] == self.pfs.commits[put.version or ""].parent

    def test_all_that_pfs_refuses_for_everybody(self) -> None:
        self.pfs.refuse = lambda changes: NotAuthorized("no")
        self.hold()
        puts = [self.on.put(f"k{number}", "1") for number in range(4)]
        self.go()
        assert {put.status for put in puts} == {403}
        assert len(self.pfs.streams) == 2

    def test_a_full_disk(self) -> None:
        """What takes no space goes through."""

        def refuse(changes: Sequence[FileChange]) -> PFSError | None:
            return OutOfSpace("full") if any(change.data for change in changes) else None

        self.pfs.refuse = refuse
        self.hold()
        put, deleted = self.on.put("k", "1"), self.on.delete("there")
        self.go()
        assert (put.status, deleted.status) == (507, 204)
        assert deleted.version == self.pfs.head

    def test_a_lost_answer(self) -> None:
        """Nobody knows: all are told so, and nothing is written twice."""
        for was_committed in (True, False):
            self.pfs.streams.clear()
            self.pfs.lose = lambda changes, was=was_committed: was if len(changes) > 1 else None
            self.hold()
            puts = [self.on.put(f"k{number}", str(was_committed), content_type="a/b") for number in range(3)]
            self.go()
            assert {put.status for put in puts} == {503}
            assert [len(stream) for stream in self.pfs.streams] == [1, 3]
            tree = self.pfs.commits[self.pfs.head or ""].tree
            assert ("k0" in tree) == was_committed
            self.pfs.write({f"k{number}": None for number in range(3)})

    def test_another_writer_before_the_stream(self) -> None:
        """The commit is found behind the other's, and records move to it."""
        self.hold()
        puts = [self.on.put(f"k{number}", "1", content_type="a/b") for number in range(3)]
        puts.append(self.on.put("there", "0", content_type="a/again"))
        deleted = self.on.delete("dir/x")
        assert self.pfs.waiting is not None
        while len(self.pfs.streams) < 2:
            self.pfs.let_go(0)
        theirs = self.pfs.write({"theirs": "t"})
        self.go()
        ours = puts[0].version or ""
        assert {put.version for put in puts} == {deleted.version} == {ours}
        assert self.pfs.commits[ours].parent == theirs
        lines = (self.pfs.records or {}).items()
        records = [record for path, line in lines if "/keys/" in path and (record := parse_record(line))]
        assert {(record.key, record.parent) for record in records} == {
            (key, theirs) for key in ("k0", "k1", "k2", "there")
        }
        assert [path for path, _ in lines if path.startswith(f"/again/{ours}/")]

    def test_another_writer_while_they_look(self) -> None:
        """All are judged by one commit: who has seen the one before looks again."""
        self.hold()
        puts = [self.on.put(f"k{number}", str(number), content_type="a/b") for number in range(3)]
        assert self.pfs.waiting is not None
        while self.pfs.calls.count("inspect_file") < 2 + 3:
            self.pfs.let_go(0)
        # One of the three has been answered, two have not yet been.
        self.pfs.let_go(0)
        self.pfs.write({"k1/below": "t"})
        self.go()
        assert [put.status for put in puts] == [200, 400, 200]
        assert puts[0].version == puts[2].version == self.pfs.head

    def test_a_client_that_goes(self) -> None:
        self.hold()
        gone, stays = self.on.put("gone", "1"), self.on.put("stays", "1")
        gone.waiting.addErrback(lambda _: None).cancel()
        self.go()
        assert stays.status == 200
        assert self.paths() == [["/held"], ["/stays"]]

    def test_the_first_commit_of_a_branch(self) -> None:
        """Which has no parent: records are written anew under its own id."""
        self.pfs.head = None
        self.pfs.waiting = []
        puts = [self.on.put(f"k{number}", str(number), content_type="a/b") for number in range(3)]
        self.go()
        assert {put.status for put in puts} == {200}
        assert self.paths() == [["/k0"], ["/k1", "/k2"]]
        records = [parse_record(line) for line in (self.pfs.records or {}).values()]
        assert [(each.parent, each.commit) for each in records if each] == [
            (None, puts[0].version),
            (puts[0].version, None),
            (puts[0].version, None),
        ]

    def test_large_ones_go_alone(self) -> None:
        """Their streams are side by side, their ends wait for their turns."""
        self.hold()
        large = [self.on.put(f"large{number}", "x" * 1_100_000) for number in range(2)]
        small = [self.on.put(f"small{number}", "1") for number in range(2)]
        self.go()
        assert {put.status for put in (*large, *small)} == {200}
        assert sorted(map(sorted, self.paths())) == [
            ["/held"],
            ["/large0"],
            ["/large1"],
            ["/small0", "/small1"],
        ]
