"""aws-chunked: every split of a body gives the same bytes, and nothing but the right bytes is accepted."""

from __future__ import annotations

import pytest
from bodies import SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER, framed, opened, read_to_end, run
from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.s3.auth import Payload, PayloadKind
from pachgw.s3.errors import S3Error
from pachgw.s3.payload.checksums import ALGORITHMS, Checksum, header_name

payloads = st.sampled_from([SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER])
chunk_lists = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
cuts = st.lists(st.integers(min_value=0, max_value=1000), max_size=20)


def prepared(
    payload: Payload, chunks: list[bytes], algorithm: str
) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """Body, headers, and the checksums that reading it gives."""
    data = b"".join(chunks)
    headers = {"x-amz-decoded-content-length": str(len(data))}
    if payload.kind is PayloadKind.SIGNED_CHUNKS:
        return framed(chunks, payload.signing), headers, {}
    checksum = Checksum(algorithm)
    checksum.update(data)
    value = checksum.digest_base64()
    body = framed(chunks, payload.signing, {header_name(algorithm): value})
    return body, {**headers, "x-amz-trailer": header_name(algorithm)}, {algorithm: value}


def split(body: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(body)) for cut in at} | {len(body)})
    return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=200, deadline=None)
@given(payloads, chunk_lists, st.sampled_from(ALGORITHMS), cuts)
def test_every_split_gives_the_same_bytes(
    payload: Payload, chunks: list[bytes], algorithm: str, at: list[int]
) -> None:
    body, headers, checksums = prepared(payload, chunks, algorithm)
    source = opened(split(body, at), payload, headers)
    assert read_to_end(source) == b"".join(chunks)
    assert source.checksums == checksums


@settings(max_examples=30, deadline=None)
@given(payloads, chunk_lists, st.sampled_from(ALGORITHMS))
def test_byte_by_byte_too(payload: Payload, chunks: list[bytes], algorithm: str) -> None:
    body, headers, checksums = prepared(payload, chunks, algorithm)
    source = opened([body[at : at + 1] for at in range(len(body))], payload, headers)
    assert read_to_end(source) == b"".join(chunks)
    assert source.checksums == checksums


@settings(max_examples=200, deadline=None)
@given(payloads, chunk_lists, st.integers(0, 2000), st.integers(1, 255), cuts)
def test_a_changed_byte_is_never_accepted_as_other_data(
    payload: Payload, chunks: list[bytes], where: int, change: int, at: list[int]
) -> None:
    body, headers, _ = prepared(payload, chunks, "CRC32C")
    where %= len(body)
    changed = body[:where] + bytes([body[where] ^ change]) + body[where + 1 :]
    source = opened(split(changed, at), payload, headers)
    try:
        accepted = read_to_end(source)
    except S3Error as error:
        assert error.status in (400, 403)
    else:
        # Only what says the same otherwise: the case of a hexadecimal digit, of a trailer's name.
        assert accepted == b"".join(chunks)


@settings(max_examples=100, deadline=None)
@given(payloads, chunk_lists, st.integers(0, 2000), cuts)
def test_a_body_that_ends_early_is_never_accepted(
    payload: Payload, chunks: list[bytes], end: int, at: list[int]
) -> None:
    body, headers, _ = prepared(payload, chunks, "CRC32")
    source = opened(split(body[: end % len(body)], at), payload, headers)
    with pytest.raises(S3Error):
        read_to_end(source)


@settings(max_examples=200, deadline=None)
@given(
    payloads,
    st.lists(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [b"\r\n", b"0", b"5", b";chunk-signature=", b"0" * 64, b"hello", b":", b"x-amz-"]
            ),
        ),
        max_size=12,
    ),
    st.integers(0, 20),
)
def test_junk_is_refused_or_has_the_announced_length(
    payload: Payload, parts: list[bytes], length: int
) -> None:
    source = opened(parts, payload, {"x-amz-decoded-content-length": str(length)})
    try:
        data = read_to_end(source)
    except S3Error as error:
        assert error.status in (400, 403)
    else:
        assert len(data) == length
        assert payload.signing is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), cuts)
def test_pieces_come_out_as_large_as_they_came_in(data: bytes, at: list[int]) -> None:
    """Data is passed on at once: a read gives all that one piece of the body held."""
    body = framed([data] if data else [])
    start = body.index(b"\r\n") + 2 if data else len(body)
    source = opened(split(body, at), UNSIGNED_TRAILER, {"x-amz-decoded-content-length": str(len(data))})
    seen = 0
    for piece in split(body, at):
        seen += len(piece)
        expected = max(0, min(seen, start + len(data)) - max(start, seen - len(piece)))
        if expected:
            assert len(run(source.read())) == expected
    assert run(source.read()) == b""
