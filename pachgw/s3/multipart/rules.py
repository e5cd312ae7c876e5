"""What S3 asks of the parts of an upload: numbers, sizes, order, checksums, also of the whole. Pure.

Source: Amazon S3 API reference, "CreateMultipartUpload", "CompleteMultipartUpload"; user guide, "Multipart
upload limits" and "Checking object integrity".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.records import MAX_PARTS
from pachgw.s3.metadata.records import Checksum as KeptChecksum
from pachgw.s3.multipart.uploads import ChecksumKind, Part, PartChecksum
from pachgw.s3.payload.checksums import ALGORITHMS, COMBINABLE, Checksum, combine, header_name, parse_base64
from pachgw.s3.payload.source import MAX_OBJECT_BYTES, too_large
from pachgw.s3.request.conditions import Headers
from pachgw.s3.request.headers import etag_of

MIN_PART_BYTES = 5 * 1024**2
"""Of every part but the last."""
MAX_PART_BYTES = 5 * 1024**3

_ALGORITHM = "x-amz-checksum-algorithm"
_TYPE = "x-amz-checksum-type"
_NUMBER = re.compile(r"[0-9]{1,10}")
_SIZE = re.compile(r"[0-9]{1,20}")
_RANGE = re.compile(r"bytes=([0-9]{1,20})-([0-9]{1,20})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPart:
    """A part as CompleteMultipartUpload lists it."""

    number: int
    etag: str
    checksums: tuple[PartChecksum, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What CompleteMultipartUpload says of the whole object."""

    size: int | None = None
    composite: bool | None = None
    checksum: PartChecksum | None = None
    """Of a composite one, perhaps with `-` and the number of parts."""


def parse_part_number(text: str | None) -> int:
    """The number of a part, from 1 to 10,000; raises InvalidArgument."""
    if text is None or not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_PARTS:
        raise S3Error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text or "",
        )
    return int(text)


def part_too_large(size: int) -> S3Error:
    """EntityTooLarge for a part of that many bytes."""
    return too_large(size, MAX_PART_BYTES)


def parse_copy_range(text: str | None, size: int) -> tuple[int, int]:
    """Start and length of the bytes that x-amz-copy-source-range asks for; all without it.

    Raises InvalidArgument for another form than `bytes=first-last` and for bytes that the source has not;
    InvalidRequest for more than a part may have.
    """
    start, length = 0, size
    if text is not None:
        match = _RANGE.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            raise _bad_copy_range(
                text, "The x-amz-copy-source-range value must be of the form bytes=first-last"
            )
        if int(match[2]) >= size:
            raise _bad_copy_range(text, f"Range specified is not valid for source object of size: {size}")
        start, length = int(match[1]), int(match[2]) + 1 - int(match[1])
    if length > MAX_PART_BYTES:
        raise S3Error(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source: "
            f"{MAX_PART_BYTES}",
        )
    return start, length


def parse_checksum_kind(headers: Headers) -> ChecksumKind | None:
    """The checksum that CreateMultipartUpload asks for, None for none. Raises InvalidRequest."""
    algorithm, kind = headers(_ALGORITHM), headers(_TYPE)
    if algorithm is None:
        if kind is not None:
            raise _bad_request(f"The {_TYPE} header can only be used with the {_ALGORITHM} header.")
        return None
    name = algorithm.upper()
    if name not in ALGORITHMS:
        raise _bad_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(ALGORITHMS)}]"
        )
    composite = name != "CRC64NVME" if kind is None else _is_composite(kind)
    if (composite and name == "CRC64NVME") or (not composite and name not in COMBINABLE):
        shown = "COMPOSITE" if composite else "FULL_OBJECT"
        raise _bad_request(
            f"The {shown} checksum type cannot be used with the {name.lower()} checksum algorithm."
        )
    return ChecksumKind(algorithm=name, composite=composite)


def parse_expected(headers: Headers) -> Expected:
    """What the headers of CompleteMultipartUpload say of the whole. Raises InvalidRequest."""
    found = [(name, value) for name in ALGORITHMS if (value := headers(header_name(name))) is not None]
    if len(found) > 1:
        raise _bad_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    checksum = None
    for algorithm, value in found:
        try:
            parse_base64(algorithm, value.partition("-")[0])
        except ValueError:
            raise _bad_request(f"Value for {header_name(algorithm)} header is invalid.") from None
        checksum = PartChecksum(algorithm=algorithm, value=value)
    size = headers("x-amz-mp-object-size")
    if size is not None and not _SIZE.fullmatch(size):
        raise _bad_request("Value for x-amz-mp-object-size header is invalid.")
    kind = headers(_TYPE)
    return Expected(
        size=None if size is None else int(size),
        composite=None if kind is None else _is_composite(kind),
        checksum=checksum,
    )


def check_part_checksum(kind: ChecksumKind | None, algorithm: str) -> None:
    """Return where a part may bring this checksum; raises InvalidRequest."""
    if kind is not None and algorithm != kind.algorithm:
        raise _bad_request(
            f"Checksum Type mismatch occurred, expected checksum Type: {kind.algorithm.lower()}, "
            f"actual checksum Type: {algorithm.lower()}"
        )


