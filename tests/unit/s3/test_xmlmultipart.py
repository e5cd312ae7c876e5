"""XML of multipart uploads."""

from __future__ import annotations

import pytest

from pachgw.s3.errors import S3Error
from pachgw.s3.multipart.rules import ListedPart
from pachgw.s3.multipart.uploads import PartChecksum
from pachgw.s3.xml.multipart import parse_complete, render_completed

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ONE = "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>"


def body(content: str, namespace: str = "") -> bytes:
    return f"<CompleteMultipartUpload{namespace}>{content}</CompleteMultipartUpload>".encode()


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_parts(namespace: str) -> None:
    content = (
        "<Part><ETag>&quot;a&quot;</ETag><PartNumber> 2 </PartNumber>"
        "<ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>" + ONE
    )
    assert parse_complete(body(content, namespace)) == [
        ListedPart(number=2, etag='"a"', checksums=(PartChecksum(algorithm="CRC32", value="AAAAAA=="),)),
        ListedPart(number=1, etag="e"),
    ]


def test_the_most_parts() -> None:
    assert len(parse_complete(body(ONE * 10_000))) == 10_000
    with pytest.raises(S3Error, match="MalformedXML"):
        parse_complete(body(ONE * 10_001))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"<Other/>",
        body(""),
        body("<Part/>"),
        body("<Part><PartNumber>1</PartNumber></Part>"),
        body("<Part><ETag>e</ETag></Part>"),
        body("<Part><PartNumber>-1</PartNumber><ETag>e</ETag></Part>"),
        body("<Part><PartNumber>one</PartNumber><ETag>e</ETag></Part>"),
        body("<Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber><ETag>e</ETag></Part>"),
        body("<Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>1</Size></Part>"),
        body("<Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>x</ChecksumCRC32></Part>"),
        body("<Piece/>"),
        body(ONE) + b"x",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        parse_complete(data)


def test_names_are_escaped() -> None:
    answer = render_completed("http://h/b/%3C", "b", "<&", '"e-1"', None)
    assert b"<Key>&lt;&amp;</Key><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>" in answer
