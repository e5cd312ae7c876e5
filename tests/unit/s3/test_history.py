"""What the history asks PFS for, when, and what becomes of it where the disk, PFS or another gateway errs."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from model_pfs import REPO, ModelPFS, hash_of, history_in, now
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.s3.changes import filling
from pachgw.s3.changes.filling import RETRY_SECONDS, SHORT, VERIFY_SECONDS
from pachgw.s3.changes.history import LIST_PATIENCE_SECONDS, PATIENCE_SECONDS, History, KeyChange
from pachgw.s3.changes.reader import Change, NotCovered
from pachgw.s3.changes.store import PAUSE_SECONDS
from pachgw.s3.processes.bulletin import Bulletin
from pachgw.s3.processes.sharedfile import SharedDirectory


class Case:
    """A model, and histories on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.pfs = ModelPFS()
        self.made: list[History] = []
        self.history = self.another()

    def another(self, **words: Any) -> History:
        """One more gateway's history on the same file."""
        self.made.append(history_in(self.directory, self.clock, **words))
        return self.made[-1]

    def stop(self) -> None:
        for history in self.made:
            now(history.stop())

    def chain(self, length: int, parent: str | None = None, key: str = "k") -> list[str]:
        """Commits of which each changes the key."""
        ids = []
        for number in range(length):
            parent = self.pfs.commit(parent, {key: str(number)})
            ids.append(parent)
        return ids

    def change(self, commit: str, key: str = "k", history: History | None = None) -> Change | None:
        return now((history or self.history).change_of(self.pfs, REPO, commit, f"/{key}"))

    def note(self, commit: str, history: History | None = None) -> None:
        changes = [
            KeyChange(key=key, size=len(data or ""), hash=None if data is None else hash_of(data))
            for key, data in self.pfs.changed(commit).items()
        ]
        (history or self.history).note(self.pfs, REPO, self.pfs.info(commit), changes)

    def calls(self) -> list[str]:
        """Those since the last time."""
        calls, self.pfs.calls = self.pfs.calls, []
        return calls

    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.sqlite"))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path / "cache")
    yield made
    made.stop()


def begin(awaited: Coroutine[Any, Any, Any]) -> list[Any]:
    """The list to which the result will be added."""
    results: list[Any] = []
    Deferred.fromCoroutine(awaited).addBoth(results.append)
    return results


def test_own_writes_are_known_without_asking(case: Case) -> None:
    parent = None
    for number in range(5):
        parent = case.pfs.commit(parent, {"k" if number < 2 else "other": str(number)})
        case.note(parent)
    change = case.change(parent)
    assert change is not None
    assert change.commit == list(case.pfs.commits)[1]
    assert case.calls() == []


def test_a_commit_by_others_costs_a_list_and_a_difference(case: Case) -> None:
    mine = case.chain(1)[0]
    case.note(mine)
    theirs = case.pfs.commit(mine, {"other": "x"})
    change = case.change(theirs)
    assert change is not None
    assert change.commit == mine
    assert case.calls() == ["list_commit", "diff_file", "get_files"]
    assert case.change(theirs, "other") is not None
    assert case.calls() == []


def test_a_whole_history_is_read_once(case: Case) -> None:
    head = case.chain(250)[-1]
    assert now(case.history.cover(case.pfs, REPO, head, seconds=1))
    calls = case.calls()
    assert calls.count("diff_file") == 250
    assert calls.count("list_commit") == 2
    # Another gateway on the same file has it too.
    other = case.another()
    assert now(other.cover(case.pfs, REPO, head, seconds=1))
    assert case.calls() == []


def test_nobody_waits_for_a_long_history(case: Case) -> None:
    head = case.chain(SHORT + 50)[-1]
    case.pfs.gate = Deferred()
    waiting = begin(case.history.change_of(case.pfs, REPO, head, "/k"))
    assert waiting == [None]
    gate, case.pfs.gate = case.pfs.gate, None
    gate.callback(None)
    assert case.change(head) is not None


def test_a_moment_is_waited_for_a_few_commits(case: Case) -> None:
    mine = case.chain(1)[0]
    case.note(mine)
    theirs = case.pfs.commit(mine, {"other": "x"})
    gate = case.pfs.gate = Deferred()
    waiting = [
        begin(case.history.change_of(case.pfs, REPO, theirs, "/k")),
        begin(case.history.last_times(case.pfs, REPO, theirs, ["k"])),
    ]
    assert waiting == [[], []]
    case.clock.advance(PATIENCE_SECONDS)
    assert waiting == [[None], []]
    case.clock.advance(LIST_PATIENCE_SECONDS)
    assert waiting == [[None], [{}]]
    late = begin(case.history.change_of(case.pfs, REPO, theirs, "/k"))
    case.pfs.gate = None
    gate.callback(None)
    assert late[0].commit == mine
    assert case.calls().count("diff_file") == 1


