"""What processes tell over the ring comes whole, in order and once, or is missed; never anything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.pfs.port import CommitInfo
from pachgw.s3.changes.told import Gone, gone_record, note_record, parse_told
from pachgw.s3.changes.writer import KeyChange, Note
from pachgw.s3.processes.bulletin import MAX_RECORD_BYTES, RECENT_SECONDS, Bulletin
from pachgw.s3.processes.sharedfile import BOARD_BYTES, SharedDirectory

WHO = st.integers(0, 2)
SIZES = st.one_of(st.integers(0, 300), st.integers(MAX_RECORD_BYTES - 1000, MAX_RECORD_BYTES + 1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), WHO, SIZES),
        st.tuples(st.just("hear"), WHO, st.just(0)),
        st.tuples(st.just("wait"), WHO, st.integers(1, 3)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_is_told_is_heard(steps: list[tuple[str, int, int]]) -> None:
    now = 1_800_000_000.0
    with TemporaryDirectory() as directory:
        all_of_them = [Bulletin(SharedDirectory(Path(directory)), now=lambda: now) for _ in range(3)]
        told: list[list[tuple[float, bytes]]] = [[], [], []]
        waiting = [0, 0, 0]
        for number, (step, who, size) in enumerate(steps):
            if step == "tell":
                record = bytes([number]) * size
                all_of_them[who].tell(record)
                if size <= MAX_RECORD_BYTES:
                    for other in range(3):
                        waiting[other] += size + 100
                        if other != who:
                            told[other].append((now, record))
            elif step == "hear":
                heard = all_of_them[who].hear()
                wanted = [record for at, record in told[who] if now - at <= RECENT_SECONDS]
                if waiting[who] > BOARD_BYTES - 1000:
                    # More than fits: of that the last, without a gap.
                    assert heard == wanted[len(wanted) - len(heard) :]
                    assert sum(map(len, heard)) + 100 * len(steps) + MAX_RECORD_BYTES > min(
                        sum(map(len, wanted)), BOARD_BYTES
                    )
                else:
                    assert heard == wanted
                told[who], waiting[who] = [], 0
            else:
                now += size
        for each in all_of_them:
            each.hear()
            assert each.hear() == []


def test_who_has_not_listened_for_long_hears_the_last(tmp_path: Path) -> None:
    """Also who begins to listen only then, and however often the ring has been filled meanwhile."""
    first, idle, new = (Bulletin(SharedDirectory(tmp_path), now=lambda: 1_800_000_000.0) for _ in range(3))
    assert idle.hear() == []
    records = [str(number).encode() * 1000 for number in range(1000)]
    for record in records:
        first.tell(record)
    for other in (idle, new):
        heard = other.hear()
        assert len(heard) > 50
        assert heard == records[-len(heard) :]
        assert other.hear() == []
    first.tell(b"more")
    assert (idle.hear(), new.hear(), first.hear()) == ([b"more"], [b"more"], [])


KEYS = st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable())
CHANGES = st.builds(
    KeyChange, key=KEYS, size=st.integers(0, 2**50), hash=st.none() | st.binary(min_size=32, max_size=32)
)
TIMES = st.datetimes(min_value=datetime(2015, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@given(KEYS, st.text(max_size=32), st.none() | st.text(max_size=32), TIMES, st.lists(CHANGES, max_size=5))
def test_notes_come_as_they_were(
    repo: str, commit: str, parent: str | None, finished: datetime, changes: list[KeyChange]
) -> None:
    info = CommitInfo(
        repo=repo,
        id=commit,
        parent=parent,
        branch="master",
        started=finished - timedelta(seconds=1),
        finished=finished,
        size=3,
    )
    note = Note(repo=repo, commit=info, changes=tuple(changes))
    read = parse_told(note_record(note))
    assert isinstance(read, Note)
    assert (read.repo, read.changes) == (note.repo, note.changes)
    assert (read.commit.repo, read.commit.id, read.commit.parent) == (repo, commit, parent)
    assert read.commit.finished == finished
    gone = Gone(repo=repo, commit=commit)
    assert parse_told(gone_record(gone)) == gone
