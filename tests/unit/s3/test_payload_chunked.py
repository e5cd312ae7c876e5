"""aws-chunked bodies: AWS's examples, what botocore frames, trailers, and bodies that break."""

from __future__ import annotations

import io

import pytest
from bodies import (
    SIGNED_CHUNKS,
    SIGNED_TRAILER,
    SIGNING,
    UNSIGNED_TRAILER,
    Offloads,
    framed,
    opened,
    read_to_end,
    run,
)
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum, Sha1Checksum, Sha256Checksum
from signed_requests import EXAMPLE_KEY_ID, EXAMPLE_V4_TIME, example_secret, head

from pachgw.s3.auth import Payload, PayloadKind, authenticate
from pachgw.s3.errors import S3Error
from pachgw.s3.payload.awschunked import MAX_LINE_BYTES, MAX_TRAILER_BYTES
from pachgw.s3.payload.checksums import ALGORITHMS, Checksum, header_name
from pachgw.s3.payload.source import OFFLOAD_BYTES, PayloadSource

HELLO = b"hello world"
LENGTH = {"x-amz-decoded-content-length": str(len(HELLO))}
SIGNATURES = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length"
        ";x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length"
        ";x-amz-storage-class;x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ),
}
TRAILER_SIGNATURE = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


def aws_example(kind: str) -> tuple[list[bytes], PayloadSource]:
    """The request and the body of AWS's example: 65 KiB of `a` in chunks of 64 KiB and 1 KiB."""
    signed, seed, *chunk_signatures = SIGNATURES[kind]
    pieces: list[bytes] = []
    for size, signature in zip((65536, 1024, 0), chunk_signatures, strict=True):
        pieces.append(f"{size:x};chunk-signature={signature}\r\n".encode())
        pieces.append(b"a" * size + (b"\r\n" if size else b""))
    trailing = kind.endswith("TRAILER")
    if trailing:
        pieces += [
            b"x-amz-checksum-crc32c:sOO8/Q==\r\n",
            f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n".encode(),
        ]
    pieces.append(b"\r\n")
    headers = [
        ("Host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", kind),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        (
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential={EXAMPLE_KEY_ID}/20130524/us-east-1/s3/aws4_request,"
            f"SignedHeaders={signed},Signature={seed}",
        ),
        ("x-amz-trailer", "x-amz-checksum-crc32c") if trailing else ("Content-Length", "66824"),
    ]
    request = head("PUT", "/examplebucket/chunkObject.txt", headers)
    principal = authenticate(request, now=EXAMPLE_V4_TIME, secret_of=example_secret)
    sent = {name.decode(): value.decode() for name, value in request.headers}
    return pieces, opened(pieces, principal.payload, sent, announced=None if trailing else 66824)


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_examples_of_aws_are_decoded(kind: str) -> None:
    """Amazon S3 API reference, "Transferring Payload in Multiple Chunks" and "Including Trailing Headers"."""
    _, source = aws_example(kind)
    assert source.decoded_length == 66560
    assert read_to_end(source) == b"a" * 66560
    assert source.checksums == ({"CRC32C": "sOO8/Q=="} if kind.endswith("TRAILER") else {})


