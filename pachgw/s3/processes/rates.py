"""How often each who asks may: the rate holds over all processes that share the directory.

For each there are two words of memory, who it is and when its allowance is whole again (the generic cell rate
algorithm), so that no process has to tell another anything. There are so many places and no more: whoever
comes to full ones takes that of who has been quiet for longest, and never one has less than its rate by it.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable
from hashlib import blake2b

from pachgw.s3.processes.sharedfile import RATE_WORDS, SharedDirectory

BURST_SECONDS = 2.0
"""What was not asked for in so long may be asked for at once."""
BURST_LEAST = 10

WAYS = 4
"""Places for those whose hashes agree."""
_SETS = RATE_WORDS // (2 * WAYS)
_NANOSECONDS = 1_000_000_000


class Rates:
    """Owned by the gateway."""

    def __init__(
        self, per_second: int, directory: SharedDirectory | None = None, *, now: Callable[[], float]
    ) -> None:
        """`per_second`: 0 is any number. `now` is seconds since 1970, the same for all processes."""
        self._directory = directory
        self._now = now
        self._words: memoryview | array[int] = array("Q", bytes(RATE_WORDS * 8))
        self._interval = _NANOSECONDS // per_second if per_second else 0
        burst = max(BURST_LEAST, int(per_second * BURST_SECONDS))
        self._depth = (burst - 1) * self._interval

    def take(self, who: str) -> float:
        """Count a request; 0.0 where it may be served, else the seconds until the next one may.

        One that may not does not count. Of requests that two processes take in the same microsecond one may
        go uncounted.
        """
        if not self._interval:
            return 0.0
        now = int(self._now() * _NANOSECONDS)
        hashed = int.from_bytes(
            blake2b(who.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big"
        )
        words = self._shared_words()
        place = _place_of(words, hashed)
        whole = words[place + 1] if words[place] == hashed else 0
        if not now <= whole <= now + self._depth + self._interval:
            # Whole for long, or of a clock that has been set back.
            whole = now
        if whole - now > self._depth:
            return (whole - now - self._depth) / _NANOSECONDS
        words[place + 1], words[place] = whole + self._interval, hashed
        return 0.0

    def _shared_words(self) -> memoryview | array[int]:
        if self._directory is not None:
            # Where it was removed and the disk is full, each process goes on with what it has.
            with contextlib.suppress(OSError):
                self._words = self._directory.late_file().rates
        return self._words


def _place_of(words: memoryview | array[int], hashed: int) -> int:
    """Where its two words are, or may be."""
    first = hashed % _SETS * WAYS * 2
    places = range(first, first + WAYS * 2, 2)
    for place in places:
        if words[place] == hashed:
            return place
    return min(places, key=lambda place: words[place + 1])
