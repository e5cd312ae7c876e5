"""parse_target: raw request targets as buckets, keys and queries."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.request.target import Query, check_key_length, parse_query, parse_target


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        (b"/", None, None),
        (b"/?x", None, None),
        (b"/b", "b", None),
        (b"/b/", "b", None),
        (b"/b?list-type=2", "b", None),
        (b"/dev.images/", "dev.images", None),
        (b"/b/k", "b", "k"),
        (b"/b/a/b", "b", "a/b"),
        (b"/b/a/", "b", "a/"),
        (b"/b//a", "b", "/a"),
        (b"/b//", "b", "/"),
        (b"/b/a//b", "b", "a//b"),
        (b"/b/../c", "b", "../c"),
        (b"/b/./c/..", "b", "./c/.."),
        (b"/b/%2E%2E/c", "b", "../c"),
        (b"/b/a%2Fb", "b", "a/b"),
        (b"/b/%2Fa", "b", "/a"),
        (b"/b/a%252Fb", "b", "a%2Fb"),
        (b"/b/a+b", "b", "a+b"),
        (b"/b/a%2Bb", "b", "a+b"),
        (b"/b/a%20b", "b", "a b"),
        (b"/b/r%C3%A9sum%c3%a9", "b", "résumé"),
        ("/b/é".encode(), "b", "é"),
        (b"/b/a%00b", "b", "a\x00b"),
        (b"/b/a;b=c&d", "b", "a;b=c&d"),
        (b"/a%2Fb/k", "a/b", "k"),
        (b"/%C3%A9", "é", None),
        (b"http://host:30600/b/k?acl", "b", "k"),
        (b"HTTPS://host/b", "b", None),
        (b"http://host", None, None),
        (b"http://host?x", None, None),
        (b"/http://host/b", "http:", "/host/b"),
        (b"/b/http://host/b", "b", "http://host/b"),
    ],
)
def test_bucket_and_key(uri: bytes, bucket: str | None, key: str | None) -> None:
    target = parse_target(uri)
    assert (target.bucket, target.key) == (bucket, key)


@pytest.mark.parametrize(
    "uri",
    [
        b"",
        b"*",
        b"b/k",
        b"?x",
        b"/b/%zz",
        b"/b/%",
        b"/b/%4",
        b"/b/a%2",
        b"/b/%FF",
        b"/b/\xff",
        b"/%C3/k",
        b"/b/%ED%A0%80",
        b"/b/%C0%80",
        b"/b?prefix=%FF",
        b"/b?prefix=100%",
        b"/b?%GG",
        b"ftp://host/b",
    ],
)
def test_what_cannot_be_read(uri: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parse_target(uri)
    assert (caught.value.code, caught.value.status) == ("InvalidURI", 400)


@pytest.mark.parametrize("uri", [b"//", b"//b/k", b"http://host//b"])
def test_an_empty_bucket_is_no_bucket(uri: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parse_target(uri)
    assert caught.value.code == "InvalidBucketName"


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", ()),
        (b"acl", (("acl", ""),)),
        (b"acl=", (("acl", ""),)),
        (b"a=1&a=2", (("a", "1"), ("a", "2"))),
        (b"&&a=b=c&", (("a", "b=c"),)),
        (b"prefix=a+b%2Bc", (("prefix", "a b+c"),)),
        (b"a=1;b=2", (("a", "1;b=2"),)),
        (b"%61cl=%C3%A9", (("acl", "é"),)),
        (b"=x", (("", "x"),)),
        (b"x=?", (("x", "?"),)),
    ],
)
def test_query_pairs(raw: bytes, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_query(raw) == Query(pairs)


def test_query_reads_the_first_value() -> None:
    query = parse_query(b"acl&a=1&a=2")
    assert query.get("a") == "1"
    assert query.get("acl") == ""
    assert query.get("b") is None
    assert query.has("acl")
    assert not query.has("b")
    assert query.names() == ("acl", "a")
    assert list(query) == [("acl", ""), ("a", "1"), ("a", "2")]


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), st.booleans())
def test_any_key_comes_back(key: str, escape_slashes: bool) -> None:
    uri = "/b/" + quote(key, safe="" if escape_slashes else "/")
    target = parse_target(uri.encode("ascii"))
    assert target.key == key
    assert target.resource == "/b/" + key


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        parse_target(b"/" + raw)
    except S3Error as error:
        assert error.status == 400


@pytest.mark.parametrize(("uri", "resource"), [(b"/", "/"), (b"/b/", "/b"), (b"/b/%C3%A9?x", "/b/é")])
def test_resource(uri: bytes, resource: str) -> None:
    assert parse_target(uri).resource == resource


def test_key_length_counts_bytes() -> None:
    check_key_length("x" * 1024)
    check_key_length("é" * 512)
    for key in ("x" * 1025, "é" * 512 + "x"):
        with pytest.raises(S3Error) as caught:
            check_key_length(key)
        assert (caught.value.code, caught.value.status) == ("KeyTooLongError", 400)
        assert caught.value.fields == {"Size": "1025", "MaxSizeAllowed": "1024"}


def test_a_key_too_long_is_still_a_target() -> None:
    assert parse_target(b"/b/" + b"x" * 2000).key == "x" * 2000
