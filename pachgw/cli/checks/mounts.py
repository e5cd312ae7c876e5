"""The file systems that directories lie on, by Linux's /proc/self/mountinfo, and the space on them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pachgw.cli.checks.finding import Finding, ok, problem, skipped, warning

MIN_FREE_BYTES = 1 << 30
MIN_FREE_PERCENT = 5

_MOUNTS = Path("/proc/self/mountinfo")
_MEMORY = frozenset(("tmpfs", "ramfs"))
_NETWORK = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "glusterfs",
        "ncpfs",
        "beegfs",
    )
)
_LAYERS = frozenset(("overlay", "aufs"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    point: str
    kind: str
    """The type of the file system, as the kernel names it."""


def parse(text: str) -> list[Mount]:
    """The mounts in the order they were made (proc(5), mountinfo); lines that are none are left out."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 4 and after:
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append(Mount(point=point, kind=after.split(" ")[0]))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """Where the path lies: the longest mount point above it, of equal ones the last that was made."""
    above = [mount for mount in mounts if _is_below(path, mount.point)]
    longest = max((len(mount.point) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point) == longest), None)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def check_file_system(name: str, directory: Path, *, durable: bool) -> list[Finding]:
    """Whether the directory, which is there, lies where it should; `durable`: what is in it must be kept."""
    name = f"{name}, file system"
    try:
        text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        return [skipped(name, f"{_MOUNTS}: {error.strerror}")]
    mount = mount_of(os.path.realpath(directory), parse(text))
    if mount is None:
        return [skipped(name, f"no mount of {directory} is known")]
    return [judge(name, mount, durable=durable)]


def judge(name: str, mount: Mount, *, durable: bool) -> Finding:
    """What such a file system means for data that must be kept, or for what can be read again."""
    kind = mount.kind
    found = f"{kind}, mounted on {mount.point}"
    if not durable:
        if kind in _NETWORK or kind.startswith("fuse"):
            return warning(name, found, "the index is slow there and its locks may fail: use a local disk")
        return ok(name, found)
    if kind in _MEMORY:
        return warning(name, f"{found}: in memory", "all data is gone when it is unmounted; use a disk")
    if kind in _NETWORK:
        return problem(
            name,
            f"{found}: over a network",
            "SQLite's log and locks are not safe there: use a local disk",
        )
    if kind in _LAYERS:
        return warning(
            name, f"{found}: a container's own layer", "data ends with the container: mount a volume there"
        )
    if kind.startswith("fuse"):
        return warning(
            name,
            found,
            "make sure that it keeps what fsync says is kept, and that locks work; else use a local disk",
        )
    return ok(name, found)


def check_space(name: str, directory: Path) -> list[Finding]:
    """Bytes and inodes that are free for this user where the directory lies."""
    try:
        status = os.statvfs(directory)
    except OSError as error:
        return [skipped(f"{name}, space", f"{directory}: {error.strerror}")]
    return space(
        f"{name}, space",
        free=status.f_bavail * status.f_frsize,
        size=status.f_blocks * status.f_frsize,
        free_inodes=status.f_favail,
        inodes=status.f_files,
    )


def space(name: str, *, free: int, size: int, free_inodes: int, inodes: int) -> list[Finding]:
    """Judges what statvfs(2) says; some file systems count no inodes."""
    found = f"{free / (1 << 30):.1f} GiB of {size / (1 << 30):.1f} GiB are free"
    advice = "make room or take a larger disk; `pachgw gc` removes what no commit needs"
    findings = []
    if size and not free:
        findings.append(problem(name, "no space is left", advice))
    elif free < MIN_FREE_BYTES or free * 100 < size * MIN_FREE_PERCENT:
        findings.append(warning(name, found, advice))
    else:
        findings.append(ok(name, found))
    if inodes and free_inodes * 100 < inodes * MIN_FREE_PERCENT:
        found = f"{free_inodes} of {inodes} inodes are free"
        advice = "remove files, or make a file system with more inodes: each object is a file"
        findings.append((warning if free_inodes else problem)(name, found, advice))
    return findings
