"""Headers in the query of presigned URLs."""

from __future__ import annotations

import pytest

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.request.hoisted import unhoist
from pachgw.s3.request.target import Target, parse_target


def read(uri: bytes, *headers: tuple[bytes, bytes]) -> tuple[RequestHead, Target]:
    return unhoist(RequestHead(method="PUT", raw_uri=uri, headers=headers), parse_target(uri))


V4 = b"&X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-SignedHeaders=host&X-Amz-Signature=s"
V2 = b"&AWSAccessKeyId=a&Signature=s&Expires=1"


def test_v4_headers_become_headers_and_the_signature_stays() -> None:
    head, target = read(b"/b/k?partNumber=1&x-amz-meta-a=%C3%BC+b&X-Amz-Acl=private" + V4)
    assert head.header("x-amz-meta-a") == "ü b"
    assert head.header("x-amz-acl") == "private"
    assert head.header("x-amz-date") is None
    assert {"partNumber", "X-Amz-Date", "X-Amz-Signature"} <= set(target.query.names())
    assert not {"x-amz-meta-a", "X-Amz-Acl"} & set(target.query.names())


def test_v2_takes_content_type_and_content_md5_too() -> None:
    head, target = read(b"/b/k?content-type=text/x&content-md5=m" + V2)
    assert (head.header("content-type"), head.header("content-md5")) == ("text/x", "m")
    assert set(target.query.names()) == {"AWSAccessKeyId", "Signature", "Expires"}


def test_v4_leaves_what_is_no_header_of_amazons() -> None:
    head, target = read(b"/b/k?content-type=text/x" + V4)
    assert head.header("content-type") is None
    assert target.query.get("content-type") == "text/x"


def test_without_a_signature_nothing_moves() -> None:
    head, target = read(b"/b/k?x-amz-acl=private")
    assert head.header("x-amz-acl") is None
    assert target.query.get("x-amz-acl") == "private"


def test_the_same_header_sent_as_well_is_there_once() -> None:
    head, _ = read(b"/b/k?x-amz-acl=private" + V4, (b"x-amz-acl", b"private"))
    assert head.values(b"x-amz-acl") == [b"private"]


@pytest.mark.parametrize(
    ("pair", "headers"),
    [
        (b"x-amz-meta-a=1", ((b"x-amz-meta-a", b"2"),)),
        (b"x-amz-meta-a=1%0d%0aSet-Cookie:%20x", ()),
        (b"x-amz-meta-%C3%BC=1", ()),
    ],
)
def test_what_is_no_header_or_another_is_refused(
    pair: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    with pytest.raises(S3Error) as caught:
        read(b"/b/k?" + pair + V4, *headers)
    assert caught.value.code == "InvalidArgument"


def test_the_checksum_of_a_body_that_was_not_there_yet_says_nothing() -> None:
    head, target = read(b"/b/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32" + V4)
    assert head.headers == ()
    assert not {"x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"} & set(target.query.names())


def test_a_checksum_that_speaks_of_a_body_is_heeded() -> None:
    head, _ = read(b"/b/k?x-amz-checksum-crc32=HrvYww%3D%3D&x-amz-sdk-checksum-algorithm=CRC32" + V4)
    assert head.header("x-amz-checksum-crc32") == "HrvYww=="
