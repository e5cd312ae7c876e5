"""Large files to send: random, new to every store, and out of the kernel's memory where that is wanted."""

from __future__ import annotations

import os
from pathlib import Path

OBJECT_BYTES = 512 << 20
"""Where PFS cuts a large file into objects."""
FORGOTTEN_BYTES = 1 << 20


def freshen(path: Path) -> None:
    """Make the file one that no store has seen a part of, and let the disk come to rest."""
    with path.open("r+b") as file:
        for offset in range(0, path.stat().st_size, OBJECT_BYTES):
            file.seek(offset)
            file.write(os.urandom(64))
    os.sync()


def forget(path: Path) -> None:
    """Have what the kernel keeps in memory of the file, or of all files below it, read from disk again."""
    os.sync()
    for one in [path] if path.is_file() else path.rglob("*"):
        if one.is_file() and one.stat().st_size >= FORGOTTEN_BYTES:
            descriptor = os.open(one, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def random_file(path: Path, size: int) -> Path:
    """A file of `size` bytes that do not repeat within any chunk, so that nothing is stored once for two."""
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 16 * 1024 * 1024)))
    return path
