"""The checksums that S3 takes and keeps of an object: running, and as base64 on the wire.

Source: Amazon S3 user guide, "Checking object integrity". Which one a request asks for is in `payload`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol, cast

from awscrt import checksums as crt

HEADER_PREFIX = "x-amz-checksum-"

Piece = bytes | memoryview


class _Hash(Protocol):
    def update(self, data: Piece, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, function: Callable[[Piece, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: Piece, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


_SIZES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32, "MD5": 16}

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
"""By the names of S3's ChecksumAlgorithm. MD5 is no checksum of S3's, but runs here for Content-MD5."""


def _running(algorithm: str) -> _Hash:
    match algorithm:
        case "CRC32":
            return _Crc(zlib.crc32, 4)
        case "CRC32C":
            return _Crc(cast(Callable[[Piece, int], int], crt.crc32c), 4)
        case "CRC64NVME":
            return _Crc(cast(Callable[[Piece, int], int], crt.crc64nvme), 8)
        case "SHA1":
            return hashlib.sha1(usedforsecurity=False)
        case "SHA256":
            return hashlib.sha256()
        case "MD5":
            return hashlib.md5(usedforsecurity=False)
        case _:
            raise ValueError(f"no such checksum algorithm: {algorithm}")


class Checksum:
    """A checksum of the bytes seen so far; raises ValueError for an algorithm that is none."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = _running(algorithm)

    def update(self, data: Piece) -> None:
        """Go on with more bytes; may run in any thread, one at a time."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """The checksum, big-endian for the CRCs."""
        return self._hash.digest()

    def digest_base64(self) -> str:
        """The checksum as S3 writes it into x-amz-checksum-* headers."""
        return base64.b64encode(self.digest()).decode("ascii")


def header_name(algorithm: str) -> str:
    """The header, or trailing header, that carries the checksum; in lower case."""
    return HEADER_PREFIX + algorithm.lower()


def algorithm_of(name: str) -> str | None:
    """The algorithm whose checksum the header (lower case) carries, None for any other header."""
    algorithm = name.removeprefix(HEADER_PREFIX).upper()
    return algorithm if name.startswith(HEADER_PREFIX) and algorithm in ALGORITHMS else None


def digest_size(algorithm: str) -> int:
    """Bytes of the checksum."""
    return _SIZES[algorithm]


def parse_base64(algorithm: str, text: str) -> bytes:
    """The digest that the text stands for; raises ValueError unless canonical base64 of its size."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if len(digest) != _SIZES[algorithm] or base64.b64encode(digest).decode("ascii") != text:
        raise ValueError(f"not the base64 of {_SIZES[algorithm]} bytes")
    return digest


COMBINABLE = ("CRC32", "CRC32C", "CRC64NVME")
"""Of these the checksum of joined bytes follows from the checksums of the pieces."""


def combine(algorithm: str, first: bytes, second: bytes, second_size: int) -> bytes:
    """The checksum of some bytes followed by `second_size` others, from those of both; of COMBINABLE only."""
    match algorithm:
        case "CRC32":
            function = crt.combine_crc32
        case "CRC32C":
            function = crt.combine_crc32c
        case "CRC64NVME":
            function = crt.combine_crc64nvme
        case _:
            raise ValueError(f"not combinable: {algorithm}")
    numbers = (int.from_bytes(digest, "big") for digest in (first, second))
    return cast(int, function(*numbers, second_size)).to_bytes(_SIZES[algorithm], "big")
