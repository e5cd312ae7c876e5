"""Directories of one commit as PFS lists them, answered when a test says so; and pages read from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pachgw.pfs.port import FileInfo, PathNotFound
from pachgw.s3.keys import ancestors, encode_key, places_of_prefix
from pachgw.s3.listing.directories import Directories
from pachgw.s3.listing.keytable import KeyTableBuilder, Row
from pachgw.s3.listing.ordering import InOrder
from pachgw.s3.listing.pages import ListParams, Page
from pachgw.s3.listing.reading import HEDGE_SECONDS
from pachgw.s3.listing.rows import ReadAgain, Rows, WholeRows
from pachgw.s3.listing.walk import Base, Opener, read_page

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
COMMIT = "c0ffee"
T = TypeVar("T")


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def side_by_side(keys: Iterable[str]) -> dict[str, int]:
    """Those of the keys that can be there at once, with a size for each; some are empty."""
    kept: dict[str, int] = {}
    paths: set[str] = set()
    above: set[str] = set()
    for key in keys:
        path = encode_key(key)
        if path not in above and not paths.intersection(ancestors(path)):
            kept[key] = len(key) % 3
            paths.add(path)
            above.update(ancestors(path))
    return kept


class Batches(Generic[T]):
    """Waits before each batch for what `gate` returns, if it returns something."""

    def __init__(self, items: list[T], size: int, gate: Callable[[int], Deferred[None] | None]) -> None:
        self._items, self._size, self._gate = items, size, gate
        self.given = 0
        self.is_closed = False

    async def read(self) -> list[T]:
        if (wait := self._gate(self.given)) is not None:
            await wait
        batch = self._items[self.given : self.given + self._size]
        self.given += len(batch)
        return batch

    async def aclose(self) -> None:
        self.is_closed = True


class TreePFS:
    """A session that lists; the calls are noted as (name, path)."""

    def __init__(
        self, keys: dict[str, int], empty_directories: Iterable[str] = (), *, batch: int = 2
    ) -> None:
        self.batch = batch
        self.calls: list[tuple[str, str]] = []
        self.streams: list[Batches[FileInfo]] = []
        self.at_once: Callable[[str], Deferred[None] | None] = lambda _path: None
        """What the answers of list_file_at_once wait for; may raise PFSError."""
        self.stream: Callable[[int], Deferred[None] | None] = lambda _given: None
        """What a stream waits for that has given so many; may raise PFSError."""
        self.children: dict[str, dict[str, FileInfo]] = {"/": {}}
        for key, size in keys.items():
            self._put(encode_key(key), size, hash_of(key))
        for directory in empty_directories:
            self._put(f"{directory}/x", 0, bytes(32))
            self.children[directory].pop("x")

    def _put(self, path: str, size: int, file_hash: bytes) -> None:
        directories = ("/", *ancestors(path))
        for above, below in zip(directories, (*directories[1:], path), strict=True):
            is_dir = below != path
            name = below[below.rfind("/") + 1 :]
            before = self.children[above].get(name)
            self.children[above][name] = FileInfo(
                commit=COMMIT,
                path=below,
                is_dir=is_dir,
                size=size + (before.size if before else 0),
                hash=file_hash,
                committed=NOW,
            )
            if is_dir:
                self.children.setdefault(below, {})

    def _list(self, name: str, path: str) -> list[FileInfo]:
        self.calls.append((name, path))
        if path not in self.children:
            raise PathNotFound(path)
        return [info for _, info in sorted(self.children[path].items())]

    async def list_file(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        return Batches(self._list("list_file", path), self.batch, lambda _: None)

    async def list_file_at_once(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        infos = self._list("list_file_at_once", path)
        if (wait := self.at_once(path)) is not None:
            await wait
        return Batches(infos, self.batch, lambda _: None)

    async def list_file_stream(self, repo: str, commit: str, path: str) -> Batches[FileInfo]:
        stream = Batches(self._list("list_file_stream", path), self.batch, self.stream)
        self.streams.append(stream)
        return stream


async def inline(function: Callable[..., T], /, *args: object) -> T:
    """An Offload that stays where it is."""
    return function(*args)


def table_of(pfs: TreePFS, path: str = "/") -> WholeRows:
    """The directory's rows, put in order all at once."""
    ordered = InOrder(KeyTableBuilder())
    ordered.take(pfs._list("read", path))
    return WholeRows(ordered.finish())


def whole(pfs: TreePFS) -> Opener:
    """Opens directories that are read already."""

    async def open_directory(path: str) -> Rows:
        return table_of(pfs, path)

    return open_directory


def kept_by(
    directories: Directories, pfs: TreePFS, *, wants_all: bool = True, goes_on: bool = False
) -> Opener:
    """Opens them as the gateway does."""

    async def open_directory(path: str) -> Rows:
        name = ("repo", COMMIT, path)
        return directories.open(name, pfs, wants_all=wants_all, goes_on=goes_on)  # type: ignore[arg-type]

    return open_directory


def base_of(pfs: TreePFS, prefix: str) -> Base:
    """Where the keys of the prefix are."""
    directory, marker = places_of_prefix(prefix)
    found = None
    if marker is not None:
        found = pfs.children["/"].get(marker[1:]) if marker.count("/") == 1 else None
        if found is None:
            above = marker[: marker.rfind("/")]
            found = pfs.children.get(above, {}).get(marker[marker.rfind("/") + 1 :])
    return Base(
        directory=directory if directory in pfs.children else None,
        marker=Row(prefix.encode(), False, found.size, found.hash) if found and not found.is_dir else None,
        last_modified=NOW,
        commit=COMMIT,
    )


def page_of(pfs: TreePFS, params: ListParams, open_directory: Opener | None = None) -> Page:
    """The page, from directories that are read already where nothing else is said."""
    return done(read_again(pfs, params, open_directory or whole(pfs)))


async def read_again(pfs: TreePFS, params: ListParams, open_directory: Opener) -> Page:
    """The page, begun anew as long as that is asked for."""
    while True:
        try:
            return await read_page(open_directory, base_of(pfs, params.prefix), params)
        except ReadAgain:
            continue


def done(coroutine: Coroutine[Any, Any, T], clock: Clock | None = None) -> T:
    """What it returns or raises, while the clock goes on where it waits."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    for _ in range(1000):
        if found or clock is None:
            break
        clock.advance(HEDGE_SECONDS)
    assert found, "it waits"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    result: T = found[0]
    return result
