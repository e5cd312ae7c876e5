"""A file of an open commit, which others may change between any two calls, as one version of it or none.

PFS answers a GetFile with the bytes of one moment, which need not be the moment of size and ETag. So the last
piece is held back until it is known that they are of the same version.
"""

from __future__ import annotations

import hashlib
from collections import deque

from pachgw.pfs.port import PFS, FileInfo, NotFound, hash_of_sha512
from pachgw.s3.errors import S3Error
from pachgw.streams import Offload, Source

INLINE_BYTES = 64 * 1024
"""Up to so many bytes are hashed on the reactor: a trip to a thread takes longer."""


class Changed(Exception):
    """The file is another than it was, and none of its bytes has left: it may be looked up again."""


class SteadySource:
    """The span of the file that InspectFile has told of; begin() before the first read().

    Bytes of a whole file of one object are held against its hash. Of other bytes it is asked once more, at
    their end, whether the file still has the hash.
    """

    def __init__(
        self,
        pfs: PFS,
        repo: str,
        info: FileInfo,
        source: Source,
        *,
        length: int,
        offload: Offload,
    ) -> None:
        """`source` has `length` bytes of the file, as PFS reads it."""
        self._pfs = pfs
        self._repo = repo
        self._info = info
        self._source = source
        self._left = length
        self._offload = offload
        self._sha512 = hashlib.sha512() if info.is_one_object and length == info.size else None
        self._held: deque[bytes] = deque()

    async def begin(self) -> None:
        """Fetch what can be fetched before a byte leaves.

        Raises Changed, also where PFS does not find the file any more, and PFSError.
        """
        try:
            await self._take()
            if self._left:
                # A file that has become shorter is known by its end.
                await self._take()
        except NotFound:
            raise Changed from None

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises PFSError, and S3Error where the file was changed."""
        if not self._held:
            return b""
        piece = self._held.popleft()
        if not self._held and self._left:
            try:
                await self._take()
            except (NotFound, Changed):
                raise S3Error("ServiceUnavailable", "The object was changed while it was read.") from None
        return piece

    async def aclose(self) -> None:
        """Let go of the call."""
        self._held.clear()
        await self._source.aclose()

    async def _take(self) -> None:
        """Hold the next piece; the last one when it is known that all are good. Raises Changed, PFSError."""
        piece = await self._source.read()
        self._left -= len(piece)
        if not piece or self._left < 0:
            raise Changed
        if self._sha512 is not None:
            if len(piece) > INLINE_BYTES:
                await self._offload(self._sha512.update, piece)
            else:
                self._sha512.update(piece)
        if not self._left:
            if await self._source.read():
                raise Changed
            await self._check()
        self._held.append(piece)

    async def _check(self) -> None:
        """Return where the bytes are of the version that `info` is of. Raises Changed, PFSError."""
        if self._sha512 is not None:
            same = hash_of_sha512(self._sha512.hexdigest()) == self._info.hash
        else:
            again = await self._pfs.inspect_file(self._repo, self._info.commit, self._info.path)
            same = again.hash == self._info.hash and not again.is_dir
        if not same:
            raise Changed
