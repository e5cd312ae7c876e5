"""The locks of a state directory: that of the store's one process, which says where to reach it, and gc's.

The first is the file `lock`, whose content is what the one who has it says. Both are the kernel's, so that
they end with their process. Nothing of what is done under them is here.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

FILE_NAME = "lock"

OBJECTS_FILE_NAME = "gc.lock"
"""Locked exclusively while known objects are removed, shared by backups, which need what they have seen."""


def take(directory: Path) -> int:
    """The descriptor that has the lock until it is closed. What its last owner said stays for now.

    Raises BlockingIOError while another process has it, OSError.
    """
    return _take(directory / FILE_NAME)


def say(descriptor: int, **said: str) -> None:
    """Tell the others something, such as the socket served on, in place of what was said; on disk at once.

    Raises OSError.
    """
    text = json.dumps(said).encode()
    # In this order a full disk takes it, as long as something was said before.
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    os.fsync(descriptor)


def say_nothing(descriptor: int) -> None:
    """Take back what was said, on disk at once. Raises OSError."""
    os.ftruncate(descriptor, 0)
    os.fsync(descriptor)


def said(directory: Path) -> dict[str, str]:
    """What the last one to have the lock said; nothing where it has not said anything, or there is no lock.

    Raises OSError.
    """
    try:
        text = (directory / FILE_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_taken(directory: Path) -> bool:
    """Whether a process has the lock at this moment. Makes nothing; raises OSError."""
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look do not take each other for an owner. Who wants the lock itself and
        # meets it tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove_objects(directory: Path) -> int:
    """The descriptor that allows to remove known objects until it is closed.

    Raises BlockingIOError where somebody else does, or needs them; OSError.
    """
    return _take(directory / OBJECTS_FILE_NAME)


def keep_objects(directory: Path, *, wait: bool) -> int:
    """The descriptor that keeps objects from being removed until it is closed; several may have one.

    Raises BlockingIOError where objects are being removed and `wait` is false; OSError.
    """
    descriptor = os.open(directory / OBJECTS_FILE_NAME, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            # What root makes here must not lock out the one whose directory it is.
            owner = directory.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _take(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
