"""Answers in XML, as bytes. Pure; what is in them is decided elsewhere.

XML 1.0 has no way to write most control characters. A name in a listing or in the answer to DeleteObjects is
then written as S3 does, as a numeric reference (`&#x1;`), which tells the name and which a strict parser
refuses: encoding-type=url, which SDKs ask for, is the way to list such keys. An error, which is for people to
read, has U+FFFD in their place and is always well-formed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from pachgw.s3.headers import iso_timestamp
from pachgw.s3.listing import ListParams, Page

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

OWNER_ID = "0" * 32
"""Buckets and objects have no owners of their own; this one is that of Pachyderm's own gateway."""
OWNER_NAME = "pachyderm"

_OWNER = f"<Owner><ID>{OWNER_ID}</ID><DisplayName>{OWNER_NAME}</DisplayName></Owner>"

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
# Beside markup: what parsers change (CR) or what editors and loggers do (tab, newline), and what XML has not.
_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketEntry:
    """One bucket of ListBuckets."""

    name: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteError:
    """One object that DeleteObjects did not delete."""

    key: str
    code: str
    message: str
    version_id: str | None = None


def escape(text: str) -> str:
    """The text as content of an element, every character by itself or as a reference."""
    return _SPECIAL.sub(lambda match: _MARKUP.get(match[0]) or f"&#x{ord(match[0]):X};", text)


def render_error(code: str, message: str, resource: str, request_id: str, fields: Mapping[str, str]) -> bytes:
    """S3's error document; `fields` are further elements, in their order. Always well-formed."""
    elements = {"Code": code, "Message": message, **fields, "Resource": resource, "RequestId": request_id}
    content = "".join(_element(name, _NOT_XML.sub("\ufffd", value)) for name, value in elements.items())
    return f"{DECLARATION}<Error>{content}</Error>".encode()


def render_buckets(buckets: Iterable[BucketEntry]) -> bytes:
    """The answer of ListBuckets, in the order given."""
    content = "".join(
        f"<Bucket>{_element('Name', bucket.name)}"
        f"<CreationDate>{iso_timestamp(bucket.created)}</CreationDate></Bucket>"
        for bucket in buckets
    )
    return _document("ListAllMyBucketsResult", f"{_OWNER}<Buckets>{content}</Buckets>")


def render_location(region: str) -> bytes:
    """The answer of GetBucketLocation."""
    return _document("LocationConstraint", escape(region))


def render_versioning(status: str) -> bytes:
    """The answer of GetBucketVersioning; `status` is Enabled or Suspended."""
    return _document("VersioningConfiguration", _element("Status", status))


def render_list_objects(bucket: str, params: ListParams, page: Page) -> bytes:
    """The answer of ListObjects (version 1)."""
    name = _name_writer(params)
    parts = [
        _element("Name", bucket),
        _element("Prefix", name(params.prefix)),
        _element("Marker", name(params.marker)),
    ]
    if page.next_marker is not None:
        parts.append(_element("NextMarker", name(page.next_marker)))
    parts.append(_element("MaxKeys", str(params.max_keys)))
    return _list_document(parts, params, page)


def render_list_objects_v2(bucket: str, params: ListParams, page: Page) -> bytes:
    """The answer of ListObjectsV2."""
    name = _name_writer(params)
    parts = [_element("Name", bucket), _element("Prefix", name(params.prefix))]
    if params.start_after:
        parts.append(_element("StartAfter", name(params.start_after)))
    if params.raw_token is not None:
        parts.append(_element("ContinuationToken", params.raw_token))
    if page.next_token is not None:
        parts.append(_element("NextContinuationToken", page.next_token))
    parts.append(_element("KeyCount", str(page.key_count)))
    parts.append(_element("MaxKeys", str(params.max_keys)))
    return _list_document(parts, params, page)


def _list_document(parts: list[str], params: ListParams, page: Page) -> bytes:
    name = _name_writer(params)
    if params.delimiter:
        parts.append(_element("Delimiter", name(params.delimiter)))
    if params.encode_urls:
        parts.append("<EncodingType>url</EncodingType>")
    parts.append(f"<IsTruncated>{'true' if page.is_truncated else 'false'}</IsTruncated>")
    owner = _OWNER if params.fetch_owner else ""
    parts.extend(
        f"<Contents><Key>{escape(name(entry.key))}</Key>"
        f"<LastModified>{iso_timestamp(entry.last_modified)}</LastModified>"
        f"<ETag>{escape(entry.etag)}</ETag><Size>{entry.size}</Size>"
        f"{owner}<StorageClass>STANDARD</StorageClass></Contents>"
        for entry in page.contents
    )
    parts.extend(
        f"<CommonPrefixes><Prefix>{escape(name(prefix))}</Prefix></CommonPrefixes>"
        for prefix in page.common_prefixes
    )
    return _document("ListBucketResult", "".join(parts))


def render_delete_result(deleted: Sequence[str], errors: Sequence[DeleteError]) -> bytes:
    """The answer of DeleteObjects; `deleted` is empty for a quiet one."""
    parts = [f"<Deleted>{_element('Key', key)}</Deleted>" for key in deleted]
    for error in errors:
        version = "" if error.version_id is None else _element("VersionId", error.version_id)
        parts.append(
            f"<Error>{_element('Key', error.key)}{version}"
            f"{_element('Code', error.code)}{_element('Message', error.message)}</Error>"
        )
    return _document("DeleteResult", "".join(parts))


def _as_it_is(name: str) -> str:
    return name


def _url_encoded(name: str) -> str:
    """As encoding-type=url wants it: percent-encoded UTF-8, slashes and -_.~ as they are."""
    return quote(name, safe="/")


def _name_writer(params: ListParams) -> Callable[[str], str]:
    return _url_encoded if params.encode_urls else _as_it_is


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _document(root: str, content: str) -> bytes:
    return f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode()
