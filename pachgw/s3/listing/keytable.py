"""The keys of one commit, or of one directory of it, sorted and packed: what listing.SortedKeys asks for.

In bytes and arrays, since a listing of a million keys as Python objects would take hundreds of megabytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime

from pachgw.s3.listing.pages import KeyEntry
from pachgw.s3.request.headers import etag_of

HASH_BYTES = 32


class KeyTable:
    """Immutable; made by KeyTableBuilder. Takes 44 bytes for each key beside the key itself."""

    __slots__ = ("_ends", "_hashes", "_keys", "_sizes", "last_modified")

    def __init__(
        self, *, keys: bytes, ends: array[int], sizes: array[int], hashes: bytes, last_modified: datetime
    ) -> None:
        self._keys = keys
        self._ends = ends
        self._sizes = sizes
        self._hashes = hashes
        self.last_modified = last_modified

    @classmethod
    def build(cls, files: Iterable[tuple[str, int, bytes]], *, last_modified: datetime) -> KeyTable:
        """A table of (key, size, hash) in any order."""
        builder = KeyTableBuilder()
        for key, size, file_hash in files:
            builder.add(key, size, file_hash)
        return builder.build(last_modified=last_modified)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table holds."""
        return (
            len(self._keys)
            + len(self._hashes)
            + self._ends.itemsize * len(self._ends)
            + self._sizes.itemsize * len(self._sizes)
        )

    def key_at(self, index: int) -> bytes:
        """The key's UTF-8."""
        start = self._ends[index - 1] if index else 0
        return self._keys[start : self._ends[index]]

    def entry_at(self, index: int) -> KeyEntry:
        at = index * HASH_BYTES
        return KeyEntry(
            key=self.key_at(index).decode(),
            size=self._sizes[index],
            etag=etag_of(self._hashes[at : at + HASH_BYTES]),
            last_modified=self.last_modified,
        )

    def lower_bound(self, key: bytes) -> int:
        """How many keys are less than `key`."""
        return bisect_left(range(len(self)), key, key=self.key_at)


class KeyTableBuilder:
    """Takes keys as they come; adding is cheap, `build` sorts and belongs off the reactor for many keys."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._sizes = array("Q")
        self._hashes = bytearray()

    def add(self, key: str, size: int, file_hash: bytes) -> None:
        """One more file; `file_hash` has 32 bytes. Raises ValueError for a hash of another length."""
        if len(file_hash) != HASH_BYTES:
            raise ValueError(f"a hash of {len(file_hash)} bytes")
        self._keys.append(key.encode())
        self._sizes.append(size)
        self._hashes += file_hash

    def __len__(self) -> int:
        return len(self._keys)

    def build(self, *, last_modified: datetime) -> KeyTable:
        """The table of all that was added; the builder is empty afterwards.

        `last_modified` (aware) is that of every key: PFS tells only the commit's.
        """
        keys, sizes, hashes = self._keys, self._sizes, self._hashes
        self._keys, self._sizes, self._hashes = [], array("Q"), bytearray()
        order = sorted(range(len(keys)), key=keys.__getitem__)
        ends = array("I" if sum(map(len, keys)) < 2**32 else "Q")
        end = 0
        for index in order:
            end += len(keys[index])
            ends.append(end)
        return KeyTable(
            keys=b"".join([keys[index] for index in order]),
            ends=ends,
            sizes=array("Q", (sizes[index] for index in order)),
            hashes=b"".join(
                [bytes(hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]) for index in order]
            ),
            last_modified=last_modified,
        )
