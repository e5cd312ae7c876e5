"""Bytes that are no HTTP, or only nearly: a plain refusal, the connection closed, and nobody kept waiting."""

from __future__ import annotations

import pytest
from buckets import Bucket
from refusals import FILES, is_error, is_well
from wire import Closed, Wire

PUT = b"PUT /master.full/f HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /master.full/f HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_REQUESTS = {
    "both-lengths": PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both-lengths-turned": PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two-lengths": PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length-list": PUT + b"Content-Length: 5, 5\r\n\r\nhello",
    "length-negative": PUT + b"Content-Length: -5\r\n\r\nhello",
    "length-plus": PUT + b"Content-Length: +5\r\n\r\nhello",
    "length-hex": PUT + b"Content-Length: 0x5\r\n\r\nhello",
    "length-underscore": PUT + b"Content-Length: 1_0\r\n\r\nhellohello",
    "length-point": PUT + b"Content-Length: 5.0\r\n\r\nhello",
    "length-empty": PUT + b"Content-Length:\r\n\r\nhello",
    "length-huge": PUT + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "length-other-digits": PUT + "Content-Length: ５\r\n\r\nhello".encode(),
    "coding-unknown": PUT + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "coding-identity": PUT + b"Transfer-Encoding: identity\r\n\r\nhello",
    "coding-twice": PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding-list": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-in-1.0": b"PUT /master.full/f HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk-size-junk": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk-size-negative": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-empty": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk-size-prefixed": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-endless": CHUNKED + b"1" * 50_000,
    "chunk-too-long": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    "chunk-extension-endless": CHUNKED + b"5;" + b"x" * 50_000,
    "later-chunk-junk": CHUNKED + b"5\r\nhello\r\nzz\r\n",
    "folded-first": b"GET /master.full/f HTTP/1.1\r\n Host: x\r\n\r\n",
    "name-with-space": GET + b"X A: b\r\n\r\n",
    "space-before-colon": PUT + b"Content-Length : 5\r\n\r\nhello",
    "no-colon": GET + b"junk\r\n\r\n",
    "no-name": GET + b": b\r\n\r\n",
    "value-with-nul": GET + b"X-A: b\x00c\r\n\r\n",
    "value-with-cr": GET + b"X-A: b\rc\r\n\r\n",
    "no-host": b"GET /master.full/f HTTP/1.1\r\n\r\n",
    "two-hosts": GET + b"Host: y\r\n\r\n",
    "one-word": b"junk\r\n\r\n",
    "two-words": b"GET /master.full/f\r\n\r\n",
    "four-words": b"GET /master.full/f HTTP/1.1 x\r\nHost: x\r\n\r\n",
    "space-in-target": b"GET /master.full/a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "target-not-ascii": b"GET /master.full/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "target-with-nul": b"GET /master.full/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "target-with-tab": b"GET /master.full/\x09f HTTP/1.1\r\nHost: x\r\n\r\n",
    "method-not-ascii": b"G\xc9T /master.full/f HTTP/1.1\r\nHost: x\r\n\r\n",
    "method-of-control": b"G\x00T /master.full/f HTTP/1.1\r\nHost: x\r\n\r\n",
    "method-with-brackets": b"G[]T /master.full/f HTTP/1.1\r\nHost: x\r\n\r\n",
    "version-2": b"GET /master.full/f HTTP/2.0\r\nHost: x\r\n\r\n",
    "version-junk": b"GET /master.full/f FTP/1.1\r\nHost: x\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "empty-lines": b"\r\n" * 10 + b"\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2 + b"\r\n\r\n",
    "junk": bytes(range(256)) * 10 + b"\r\n\r\n",
}
TOO_LARGE = {
    "giant-target": b"GET /" + b"x" * 100_000,
    "giant-header": GET + b"X-A: " + b"b" * 100_000,
    "giant-name": GET + b"x" * 100_000,
    "many-headers": GET + b"".join(b"X-%d: y\r\n" % number for number in range(5000)),
}


def _refused(full: Bucket, data: bytes, code: str) -> None:
    before = full.state()
    with Wire(full.url) as wire:
        wire.send(data)
        answer = wire.answer()
        is_error(answer, "GET", 400, code)
        assert answer.headers["connection"] == "close"
        # The end comes though this side says nothing more.
        with pytest.raises(Closed):
            wire.answer()
    assert full.state() == before
    with Wire(full.url) as wire:
        is_well(wire, full)


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests(full: Bucket, data: bytes) -> None:
    _refused(full, data, "InvalidRequest")


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_heads_that_are_too_large(full: Bucket, data: bytes) -> None:
    _refused(full, data, "RequestHeaderSectionTooLarge")


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X-A: \xff\xfe\r\n\r\n",
        GET + b"X-A:\r\n\r\n",
        GET + b"X-A: b\r\n c\r\n\r\n",
        GET + b"X-A:b\r\n\r\n",
        b"\r\n" + GET + b"\r\n",
        b"GET http://elsewhere:1/master.full/f HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /master.full/f HTTP/1.0\r\n\r\n",
        GET + b"Host2: y\r\nContent-Length: 0\r\n\r\n",
        GET + b"Content-Length: 5\r\n\r\nhello",
        b"GET /m%61ster.full/%66 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_odd_requests_that_are_good(full: Bucket, data: bytes) -> None:
    with Wire(full.url) as wire:
        wire.send(data)
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, FILES["f"])


def test_a_request_byte_by_byte(full: Bucket) -> None:
    with Wire(full.url) as wire:
        for byte in GET + b"\r\n":
            wire.send(bytes([byte]))
        assert wire.answer().body == FILES["f"]


def test_requests_all_at_once(full: Bucket) -> None:
    with Wire(full.url) as wire:
        wire.send((GET + b"\r\n") * 20 + GET + b"Content-Length: -1\r\n\r\n")
        for _ in range(20):
            assert wire.answer().body == FILES["f"]
        is_error(wire.answer(), "GET", 400, "InvalidRequest")
        with pytest.raises(Closed):
            wire.answer()
