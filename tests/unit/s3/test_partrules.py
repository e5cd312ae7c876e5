"""What S3 asks of parts: numbers, ranges, order, sizes, checksums."""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime

import pytest

from pachgw.s3.errors import S3Error
from pachgw.s3.multipart.rules import (
    MAX_PART_BYTES,
    MIN_PART_BYTES,
    Expected,
    ListedPart,
    check_part_checksum,
    choose_parts,
    parse_checksum_kind,
    parse_copy_range,
    parse_expected,
    parse_part_number,
    whole_checksum,
)
from pachgw.s3.multipart.uploads import ChecksumKind, Part, PartChecksum
from pachgw.s3.request.headers import etag_of

NOW = datetime(2031, 1, 1, tzinfo=UTC)


def crc32(data: bytes) -> PartChecksum:
    return PartChecksum(
        algorithm="CRC32", value=base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    )


def sha256(data: bytes) -> PartChecksum:
    return PartChecksum(algorithm="SHA256", value=base64.b64encode(hashlib.sha256(data).digest()).decode())


def part(number: int, size: int = MIN_PART_BYTES, checksum: PartChecksum | None = None) -> Part:
    return Part(
        number=number,
        path=f"/parts/{number}",
        size=size,
        hash=bytes([number]) * 32,
        uploaded=NOW,
        checksum=checksum,
    )


def listed(number: int, *checksums: PartChecksum, etag: str | None = None) -> ListedPart:
    return ListedPart(
        number=number, etag=etag_of(bytes([number]) * 32) if etag is None else etag, checksums=checksums
    )


def code_of(caught: pytest.ExceptionInfo[S3Error]) -> str:
    return caught.value.code


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("10000", 10_000), ("007", 7)])
def test_part_numbers(text: str, number: int) -> None:
    assert parse_part_number(text) == number


@pytest.mark.parametrize("text", [None, "", "0", "10001", "-1", "+1", "1.0", "junk", "١", "9" * 5000])
def test_what_is_no_part_number(text: str | None) -> None:
    with pytest.raises(S3Error) as caught:
        parse_part_number(text)
    assert code_of(caught) == "InvalidArgument"


@pytest.mark.parametrize(
    ("text", "size", "found"),
    [(None, 7, (0, 7)), (None, 0, (0, 0)), ("bytes=0-6", 7, (0, 7)), ("bytes=2-2", 7, (2, 1))],
)
def test_copy_ranges(text: str | None, size: int, found: tuple[int, int]) -> None:
    assert parse_copy_range(text, size) == found


@pytest.mark.parametrize(
    "text",
    [
        "bytes=0-7",
        "bytes=7-8",
        "bytes=3-2",
        "bytes=-3",
        "bytes=3-",
        "0-2",
        "bytes 0-2",
        "bytes=hello-world",
        "",
    ],
)
def test_what_is_no_copy_range(text: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_copy_range(text, 7)
    assert code_of(caught) == "InvalidArgument"


@pytest.mark.parametrize("text", [None, f"bytes=0-{MAX_PART_BYTES}"])
def test_a_copy_that_is_too_large(text: str | None) -> None:
    with pytest.raises(S3Error) as caught:
        parse_copy_range(text, MAX_PART_BYTES + 1)
    assert code_of(caught) == "InvalidRequest"


def lookup(**headers: str) -> dict[str, str]:
    return {"x-amz-" + name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, None),
        ({"checksum_algorithm": "crc32"}, ("CRC32", True)),
        ({"checksum_algorithm": "CRC64NVME"}, ("CRC64NVME", False)),
        ({"checksum_algorithm": "SHA256"}, ("SHA256", True)),
        ({"checksum_algorithm": "CRC32C", "checksum_type": "FULL_OBJECT"}, ("CRC32C", False)),
        ({"checksum_algorithm": "SHA1", "checksum_type": "COMPOSITE"}, ("SHA1", True)),
    ],
)
def test_checksum_kinds(headers: dict[str, str], kind: tuple[str, bool] | None) -> None:
    wanted = None if kind is None else ChecksumKind(algorithm=kind[0], composite=kind[1])
    assert parse_checksum_kind(lookup(**headers).get) == wanted


