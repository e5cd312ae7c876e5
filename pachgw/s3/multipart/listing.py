"""Pages of ListMultipartUploads and ListParts: prefix, delimiter, markers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pachgw.s3.errors import S3Error
from pachgw.s3.listing.pages import common_prefix_of, parse_encoding
from pachgw.s3.multipart.uploads import Part, Upload
from pachgw.s3.request.target import Query

MAX_ENTRIES = 1000

_MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsParams:
    """What a ListMultipartUploads asks for; texts are "" where they were not sent."""

    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_id_marker: str = ""
    """Counts only beside a key marker."""
    max_uploads: int = MAX_ENTRIES
    encode_urls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsPage:
    uploads: tuple[Upload, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    is_truncated: bool = False
    next_key_marker: str = ""
    next_upload_id_marker: str = ""
    """Both only where the page is truncated; the second is empty behind a common prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsParams:
    """What a ListParts asks for."""

    after: int = 0
    """The number before the first to be listed."""
    max_parts: int = MAX_ENTRIES
    encode_urls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsPage:
    parts: tuple[Part, ...] = ()
    is_truncated: bool = False
    next_marker: int = 0


def parse_uploads_params(query: Query) -> UploadsParams:
    """What the query of ListMultipartUploads asks for. Raises InvalidArgument."""
    key_marker = query.get("key-marker") or ""
    return UploadsParams(
        prefix=query.get("prefix") or "",
        delimiter=query.get("delimiter") or "",
        key_marker=key_marker,
        upload_id_marker=(query.get("upload-id-marker") or "") if key_marker else "",
        max_uploads=min(_number(query, "max-uploads", MAX_ENTRIES), MAX_ENTRIES),
        encode_urls=parse_encoding(query.get("encoding-type")),
    )


def parse_parts_params(query: Query) -> PartsParams:
    """What the query of ListParts asks for. Raises InvalidArgument."""
    return PartsParams(
        after=_number(query, "part-number-marker", 0),
        max_parts=min(_number(query, "max-parts", MAX_ENTRIES), MAX_ENTRIES),
        encode_urls=parse_encoding(query.get("encoding-type")),
    )


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not 0 <= int(text) <= _MAX_INTEGER:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return int(text)


def build_uploads_page(uploads: Iterable[Upload], params: UploadsParams) -> UploadsPage:
    """One page of the uploads: by key, in the order of their UTF-8, those of one key by when they began."""
    prefix, delimiter = params.prefix.encode(), params.delimiter.encode()
    ordered = sorted(
        ((upload.info.key.encode(), upload.id, upload) for upload in uploads), key=lambda entry: entry[:2]
    )
    marker = (params.key_marker.encode(), params.upload_id_marker)
    skipped = common_prefix_of(marker[0], prefix, delimiter) if marker[0].startswith(prefix) else None
    taken: list[Upload] = []
    prefixes: list[str] = []
    last = ("", "")
    for key, upload_id, upload in ordered:
        if not key.startswith(prefix) or not _is_behind(key, upload_id, marker):
            continue
        common = common_prefix_of(key, prefix, delimiter)
        if common is not None and (common == skipped or (prefixes and common.decode() == prefixes[-1])):
            continue
        if len(taken) + len(prefixes) == params.max_uploads:
            return UploadsPage(
                uploads=tuple(taken),
                common_prefixes=tuple(prefixes),
                is_truncated=params.max_uploads > 0,
                next_key_marker=last[0],
                next_upload_id_marker=last[1],
            )
        if common is None:
            taken.append(upload)
            last = (upload.info.key, upload_id)
        else:
            prefixes.append(common.decode())
            last = (prefixes[-1], "")
    return UploadsPage(uploads=tuple(taken), common_prefixes=tuple(prefixes))


def _is_behind(key: bytes, upload_id: str, marker: tuple[bytes, str]) -> bool:
    """Whether the upload comes after the marker; without an id, all of the marker's key are before it."""
    marked_key, marked_id = marker
    if not marked_key:
        return True
    return key > marked_key or (key == marked_key and bool(marked_id) and upload_id > marked_id)


def build_parts_page(parts: Mapping[int, Part], params: PartsParams) -> PartsPage:
    """One page of the parts, by number."""
    behind = [parts[number] for number in sorted(parts) if number > params.after]
    page = tuple(behind[: params.max_parts])
    return PartsPage(
        parts=page,
        is_truncated=len(behind) > len(page) > 0,
        next_marker=page[-1].number if page else params.after,
    )
