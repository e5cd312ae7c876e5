"""How the C library keeps memory that was let go of. Only glibc's can be told; any other is left as it is."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h

ARENAS: Final = 2
"""Heaps that threads share; glibc would give most threads their own, and each keeps what it once had."""

KEPT_BYTES: Final = 8 << 20
"""Free memory that a heap may keep at its end."""

MAPPED_BYTES: Final = 32 << 20
"""What is smaller comes from a heap, and its pages are used again. By itself glibc maps blocks of a megabyte,
and the kernel then clears their pages for each message: a quarter of what a GetFile costs."""


def settle() -> bool:
    """Set the above, before the process has threads; whether the C library took it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = {_M_ARENA_MAX: ARENAS, _M_TRIM_THRESHOLD: KEPT_BYTES, _M_MMAP_THRESHOLD: MAPPED_BYTES}
    taken = [mallopt(option, value) for option, value in options.items()]
    return all(taken)