def test_cover_waits_for_a_long_history_up_to_its_limit(case: Case) -> None:
    head = case.chain(SHORT + 50)[-1]
    gate = case.pfs.gate = Deferred()
    waiting = begin(case.history.cover(case.pfs, REPO, head, seconds=20))
    case.clock.advance(19)
    assert waiting == []
    case.clock.advance(2)
    assert waiting == [False]
    case.pfs.gate = None
    gate.callback(None)
    assert now(case.history.cover(case.pfs, REPO, head, seconds=20))


def test_a_note_of_another_process_does_not_end_the_filling(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, head = case.chain(3)
    other = case.another()
    # It knows where two of them lie, but not yet what they changed.
    infos = [case.pfs.info(commit) for commit in (second, first)]
    assert now(other._store.add_chain(REPO, infos, above=None))
    list_commit = case.pfs.list_commit

    async def meanwhile(*args: Any, **words: Any) -> Any:
        found = await list_commit(*args, **words)
        if not other.is_known(REPO, head):
            case.note(head, other)
            await other._store.flush()
        return found

    monkeypatch.setattr(case.pfs, "list_commit", meanwhile)
    assert now(case.history.cover(case.pfs, REPO, head, seconds=20))


def test_stop_in_the_middle(case: Case) -> None:
    head = case.chain(3)[-1]
    case.pfs.gate = Deferred()
    waiting = begin(case.history.change_of(case.pfs, REPO, head, "/k"))
    now(case.history.stop())
    assert waiting == [None]
    # Its commits have their places; what they changed is read by the next one.
    case.pfs.gate = None
    assert case.change(head, history=case.another()) is not None


def test_while_pfs_is_away_nothing_is_known(case: Case) -> None:
    head = case.chain(2)[-1]
    case.pfs.is_away = True
    assert case.change(head) is None
    case.pfs.is_away = False
    # Not asked again by each request.
    case.calls()
    assert case.change(head) is None
    assert case.calls() == []
    case.clock.advance(RETRY_SECONDS)
    assert case.change(head) is not None


def test_first_writes_to_a_repo_with_a_history(case: Case) -> None:
    theirs = case.chain(20)
    mine = case.pfs.commit(theirs[-1], {"new": "x"})
    case.note(mine)
    change = case.change(mine)
    assert change is not None
    assert change.commit == theirs[-1]
    calls = case.calls()
    # What is known of the own commit is kept while the others are looked for.
    assert calls.count("diff_file") == 20
    assert calls.count("list_commit") == 1


def listening(case: Case) -> History:
    """A history of another process, that hears of what the others note."""
    shared = SharedDirectory(case.directory)
    return case.another(bulletin=Bulletin(shared, now=lambda: 1_700_000_000.0))


def test_what_processes_make_in_turn_is_known_to_each_at_once(case: Case) -> None:
    """Whatever each has heard of before it notes its own commit on top."""
    one, two, three = (listening(case) for _ in range(3))
    put = case.pfs.commit(None, {"k": "x"})
    case.note(put, one)
    gone = case.pfs.commit(put, {"k": None})
    case.note(gone, two)
    other = case.pfs.commit(gone, {"other": "x"})
    case.note(other, one)
    # It takes in both of its own before it hears of the one between them, and the other has none of it yet.
    for history in (one, two, three):
        found = now(history.deletion_of(REPO, other, "/k"))
        assert found is not None
        assert found.commit == gone
    assert case.calls() == []


def test_a_note_waits_for_what_is_heard_later(case: Case) -> None:
    one, two = listening(case), listening(case)
    put = case.pfs.commit(None, {"k": "x"})
    case.note(put, one)
    gone = case.pfs.commit(put, {"k": None})
    case.note(gone, two)
    # The second one takes in its own, which has no place yet, and PFS cannot be asked for what is below.
    case.pfs.is_away = True
    now(two._store.flush())
    assert not two.is_known(REPO, gone)
    found = now(two.deletion_of(REPO, gone, "/k"))
    assert found is not None
    assert found.commit == gone


def test_a_note_waits_for_what_another_process_takes_in(case: Case) -> None:
    one, two = listening(case), listening(case)
    put = case.pfs.commit(None, {"k": "x"})
    case.note(put, one)
    gone = case.pfs.commit(put, {"k": None})
    case.note(gone, two)
    case.pfs.is_away = True
    now(two._store.flush())
    now(one._store.flush())
    found = now(two.deletion_of(REPO, gone, "/k"))
    assert found is not None
    assert found.commit == gone


def test_what_one_process_forgets_no_other_takes_in(case: Case) -> None:
    """Whether it has heard of the commit before that, and has still to take it in, or hears all at once."""
    one, two, three = (listening(case) for _ in range(3))
    first, second = case.chain(2)
    third = case.pfs.commit(second, {"other": "x"})
    for commit in (first, second, third):
        case.note(commit, one)
    two._hear()
    change = case.change(third, history=one)
    assert change is not None
    assert change.commit == second
    case.pfs.delete(second)
    one.forget(REPO, second)
    for history in (three, two, one):
        assert now(history.cover(case.pfs, REPO, third, seconds=20))
        assert not history.is_known(REPO, second)
        change = case.change(third, history=history)
        assert change is not None
        assert (change.commit, change.parent) == (third, first)


def test_a_commit_whose_parent_has_gone_is_not_as_it_was_noted(case: Case) -> None:
    one, two = listening(case), listening(case)
    first, second = case.chain(2)
    third = case.pfs.commit(second, {"other": "x"})
    # Only the last is told, and waits.
    case.note(third, one)
    two._hear()
    case.pfs.delete(second)
    assert now(one.cover(case.pfs, REPO, third, seconds=20))
    assert now(two.cover(case.pfs, REPO, third, seconds=20))
    change = case.change(third, history=two)
    assert change is not None
    assert (change.commit, change.parent) == (third, first)


def test_the_chain_is_verified_from_time_to_time(case: Case) -> None:
    ids = case.chain(3)
    head = case.pfs.commit(ids[-1], {"other": "x"})
    assert case.change(head) is not None
    case.calls()
    case.clock.advance(VERIFY_SECONDS)
    change = case.change(head)
    assert change is not None
    assert change.commit == ids[-1]
    assert case.calls() == ["list_commit"]
    assert case.change(head) is not None
    assert case.calls() == []
    case.pfs.delete(ids[-1])
    case.clock.advance(VERIFY_SECONDS)
    # The commit that the change was in is gone: the one above it has it now.
    case.change(head)
    change = case.change(head)
    assert change is not None
    assert change.commit == head


def test_a_parent_that_has_changed_is_seen_with_the_next_commit(case: Case) -> None:
    ids = case.chain(2)
    middle = case.pfs.commit(ids[-1], {"other": "x"})
    assert case.change(middle) is not None
    case.pfs.delete(ids[-1])
    head = case.pfs.commit(middle, {"another": "x"})
    change = case.change(head)
    assert change is not None
    assert (change.commit, change.parent) == (middle, ids[0])


def test_another_repo_with_the_same_id_is_another_commit(case: Case) -> None:
    head = case.chain(1)[0]
    assert case.change(head) is not None
    assert not case.history.is_known("other", head)
    assert now(case.history.deletion_of("other", head, "/k")) is None
    assert now(case.history.order(case.pfs, "other", "nothing", [head])) == {}


def test_a_commit_that_changes_too_much_is_left_out(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "MAX_COMMIT_CHANGES", 50)
    case.pfs.largest = 40
    below = case.chain(1)[0]
    huge = case.pfs.commit(below, {f"many/{number}": "x" for number in range(51)})
    above = case.chain(1, parent=huge, key="above")[0]
    large = case.pfs.commit(above, {f"large/{number}": "x" for number in range(45)})
    change = case.change(large, "above")
    assert change is not None
    assert change.commit == above
    change = case.change(large, "large/7")
    assert change is not None
    assert change.commit == large
    for key in ("many/1", "k"):
        assert case.change(large, key) is None
    with pytest.raises(NotCovered):
        now(case.history.cover(case.pfs, REPO, large, seconds=1))
    # It is not tried again and again.
    case.calls()
    assert case.change(large, "k") is None
    assert case.calls() == []


def test_the_lines_longest_not_used_go(case: Case) -> None:
    now(case.history.stop())
    limit = 400_000
    history = case.another(max_bytes=limit)
    chains = []
    for chain in range(6):
        parent = None
        for number in range(4):
            parent = case.pfs.commit(
                parent, {f"chain{chain}/{number}/{key:04}" + "x" * 100: "x" for key in range(200)}
            )
        chains.append(parent)
        case.clock.advance(60)
        assert now(history.cover(case.pfs, REPO, parent, seconds=1))
        # The first one stays in use.
        case.clock.advance(400)
        assert history.is_known(REPO, chains[0]) or chain == 0
        now(history.cover(case.pfs, REPO, chains[0], seconds=1))
    assert not history.is_known(REPO, chains[1])
    assert history.is_known(REPO, chains[-1])
    (file,) = case.files()
    connection = sqlite3.connect(file)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    # And one commit more.
    assert pages * 4096 < limit + 150_000


def test_a_repo_too_large_for_the_file_is_kept_as_far_as_it_goes(case: Case) -> None:
    now(case.history.stop())
    history = case.another(max_bytes=300_000)
    parent = None
    ids = []
    for number in range(20):
        parent = case.pfs.commit(parent, {f"{number}/{key:04}" + "x" * 100: "x" for key in range(200)})
        ids.append(parent)
    with pytest.raises(NotCovered):
        now(history.cover(case.pfs, REPO, ids[-1], seconds=1))
    key = "19/0000" + "x" * 100
    change = case.change(ids[-1], key, history)
    assert change is not None
    assert case.change(ids[-1], "0/0000" + "x" * 100, history) is None


@pytest.mark.parametrize("content", [b"", b"not a database at all, though it is long enough" * 50])
def test_a_file_that_is_no_database_is_made_again(case: Case, content: bytes) -> None:
    head = case.chain(3)[-1]
    assert case.change(head) is not None
    now(case.history.stop())
    (file,) = case.files()
    file.write_bytes(content)
    history = case.another()
    assert case.change(head, history=history) is not None
    assert len(case.files()) == 1


def test_a_directory_in_its_place(case: Case) -> None:
    head = case.chain(3)[-1]
    now(case.history.stop())
    (file,) = case.files()
    file.unlink()
    file.mkdir()
    assert case.change(head, history=case.another()) is not None


def test_a_database_of_somebody_else_is_not_used(case: Case) -> None:
    now(case.history.stop())
    (file,) = case.files()
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE changes (line INTEGER)")
    connection.commit()
    connection.close()
    history = case.another()
    assert case.change(case.chain(1)[0], history=history) is not None


def test_damage_while_it_is_open(case: Case) -> None:
    head = case.chain(300)[-1]
    assert now(case.history.cover(case.pfs, REPO, head, seconds=1))
    (file,) = case.files()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xa5" * (size - 4096))
    # Pages that are still in memory may be right; once the others are looked at, a new file is made.
    fork = case.chain(1)[0]
    for commit in (fork, head, fork, head):
        case.change(commit)
        case.clock.advance(RETRY_SECONDS + PAUSE_SECONDS)
    change = case.change(head)
    assert change is not None
    assert change.commit == head
    assert case.files() != [file]


def test_somebody_removes_the_file(case: Case) -> None:
    ids = case.chain(3)
    assert case.change(ids[-1]) is not None
    for path in case.directory.iterdir():
        path.unlink()
    assert now(case.history.cover(case.pfs, REPO, ids[-1], seconds=1))
    assert len(case.files()) == 1


def test_a_full_disk_is_no_error(case: Case) -> None:
    known = case.chain(1)[0]
    assert case.change(known) is not None
    (file,) = case.files()
    limit = now(case.history._store.write(lambda writer: _limit_pages(writer._db)))
    assert limit > 0
    head = case.pfs.commit(known, {f"{number}/" + "x" * 500: "x" for number in range(500)})
    assert case.change(head) is None
    # What is known stays known.
    assert case.change(known) is not None
    assert not now(case.history.cover(case.pfs, REPO, head, seconds=1))
    now(case.history._store.stop())
    assert case.files() == [file]
    assert case.change(head, history=case.another()) is not None


def _limit_pages(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (limit,) = connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone()
    return int(limit)


def test_without_a_directory_nothing_is_known_and_nothing_asked(case: Case) -> None:
    head = case.chain(1)[0]
    history = history_in(None, case.clock)
    assert case.change(head, history=history) is None
    case.note(head, history)
    assert now(history.last_times(case.pfs, REPO, head, ["k"])) == {}
    assert now(history.order(case.pfs, REPO, head, [head])) == {}
    assert now(history.deletion_of(REPO, head, "/k")) is None
    with pytest.raises(NotCovered):
        now(history.cover(case.pfs, REPO, head, seconds=1))
    assert case.calls() == []
    now(history.stop())


def test_keys_are_nobody_elses_business(case: Case) -> None:
    assert case.change(case.chain(1)[0]) is not None
    for path in case.directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert case.directory.stat().st_mode & 0o077 == 0
