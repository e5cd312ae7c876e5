"""The checksum of a whole from those of its parts, however it is cut."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.multipart.rules import Expected, whole_checksum
from pachgw.s3.multipart.uploads import ChecksumKind, Part, PartChecksum
from pachgw.s3.payload.checksums import COMBINABLE, Checksum, combine

algorithms = st.sampled_from(COMBINABLE)
pieces = st.lists(st.binary(max_size=50), min_size=1, max_size=8)


def digest(algorithm: str, data: bytes) -> bytes:
    running = Checksum(algorithm)
    running.update(data)
    return running.digest()


@given(algorithms, st.binary(max_size=300), st.binary(max_size=300))
def test_two_pieces(algorithm: str, one: bytes, other: bytes) -> None:
    joined = combine(algorithm, digest(algorithm, one), digest(algorithm, other), len(other))
    assert joined == digest(algorithm, one + other)


@given(algorithms, pieces)
def test_parts(algorithm: str, data: list[bytes]) -> None:
    parts = [
        Part(
            number=number,
            path="/",
            size=len(piece),
            hash=b"",
            uploaded=datetime(2031, 1, 1, tzinfo=UTC),
            checksum=PartChecksum(
                algorithm=algorithm, value=base64.b64encode(digest(algorithm, piece)).decode()
            ),
        )
        for number, piece in enumerate(data, 1)
    ]
    whole, _ = whole_checksum(ChecksumKind(algorithm=algorithm, composite=False), Expected(), parts)
    assert whole is not None
    assert base64.b64decode(whole.value) == digest(algorithm, b"".join(data))
    made, values = whole_checksum(ChecksumKind(algorithm=algorithm, composite=True), Expected(), parts)
    assert made is not None
    joined = b"".join(map(base64.b64decode, values))
    assert made.value == f"{base64.b64encode(digest(algorithm, joined)).decode()}-{len(data)}"
