"""Answers in XML, as bytes. Pure; what is in them is decided elsewhere.

XML 1.0 has no way to write most control characters. A name in a listing or in the answer to DeleteObjects is
then written as S3 does, as a numeric reference (`&#x1;`), which tells the name and which a strict parser
refuses: encoding-type=url, which SDKs ask for, is the way to list such keys. An error, which is for people to
read, has U+FFFD in their place and is always well-formed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pachgw.s3.listing.buckets import BucketEntry, BucketPage
from pachgw.s3.listing.pages import ListParams, Page
from pachgw.s3.request.headers import iso_timestamp

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

OWNER_ID = "0" * 32
"""Buckets and objects have no owners of their own; this one is that of Pachyderm's own gateway."""
OWNER_NAME = "pachyderm"

OWNER = f"<Owner><ID>{OWNER_ID}</ID><DisplayName>{OWNER_NAME}</DisplayName></Owner>"

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
# Beside markup: what parsers change (CR) or what editors and loggers do (tab, newline), and what XML has not.
_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedObject:
    """One object that DeleteObjects deleted, or found not to be there."""

    key: str
    marker: str | None = None
    """The version id of the delete marker, where one was made."""


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
    content = "".join(element(name, _NOT_XML.sub("\ufffd", value)) for name, value in elements.items())
    return f"{DECLARATION}<Error>{content}</Error>".encode()


def render_buckets(page: BucketPage) -> bytes:
    """The answer of ListBuckets."""
    parts = [OWNER, f"<Buckets>{''.join(map(_bucket, page.buckets))}</Buckets>"]
    if page.token is not None:
        parts.append(element("ContinuationToken", page.token))
    if page.prefix is not None:
        parts.append(element("Prefix", page.prefix))
    return document("ListAllMyBucketsResult", "".join(parts))


def _bucket(bucket: BucketEntry) -> str:
    region = "" if bucket.region is None else element("BucketRegion", bucket.region)
    created = element("CreationDate", iso_timestamp(bucket.created))
    return f"<Bucket>{element('Name', bucket.name)}{created}{region}</Bucket>"


def render_location(region: str) -> bytes:
    """The answer of GetBucketLocation."""
    return document("LocationConstraint", escape(region))


def render_versioning(status: str | None) -> bytes:
    """The answer of GetBucketVersioning; `status` is Enabled or Suspended, None where it never was set."""
    return document("VersioningConfiguration", "" if status is None else element("Status", status))


def render_list_objects(bucket: str, params: ListParams, page: Page) -> bytes:
    """The answer of ListObjects (version 1)."""
    name = name_writer(encode_urls=params.encode_urls)
    parts = [
        element("Name", bucket),
        element("Prefix", name(params.prefix)),
        element("Marker", name(params.marker)),
    ]
    if page.next_marker is not None:
        parts.append(element("NextMarker", name(page.next_marker)))
    parts.append(element("MaxKeys", str(params.max_keys)))
    return _list_document(parts, params, page)


def render_list_objects_v2(bucket: str, params: ListParams, page: Page) -> bytes:
    """The answer of ListObjectsV2."""
    name = name_writer(encode_urls=params.encode_urls)
    parts = [element("Name", bucket), element("Prefix", name(params.prefix))]
    if params.start_after:
        parts.append(element("StartAfter", name(params.start_after)))
    if params.raw_token is not None:
        parts.append(element("ContinuationToken", params.raw_token))
    if page.next_token is not None:
        parts.append(element("NextContinuationToken", page.next_token))
    parts.append(element("KeyCount", str(page.key_count)))
    parts.append(element("MaxKeys", str(params.max_keys)))
    return _list_document(parts, params, page)


def _list_document(parts: list[str], params: ListParams, page: Page) -> bytes:
    name = name_writer(encode_urls=params.encode_urls)
    if params.delimiter:
        parts.append(element("Delimiter", name(params.delimiter)))
    if params.encode_urls:
        parts.append("<EncodingType>url</EncodingType>")
    parts.append(f"<IsTruncated>{'true' if page.is_truncated else 'false'}</IsTruncated>")
    owner = OWNER if params.fetch_owner else ""
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
    return document("ListBucketResult", "".join(parts))


def render_delete_result(deleted: Sequence[DeletedObject], errors: Sequence[DeleteError]) -> bytes:
    """The answer of DeleteObjects; `deleted` is empty for a quiet one."""
    parts = []
    for done in deleted:
        marker = (
            ""
            if done.marker is None
            else f"<DeleteMarker>true</DeleteMarker>{element('DeleteMarkerVersionId', done.marker)}"
        )
        parts.append(f"<Deleted>{element('Key', done.key)}{marker}</Deleted>")
    for error in errors:
        version = "" if error.version_id is None else element("VersionId", error.version_id)
        parts.append(
            f"<Error>{element('Key', error.key)}{version}"
            f"{element('Code', error.code)}{element('Message', error.message)}</Error>"
        )
    return document("DeleteResult", "".join(parts))


def _as_it_is(name: str) -> str:
    return name


def _url_encoded(name: str) -> str:
    """As encoding-type=url wants it: percent-encoded UTF-8, slashes and -_.~ as they are."""
    return quote(name, safe="/")


def name_writer(*, encode_urls: bool) -> Callable[[str], str]:
    """What writes a name of a listing: as it is, or as encoding-type=url wants it."""
    return _url_encoded if encode_urls else _as_it_is


def element(name: str, text: str) -> str:
    """An element with the text as its content, escaped."""
    return f"<{name}>{escape(text)}</{name}>"


def document(root: str, content: str) -> bytes:
    """A whole document in S3's namespace; `content` is XML already."""
    return f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode()
