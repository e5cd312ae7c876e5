"""Pages of uploads and of parts, joined, are the whole, whatever the names and the sizes of pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.metadata.records import Description
from pachgw.s3.multipart.listing import (
    PartsParams,
    UploadsParams,
    build_parts_page,
    build_uploads_page,
)
from pachgw.s3.multipart.uploads import Part, Upload, UploadInfo

NOW = datetime(2031, 1, 1, tzinfo=UTC)
keys = st.text(st.sampled_from("a/é\U0001f600\uffff"), min_size=1, max_size=5)


def upload(key: str, number: int) -> Upload:
    info = UploadInfo(branch="b", key=key, initiated=NOW, kind=None, description=Description())
    return Upload(id=f"{number:03d}", repo="r", commit="c", info=info)


uploads = st.lists(keys, max_size=12).map(lambda found: [upload(key, at) for at, key in enumerate(found)])
texts = st.text(st.sampled_from("a/é"), max_size=2)


@given(uploads, texts, st.sampled_from(["", "/", "a"]), st.integers(1, 5))
def test_pages_of_uploads(found: list[Upload], prefix: str, delimiter: str, size: int) -> None:
    expected: list[tuple[str, str]] = []
    for one in sorted(found, key=lambda one: (one.info.key.encode(), one.id)):
        if one.info.key.startswith(prefix):
            rest = one.info.key[len(prefix) :]
            entry = (one.info.key, one.id)
            if delimiter and delimiter in rest:
                entry = (prefix + rest[: rest.index(delimiter) + len(delimiter)], "")
            if entry not in expected:
                expected.append(entry)
    params = UploadsParams(prefix=prefix, delimiter=delimiter, max_uploads=size)
    seen: list[tuple[str, str]] = []
    while True:
        page = build_uploads_page(found, params)
        entries = [(one.info.key, one.id) for one in page.uploads] + [
            (one, "") for one in page.common_prefixes
        ]
        assert len(entries) <= size
        seen.extend(entries)
        if not page.is_truncated:
            break
        assert len(entries) == size
        params = replace(params, key_marker=page.next_key_marker, upload_id_marker=page.next_upload_id_marker)
    assert sorted(seen) == sorted(expected)
    assert len(seen) == len(expected)


@given(uploads, keys)
def test_a_key_marker_alone_is_behind_all_uploads_of_its_key(found: list[Upload], marker: str) -> None:
    page = build_uploads_page(found, UploadsParams(key_marker=marker))
    assert {one.id for one in page.uploads} == {
        one.id for one in found if one.info.key.encode() > marker.encode()
    }


def test_no_uploads_are_asked_for() -> None:
    page = build_uploads_page([upload("a", 1)], UploadsParams(max_uploads=0))
    assert (page.uploads, page.is_truncated) == ((), False)


@given(st.sets(st.integers(1, 10_000), max_size=20), st.integers(1, 7))
def test_pages_of_parts(numbers: set[int], size: int) -> None:
    parts = {
        number: Part(number=number, path="/", size=0, hash=b"", uploaded=NOW, checksum=None)
        for number in numbers
    }
    after, seen = 0, []
    while True:
        page = build_parts_page(parts, PartsParams(after=after, max_parts=size))
        seen.extend(part.number for part in page.parts)
        if not page.is_truncated:
            break
        after = page.next_marker
    assert seen == sorted(numbers)
