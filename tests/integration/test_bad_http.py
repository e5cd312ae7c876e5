"""Bytes that are no HTTP, or only nearly: a plain refusal, the connection closed, and nobody kept waiting."""

from __future__ import annotations

import pytest
from badhttp import BAD_REQUESTS, GET, TOO_LARGE
from buckets import Bucket
from refusals import FILES, is_error, is_well
from wire import Closed, Wire


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
        GET + b"X-A: b c \t\r\n\r\n",
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
