"""Bodies as objects' bytes: lengths, digests, checksums in headers, and what is refused when."""

from __future__ import annotations

import base64
import hashlib

import pytest
from bodies import UNSIGNED, UNSIGNED_TRAILER, Offloads, framed, opened, read_to_end, run
from signed_requests import head

from pachgw.messages import ClientGone
from pachgw.s3.auth import Payload, PayloadKind
from pachgw.s3.errors import S3Error
from pachgw.s3.payload.checksums import ALGORITHMS, Checksum, header_name
from pachgw.s3.payload.source import (
    MAX_OBJECT_BYTES,
    OFFLOAD_BYTES,
    PayloadSource,
    open_payload,
    require_length,
)

HELLO = b"hello world"


def digest_of(algorithm: str, data: bytes) -> str:
    checksum = Checksum(algorithm)
    checksum.update(data)
    return checksum.digest_base64()


def sha256(data: bytes) -> Payload:
    return Payload(kind=PayloadKind.SHA256, sha256=hashlib.sha256(data).hexdigest())


def refused_while_read(source: PayloadSource) -> S3Error:
    with pytest.raises(S3Error) as caught:
        read_to_end(source)
    with pytest.raises(S3Error) as again:
        run(source.read())
    assert again.value is caught.value
    assert source.checksums == {}
    return caught.value


@pytest.mark.parametrize("announced", [-1, None])
def test_a_plain_body_passes_as_it_is(announced: int | None) -> None:
    source = opened([b"hello ", b"world"], announced=announced)
    assert source.decoded_length == (len(HELLO) if announced else None)
    assert run(source.read()) == b"hello "
    assert read_to_end(source) == b"world"
    assert source.checksums == {}


def test_an_empty_body_is_judged_too() -> None:
    assert read_to_end(opened(b"", sha256(b""))) == b""
    assert refused_while_read(opened(b"", sha256(b"x"))).code == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("announced", [len(HELLO) - 1, len(HELLO) + 1, 0])
def test_a_body_of_another_length_is_refused(announced: int) -> None:
    error = refused_while_read(opened(HELLO, announced=announced))
    assert (error.code, error.status) == ("IncompleteBody", 400)


def test_the_declared_sha256_is_checked() -> None:
    assert read_to_end(opened(HELLO, sha256(HELLO))) == HELLO
    error = refused_while_read(opened([HELLO, b"!"], sha256(HELLO)))
    assert (error.code, error.status) == ("XAmzContentSHA256Mismatch", 400)
    assert error.fields["S3ComputedContentSHA256"] == hashlib.sha256(HELLO + b"!").hexdigest()


def test_content_md5_is_checked() -> None:
    md5 = base64.b64encode(hashlib.md5(HELLO).digest()).decode()
    source = opened(HELLO, headers={"Content-MD5": md5})
    assert read_to_end(source) == HELLO
    assert source.checksums == {}
    error = refused_while_read(opened(b"other", headers={"Content-MD5": md5}))
    assert (error.code, error.status) == ("BadDigest", 400)
    assert error.message == "The Content-MD5 you specified did not match what we received."


@pytest.mark.parametrize("md5", ["junk", "", "XUFAKrxLKna5cZ2REBfFkg", "XUFAKrxLKna5cZ2REBfF"])
def test_a_malformed_content_md5_is_refused_at_once(md5: str) -> None:
    with pytest.raises(S3Error) as caught:
        opened(HELLO, headers={"Content-MD5": md5})
    assert (caught.value.code, caught.value.status) == ("InvalidDigest", 400)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_in_a_header_is_checked_and_kept(algorithm: str) -> None:
    value = digest_of(algorithm, HELLO)
    headers = {header_name(algorithm): value, "x-amz-sdk-checksum-algorithm": algorithm}
    source = opened([b"hello", b" ", b"world"], sha256(HELLO), headers)
    assert read_to_end(source) == HELLO
    assert source.checksums == {algorithm: value}
    error = refused_while_read(opened(b"other", UNSIGNED, headers))
    assert (error.code, error.status) == ("BadDigest", 400)
    assert algorithm in error.message


CRC32 = digest_of("CRC32", HELLO)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "junk"},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32c": digest_of("SHA1", HELLO)},
        {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha1": digest_of("SHA1", HELLO)},
        {"x-amz-checksum-md4": CRC32},
        {"x-amz-checksum-crc32": CRC32, "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-checksum-crc32": CRC32, "x-amz-sdk-checksum-algorithm": "CRC16"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-trailer": "x-amz-checksum-crc32"},
    ],
)
def test_checksum_headers_that_make_no_sense_are_refused_at_once(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        opened(HELLO, headers=headers)
    assert (caught.value.code, caught.value.status) == ("InvalidRequest", 400)


def test_other_headers_that_begin_like_checksums_are_none() -> None:
    headers = {"x-amz-checksum-type": "FULL_OBJECT", "x-amz-checksum-algorithm": "CRC32"}
    assert read_to_end(opened(HELLO, headers=headers)) == HELLO


@pytest.mark.parametrize("framing", [UNSIGNED, UNSIGNED_TRAILER])
def test_an_object_over_five_tebibytes_is_refused_at_once(framing: Payload) -> None:
    def open_of(size: int) -> PayloadSource:
        headers = {"x-amz-decoded-content-length": str(size)}
        return opened(b"", framing, headers, announced=size)

    assert open_of(MAX_OBJECT_BYTES).decoded_length == MAX_OBJECT_BYTES
    with pytest.raises(S3Error) as caught:
        open_of(MAX_OBJECT_BYTES + 1)
    assert (caught.value.code, caught.value.status) == ("EntityTooLarge", 400)


def test_a_length_has_to_be_told() -> None:
    require_length(head("PUT", "/b/k", [("Content-Length", "0")]))
    require_length(head("PUT", "/b/k", [("Transfer-Encoding", "chunked")]))
    with pytest.raises(S3Error) as caught:
        require_length(head("PUT", "/b/k"))
    assert (caught.value.code, caught.value.status) == ("MissingContentLength", 411)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingContentLength"),
        ({"x-amz-decoded-content-length": "x"}, "InvalidArgument"),
        ({"x-amz-decoded-content-length": "-1"}, "InvalidArgument"),
        ({"x-amz-decoded-content-length": ""}, "InvalidArgument"),
        ({"x-amz-decoded-content-length": "٣"}, "InvalidArgument"),
    ],
)
def test_a_framed_body_has_to_tell_the_length_inside(headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        opened(framed([HELLO]), UNSIGNED_TRAILER, headers)
    assert caught.value.code == code


def test_only_big_pieces_with_work_are_offloaded() -> None:
    big, small = b"x" * OFFLOAD_BYTES, b"x" * (OFFLOAD_BYTES - 1)
    for payload, piece, count in (
        (UNSIGNED, big, 0),
        (sha256(big), big, 1),
        (sha256(small), small, 0),
    ):
        offload = Offloads()
        source = opened(piece, payload, offload=offload)
        assert read_to_end(source) == piece
        assert offload.count == count


def test_what_the_body_raises_comes_through() -> None:
    class Gone:
        content_length = 5

        async def read(self) -> bytes:
            raise ClientGone

        async def aclose(self) -> None:
            raise NotImplementedError

    source = open_payload(head("PUT", "/b/k"), UNSIGNED, Gone(), Offloads())
    with pytest.raises(ClientGone):
        run(source.read())


def test_closing_lets_go_of_the_body() -> None:
    source = opened([b"hello", b"world"])
    run(source.read())
    run(source.aclose())
    assert source._body.closed  # type: ignore[attr-defined]
