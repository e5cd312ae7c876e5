"""What is said of an object: read from requests, written into answers; tags; copy sources."""

from __future__ import annotations

import pytest

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.description import (
    checksum_headers,
    content_type_of,
    description_headers,
    parse_description,
)
from pachgw.s3.metadata.records import Checksum, Description
from pachgw.s3.metadata.tagset import parse_tagging, parse_tagging_header, render_tagging
from pachgw.s3.request.copysource import CopySource, parse_copy_source
from pachgw.s3.request.ranges import Span, parse_part_number, part_span


def head(*headers: tuple[str, bytes]) -> RequestHead:
    return RequestHead(
        method="PUT", raw_uri=b"/b/k", headers=tuple((name.encode(), value) for name, value in headers)
    )


def test_nothing_is_said_that_the_key_says_already() -> None:
    assert parse_description(head(("content-type", b"text/plain")), key="k.txt").says_nothing
    assert parse_description(head(("content-type", b"")), key="k.txt").says_nothing
    assert parse_description(head(("content-encoding", b"aws-chunked")), key="k").says_nothing
    assert not parse_description(head(("content-type", b"text/plain")), key="k.html").says_nothing
    assert not parse_description(head(("x-amz-meta-a", b"")), key="k").says_nothing


def test_round_trip() -> None:
    said = head(
        ("content-type", b"a/b"),
        ("content-encoding", b"gzip, aws-chunked"),
        ("expires", b"never"),
        ("x-amz-meta-one", b"1"),
        ("x-amz-meta-two", b"\xe9"),
        ("x-amz-meta-one", b"again"),
        ("x-amz-tagging", b"t=1"),
    )
    assert description_headers(parse_description(said, key="k.txt"), "k.txt") == {
        "Content-Type": "a/b",
        "Content-Encoding": "gzip",
        "Expires": "never",
        "x-amz-meta-one": "1,again",
        "x-amz-meta-two": "\udce9",
        "x-amz-tagging-count": "1",
    }


@pytest.mark.parametrize("name", ["x-amz-meta-a", "cache-control", "content-type"])
@pytest.mark.parametrize("value", [b"a\x00b", b"\x7f", b"a\x1b"])
def test_control_characters_are_refused(name: str, value: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parse_description(head((name, value)), key="k")
    assert caught.value.code == "InvalidArgument"


def test_the_limit_of_metadata() -> None:
    parse_description(head(("x-amz-meta-ab", "é".encode() * 1023)), key="k")
    with pytest.raises(S3Error) as caught:
        parse_description(head(("x-amz-meta-abc", "é".encode() * 1023)), key="k")
    assert (caught.value.code, caught.value.fields["Size"]) == ("MetadataTooLarge", "2049")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/b.TXT", "text/plain"),
        ("a.json/", "binary/octet-stream"),
        ("data:text/html,x", "binary/octet-stream"),
        ("http://x/y.html", "text/html"),
        ("none", "binary/octet-stream"),
    ],
)
def test_content_type_of(key: str, kind: str) -> None:
    assert content_type_of(key) == kind


def test_checksum_headers() -> None:
    assert checksum_headers(None) == {}
    assert checksum_headers(Checksum(algorithm="SHA1", value="v-2", composite=True)) == {
        "x-amz-checksum-sha1": "v-2",
        "x-amz-checksum-type": "COMPOSITE",
    }


def test_tags_in_any_form() -> None:
    tags = parse_tagging_header("a=1&b%20c=%C3%A9+x&d")
    assert tags == (("a", "1"), ("b c", "é x"), ("d", ""))
    assert parse_tagging(render_tagging(tags)) == tags
    assert parse_tagging_header("") == ()
    assert parse_tagging(b"<Tagging><TagSet></TagSet></Tagging>") == ()


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("b/k", ("b", "k", None)),
        ("/b/k", ("b", "k", None)),
        ("/b//k", ("b", "/k", None)),
        ("b/a%2Fb+c%2Bd", ("b", "a/b c+d", None)),
        ("b%2Fk", ("b", "k", None)),
        ("%2Fb%2Fk", ("b", "k", None)),
        ("b/k?versionId=v", ("b", "k", "v")),
        ("b/k?versionId=", ("b", "k", "")),
        ("b/k?x", ("b", "k?x", None)),
        ("b/k=1&l", ("b", "k=1&l", None)),
        ("b/%3FversionId=1", ("b", "?versionId=1", None)),
        ("b/%C3%A9", ("b", "é", None)),
        ("b/é", ("b", "é", None)),
    ],
)
def test_copy_sources(text: str, source: tuple[str, str, str | None]) -> None:
    bucket, key, version_id = source
    assert parse_copy_source(text) == CopySource(bucket=bucket, key=key, version_id=version_id)


@pytest.mark.parametrize(
    "text", ["", "/", "b", "b/", "//k", "b/%", "b/%FF", "arn:aws:s3:::b/k", "?versionId=v"]
)
def test_copy_sources_that_are_none(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_copy_source(text)
    assert caught.value.code == "InvalidArgument"


def test_parts() -> None:
    sizes = (5, 5, 0)
    assert [part_span(number, sizes, 10) for number in (1, 2, 3)] == [
        Span(start=0, stop=5),
        Span(start=5, stop=10),
        Span(start=10, stop=10),
    ]
    assert part_span(1, (), 7) == Span(start=0, stop=7)
    assert part_span(1, (), 0) is None
    for number, parts in ((4, sizes), (2, ())):
        with pytest.raises(S3Error) as caught:
            part_span(number, parts, 10)
        assert (caught.value.code, caught.value.status) == ("InvalidPartNumber", 416)
    assert parse_part_number("10000") == 10000


def test_description_is_a_value() -> None:
    assert Description(tags=(("a", "1"),)) == Description(tags=(("a", "1"),))
    assert Description().says_nothing
