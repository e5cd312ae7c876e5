"""The bytes of small files of finished commits, by their PFS hash; bounded in bytes.

Nothing in here can go stale: equal hashes mean equal contents. Who may read them, and whether the key still
has this hash, PFS has to have said for the very request before it is asked here.
"""

from __future__ import annotations

from collections import OrderedDict

from pachgw.metrics import Lookups
from pachgw.pfs.port import hash_of_object

SMALL_BYTES = 64 * 1024
"""A file of more is not kept, and is read as a stream."""

ENTRY_BYTES = 256
"""What a file costs beside its bytes: two objects of Python and its place in the order of use."""


class SmallObjects:
    """Owned by the gateway. The least recently used go first; with a limit of 0 nothing is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self.nbytes = 0
        """Bytes of all files that are kept, ENTRY_BYTES for each included."""
        self.lookups = Lookups()
        """Misses are counted by who then reads the file."""

    def get(self, file_hash: bytes) -> bytes | None:
        """The file's bytes, None where they are not kept."""
        data = self._kept.get(file_hash)
        if data is not None:
            self.lookups.hits += 1
            self._kept.move_to_end(file_hash)
        return data

    def keep(self, file_hash: bytes, data: bytes) -> None:
        """Keep a whole file that was read or written, if it is small and the bytes have this hash.

        Files that PFS has in several objects have a hash that is not reckoned here; they are not kept.
        """
        size = len(data) + ENTRY_BYTES
        if len(data) > SMALL_BYTES or size > self._limit or file_hash in self._kept:
            return
        if hash_of_object(data) != file_hash:
            return
        self._kept[file_hash] = data
        self.nbytes += size
        while self.nbytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.nbytes -= len(dropped) + ENTRY_BYTES
