"""The answer of ListObjectVersions in XML. Pure."""

from __future__ import annotations

from pachgw.s3.listing.versions import VersionEntry, VersionParams, VersionsPage
from pachgw.s3.request.headers import etag_of, iso_timestamp
from pachgw.s3.xml.render import OWNER, document, element, escape, name_writer


def render_versions(bucket: str, params: VersionParams, page: VersionsPage) -> bytes:
    """The answer of ListObjectVersions."""
    name = name_writer(encode_urls=params.encode_urls)
    parts = [
        element("Name", bucket),
        element("Prefix", name(params.prefix)),
        element("KeyMarker", name(params.key_marker)),
        element("VersionIdMarker", params.version_id_marker),
    ]
    if page.is_truncated:
        parts.append(element("NextKeyMarker", name(page.next_key_marker)))
        if page.next_version_id_marker:
            parts.append(element("NextVersionIdMarker", page.next_version_id_marker))
    parts.append(element("MaxKeys", str(params.max_keys)))
    if params.delimiter:
        parts.append(element("Delimiter", name(params.delimiter)))
    if params.encode_urls:
        parts.append("<EncodingType>url</EncodingType>")
    parts.append(f"<IsTruncated>{'true' if page.is_truncated else 'false'}</IsTruncated>")
    parts.extend(_version(entry, name(entry.key)) for entry in page.versions)
    parts.extend(
        f"<CommonPrefixes><Prefix>{escape(name(prefix))}</Prefix></CommonPrefixes>"
        for prefix in page.common_prefixes
    )
    return document("ListVersionsResult", "".join(parts))


def _version(entry: VersionEntry, key: str) -> str:
    kind = "DeleteMarker" if entry.hash is None else "Version"
    described = (
        ""
        if entry.hash is None
        else f"<ETag>{escape(etag_of(entry.hash))}</ETag><Size>{entry.size}</Size>"
        "<StorageClass>STANDARD</StorageClass>"
    )
    return (
        f"<{kind}><Key>{escape(key)}</Key><VersionId>{escape(entry.version_id)}</VersionId>"
        f"<IsLatest>{'true' if entry.is_latest else 'false'}</IsLatest>"
        f"<LastModified>{iso_timestamp(entry.last_modified)}</LastModified>{described}{OWNER}</{kind}>"
    )
