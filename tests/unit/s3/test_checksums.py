"""Checksums: known values, running over pieces, strict base64."""

from __future__ import annotations

import pytest

from pachgw.s3.payload.checksums import ALGORITHMS, Checksum, algorithm_of, header_name, parse_base64

# "Check" values of the catalogue of parametrised CRC algorithms; FIPS 180 for the hashes.
CHECK = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "MD5": "25f9e794323b453885f5181f1b624d0b",
}


@pytest.mark.parametrize("algorithm", CHECK)
def test_known_values_over_any_pieces(algorithm: str) -> None:
    data = b"123456789"
    for size in (1, 2, 9):
        checksum = Checksum(algorithm)
        for start in range(0, len(data), size):
            checksum.update(memoryview(data)[start : start + size])
        assert checksum.digest().hex() == CHECK[algorithm]
        assert parse_base64(algorithm, checksum.digest_base64()) == checksum.digest()


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="CRC16"):
        Checksum("CRC16")


@pytest.mark.parametrize(
    "text",
    ["", "yzOJJg", "yzOJJg=", "yzOJJh==", " yzOJJg==", "yzOJJg==\n", "yzOJ", "y!OJJg==", "zwAAAAAA", "é"],
)
def test_only_canonical_base64_of_the_right_size_is_taken(text: str) -> None:
    assert parse_base64("CRC32", "yzOJJg==").hex() == "cb338926"
    with pytest.raises(ValueError, match="base64"):
        parse_base64("CRC32", text)


def test_headers_and_algorithms_belong_together() -> None:
    assert [algorithm_of(header_name(algorithm)) for algorithm in ALGORITHMS] == list(ALGORITHMS)
    for name in ("x-amz-checksum-md5", "x-amz-checksum-type", "x-amz-meta-crc32", "crc32", ""):
        assert algorithm_of(name) is None
