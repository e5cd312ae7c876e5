"""The changes that one call brings, in their order, however many: only the last ones are kept in memory.

What they do to a tree is in writes.py; the log of an open commit is a table, see opencommits.py.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterator
from typing import IO, Final

from pachgw.localpfs.entries import decode_objects, encode_objects
from pachgw.localpfs.writes import Change, Put, Remove, RemoveMatches

HELD: Final = 1000
"""Changes in memory; as many at once go to the file, which takes two milliseconds."""

_LENGTH = struct.Struct("<Q")
_PUT, _REMOVE, _REMOVE_MATCHES = range(3)


class ChangeLog:
    """Changes to be gone through once all are there. By one thread at a time."""

    def __init__(self, open_file: Callable[[], IO[bytes]]) -> None:
        """`open_file`: a new file without a name, asked for when there are more than HELD."""
        self._open_file = open_file
        self._file: IO[bytes] | None = None
        self._last: list[Change] = []

    @property
    def has_file(self) -> bool:
        """Whether `close` has anything to do."""
        return self._file is not None

    def append(self, change: Change) -> None:
        """One more, after all others. Raises OSError."""
        self._last.append(change)
        if len(self._last) < HELD:
            return
        if self._file is None:
            self._file = self._open_file()
        block = marshal.dumps([_packed(change) for change in self._last])
        self._file.write(_LENGTH.pack(len(block)))
        self._file.write(block)
        self._last.clear()

    def __iter__(self) -> Iterator[Change]:
        """All of them, in order. Raises OSError."""
        if self._file is not None:
            self._file.seek(0)
            while head := self._file.read(_LENGTH.size):
                # Written by this process, into a file that no other can open.
                for packed in marshal.loads(self._file.read(*_LENGTH.unpack(head))):
                    yield _unpacked(*packed)
        yield from self._last

    def close(self) -> None:
        """Forget them."""
        self._last.clear()
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _packed(change: Change) -> tuple[object, ...]:
    match change:
        case Put():
            return _PUT, change.path, encode_objects(change.objects), change.keep
        case Remove():
            return _REMOVE, change.path
        case RemoveMatches():
            return _REMOVE_MATCHES, change.pattern


def _unpacked(kind: int, path: str, objects: bytes = b"", keep: int | None = None) -> Change:
    if kind == _PUT:
        return Put(path=path, objects=tuple(decode_objects(objects)), keep=keep)
    return Remove(path=path) if kind == _REMOVE else RemoveMatches(pattern=path)
