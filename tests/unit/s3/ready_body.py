"""The body of a request that is all there."""

from __future__ import annotations


class Body:
    """So many bytes, read in one piece."""

    def __init__(self, data: bytes) -> None:
        self.content_length = len(data)
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def aclose(self) -> None:
        self._data = b""