@pytest.mark.parametrize(
    "headers",
    [
        {"checksum_algorithm": "MD5"},
        {"checksum_algorithm": ""},
        {"checksum_type": "COMPOSITE"},
        {"checksum_algorithm": "CRC32", "checksum_type": "whole"},
        {"checksum_algorithm": "SHA256", "checksum_type": "FULL_OBJECT"},
        {"checksum_algorithm": "CRC64NVME", "checksum_type": "COMPOSITE"},
    ],
)
def test_checksum_kinds_that_there_are_not(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        parse_checksum_kind(lookup(**headers).get)
    assert code_of(caught) == "InvalidRequest"


def test_expected() -> None:
    headers = lookup(checksum_crc32="AAAAAA==-3", checksum_type="COMPOSITE", mp_object_size="12")
    assert parse_expected(headers.get) == Expected(
        size=12, composite=True, checksum=PartChecksum(algorithm="CRC32", value="AAAAAA==-3")
    )
    assert parse_expected({}.get) == Expected()


@pytest.mark.parametrize(
    "headers",
    [
        {"checksum_crc32": "bad"},
        {"checksum_crc32": "AAAAAA==", "checksum_crc32c": "AAAAAA=="},
        {"checksum_type": "whole"},
        {"mp_object_size": "-1"},
        {"mp_object_size": "many"},
    ],
)
def test_expected_that_cannot_be(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        parse_expected(lookup(**headers).get)
    assert code_of(caught) == "InvalidRequest"


def test_a_part_of_another_checksum() -> None:
    check_part_checksum(None, "SHA1")
    check_part_checksum(ChecksumKind(algorithm="SHA1", composite=True), "SHA1")
    with pytest.raises(S3Error) as caught:
        check_part_checksum(ChecksumKind(algorithm="CRC32", composite=True), "SHA1")
    assert code_of(caught) == "InvalidRequest"


PARTS = {1: part(1), 2: part(2, 3), 3: part(3), 9: part(9, 1, crc32(b"x"))}


@pytest.mark.parametrize("numbers", [[1], [2], [9], [1, 3], [1, 3, 9], [1, 2]])
def test_parts_that_make_an_object(numbers: list[int]) -> None:
    chosen = choose_parts([listed(number) for number in numbers], PARTS, upload_id="u")
    assert [one.number for one in chosen] == numbers


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ([listed(3), listed(1)], "InvalidPartOrder"),
        ([listed(1), listed(1)], "InvalidPartOrder"),
        ([listed(7), listed(6)], "InvalidPartOrder"),
        ([listed(4)], "InvalidPart"),
        ([listed(0)], "InvalidPart"),
        ([listed(1, etag="")], "InvalidPart"),
        ([listed(1, etag='"junk"')], "InvalidPart"),
        ([listed(1, etag=etag_of(bytes([2]) * 32))], "InvalidPart"),
        ([listed(9, crc32(b"y"))], "InvalidPart"),
        ([listed(9, sha256(b"x"))], "InvalidPart"),
        ([listed(1, crc32(b"x"))], "InvalidPart"),
        ([listed(2), listed(3)], "EntityTooSmall"),
        ([listed(2), listed(4)], "InvalidPart"),
    ],
)
def test_parts_that_make_none(wanted: list[ListedPart], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        choose_parts(wanted, PARTS, upload_id="u")
    assert code_of(caught) == code


def test_etags_count_without_their_quotes() -> None:
    bare = etag_of(bytes([1]) * 32).strip('"')
    assert choose_parts([listed(1, etag=bare)], PARTS, upload_id="u") == [PARTS[1]]
    assert choose_parts([listed(9, crc32(b"x"))], PARTS, upload_id="u") == [PARTS[9]]


def test_an_object_that_is_too_large() -> None:
    parts = {number: part(number, MAX_PART_BYTES) for number in range(1, 256)}
    wanted = [ListedPart(number=number, etag=etag_of(bytes([number]) * 32)) for number in range(1, 256)]
    assert len(choose_parts(wanted, parts, upload_id="u")) == 255
    whole = 255 * MAX_PART_BYTES
    assert len(choose_parts(wanted, parts, upload_id="u", most_bytes=whole)) == 255
    with pytest.raises(S3Error) as caught:
        choose_parts(wanted, parts, upload_id="u", most_bytes=whole - 1)
    assert (code_of(caught), caught.value.fields["MaxSizeAllowed"]) == ("EntityTooLarge", str(whole - 1))
    parts[255] = part(255, 6 * 1024**4)
    with pytest.raises(S3Error) as caught:
        choose_parts(wanted, parts, upload_id="u")
    assert code_of(caught) == "EntityTooLarge"


PIECES = (b"a" * 10, b"b" * 7, b"")
CRC_PARTS = [part(number, len(piece), crc32(piece)) for number, piece in enumerate(PIECES, 1)]
SHA_PARTS = [part(number, len(piece), sha256(piece)) for number, piece in enumerate(PIECES, 1)]
FULL = ChecksumKind(algorithm="CRC32", composite=False)
COMPOSITE = ChecksumKind(algorithm="SHA256", composite=True)
WHOLE_CRC = crc32(b"".join(PIECES))
WHOLE_SHA = (
    base64.b64encode(
        hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in PIECES)).digest()
    ).decode()
    + "-3"
)


