"""How much one process keeps in memory of what it has read, and for what. The only place that divides it."""

from __future__ import annotations

from dataclasses import dataclass

CACHE_BYTES = 128 * 1024 * 1024
"""All caches of one process together, where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Bytes for each cache."""

    listings: int
    small_objects: int
    records: int


def divide(cache_bytes: int) -> Shares:
    """The shares of so many bytes; 0: nothing is kept."""
    listings, records = cache_bytes // 2, cache_bytes // 16
    return Shares(listings=listings, records=records, small_objects=cache_bytes - listings - records)
