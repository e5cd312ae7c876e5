"""GetObjectAttributes: what is kept of an object beside its bytes, in one answer."""

from __future__ import annotations

import re

from pachgw.messages import Response
from pachgw.s3.actions.finding import find_object
from pachgw.s3.actions.metadata import find_description
from pachgw.s3.context import Call
from pachgw.s3.errors import S3Error
from pachgw.s3.request.headers import http_date
from pachgw.s3.xml.objects import PartsPage, render_attributes

ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
MAX_PARTS = 1000
"""The most parts in one answer."""

_NUMBER = re.compile(r"[0-9]{1,9}")


async def get_object_attributes(call: Call) -> Response:
    """S3 GetObjectAttributes. Raises NoSuchKey, NoSuchVersion, NoSuchBucket, InvalidArgument."""
    names = _asked_for(call)
    page = PartsPage(
        after=_number(call, "x-amz-part-number-marker", 0),
        max_parts=min(_number(call, "x-amz-max-parts", MAX_PARTS), MAX_PARTS),
    )
    found = await find_object(call)
    description = await find_description(call, found.repo, found.info)
    body = render_attributes(names, etag=found.etag, size=found.info.size, description=description, page=page)
    headers = (
        ("Content-Type", "application/xml"),
        ("Last-Modified", http_date(found.last_modified)),
        ("x-amz-version-id", found.version_id),
    )
    return Response(status=200, headers=headers, body=body)


def _asked_for(call: Call) -> frozenset[str]:
    name = "x-amz-object-attributes"
    text = call.head.header(name) or ""
    asked = frozenset(part.strip() for part in text.split(",")) - {""}
    if not asked or not asked <= ATTRIBUTES:
        raise S3Error(
            "InvalidArgument", "Invalid attribute name specified.", ArgumentName=name, ArgumentValue=text
        )
    return asked


def _number(call: Call, name: str, default: int) -> int:
    text = call.head.header(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise S3Error("InvalidArgument", "The value is not a number.", ArgumentName=name, ArgumentValue=text)
    return int(text)
