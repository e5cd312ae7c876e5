"""If-* headers: precedence, comparison of tags, dates in whole seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import NotModified, S3Error
from pachgw.s3.request.conditions import (
    check_conditions,
    check_conditions_on_missing,
    has_conditions,
    range_applies,
)
from pachgw.s3.request.headers import http_date

ETAG = '"9ac799a0-1"'
MODIFIED = datetime(2026, 3, 4, 5, 6, 7, 999999, tzinfo=UTC)
AT = "Wed, 04 Mar 2026 05:06:07 GMT"
BEFORE = "Wed, 04 Mar 2026 05:06:06 GMT"
AFTER = "Wed, 04 Mar 2026 05:06:08 GMT"


def lookup(headers: dict[str, str]) -> Callable[[str], str | None]:
    return {name.lower(): value for name, value in headers.items()}.get


def outcome(headers: dict[str, str], *, is_read: bool = True, etag: str = ETAG) -> str:
    try:
        check_conditions(lookup(headers), etag=etag, last_modified=MODIFIED, is_read=is_read)
    except NotModified as answer:
        assert answer.headers == (("ETag", ETAG), ("Last-Modified", AT))
        return "304"
    except S3Error as error:
        assert (error.code, error.status) == ("PreconditionFailed", 412)
        return "412 " + error.fields["Condition"]
    return "200"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "200"),
        ({"If-Match": ETAG}, "200"),
        ({"If-Match": ETAG.strip('"')}, "200"),
        ({"If-Match": "*"}, "200"),
        ({"If-Match": '"junk"'}, "412 If-Match"),
        ({"If-Match": ""}, "412 If-Match"),
        ({"If-Match": f'"junk", {ETAG}'}, "200"),
        ({"If-Match": f'"a,b" ,,{ETAG}'}, "200"),
        ({"If-Match": f'"junk,{ETAG[1:]}'}, "412 If-Match"),
        ({"If-Match": f"W/{ETAG}"}, "412 If-Match"),
        ({"If-None-Match": ETAG}, "304"),
        ({"If-None-Match": ETAG.strip('"')}, "304"),
        ({"If-None-Match": f"W/{ETAG}"}, "304"),
        ({"If-None-Match": "*"}, "304"),
        ({"If-None-Match": f'"x", W/"y", {ETAG}'}, "304"),
        ({"If-None-Match": '"junk"'}, "200"),
        ({"If-None-Match": ""}, "200"),
        ({"If-Modified-Since": AT}, "304"),
        ({"If-Modified-Since": AFTER}, "304"),
        ({"If-Modified-Since": BEFORE}, "200"),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, "304"),
        ({"If-Modified-Since": "Wednesday, 04-Mar-26 05:06:07 GMT"}, "304"),
        ({"If-Modified-Since": "Wed Mar  4 05:06:07 2026"}, "304"),
        ({"If-Modified-Since": "junk"}, "200"),
        ({"If-Modified-Since": ""}, "200"),
        ({"If-Unmodified-Since": AT}, "200"),
        ({"If-Unmodified-Since": AFTER}, "200"),
        ({"If-Unmodified-Since": BEFORE}, "412 If-Unmodified-Since"),
        ({"If-Unmodified-Since": "junk"}, "200"),
        # S3 documents these two pairs: the tag decides.
        ({"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, "200"),
        ({"If-None-Match": ETAG, "If-Modified-Since": BEFORE}, "304"),
        ({"If-None-Match": '"junk"', "If-Modified-Since": AFTER}, "200"),
        ({"If-Match": '"junk"', "If-None-Match": ETAG}, "412 If-Match"),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, "304"),
        ({"If-Unmodified-Since": BEFORE, "If-None-Match": ETAG}, "412 If-Unmodified-Since"),
    ],
)
def test_reads(headers: dict[str, str], expected: str) -> None:
    assert outcome(headers) == expected
    assert has_conditions(lookup(headers)) is bool(headers)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"If-None-Match": "*"}, "412 If-None-Match"),
        ({"If-None-Match": ETAG}, "412 If-None-Match"),
        ({"If-None-Match": '"junk"'}, "200"),
        ({"If-Match": ETAG}, "200"),
        ({"If-Match": '"junk"'}, "412 If-Match"),
        ({"If-Modified-Since": AFTER}, "200"),
    ],
)
def test_writes_over_an_object(headers: dict[str, str], expected: str) -> None:
    assert outcome(headers, is_read=False) == expected


def test_writes_where_nothing_is() -> None:
    check_conditions_on_missing(lookup({"If-None-Match": "*"}), key="k")
    check_conditions_on_missing(lookup({}), key="k")
    with pytest.raises(S3Error) as caught:
        check_conditions_on_missing(lookup({"If-Match": "*"}), key="k")
    assert (caught.value.code, caught.value.fields) == ("NoSuchKey", {"Key": "k"})


def test_the_etag_is_taken_with_or_without_quotes() -> None:
    assert outcome({"If-None-Match": ETAG}, etag=ETAG.strip('"')) == "304"


def test_every_pair_agrees_with_the_steps_of_the_rfc() -> None:
    """RFC 9110 §13.2.2, step by step, over every combination of true and false conditions."""
    choices: dict[str, list[tuple[str | None, bool]]] = {
        "If-Match": [(None, True), (ETAG, True), ('"x"', False)],
        "If-Unmodified-Since": [(None, True), (AT, True), (BEFORE, False)],
        "If-None-Match": [(None, True), ('"x"', True), (ETAG, False)],
        "If-Modified-Since": [(None, True), (BEFORE, True), (AT, False)],
    }
    for chosen in itertools.product(*choices.values()):
        sent = dict(zip(choices, chosen, strict=True))
        headers = {name: value for name, (value, _) in sent.items() if value is not None}
        expected = "200"
        if "If-Match" in headers:
            if not sent["If-Match"][1]:
                expected = "412 If-Match"
        elif not sent["If-Unmodified-Since"][1]:
            expected = "412 If-Unmodified-Since"
        if expected == "200":
            if "If-None-Match" in headers:
                if not sent["If-None-Match"][1]:
                    expected = "304"
            elif not sent["If-Modified-Since"][1]:
                expected = "304"
        assert outcome(headers) == expected, headers


@given(st.text(max_size=30), st.sampled_from(["If-Match", "If-None-Match", "If-Modified-Since", "If-Range"]))
def test_junk_never_breaks(value: str, name: str) -> None:
    outcome({name: value})
    range_applies(lookup({name: value}), etag=ETAG, last_modified=MODIFIED)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_client_that_sends_back_last_modified_has_the_object(aware: datetime) -> None:
    headers = lookup({"If-Modified-Since": http_date(aware)})
    with pytest.raises(NotModified):
        check_conditions(headers, etag=ETAG, last_modified=aware, is_read=True)
    check_conditions(
        lookup({"If-Unmodified-Since": http_date(aware)}), etag=ETAG, last_modified=aware, is_read=True
    )


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        (ETAG, True),
        ('"junk"', False),
        (f"W/{ETAG}", False),
        ("*", False),
        (AT, True),
        (BEFORE, False),
        (AFTER, False),
        ("", False),
    ],
)
def test_if_range(if_range: str | None, applies: bool) -> None:
    headers = lookup({} if if_range is None else {"If-Range": if_range})
    assert range_applies(headers, etag=ETAG, last_modified=MODIFIED) is applies
