"""The embedded PFS on a disk that keeps only what was synced: `python strict_disk_server.py MIRROR ARGS...`.

It runs as always; in the directory MIRROR is noted what would have outlived a power cut: the bytes that a
file had when it was last synced, the entries that a directory had. SQLite's own syncs are in C and not seen
here. FORGET, a comma-separated list of `files` and `directories`, names syncs that this disk does not heed.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from pachgw.localpfs.__main__ import main

DATABASE = "pfs.sqlite"


def _entries(descriptor: int) -> bytes:
    with os.scandir(descriptor) as found:
        return json.dumps({entry.name: entry.inode() for entry in found}).encode()


def _content(descriptor: int) -> bytes:
    # It may be open for writing only.
    return Path(f"/proc/self/fd/{descriptor}").read_bytes()


def keep(mirror: Path, forgotten: set[str]) -> None:
    """Note every sync in the mirror from now on."""

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            status = os.fstat(descriptor)
            is_directory = stat.S_ISDIR(status.st_mode)
            # What is written while it syncs may be lost: so it is read before.
            kept = _entries(descriptor) if is_directory else _content(descriptor)
            sync(descriptor)
            if ("directories" if is_directory else "files") not in forgotten:
                (mirror / f"{status.st_ino}").write_bytes(kept)

        return synced

    os.fsync, os.fdatasync = noting(os.fsync), noting(os.fdatasync)


def after_power_cut(mirror: Path, live: Path, target: Path) -> None:
    """Make `target` what is left of the directory `live`, whose own entry is taken to be there.

    Nothing may be going on in it. The database's files are taken as they are.
    """
    target.mkdir()
    for name, inode in _kept_entries(mirror, live).items():
        path = live / name
        if path.is_dir() and path.stat().st_ino == inode:
            after_power_cut(mirror, path, target / name)
        elif name.startswith(DATABASE):
            (target / name).write_bytes(path.read_bytes() if path.exists() else b"")
        elif path.is_socket():
            continue
        else:
            kept = mirror / f"{inode}"
            (target / name).write_bytes(kept.read_bytes() if kept.exists() else b"")


def _kept_entries(mirror: Path, directory: Path) -> dict[str, int]:
    kept = mirror / f"{directory.stat().st_ino}"
    entries: dict[str, int] = json.loads(kept.read_bytes()) if kept.exists() else {}
    # SQLite syncs the directory itself when it has made a file.
    entries |= {path.name: 0 for path in directory.glob(f"{DATABASE}-wal")}
    return entries


if __name__ == "__main__":
    keep(Path(sys.argv.pop(1)), set(filter(None, os.environ.get("FORGET", "").split(","))))
    sys.exit(main())
