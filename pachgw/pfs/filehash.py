"""The hash that PFS gives a file, reckoned while its bytes go by. No I/O, no threads."""

from __future__ import annotations

import hashlib

OBJECT_BYTES = 512 * 1024 * 1024
"""PFS cuts a file into objects of this size."""


class FileHash:
    """PFS's hash of a file sent in one piece: SHA-256 over the hex SHA-512 of each of its objects."""

    def __init__(self, object_bytes: int = OBJECT_BYTES) -> None:
        self._object_bytes = object_bytes
        self._objects = hashlib.sha256()
        self._object = hashlib.sha512()
        self._room = object_bytes
        self._any_object = False

    def update(self, data: bytes) -> None:
        """Take the next bytes; gives the interpreter away for all but the shortest."""
        view = memoryview(data)
        while view:
            if not self._room:
                self._end_object()
            taken = view[: self._room]
            self._object.update(taken)
            self._room -= len(taken)
            view = view[len(taken) :]

    def _end_object(self) -> None:
        self._objects.update(self._object.hexdigest().encode("ascii"))
        self._any_object = True
        self._object = hashlib.sha512()
        self._room = self._object_bytes

    def digest(self) -> bytes:
        """32 bytes; nothing may be added afterwards. A file without bytes has one object without bytes."""
        if self._room < self._object_bytes or not self._any_object:
            self._end_object()
        return self._objects.digest()
