"""Headers of an answer that leave as they are spelled.

HTTP does not care, but clients do: SDKs show what follows `x-amz-meta-` to their users as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.web.http_headers import Headers


class SpelledHeaders(Headers):
    """Headers whose names, where they were added one by one, stay as they were written."""

    def __init__(self) -> None:
        super().__init__()
        self._spelled: dict[bytes, bytes] = {}

    def add_spelled(self, name: bytes, value: bytes) -> None:
        """Add a value of the header; its name goes out as it is here."""
        self.addRawHeader(name, value)
        self._spelled[name.lower()] = name

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """As the base, with the names as they were spelled."""
        for name, values in super().getAllRawHeaders():
            yield self._spelled.get(name.lower(), name), values
