"""Pages of ListObjectVersions: prefix, delimiter, markers. Pure but for the index that they come from.

By key in the order of its UTF-8 bytes, and of a key the newest first: every commit that changed it, deletions
as delete markers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pachgw.s3.changes.reader import ChangesReader, VersionRow
from pachgw.s3.errors import S3Error
from pachgw.s3.listing.pages import behind, common_prefix_of, parse_encoding, parse_max_keys
from pachgw.s3.request.target import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionParams:
    """What a ListObjectVersions asks for; texts are "" where they were not sent."""

    prefix: str = ""
    delimiter: str = ""
    max_keys: int = 1000
    key_marker: str = ""
    version_id_marker: str = ""
    encode_urls: bool = False
    """encoding-type=url: names in the answer are percent-encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEntry:
    """One version of a key."""

    key: str
    version_id: str
    is_latest: bool
    last_modified: datetime
    size: int
    hash: bytes | None
    """None: a delete marker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsPage:
    """One answer; versions and common prefixes each in order, together at most max_keys."""

    versions: tuple[VersionEntry, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    is_truncated: bool = False
    next_key_marker: str = ""
    """The last item of a truncated page."""
    next_version_id_marker: str = ""
    """Its version; "" where it is a common prefix."""


def parse_version_params(query: Query) -> VersionParams:
    """What the query of a ListObjectVersions asks for.

    An empty version-id-marker counts as none. Raises InvalidArgument, also for one without key-marker.
    """
    params = VersionParams(
        prefix=query.get("prefix") or "",
        delimiter=query.get("delimiter") or "",
        max_keys=parse_max_keys(query.get("max-keys")),
        key_marker=query.get("key-marker") or "",
        version_id_marker=query.get("version-id-marker") or "",
        encode_urls=parse_encoding(query.get("encoding-type")),
    )
    if params.version_id_marker and not params.key_marker:
        raise _invalid_marker(params, "A version-id marker cannot be specified without a key marker.")
    return params


def read_versions_page(reader: ChangesReader, repo: str, commit: str, params: VersionParams) -> VersionsPage:
    """The page of versions up to the commit, from an index that covers it whole.

    Raises InvalidArgument for a version-id-marker that is no commit on the way, NotCovered.
    """
    marker = None
    if params.version_id_marker:
        marker = reader.order(repo, commit, [params.version_id_marker]).get(params.version_id_marker)
        if marker is None:
            raise _invalid_marker(params, "Invalid version id specified")
    with reader.one_moment():
        segments = reader.segments(repo, commit)
        page = _Page(params, marker)
        page.take(lambda first: reader.rows(segments, first))
        return VersionsPage(
            versions=tuple(
                _entry(row, is_latest, *reader.commit_at(row.line, row.position))
                for row, is_latest in page.rows
            ),
            common_prefixes=tuple(page.common_prefixes),
            is_truncated=page.is_truncated,
            next_key_marker=page.last if page.is_truncated else "",
            next_version_id_marker=(
                reader.commit_at(page.last_row.line, page.last_row.position)[0]
                if page.is_truncated and page.last_row is not None
                else ""
            ),
        )


class _Page:
    """What one page has, as rows of the index."""

    def __init__(self, params: VersionParams, marker: int | None) -> None:
        self._params = params
        self._marker = marker
        self._marker_key = params.key_marker.encode() if marker is not None else None
        self.rows: list[tuple[VersionRow, bool]] = []
        self.common_prefixes: list[str] = []
        self.is_truncated = False
        self.last = ""
        self.last_row: VersionRow | None = None

    def take(self, rows_from: Callable[[bytes], Iterator[VersionRow]]) -> None:
        """Fill the page from the rows that begin with a key.

        Costs a seek for each common prefix, and a step for each version on the page and each change of its
        keys that is not (later ones of a key marker, or behind the commit asked about).
        """
        prefix, delimiter = self._params.prefix.encode(), self._params.delimiter.encode()
        room = self._params.max_keys
        rows = rows_from(max(prefix, self._first()))
        previous: bytes | None = None
        while room and (row := next(rows, None)) is not None and row.key.startswith(prefix):
            is_latest = row.key not in (previous, self._marker_key)
            previous = row.key
            if self._is_behind_us(row):
                continue
            if len(self.rows) + len(self.common_prefixes) == room:
                self.is_truncated = True
                return
            common = common_prefix_of(row.key, prefix, delimiter)
            if common is None:
                self.rows.append((row, is_latest))
                self.last, self.last_row = row.key.decode(), row
            else:
                self.last, self.last_row = common.decode(), None
                self.common_prefixes.append(self.last)
                rows = rows_from(behind(common))

    def _first(self) -> bytes:
        """The least key that the page may begin with."""
        marker = self._params.key_marker.encode()
        if not marker:
            return b""
        if self._marker is not None:
            return marker
        common = common_prefix_of(marker, self._params.prefix.encode(), self._params.delimiter.encode())
        return behind(common) if common is not None else marker + b"\x00"

    def _is_behind_us(self, row: VersionRow) -> bool:
        return self._marker is not None and row.key == self._marker_key and row.order >= self._marker


def _entry(row: VersionRow, is_latest: bool, commit: str, time: datetime) -> VersionEntry:
    return VersionEntry(
        key=row.key.decode(),
        version_id=commit,
        is_latest=is_latest,
        last_modified=time,
        size=row.size,
        hash=row.hash,
    )


def _invalid_marker(params: VersionParams, message: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        message,
        ArgumentName="version-id-marker",
        ArgumentValue=params.version_id_marker,
    )
