"""File descriptors: how many this process may have.

A leaf; who needs them is elsewhere.
"""

from __future__ import annotations

import contextlib
import resource

KEPT = 256
"""Those for anything but connections of clients."""


def raise_limit() -> int:
    """Take all the file descriptors that the system allows this process; how many they are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems have a lower bound besides
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def for_connections(wanted: int, limit: int) -> int:
    """How many connections of clients a process of so many descriptors may have, at most those wanted."""
    return max(1, min(wanted, limit - KEPT if limit > 2 * KEPT else limit // 2))