def choose_parts(
    listed: Sequence[ListedPart],
    parts: Mapping[int, Part],
    *,
    upload_id: str,
    most_bytes: int = MAX_OBJECT_BYTES,
) -> list[Part]:
    """The parts that make the object, in order, of at most so many bytes.

    Raises InvalidPartOrder, InvalidPart for one that is not there or is another, EntityTooSmall,
    EntityTooLarge.
    """
    if any(one.number >= next_one.number for one, next_one in pairwise(listed)):
        raise S3Error(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts list must be specified in order by part "
            "number.",
            UploadId=upload_id,
        )
    chosen = []
    for one in listed:
        part = parts.get(one.number)
        if part is None or not _is_same(one, part):
            raise invalid_part(one, upload_id=upload_id)
        chosen.append(part)
    for one, part in zip(listed[:-1], chosen, strict=False):
        if part.size < MIN_PART_BYTES:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(one.number),
                ETag=one.etag.strip('"'),
            )
    if (size := sum(part.size for part in chosen)) > most_bytes:
        raise too_large(size, most_bytes)
    return chosen


def invalid_part(one: ListedPart, *, upload_id: str) -> S3Error:
    """InvalidPart for the part."""
    return S3Error(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
        UploadId=upload_id,
        PartNumber=str(one.number),
        ETag=one.etag.strip('"'),
    )


def _is_same(listed: ListedPart, part: Part) -> bool:
    if listed.etag.strip('"') != etag_of(part.hash).strip('"'):
        return False
    # Of another kind than is kept nothing is known, so it cannot be said to be right.
    return all(checksum == part.checksum for checksum in listed.checksums)


def whole_checksum(
    kind: ChecksumKind | None, expected: Expected, parts: Sequence[Part]
) -> tuple[KeptChecksum | None, tuple[str, ...]]:
    """The checksum of the object, and those of its parts.

    Without `kind` there is one only where the request names it and every part has one of that algorithm.
    Raises InvalidRequest for another kind or size than was expected, BadDigest for another value.
    """
    if expected.size is not None and expected.size != (size := sum(part.size for part in parts)):
        raise _bad_request(
            f"The provided 'x-amz-mp-object-size' header value {expected.size} does not match what was "
            f"computed: {size}"
        )
    if kind is None:
        kind = _kind_by_request(expected)
        if kind is None:
            return None, ()
    if expected.composite is not None and expected.composite != kind.composite:
        shown = "COMPOSITE" if kind.composite else "FULL_OBJECT"
        raise _bad_request(
            f"The upload was created using the {shown} checksum mode. The complete request must use the same "
            "checksum mode."
        )
    values = []
    for part in parts:
        if part.checksum is None or part.checksum.algorithm != kind.algorithm:
            raise _bad_request(
                f"The upload was created using a {kind.algorithm.lower()} checksum. Part {part.number} has "
                "none."
            )
        values.append(part.checksum.value)
    checksum = _of_whole(kind, [base64.b64decode(value) for value in values], [part.size for part in parts])
    if expected.checksum is not None:
        check_part_checksum(kind, expected.checksum.algorithm)
        wanted = expected.checksum.value
        if wanted != checksum.value and not (kind.composite and wanted == checksum.value.partition("-")[0]):
            raise S3Error(
                "BadDigest",
                f"The {kind.algorithm.lower()} you specified did not match the calculated checksum.",
                ExpectedDigest=wanted,
                CalculatedDigest=checksum.value,
            )
    return checksum, tuple(values)


def _kind_by_request(expected: Expected) -> ChecksumKind | None:
    if expected.checksum is None:
        return None
    algorithm = expected.checksum.algorithm
    composite = expected.composite
    if composite is None:
        composite = algorithm not in COMBINABLE or "-" in expected.checksum.value
    return ChecksumKind(algorithm=algorithm, composite=composite)


def _of_whole(kind: ChecksumKind, digests: Sequence[bytes], sizes: Sequence[int]) -> KeptChecksum:
    if kind.composite:
        running = Checksum(kind.algorithm)
        for digest in digests:
            running.update(digest)
        value = f"{running.digest_base64()}-{len(digests)}"
        return KeptChecksum(algorithm=kind.algorithm, value=value, composite=True)
    if kind.algorithm not in COMBINABLE:
        raise _bad_request(
            "The FULL_OBJECT checksum type cannot be used with the "
            f"{kind.algorithm.lower()} checksum algorithm."
        )
    whole = Checksum(kind.algorithm).digest()
    for digest, size in zip(digests, sizes, strict=True):
        whole = combine(kind.algorithm, whole, digest, size)
    return KeptChecksum(algorithm=kind.algorithm, value=base64.b64encode(whole).decode())


def parse_part_checksum(algorithm: str, value: str) -> PartChecksum:
    """A checksum in the list of CompleteMultipartUpload; raises ValueError."""
    try:
        parse_base64(algorithm, value)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    return PartChecksum(algorithm=algorithm, value=value)


def _is_composite(kind: str) -> bool:
    if kind not in ("COMPOSITE", "FULL_OBJECT"):
        raise _bad_request(f"Value for {_TYPE} header is invalid.")
    return kind == "COMPOSITE"


def _bad_copy_range(text: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName="x-amz-copy-source-range", ArgumentValue=text)


def _bad_request(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)
