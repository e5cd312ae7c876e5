"""Dates and entity tags in headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.request.headers import etag_of, http_date, iso_timestamp, parse_http_date

MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2300, 1, 1), timezones=st.just(UTC))


def test_formats() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert http_date(moment) == "Wed, 04 Mar 2026 03:06:07 GMT"
    assert iso_timestamp(moment) == "2026-03-04T03:06:07.000Z"
    assert iso_timestamp(datetime(999, 1, 1, tzinfo=UTC)).endswith("-01-01T00:00:00.000Z")


@given(MOMENTS)
def test_never_later_than_the_moment(moment: datetime) -> None:
    shown = parse_http_date(http_date(moment))
    assert shown is not None
    assert timedelta(0) <= moment - shown < timedelta(seconds=1)
    shown = datetime.fromisoformat(iso_timestamp(moment))
    assert timedelta(0) <= moment - shown < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 07:49:37 -0100",
    ],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_http_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "junk", "2001-01-01T00:00:00Z", "Mon, 99 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2001 00:00:00 +9999"],
)
def test_no_date(text: str) -> None:
    assert parse_http_date(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    moment = parse_http_date(text)
    assert moment is None or moment.tzinfo is not None


def test_etag_is_quoted_and_has_a_dash() -> None:
    assert etag_of(bytes(31) + b"\xab") == '"' + "00" * 31 + 'ab-1"'
