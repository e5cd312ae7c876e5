"""Ranges against slicing of real bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.request.ranges import content_range, resolve_range

SIZES = st.integers(0, 50)
OFFSETS = st.integers(0, 60)


def served(header: str, data: bytes) -> bytes | None:
    """What the header gets of the data; None where it is refused."""
    try:
        span = resolve_range(header, len(data))
    except S3Error as error:
        assert error.status == 416
        return None
    if span is None:
        return data
    assert 0 <= span.start < span.stop <= len(data)
    assert content_range(span, len(data)) == f"bytes {span.start}-{span.stop - 1}/{len(data)}"
    assert span.length == span.stop - span.start
    return data[span.start : span.stop]


@given(SIZES, OFFSETS, OFFSETS)
def test_first_and_last(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    expected: bytes | None = data[first : last + 1]
    if first > last:
        expected = data
    elif not expected:
        expected = None
    assert served(f"bytes={first}-{last}", data) == expected


@given(SIZES, OFFSETS)
def test_from_an_offset_on(size: int, first: int) -> None:
    data = bytes(range(size))
    assert served(f"bytes={first}-", data) == (data[first:] or None)


@given(SIZES, OFFSETS)
def test_the_last_bytes(size: int, count: int) -> None:
    data = bytes(range(size))
    assert served(f"bytes=-{count}", data) == ((data[-count:] if count else b"") or None)


@given(st.text(max_size=20), SIZES)
def test_anything_else_never_breaks(header: str, size: int) -> None:
    data = bytes(range(size))
    assert served(header, data) in (data, None) or header.lower().startswith("bytes=")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "junk",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=x-y",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "items=0-1",
        "bytes=3-1",
        "bytes=4-3",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=1-2-3",
        "bytes=\u0661-",
        "bytes=0x1-2",
        "bytes=1.5-",
    ],
)
def test_what_is_no_single_range_is_ignored(header: str | None) -> None:
    assert resolve_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=9-9", 9, 10),
        ("bytes=0-999", 0, 10),
        ("bytes=-99", 0, 10),
        ("Bytes=0-1", 0, 2),
        ("bytes= 1-2", 1, 3),
        ("bytes=0-" + "9" * 5000, 0, 10),
        ("bytes=-" + "9" * 5000, 0, 10),
        ("bytes=" + "0" * 5000 + "2-3", 2, 4),
    ],
)
def test_readable_forms(header: str, start: int, stop: int) -> None:
    span = resolve_range(header, 10)
    assert span is not None
    assert (span.start, span.stop) == (start, stop)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=999-", 10),
        ("bytes=-0", 10),
        ("bytes=0-0", 0),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=" + "9" * 5000 + "-", 10),
    ],
)
def test_what_the_object_does_not_have_is_refused(header: str, size: int) -> None:
    with pytest.raises(S3Error) as caught:
        resolve_range(header, size)
    error = caught.value
    assert (error.code, error.status) == ("InvalidRange", 416)
    assert error.fields == {"RangeRequested": header, "ActualObjectSize": str(size)}
    assert error.headers == (("Content-Range", f"bytes */{size}"),)
