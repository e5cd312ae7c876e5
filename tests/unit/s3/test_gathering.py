"""Which writes go together: order, conflicts, bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_pfs import now
from twisted.internet.defer import CancelledError, Deferred

from pachgw.s3.turns import Turns
from pachgw.s3.writing.gathering import Gathering, Member
from pachgw.s3.writing.gatherings import Gatherings

PATHS = ("/a", "/a/b", "/a/b/c", "/a/d", "/ab", "/e")


def member(path: str, size: int = 1) -> Member[str, str]:
    return Member(change=path, path=path, size=size)


def touch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


@given(
    members=st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 9)), max_size=30),
    most=st.integers(1, 5),
    group_bytes=st.integers(0, 20),
)
def test_groups_of_any_queue(members: list[tuple[str, int]], most: int, group_bytes: int) -> None:
    gathering: Gathering[str, str] = Gathering(members=most, group_bytes=group_bytes)
    waiting = [member(path, size) for path, size in members]
    for each in waiting:
        gathering.add(each)
    turn_of: dict[Member[str, str], int] = {}
    turn = 0
    while len(gathering):
        group = gathering.take()
        assert group
        assert len(group) <= most
        assert len(group) == 1 or sum(each.size for each in group) <= group_bytes
        turn_of |= dict.fromkeys(group, turn)
        turn += 1
    assert set(turn_of) == set(waiting)
    for index, each in enumerate(waiting):
        for later in waiting[index + 1 :]:
            if touch(each.path, later.path):
                assert turn_of[each] < turn_of[later]


def test_who_does_not_wait_is_not_taken() -> None:
    gathering: Gathering[str, str] = Gathering()
    one, other = member("/a"), member("/b")
    gathering.add(one)
    gathering.add(other)
    gathering.remove(one)
    gathering.remove(one)
    assert gathering.take() == [other]


class Commits:
    """Groups as they come; each ends when the test says so."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.ends: list[Deferred[None]] = []

    async def __call__(self, members: Sequence[Member[str, str]]) -> None:
        self.groups.append([each.change for each in members])
        end: Deferred[None] = Deferred()
        self.ends.append(end)
        await end
        for each in members:
            each.settle(f"done {each.change}")


BRANCH = ("r", "master")


class TestGatherings:
    def setup_method(self) -> None:
        self.turns = Turns()
        self.gatherings: Gatherings[str, str] = Gatherings(self.turns, waiting_bytes=10)
        self.commits = Commits()
        self.failures: list[BaseException] = []
        self.done: list[str] = []

    def join(self, path: str, size: int = 1, writer: str = "w") -> Deferred[None]:
        joined = self.gatherings.join(BRANCH, writer, member(path, size), self.commits)
        return Deferred.fromCoroutine(joined).addCallbacks(
            self.done.append, lambda failure: self.failures.append(failure.value)
        )

    def test_nobody_waits_for_company(self) -> None:
        self.join("/a")
        assert self.commits.groups == [["/a"]]
        self.commits.ends[0].callback(None)
        assert self.done == ["done /a"]
        assert (len(self.turns), self.gatherings.bytes_held) == (0, 0)

    def test_who_comes_meanwhile_goes_together(self) -> None:
        for path in ("/a", "/b", "/c", "/b/x", "/d"):
            self.join(path)
        for end in range(3):
            self.commits.ends[end].callback(None)
        assert self.commits.groups == [["/a"], ["/b", "/c", "/d"], ["/b/x"]]
        assert len(self.done) == 5
        assert (len(self.turns), self.gatherings.bytes_held) == (0, 0)

    def test_tokens_are_apart_and_take_turns(self) -> None:
        self.join("/a")
        for path, writer in (("/b", "w"), ("/c", "other"), ("/b", "w"), ("/d", "w")):
            self.join(path, writer=writer)
        for end in range(4):
            self.commits.ends[end].callback(None)
        assert self.commits.groups == [["/a"], ["/b", "/d"], ["/c"], ["/b"]]

    def test_other_turns_of_the_branch_come_between(self) -> None:
        self.join("/a")
        self.join("/b")
        ran: list[list[list[str]]] = []

        async def section() -> None:
            ran.append(list(self.commits.groups))

        Deferred.fromCoroutine(self.turns.run(BRANCH, section))
        self.join("/b")
        for end in range(3):
            self.commits.ends[end].callback(None)
        assert ran == [[["/a"], ["/b"]]]
        assert self.commits.groups == [["/a"], ["/b"], ["/b"]]

    def test_whose_client_goes(self) -> None:
        """Before its turn it is left out; in its turn it stays, and its bytes count until the end."""
        first, waiting = self.join("/a"), self.join("/b")
        self.join("/c")
        waiting.cancel()
        first.cancel()
        assert [type(error) for error in self.failures] == [CancelledError, CancelledError]
        assert self.gatherings.bytes_held == 2
        self.commits.ends[0].callback(None)
        assert self.commits.groups == [["/a"], ["/c"]]
        self.commits.ends[1].callback(None)
        assert (self.done, self.gatherings.bytes_held) == (["done /c"], 0)

    def test_all_clients_go(self) -> None:
        self.join("/a")
        self.join("/b").cancel()
        self.commits.ends[0].callback(None)
        assert self.commits.groups == [["/a"]]
        assert (len(self.turns), self.gatherings.bytes_held) == (0, 0)

    def test_a_commit_that_fails_in_an_unknown_way(self) -> None:
        """Everybody hears of it, and the next go on."""
        self.join("/a")
        self.join("/b")
        self.join("/c")
        self.commits.ends[0].errback(ZeroDivisionError())
        self.commits.ends[1].errback(ZeroDivisionError())
        assert [type(error) for error in self.failures] == [ZeroDivisionError] * 3
        self.join("/d")
        self.commits.ends[2].callback(None)
        assert self.done == ["done /d"]
        assert self.gatherings.bytes_held == 0

    def test_turns_that_never_come(self) -> None:
        class NoTurns(Turns):
            async def run(self, *args: object, **words: object) -> None:  # type: ignore[override]
                raise OSError("no locks")

        self.gatherings = Gatherings(NoTurns())
        self.join("/a")
        assert [type(error) for error in self.failures] == [OSError]
        assert self.gatherings.bytes_held == 0

    def test_room(self) -> None:
        """Beyond the bound writers wait before their bodies are read, and go on in order."""
        self.join("/a", 6)
        self.join("/b", 4)
        now(self.gatherings.wait_for_room(0))
        entered: list[int] = []
        waits = []
        for number, size in enumerate((5, 5, 1, 1)):
            waiting = Deferred.fromCoroutine(self.gatherings.wait_for_room(size))
            waits.append(waiting.addCallback(lambda _, number=number: entered.append(number)))
        waits[1].addErrback(lambda _: None).cancel()
        assert entered == []
        self.commits.ends[0].callback(None)
        assert entered == [0, 2]
        self.commits.ends[1].callback(None)
        assert entered == [0, 2, 3]

    @pytest.mark.parametrize("size", [10, 1_000])
    def test_room_for_the_largest_alone(self, size: int) -> None:
        now(self.gatherings.wait_for_room(size))
