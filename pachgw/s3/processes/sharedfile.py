"""The one file of a directory over which processes agree: locks on ranges of it, and words of memory in it.

Which range or word stands for what is said in locks.py, notices.py, bulletin.py and rates.py. Nothing in it
has to outlive the processes that have it open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import time
import weakref
from pathlib import Path

from twisted.logger import Logger

FILE_NAME = "pachgw-processes-v1"
"""Of the file; another layout has another name."""

WORDS = 16 * 1024
WORD_BYTES = 8
BOARD_BYTES = 256 * 1024
"""Behind the words."""
RATE_WORDS = 8 * 1024
"""Behind the board, where older releases, which may have the same file, see nothing."""

_MAPPED_BYTES = (WORDS + RATE_WORDS) * WORD_BYTES + BOARD_BYTES

LATE_SECONDS = 1.0

_FLOCK = struct.Struct("hhqqi")
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""


class SharedFile:
    """The file as this process has opened it. Closed when nobody refers to it any more.

    Locks on it are the process's own and end with it. Not to be carried over a fork: parent and child would
    have their locks in common.
    """

    def __init__(self, path: Path) -> None:
        """Opens it, and makes it where it is missing. Raises OSError."""
        self._path = path
        self.descriptor = _open(path)
        weakref.finalize(self, os.close, self.descriptor).atexit = False
        # Real blocks from the beginning: to write into a hole of a mapped file on a full disk ends the
        # process. Also of a file that is there, since another process may just have made it.
        os.posix_fallocate(self.descriptor, 0, _MAPPED_BYTES)
        self._identity = _identity(os.fstat(self.descriptor))
        # mmap keeps a copy of the descriptor, and with it the locks that were taken through that.
        mapped = _open(path)
        try:
            if _identity(os.fstat(mapped)) != self._identity:
                raise FileNotFoundError(f"{path} was replaced a moment ago")
            memory = memoryview(mmap.mmap(mapped, _MAPPED_BYTES))
        finally:
            os.close(mapped)
        self.words = memory[: WORDS * WORD_BYTES].cast("Q")
        """Memory; each word is read and written as a whole."""
        self.board = memory[WORDS * WORD_BYTES :][:BOARD_BYTES]
        """Memory; bytes."""
        self.rates = memory[-RATE_WORDS * WORD_BYTES :].cast("Q")
        """Memory; words as well."""

    def try_lock(self, start: int, length: int) -> bool:
        """Whether the range is locked now; False where another process has some of it. Raises OSError."""
        try:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, start, length)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def wait_for_lock(self, start: int, length: int) -> None:
        """Lock the range; for a thread, which nothing wakes before. Raises OSError."""
        self._lock(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, start, length)

    def unlock(self, start: int, length: int) -> None:
        """Free what is locked of the range. Raises OSError."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, start, length)

    def _lock(self, command: int, kind: int, start: int, length: int) -> None:
        fcntl.fcntl(self.descriptor, command, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))

    def is_current(self) -> bool:
        """Whether the file still has its name: who opens it now opens the same."""
        try:
            return _identity(self._path.stat()) == self._identity
        except OSError:
            return False


class SharedDirectory:
    """Where the file is: opened with its first use, and again where somebody has removed it."""

    _log = Logger()

    def __init__(self, directory: Path) -> None:
        """`directory` is made where it is missing; on a disk of this machine."""
        self._directory = directory
        self._file: SharedFile | None = None
        self._looked = 0.0

    def file(self) -> SharedFile:
        """The file that other processes have, or will open, as well. Raises OSError."""
        if self._file is None or not self._file.is_current():
            if self._file is not None:
                self._log.warn(
                    "{path} was removed while it was in use", path=str(self._directory / FILE_NAME)
                )
            self._file = self._open()
        self._looked = time.monotonic()
        return self._file

    def late_file(self) -> SharedFile:
        """As file(), of LATE_SECONDS ago at most; for what is only read."""
        if self._file is None or time.monotonic() - self._looked > LATE_SECONDS:
            return self.file()
        return self._file

    def _open(self) -> SharedFile:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / FILE_NAME
        with contextlib.suppress(FileNotFoundError):
            return SharedFile(path)
        # Removed between two looks.
        return SharedFile(path)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
