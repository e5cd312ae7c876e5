"""What is said of an object in headers: read from a request, written into an answer. Pure.

Content-Type and its like, `x-amz-meta-*`, tags, checksums. How it is kept is in records.py.
"""

from __future__ import annotations

from mimetypes import MimeTypes

from pachgw.messages import RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.records import HEADER_VALUE, KEPT_HEADERS, METADATA_NAME, Checksum, Description, Pairs
from pachgw.s3.metadata.tagset import parse_tagging_header
from pachgw.s3.payload.checksums import header_name

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
"""What S3 says of an object that was put without a type."""

METADATA_PREFIX = "x-amz-meta-"
MAX_METADATA_BYTES = 2048
"""Of names without their prefix and values, in UTF-8."""

# Python's own table alone: the answer does not change with what the machine has installed.
_TYPES = MimeTypes()


def content_type_of(key: str) -> str:
    """The type that the key's extension stands for."""
    # As a path: a key that looks like a URL is none, and one like `data:a/b,` would name its own type.
    name = "/" + key.rpartition("/")[2]
    return _TYPES.guess_type(name, strict=False)[0] or DEFAULT_CONTENT_TYPE


def parse_description(head: RequestHead, *, key: str, checksum: Checksum | None = None) -> Description:
    """What the request that writes the key says of it.

    A Content-Type that the key's extension says anyway is not repeated. Raises MetadataTooLarge,
    InvalidArgument, and what parse_tagging_header does. Source: Amazon S3 API reference, "PutObject"; user
    guide, "Working with object metadata".
    """
    tagging = head.header("x-amz-tagging")
    return Description(
        headers=_kept_headers(head, key),
        metadata=_metadata(head),
        tags=parse_tagging_header(tagging) if tagging is not None else (),
        checksum=checksum,
    )


def description_headers(description: Description, key: str) -> dict[str, str]:
    """The headers of an answer that tell of the object, but for its checksums."""
    headers = {"Content-Type": content_type_of(key)} | dict(description.headers)
    headers |= {METADATA_PREFIX + name: value for name, value in description.metadata}
    if description.tags:
        headers["x-amz-tagging-count"] = str(len(description.tags))
    return headers


def checksum_headers(checksum: Checksum | None) -> dict[str, str]:
    """The headers that tell a checksum of the whole object."""
    if checksum is None:
        return {}
    return {header_name(checksum.algorithm): checksum.value, "x-amz-checksum-type": checksum_type(checksum)}


def checksum_type(checksum: Checksum) -> str:
    """S3's ChecksumType."""
    return "COMPOSITE" if checksum.composite else "FULL_OBJECT"


def _kept_headers(head: RequestHead, key: str) -> Pairs:
    found = []
    for name in KEPT_HEADERS:
        value = _text(head, name.lower())
        if name == "Content-Encoding" and value:
            # The framing of the body is none of the object's encodings.
            codings = (coding.strip() for coding in value.split(","))
            value = ",".join(coding for coding in codings if coding and coding.lower() != "aws-chunked")
        if value and (name != "Content-Type" or value != content_type_of(key)):
            found.append((name, value))
    return tuple(found)


def _metadata(head: RequestHead) -> Pairs:
    names = dict.fromkeys(name.decode("latin-1") for name, _ in head.headers)
    found = [
        (name.removeprefix(METADATA_PREFIX), _text(head, name))
        for name in names
        if name.startswith(METADATA_PREFIX) and name != METADATA_PREFIX
    ]
    for name, _ in found:
        if not METADATA_NAME.fullmatch(name):
            raise S3Error("InvalidArgument", "The name of a metadata header is not one.", ArgumentName=name)
    size = sum(len(name) + len(value.encode("utf-8", "surrogateescape")) for name, value in found)
    if size > MAX_METADATA_BYTES:
        raise S3Error(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(MAX_METADATA_BYTES),
        )
    return tuple(found)


def _text(head: RequestHead, name: str) -> str:
    """The header as its bytes came, "" where it did not; what is no UTF-8 goes out again as it came in.

    Raises InvalidArgument for control characters, which no answer could have.
    """
    value = b",".join(head.values(name.encode("latin-1"))).decode("utf-8", "surrogateescape")
    if not HEADER_VALUE.fullmatch(value):
        raise S3Error("InvalidArgument", "A header value has no control characters.", ArgumentName=name)
    return value
