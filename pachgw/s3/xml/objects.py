"""Answers in XML that speak of one object: CopyObject, GetObjectAttributes. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from pachgw.s3.metadata.description import checksum_type
from pachgw.s3.metadata.records import Checksum, Description
from pachgw.s3.request.headers import iso_timestamp
from pachgw.s3.xml.render import document, element


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsPage:
    """Which parts of an object GetObjectAttributes is to list."""

    after: int
    """The number of the part before the first."""
    max_parts: int


def render_copy_result(etag: str, last_modified: datetime, checksum: Checksum | None) -> bytes:
    """The answer of CopyObject."""
    return document(
        "CopyObjectResult",
        element("LastModified", iso_timestamp(last_modified)) + element("ETag", etag) + _checksum(checksum),
    )


def render_attributes(
    asked: Collection[str], *, etag: str, size: int, description: Description, page: PartsPage
) -> bytes:
    """The answer of GetObjectAttributes: those of the attributes that were asked for and that there are."""
    parts = []
    if "ETag" in asked:
        parts.append(element("ETag", etag.strip('"')))
    if "Checksum" in asked and description.checksum is not None:
        parts.append(f"<Checksum>{_checksum(description.checksum)}</Checksum>")
    if "ObjectParts" in asked and description.part_sizes:
        parts.append(_object_parts(description, page))
    if "StorageClass" in asked:
        parts.append(element("StorageClass", "STANDARD"))
    if "ObjectSize" in asked:
        parts.append(element("ObjectSize", str(size)))
    return document("GetObjectAttributesResponse", "".join(parts))


def _checksum(checksum: Checksum | None) -> str:
    if checksum is None:
        return ""
    return element(f"Checksum{checksum.algorithm}", checksum.value) + element(
        "ChecksumType", checksum_type(checksum)
    )


def _object_parts(description: Description, page: PartsPage) -> str:
    sizes = description.part_sizes
    last = min(len(sizes), page.after + page.max_parts)
    content = [
        element("IsTruncated", "true" if last < len(sizes) else "false"),
        element("MaxParts", str(page.max_parts)),
    ]
    if last < len(sizes):
        content.append(element("NextPartNumberMarker", str(last)))
    content.append(element("PartNumberMarker", str(page.after)))
    for number in range(page.after + 1, last + 1):
        checksum = ""
        if description.checksum is not None and description.part_checksums:
            name = f"Checksum{description.checksum.algorithm}"
            checksum = element(name, description.part_checksums[number - 1])
        size = element("Size", str(sizes[number - 1]))
        content.append(f"<Part>{checksum}{element('PartNumber', str(number))}{size}</Part>")
    content.append(element("PartsCount", str(len(sizes))))
    return f"<ObjectParts>{''.join(content)}</ObjectParts>"