def test_the_checksum_of_the_whole() -> None:
    checksum, values = whole_checksum(FULL, Expected(), CRC_PARTS)
    assert checksum is not None
    assert (checksum.algorithm, checksum.value, checksum.composite) == ("CRC32", WHOLE_CRC.value, False)
    assert values == tuple(crc32(piece).value for piece in PIECES)
    checksum, values = whole_checksum(COMPOSITE, Expected(size=17, composite=True), SHA_PARTS)
    assert checksum is not None
    assert (checksum.value, checksum.composite) == (WHOLE_SHA, True)


def test_without_a_kind_there_is_one_only_where_it_is_asked_for() -> None:
    assert whole_checksum(None, Expected(), CRC_PARTS) == (None, ())
    checksum, _ = whole_checksum(None, Expected(checksum=WHOLE_CRC), CRC_PARTS)
    assert checksum is not None
    assert checksum.value == WHOLE_CRC.value
    wanted = PartChecksum(algorithm="SHA256", value=WHOLE_SHA)
    checksum, _ = whole_checksum(None, Expected(checksum=wanted), SHA_PARTS)
    assert checksum is not None
    assert checksum.composite


@pytest.mark.parametrize("value", [WHOLE_SHA, WHOLE_SHA.removesuffix("-3")])
def test_a_composite_one_is_expected_with_or_without_its_number(value: str) -> None:
    wanted = PartChecksum(algorithm="SHA256", value=value)
    assert whole_checksum(COMPOSITE, Expected(checksum=wanted), SHA_PARTS)[0] is not None


@pytest.mark.parametrize(
    ("kind", "expected", "parts", "code"),
    [
        (None, Expected(size=16), CRC_PARTS, "InvalidRequest"),
        (FULL, Expected(composite=True), CRC_PARTS, "InvalidRequest"),
        (FULL, Expected(checksum=crc32(b"other")), CRC_PARTS, "BadDigest"),
        (FULL, Expected(checksum=sha256(b"")), CRC_PARTS, "InvalidRequest"),
        (FULL, Expected(), SHA_PARTS, "InvalidRequest"),
        (FULL, Expected(), [part(1)], "InvalidRequest"),
        (None, Expected(checksum=WHOLE_CRC), [part(1)], "InvalidRequest"),
        (None, Expected(checksum=sha256(b""), composite=False), SHA_PARTS, "InvalidRequest"),
        (
            COMPOSITE,
            Expected(checksum=PartChecksum(algorithm="SHA256", value=WHOLE_SHA.replace("-3", "-2"))),
            SHA_PARTS,
            "BadDigest",
        ),
    ],
)
def test_a_whole_that_is_another(
    kind: ChecksumKind | None, expected: Expected, parts: list[Part], code: str
) -> None:
    with pytest.raises(S3Error) as caught:
        whole_checksum(kind, expected, parts)
    assert code_of(caught) == code
