"""Records: every one comes back as it was, nothing else is taken for one, and the right one is chosen."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.metadata.records import (
    HEADER_VALUE,
    KEPT_HEADERS,
    Checksum,
    Description,
    Record,
    choose_record,
    description_json,
    last_record,
    parse_description_json,
    parse_records,
    record_line,
)
from pachgw.s3.payload.checksums import ALGORITHMS, digest_size

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
HASH = bytes(range(32))

VALUES = st.binary(max_size=12).map(
    lambda raw: "".join(c for c in raw.decode("utf-8", "surrogateescape") if HEADER_VALUE.fullmatch(c))
)
NAMES = st.text("abz09-_.", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
COMMITS = st.text("0123456789abcdef", min_size=32, max_size=32)


@st.composite
def digests(draw: st.DrawFn, algorithm: str) -> str:
    size = digest_size(algorithm)
    return base64.b64encode(draw(st.binary(min_size=size, max_size=size))).decode()


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    sizes = tuple(draw(st.lists(st.sampled_from([0, 5, 5, 5, 7 << 40]), max_size=30)))
    checksum, part_checksums = None, ()
    if draw(st.booleans()):
        algorithm = draw(st.sampled_from(ALGORITHMS))
        composite = bool(sizes) and draw(st.booleans())
        value = draw(digests(algorithm)) + (f"-{len(sizes)}" if composite else "")
        checksum = Checksum(algorithm=algorithm, value=value, composite=composite)
        if draw(st.booleans()):
            part_checksums = tuple(draw(digests(algorithm)) for _ in sizes)
    return Description(
        headers=tuple((name, draw(VALUES)) for name in KEPT_HEADERS if draw(st.booleans())),
        metadata=tuple(draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))),
        tags=tuple(draw(st.lists(st.tuples(TEXTS, TEXTS), max_size=3))),
        checksum=checksum,
        part_sizes=sizes,
        part_checksums=part_checksums,
        upload_id=draw(st.none() | st.text("0123456789abcdef", min_size=1, max_size=32)),
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    parent = draw(st.none() | COMMITS)
    return Record(
        key=draw(TEXTS),
        file_hash=HASH,
        parent=parent,
        commit=draw(st.none() | COMMITS) if parent is None else None,
        written=NOW + timedelta(microseconds=draw(st.integers(0, 10**9))),
        description=draw(descriptions()),
    )


@given(records())
def test_a_record_comes_back(record: Record) -> None:
    line = record_line(record)
    assert line.isascii()
    assert line.count(b"\n") == 1
    junk = b'{"key":1}\n\n[]\n'
    assert parse_records(junk + line + junk + line, key=record.key, file_hash=HASH) == [record, record]
    assert parse_records(line, key=record.key + "x", file_hash=HASH) == []
    assert parse_records(line, key=record.key, file_hash=bytes(32)) == []
    assert parse_description_json(description_json(record.description)) == record.description


@given(records(), st.data())
def test_a_damaged_record_is_none_or_has_clean_headers(record: Record, data: st.DataObject) -> None:
    line = bytearray(record_line(record))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(line) - 1))
        line[position] = data.draw(st.integers(0, 255))
    for found in parse_records(bytes(line), key=record.key, file_hash=HASH):
        said = found.description
        for _, value in (*said.headers, *said.metadata):
            assert not {"\r", "\n", "\0"} & set(value)
        record_line(found)


@given(
    records(),
    st.sampled_from(["key", "hash", "parent", "written", "headers", "metadata", "tags", "parts"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
)
def test_any_json_is_a_record_or_none(record: Record, name: str, value: object) -> None:
    said = json.loads(record_line(record)) | {name: value}
    for found in parse_records(json.dumps(said).encode(), key=record.key, file_hash=HASH):
        assert parse_records(record_line(found), key=record.key, file_hash=HASH) == [found]


@given(st.binary(max_size=80))
def test_any_bytes(lines: bytes) -> None:
    assert parse_records(lines, key="k", file_hash=HASH) == []


def _commit(number: int) -> str:
    return f"{number:032x}"


# One key in a line of commits: puts of bytes 0 or 1, with or without something said, deletions, other keys'
# commits, and records whose put never came.
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "delete", "other", "crash"]), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=14,
)


@given(STEPS, st.booleans())
def test_each_version_gets_what_was_said_of_it(steps: list[tuple[str, int, bool]], knows_all: bool) -> None:
    """`knows_all`: puts of the same bytes are known as changes; else only their records tell of them."""
    kept: dict[tuple[int, str | None], Record] = {}
    line: list[tuple[int | None, str | None, int | None]] = []
    """For each commit: the bytes, what was said, and the commit of the change as it is known."""
    state: tuple[int | None, str | None, int | None] = (None, None, None)
    for number, (kind, body, says) in enumerate(steps):
        parent = _commit(len(line) - 1) if line else None
        same = state[0] == body
        record = Record(
            key="k",
            file_hash=bytes([body]) * 32,
            parent=parent,
            commit=_commit(len(line)) if parent is None else None,
            written=NOW + timedelta(seconds=number),
            description=Description(metadata=(("n", str(number)),) if says else ()),
        )
        if kind == "crash":
            # What is said of the same bytes is written after them.
            if says and not same and parent is not None:
                kept[body, parent] = record
            continue
        if kind == "put":
            if says or any(key[0] == body for key in kept):
                kept[body, parent] = record
            said = str(number) if says else None
            state = (body, said, state[2] if same and not knows_all else len(line))
        elif kind == "delete":
            state = (None, None, len(line))
        line.append(state)
    for at, (body_at, said_at, change) in enumerate(line):
        if body_at is None or change is None:
            continue
        positions = {_commit(number): number - at for number in range(len(line)) if number <= at}
        found = choose_record(
            (record for (body, _), record in kept.items() if body == body_at),
            commit=_commit(change),
            parent=_commit(change - 1) if change else None,
            positions=positions,
        )
        metadata = dict(found.description.metadata) if found else {}
        assert metadata.get("n") == said_at


@given(st.lists(records(), max_size=5), COMMITS)
def test_the_last_is_taken_where_nothing_is_known(some: list[Record], commit: str) -> None:
    last = last_record(some, commit=commit, positions={})
    assert (last is None) == (not some)
    assert last is None or all(record.written <= last.written for record in some)
