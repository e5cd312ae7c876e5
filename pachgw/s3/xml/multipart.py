"""XML of multipart uploads, read and written. Pure."""

from __future__ import annotations

from datetime import datetime

from pachgw.s3.metadata.description import checksum_type
from pachgw.s3.metadata.records import MAX_PARTS, Checksum
from pachgw.s3.multipart.listing import PartsPage, PartsParams, UploadsPage, UploadsParams
from pachgw.s3.multipart.rules import ListedPart, parse_part_checksum
from pachgw.s3.multipart.uploads import ChecksumKind, PartChecksum, Upload
from pachgw.s3.payload.checksums import ALGORITHMS
from pachgw.s3.request.headers import etag_of, iso_timestamp
from pachgw.s3.xml.body import malformed_xml, parse_root, parse_text, tag_name
from pachgw.s3.xml.render import OWNER, OWNER_ID, OWNER_NAME, document, element, name_writer

_INITIATOR = f"<Initiator><ID>{OWNER_ID}</ID><DisplayName>{OWNER_NAME}</DisplayName></Initiator>"
_CHECKSUMS = {f"Checksum{algorithm}": algorithm for algorithm in ALGORITHMS}


def parse_complete(body: bytes) -> list[ListedPart]:
    """The parts that CompleteMultipartUpload lists, as they stand there, 1 to 10,000. Raises MalformedXML."""
    listed: list[ListedPart] = []
    for child in parse_root(body, "CompleteMultipartUpload"):
        if tag_name(child) != "Part" or len(listed) == MAX_PARTS:
            raise malformed_xml()
        values: dict[str, str] = {}
        for field in child:
            name = tag_name(field)
            if name in values or (name not in _CHECKSUMS and name not in ("PartNumber", "ETag")):
                raise malformed_xml()
            values[name] = parse_text(field).strip()
        listed.append(_listed_part(values))
    if not listed:
        raise malformed_xml()
    return listed


def _listed_part(values: dict[str, str]) -> ListedPart:
    number = values.get("PartNumber", "")
    if not (number.isascii() and number.isdigit() and len(number) <= 10) or "ETag" not in values:
        raise malformed_xml()
    try:
        checksums = tuple(
            parse_part_checksum(algorithm, values[name])
            for name, algorithm in _CHECKSUMS.items()
            if name in values
        )
    except ValueError:
        raise malformed_xml() from None
    return ListedPart(number=int(number), etag=values["ETag"], checksums=checksums)


def render_created(bucket: str, key: str, upload_id: str) -> bytes:
    """The answer of CreateMultipartUpload."""
    return document(
        "InitiateMultipartUploadResult",
        element("Bucket", bucket) + element("Key", key) + element("UploadId", upload_id),
    )


def render_completed(location: str, bucket: str, key: str, etag: str, checksum: Checksum | None) -> bytes:
    """The answer of CompleteMultipartUpload."""
    content = (
        element("Location", location)
        + element("Bucket", bucket)
        + element("Key", key)
        + element("ETag", etag)
    )
    if checksum is not None:
        content += element(f"Checksum{checksum.algorithm}", checksum.value)
        content += element("ChecksumType", checksum_type(checksum))
    return document("CompleteMultipartUploadResult", content)


def render_part_copied(etag: str, last_modified: datetime, checksum: PartChecksum | None) -> bytes:
    """The answer of UploadPartCopy."""
    return document(
        "CopyPartResult",
        element("LastModified", iso_timestamp(last_modified)) + element("ETag", etag) + _checksum(checksum),
    )


def render_parts(bucket: str, upload: Upload, params: PartsParams, page: PartsPage) -> bytes:
    """The answer of ListParts."""
    name = name_writer(encode_urls=params.encode_urls)
    content = [
        element("Bucket", bucket),
        element("Key", name(upload.info.key)),
        element("UploadId", upload.id),
        _INITIATOR,
        OWNER,
        "<StorageClass>STANDARD</StorageClass>",
        element("PartNumberMarker", str(params.after)),
    ]
    if page.is_truncated:
        content.append(element("NextPartNumberMarker", str(page.next_marker)))
    content.append(element("MaxParts", str(params.max_parts)))
    content.append(element("IsTruncated", "true" if page.is_truncated else "false"))
    if params.encode_urls:
        content.append("<EncodingType>url</EncodingType>")
    content.append(_kind(upload.info.kind))
    content.extend(
        f"<Part>{element('PartNumber', str(part.number))}"
        f"{element('LastModified', iso_timestamp(part.uploaded))}"
        f"{element('ETag', etag_of(part.hash))}{element('Size', str(part.size))}"
        f"{_checksum(part.checksum)}</Part>"
        for part in page.parts
    )
    return document("ListPartsResult", "".join(content))


def render_uploads(bucket: str, params: UploadsParams, page: UploadsPage) -> bytes:
    """The answer of ListMultipartUploads."""
    name = name_writer(encode_urls=params.encode_urls)
    content = [
        element("Bucket", bucket),
        element("KeyMarker", name(params.key_marker)),
        element("UploadIdMarker", params.upload_id_marker),
    ]
    if page.is_truncated:
        content.append(element("NextKeyMarker", name(page.next_key_marker)))
        content.append(element("NextUploadIdMarker", page.next_upload_id_marker))
    content.append(element("Prefix", name(params.prefix)))
    if params.delimiter:
        content.append(element("Delimiter", name(params.delimiter)))
    if params.encode_urls:
        content.append("<EncodingType>url</EncodingType>")
    content.append(element("MaxUploads", str(params.max_uploads)))
    content.append(element("IsTruncated", "true" if page.is_truncated else "false"))
    content.extend(
        f"<Upload>{element('Key', name(upload.info.key))}{element('UploadId', upload.id)}{_INITIATOR}{OWNER}"
        f"<StorageClass>STANDARD</StorageClass>"
        f"{element('Initiated', iso_timestamp(upload.info.initiated))}{_kind(upload.info.kind)}</Upload>"
        for upload in page.uploads
    )
    content.extend(
        f"<CommonPrefixes>{element('Prefix', name(prefix))}</CommonPrefixes>"
        for prefix in page.common_prefixes
    )
    return document("ListMultipartUploadsResult", "".join(content))


def _kind(kind: ChecksumKind | None) -> str:
    if kind is None:
        return ""
    return element("ChecksumAlgorithm", kind.algorithm) + element(
        "ChecksumType", "COMPOSITE" if kind.composite else "FULL_OBJECT"
    )


def _checksum(checksum: PartChecksum | None) -> str:
    return "" if checksum is None else element(f"Checksum{checksum.algorithm}", checksum.value)