@pytest.mark.parametrize(
    ("algorithm", "checksum"),
    [("CRC32", Crc32Checksum), ("SHA1", Sha1Checksum), ("SHA256", Sha256Checksum)],
)
@pytest.mark.parametrize("size", [0, 1, 1000, 70_000])
def test_what_botocore_frames_is_decoded(algorithm: str, checksum: type, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    wrapper = AwsChunkedWrapper(
        io.BytesIO(data), checksum_cls=checksum, checksum_name=header_name(algorithm), chunk_size=4096
    )
    headers = {
        "x-amz-decoded-content-length": str(size),
        "x-amz-trailer": header_name(algorithm),
        "x-amz-sdk-checksum-algorithm": algorithm,
        "content-encoding": "aws-chunked",
    }
    source = opened(list(iter(lambda: wrapper.read(777), b"")), UNSIGNED_TRAILER, headers, announced=None)
    assert source.decoded_length == size
    assert read_to_end(source) == data
    assert source.checksums == {algorithm: checksum_of(algorithm, data)}


def checksum_of(algorithm: str, data: bytes) -> str:
    running = Checksum(algorithm)
    running.update(data)
    return running.digest_base64()


def trailing(algorithm: str = "CRC32", data: bytes = HELLO) -> dict[str, str]:
    return {header_name(algorithm): checksum_of(algorithm, data)}


def announced(*algorithms: str) -> dict[str, str]:
    return {**LENGTH, "x-amz-trailer": ",".join(header_name(algorithm) for algorithm in algorithms)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("payload", [UNSIGNED_TRAILER, SIGNED_TRAILER])
def test_a_trailing_checksum_is_checked_and_kept(payload: Payload, algorithm: str) -> None:
    body = framed([b"hello", b" world"], payload.signing, trailing(algorithm))
    source = opened(body, payload, announced(algorithm))
    assert read_to_end(source) == HELLO
    assert source.checksums == {algorithm: checksum_of(algorithm, HELLO)}
    wrong = framed([b"HELLO", b" world"], payload.signing, trailing(algorithm))
    assert refused(opened(wrong, payload, announced(algorithm))).code == "BadDigest"


def refused(source: PayloadSource) -> S3Error:
    with pytest.raises(S3Error) as caught:
        read_to_end(source)
    assert source.checksums == {}
    return caught.value


def test_content_md5_is_of_the_objects_bytes() -> None:
    headers = {**LENGTH, "Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww=="}
    assert read_to_end(opened(framed([HELLO]), UNSIGNED_TRAILER, headers)) == HELLO
    assert refused(opened(framed([HELLO.upper()]), UNSIGNED_TRAILER, headers)).code == "BadDigest"


@pytest.mark.parametrize("payload", [SIGNED_CHUNKS, UNSIGNED_TRAILER])
def test_no_trailer_has_to_be_sent(payload: Payload) -> None:
    assert read_to_end(opened(framed([HELLO], payload.signing), payload, LENGTH)) == HELLO


def test_trailers_as_some_senders_end_their_lines() -> None:
    signed = framed([HELLO], SIGNING, trailing())
    front, mark, rest = signed.partition(b"\r\nx-amz-trailer-signature")
    for body in (front + b"\n\r\n" + mark.strip() + rest + b"\r\n\r\n", front + b"\n" + mark.strip() + rest):
        assert read_to_end(opened(body, SIGNED_TRAILER, announced("CRC32"))) == HELLO


@pytest.mark.parametrize(
    ("payload", "trailer", "headers"),
    [
        (UNSIGNED_TRAILER, {}, announced("CRC32")),
        (UNSIGNED_TRAILER, trailing(), LENGTH),
        (UNSIGNED_TRAILER, trailing("SHA1"), announced("CRC32")),
        (UNSIGNED_TRAILER, {"no such": "x"}, announced("CRC32")),
        (UNSIGNED_TRAILER, {"x": "é"}, announced("CRC32")),
        (UNSIGNED_TRAILER, {**trailing(), "X-Amz-Checksum-Crc32": "x"}, announced("CRC32")),
        (UNSIGNED_TRAILER, {**trailing(), "x-amz-trailer-signature": "0" * 64}, announced("CRC32")),
        (UNSIGNED_TRAILER, {"x": "y" * MAX_TRAILER_BYTES}, announced("CRC32")),
    ],
)
def test_a_trailer_that_is_not_what_was_announced_is_refused(
    payload: Payload, trailer: dict[str, str], headers: dict[str, str]
) -> None:
    error = refused(opened(framed([HELLO], None, trailer), payload, headers))
    assert (error.code, error.status) == ("MalformedTrailerError", 400)


def test_a_trailing_checksum_that_is_none_is_refused() -> None:
    body = framed([HELLO], None, {"x-amz-checksum-crc32": "junk"})
    assert refused(opened(body, UNSIGNED_TRAILER, announced("CRC32"))).code == "InvalidRequest"


@pytest.mark.parametrize(
    "headers",
    [
        announced("CRC32", "SHA1"),
        {**announced("CRC32"), "x-amz-checksum-sha1": checksum_of("SHA1", HELLO)},
        {**LENGTH, "x-amz-trailer": "x-amz-meta-a"},
        {**LENGTH, "x-amz-trailer": "x-amz-checksum-md4"},
        {**announced("CRC32"), "x-amz-sdk-checksum-algorithm": "SHA1"},
    ],
)
def test_announcements_that_make_no_sense_are_refused_at_once(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        opened(framed([HELLO]), UNSIGNED_TRAILER, headers)
    assert (caught.value.code, caught.value.status) == ("InvalidRequest", 400)


def test_signed_chunks_take_no_trailer() -> None:
    body = framed([HELLO], SIGNING)[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert refused(opened(body, SIGNED_CHUNKS, LENGTH)).code == "MalformedTrailerError"
    with pytest.raises(S3Error) as caught:
        opened(body, SIGNED_CHUNKS, announced("CRC32"))
    assert caught.value.code == "InvalidRequest"


def test_a_signed_trailer_needs_its_signature() -> None:
    body = framed([HELLO], SIGNING, trailing())
    unsigned = body[: body.index(b"x-amz-trailer-signature")] + b"\r\n"
    assert refused(opened(unsigned, SIGNED_TRAILER, announced("CRC32"))).code == "MalformedTrailerError"
    bare = framed([HELLO], SIGNING)
    assert refused(opened(bare, SIGNED_TRAILER, announced("CRC32"))).code == "MalformedTrailerError"


@pytest.mark.parametrize("chunk", [0, 1, 2, 3])
def test_a_changed_signature_of_chunk_or_trailer_is_refused(chunk: int) -> None:
    body = framed([b"hello", b" world"], SIGNING, trailing())
    parts = body.split(b"signature")
    last = parts[chunk + 1]
    at = 1 + last[1:].index(b"\r\n") - 1
    parts[chunk + 1] = last[:at] + (b"0" if last[at : at + 1] != b"0" else b"1") + last[at + 1 :]
    error = refused(opened(b"signature".join(parts), SIGNED_TRAILER, announced("CRC32")))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize(("old", "new"), [(b"hello", b"HELLO"), (b" world", b" World")])
def test_changed_data_of_a_signed_chunk_is_refused(old: bytes, new: bytes) -> None:
    body = framed([b"hello", b" world"], SIGNING).replace(old, new)
    assert refused(opened(body, SIGNED_CHUNKS, LENGTH)).code == "SignatureDoesNotMatch"


def test_signed_chunks_cannot_change_places_or_be_left_out() -> None:
    body = framed([b"hello", b"HELLO"], SIGNING)
    size = 5 + len("5;chunk-signature=") + 64 + 4
    first, second, rest = body[:size], body[size : 2 * size], body[2 * size :]
    headers = {"x-amz-decoded-content-length": "10"}
    assert read_to_end(opened([first, second, rest], SIGNED_CHUNKS, headers)) == b"helloHELLO"
    for pieces in ([second, first, rest], [first, first, rest], [second, rest]):
        assert refused(opened(pieces, SIGNED_CHUNKS, headers)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("payload", [UNSIGNED_TRAILER, SIGNED_CHUNKS, SIGNED_TRAILER])
def test_a_body_that_ends_early_is_refused(payload: Payload) -> None:
    trailer = None if payload is SIGNED_CHUNKS else trailing()
    headers = announced("CRC32") if trailer else LENGTH
    body = framed([b"hello", b" world"], payload.signing, trailer)
    assert read_to_end(opened(body, payload, headers)) == HELLO
    for end in range(len(body)):
        error = refused(opened(body[:end], payload, headers))
        # A trailer that lacks its last lines still ends like one that was never complete.
        assert error.code in ("IncompleteBody", "MalformedTrailerError")


@pytest.mark.parametrize("length", [0, 10, 12, 5 * 2**40])
def test_another_length_than_announced_is_refused(length: int) -> None:
    headers = {"x-amz-decoded-content-length": str(length)}
    error = refused(opened(framed([b"hello", b" world"]), UNSIGNED_TRAILER, headers))
    assert (error.code, error.status) == ("IncompleteBody", 400)


@pytest.mark.parametrize(
    "body",
    [
        HELLO,
        b"b\nhello world\r\n0\r\n\r\n",
        b"xyz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"b\r\nhello worldXX0\r\n\r\n",
        b"b\r\nhello world\n\n0\r\n\r\n",
        b"f" * 17 + b"\r\n",
        b"0" * (MAX_LINE_BYTES + 1),
        b"5;" + b"x" * MAX_LINE_BYTES + b"\r\nhello\r\n",
    ],
)
def test_another_framing_is_refused(body: bytes) -> None:
    error = refused(opened(body, UNSIGNED_TRAILER, LENGTH))
    assert error.code in ("InvalidRequest", "IncompleteBody")
    assert error.status == 400
    if len(body) > MAX_LINE_BYTES:
        assert error.code == "InvalidRequest"


@pytest.mark.parametrize("line", [b"b", b"b;chunk-signature=", b"b;chunk-signature=" + b"0" * 63, b"b;x=y"])
def test_a_chunk_without_signature_is_refused_where_all_are_signed(line: bytes) -> None:
    error = refused(opened(line + b"\r\nhello world\r\n0\r\n\r\n", SIGNED_CHUNKS, LENGTH))
    assert (error.code, error.status) == ("InvalidRequest", 400)


def test_data_is_passed_on_before_its_chunk_ends() -> None:
    """A chunk may be larger than what fits into memory."""
    body = framed([b"x" * 1000], SIGNING)
    source = opened(
        [body[:200], body[200:300], body[300:]],
        SIGNED_CHUNKS,
        {"x-amz-decoded-content-length": "1000"},
    )
    start = body.index(b"xx")
    assert run(source.read()) == b"x" * (200 - start)
    assert run(source.read()) == b"x" * 100
    assert read_to_end(source) == b"x" * (700 + start)


def test_a_big_piece_is_decoded_in_one_go_elsewhere() -> None:
    data = b"x" * (4 * OFFLOAD_BYTES)
    chunks = [data[:8192]] * (len(data) // 8192)
    offload = Offloads()
    headers = {"x-amz-decoded-content-length": str(len(data))}
    source = opened(framed(chunks, SIGNING), SIGNED_CHUNKS, headers, offload=offload)
    assert run(source.read()) == data
    assert run(source.read()) == b""
    assert offload.count == 1


def test_the_kinds_without_framing_are_not_decoded() -> None:
    body = framed([HELLO])
    assert read_to_end(opened(body, Payload(kind=PayloadKind.UNSIGNED))) == body
