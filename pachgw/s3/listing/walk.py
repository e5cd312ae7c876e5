"""Pages of a listing from the directories below its prefix, each opened only when a page comes to it.

The items of a page come in S3's order, so a page costs what is on it, and the directories that it passes
through. Which those are is told by keys alone; how their rows are had is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import Deferred

from pachgw.s3.keys import decode_path, places_of_prefix
from pachgw.s3.listing.keytable import Row
from pachgw.s3.listing.pages import (
    ContinuationToken,
    KeyEntry,
    ListParams,
    Page,
    behind,
    common_prefix_of,
    first_after,
    render_token,
)
from pachgw.s3.listing.rows import Rows
from pachgw.s3.request.headers import etag_of

AHEAD = 8
"""Directories that are opened ahead, at most: as many as the page has passed through already."""

Opener = Callable[[str], Awaitable[Rows]]
"""Opens the directory of a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where all keys of a listing are."""

    directory: str | None
    """The deepest directory above them; None where there is none."""
    marker: Row | None = None
    """The one file outside the directory: its key is the prefix itself."""
    last_modified: datetime
    commit: str | None
    """What goes into the token of a next page."""


def prefix_of_directory(directory: str) -> str:
    """How every key below the directory begins, slash included; "" for the root."""
    return "" if directory == "/" else decode_path(f"{directory}/x")[:-1]


async def read_page(open_directory: Opener, base: Base, params: ListParams) -> Page:
    """One page of the listing. Raises what opening and the rows do; has closed them all in any case."""
    walk = _Walk(open_directory, base, params)
    try:
        return await walk.page()
    finally:
        walk.close()


class _Frame:
    """A directory that the walk is in, and where."""

    __slots__ = ("index", "prefix", "rows")

    def __init__(self, prefix: bytes, rows: Rows) -> None:
        self.prefix = prefix
        self.rows = rows
        self.index = 0


class _Walk:
    def __init__(self, open_directory: Opener, base: Base, params: ListParams) -> None:
        self._open = open_directory
        self._base = base
        self._params = params
        self._prefix = params.prefix.encode()
        self._delimiter = params.delimiter.encode()
        self._stack: list[_Frame] = []
        self._ahead: dict[bytes, Deferred[Rows]] = {}
        self._opened: list[Rows] = []
        self._passed = 0
        self._contents: list[KeyEntry] = []
        self._common: list[str] = []
        self._last = b""

    async def page(self) -> Page:
        is_truncated = self._params.max_keys > 0 and await self._fill()
        params = self._params
        last = self._last.decode()
        return Page(
            contents=tuple(self._contents),
            common_prefixes=tuple(self._common),
            is_truncated=is_truncated,
            next_marker=last if is_truncated and params.version == 1 and params.delimiter else None,
            next_token=(
                render_token(ContinuationToken(after=last, commit=self._base.commit))
                if is_truncated and params.version == 2
                else None
            ),
        )

    def close(self) -> None:
        """Close what was opened, and stop what is being opened."""
        for opening in self._ahead.values():
            opening.addCallbacks(lambda rows: rows.close(), lambda _failure: None)
            opening.cancel()
        for rows in self._opened:
            rows.close()

    def _room(self) -> int:
        return self._params.max_keys - len(self._contents) - len(self._common)

    async def _fill(self) -> bool:
        """Put the items on the page; whether there are more."""
        at = max(self._prefix, first_after(self._params))
        if self._base.marker is not None and at <= self._prefix:
            self._add_key(self._prefix, self._base.marker)
        if self._base.directory is None:
            return False
        await self._enter(prefix_of_directory(self._base.directory).encode())
        await self._seek(at)
        while self._stack:
            frame = self._stack[-1]
            if frame.index >= frame.rows.count and not await frame.rows.reach(frame.index):
                self._stack.pop()
                continue
            row = frame.rows.row_at(frame.index)
            key = frame.prefix + row.key
            if not key.startswith(self._prefix):
                return False
            frame.index += 1
            common = common_prefix_of(key, self._prefix, self._delimiter)
            if row.is_directory:
                if common is None and not (row.size and not self._room()):
                    self._look_ahead(frame)
                    await self._enter(key)
                    continue
                # What is below has one common prefix, if there is anything.
                if not row.size and not await self._has_files(key):
                    continue
            if not self._room():
                return True
            if common is None:
                self._add_key(key, row)
            else:
                self._last = common
                self._common.append(common.decode())
                await self._seek(behind(common))
        return False

    def _add_key(self, key: bytes, row: Row) -> None:
        self._last = key
        self._contents.append(
            KeyEntry(
                key=key.decode(),
                size=row.size,
                etag=etag_of(row.hash),
                last_modified=self._base.last_modified,
            )
        )

    async def _seek(self, at: bytes) -> None:
        """Go to the least key that is not less than `at`, which is not behind where the walk is."""
        while self._stack and not at.startswith(self._stack[-1].prefix):
            # All of the directory is before it.
            self._stack.pop()
        while self._stack:
            frame = self._stack[-1]
            rest = at[len(frame.prefix) :]
            frame.index = await frame.rows.seek(rest)
            if not frame.index:
                return
            row = frame.rows.row_at(frame.index - 1)
            if not (row.is_directory and rest.startswith(row.key)):
                return
            await self._enter(frame.prefix + row.key)

    async def _enter(self, prefix: bytes) -> None:
        self._stack.append(_Frame(prefix, await self._rows(prefix)))

    async def _rows(self, prefix: bytes) -> Rows:
        opening = self._ahead.pop(prefix, None)
        rows = await (self._open(_path(prefix)) if opening is None else opening)
        self._opened.append(rows)
        return rows

    def _look_ahead(self, frame: _Frame) -> None:
        """Begin to open the directories that come next, more of them the more the page has passed through."""
        wanted = min(self._passed, AHEAD) - len(self._ahead)
        self._passed += 1
        for index in range(frame.index, min(frame.index + 2 * AHEAD, frame.rows.count)):
            if wanted <= 0:
                return
            row = frame.rows.row_at(index)
            key = frame.prefix + row.key
            if not row.is_directory or key in self._ahead or not key.startswith(self._prefix):
                continue
            if common_prefix_of(key, self._prefix, self._delimiter) is None:
                self._ahead[key] = Deferred.fromCoroutine(self._opened_ahead(_path(key)))
                wanted -= 1

    async def _opened_ahead(self, path: str) -> Rows:
        return await self._open(path)

    async def _has_files(self, prefix: bytes) -> bool:
        """Whether there is a file anywhere below; none has a byte."""
        rows = await self._rows(prefix)
        index = 0
        while index < rows.count or await rows.reach(index):
            row = rows.row_at(index)
            if not row.is_directory or row.size or await self._has_files(prefix + row.key):
                return True
            index += 1
        return False


def _path(prefix: bytes) -> str:
    """The directory below which the keys begin so."""
    return places_of_prefix(prefix.decode())[0]
