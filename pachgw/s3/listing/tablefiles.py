"""The directory of key tables that all workers of a gateway share: which there are, who writes one, which go.

What it holds can be read from PFS again, so nothing is synced, and whatever is wrong with a file, or with the
disk, is as if it were not there. Everything here may block, for some 50 µs but where it says more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path

from twisted.logger import Logger

from pachgw.s3.listing.keytable import Blocks, Damaged, KeyTable, MemoryBlocks
from pachgw.s3.listing.tablefile import VERSION, FileBlocks

FILES_BYTES = 1024 * 1024 * 1024
"""Bytes of all files together; beyond it those go that have not been opened for the longest time."""

FILE_BYTES = 1024 * 1024
"""Less is no file: it is read from PFS in less than 0.2 seconds."""

_DIRECTORY = "listings-"
_WHOLE, _UNDER_WAY = ".keys", ".building"

Name = tuple[str, str, str]
"""Repo, commit, directory."""


class TableFiles:
    """Files by the tables' names; a name must mean the same contents for ever."""

    _log = Logger()

    def __init__(self, shared_dir: Path, *, limit_bytes: int = FILES_BYTES) -> None:
        """Touches nothing yet."""
        self.directory = shared_dir / f"{_DIRECTORY}{VERSION}"
        self._limit = limit_bytes
        self._complained = False

    def start(self) -> None:
        """Make the directory; remove what other versions and interrupted writers left. May take seconds."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for other in self.directory.parent.glob(f"{_DIRECTORY}*"):
                if other != self.directory:
                    shutil.rmtree(other, ignore_errors=True)
            for left in self.directory.glob(f"*{_UNDER_WAY}"):
                # The lock of one that is being written is held.
                if (writer := _lock(left)) is not None:
                    left.unlink(missing_ok=True)
                    os.close(writer)
            self._make_room()
        except OSError as error:
            self.complain(error)

    def load(self, name: Name) -> KeyTable | None:
        """The table that a worker of this gateway has written; None where there is none."""
        path = self._path(name, _WHOLE)
        try:
            table = FileBlocks.open(path, _bytes(name)).table
            os.utime(path)
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._log.warn("the listing in {path} is not used: {error}", path=str(path), error=error)
            self.forget(name)
            return None
        except OSError as error:
            self.complain(error)
            return None
        return table

    def forget(self, name: Name) -> None:
        """Remove the file, which has turned out to be damaged."""
        with contextlib.suppress(OSError):
            self._path(name, _WHOLE).unlink()

    def claim(self, name: Name) -> Claim | None:
        """The right to write the table's file; None where another process has it, or the file is there.

        Where there is no room for files the claim is one that has none.
        """
        path = self._path(name, _UNDER_WAY)
        try:
            descriptor = _lock(path)
            if descriptor is None:
                return None
            if self._path(name, _WHOLE).exists():
                path.unlink(missing_ok=True)
                os.close(descriptor)
                return None
            os.ftruncate(descriptor, 0)
        except OSError as error:
            self.complain(error)
            return Claim()
        return FileClaim(self, name, path, FileBlocks(descriptor))

    def publish(self, name: Name, path: Path) -> None:
        """Give the file that was written its name. Raises OSError."""
        path.rename(self._path(name, _WHOLE))
        self._make_room()

    def _make_room(self) -> None:
        """Remove what was not used for the longest time. Takes 2 µs a file."""
        found: list[tuple[float, int, str]] = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith(_WHOLE):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit:
                break
            Path(path).unlink(missing_ok=True)
            total -= size

    def complain(self, error: OSError) -> None:
        """Log, once, that files cannot be used."""
        if not self._complained:
            self._complained = True
            self._log.warn(
                "listings cannot be kept in {path}: {error}", path=str(self.directory), error=error
            )

    def _path(self, name: Name, suffix: str) -> Path:
        return self.directory / (hashlib.sha256(_bytes(name)).hexdigest() + suffix)


class Claim:
    """The right of one process to read a directory whole. One of `publish` and `abandon` ends it.

    This one is where nothing can be written.
    """

    blocks: FileBlocks | None = None
    """Where the table goes; None where nothing can be written, and after the end."""

    def publish(self, table: KeyTable) -> KeyTable:
        """Make the table everybody's, if it is large enough for a file and there is room; the same rows."""
        return table

    def abandon(self) -> None:
        """Nothing is written; does nothing after either. What was built from the blocks can be read on."""


class FileClaim(Claim):
    """The right to write one table's file."""

    def __init__(self, files: TableFiles, name: Name, path: Path, blocks: FileBlocks) -> None:
        self._files = files
        self._name = name
        self._path = path
        self.blocks = blocks

    def publish(self, table: KeyTable) -> KeyTable:
        """As Claim says; the table may have been built in `blocks`, wholly or not at all."""
        blocks = self.blocks
        if blocks is not None:
            try:
                if not table.is_in(blocks):
                    if table.nbytes < FILE_BYTES or blocks.firsts:
                        return table
                    table = _copy(table, blocks)
                elif blocks.end < FILE_BYTES:
                    return _copy(table, MemoryBlocks())
                blocks.seal(_bytes(self._name))
                self._files.publish(self._name, self._path)
                self.blocks = None
                _unlock(blocks)
            except OSError as error:
                # The rows can be read on, from the file that has no name.
                self._files.complain(error)
            finally:
                self.abandon()
        return table

    def abandon(self) -> None:
        """As Claim says."""
        blocks, self.blocks = self.blocks, None
        if blocks is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            _unlock(blocks)


def _copy(table: KeyTable, blocks: Blocks) -> KeyTable:
    number = 0
    for block in table.blocks():
        blocks.append(block)
        number += 1
    return KeyTable(blocks, number, None)


def _unlock(blocks: FileBlocks) -> None:
    # The descriptor lives as long as the table does.
    with contextlib.suppress(OSError):
        fcntl.flock(blocks.descriptor, fcntl.LOCK_UN)


def _lock(path: Path) -> int | None:
    """The file, open and locked by this process; None where another one has it. Raises OSError."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        # Whoever had it has published or removed it in this moment.
        os.close(descriptor)
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _bytes(name: Name) -> bytes:
    return "\0".join(name).encode()
