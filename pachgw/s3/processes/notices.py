"""Short word between processes: that a repo has changed, and who does what only one of them is to do.

In the memory of the shared file; without one, in this process alone. Nothing waits here: see turns.py for
what must not overlap.
"""

from __future__ import annotations

import secrets
from array import array
from hashlib import blake2b

from pachgw.s3.processes.sharedfile import WORD_BYTES, WORDS, SharedDirectory

STATES = WORDS // 2
CLAIMS = WORDS // 4
"""Each of two words: whose it is, and since when."""

State = tuple[int, int]

_MICROSECONDS = 1_000_000


class Notices:
    """Owned by the gateway."""

    def __init__(self, directory: SharedDirectory | None = None) -> None:
        """`directory` is shared with other processes; None: there are none."""
        self._directory = directory
        self._words: memoryview | array[int] = array("Q", bytes(WORDS * WORD_BYTES))
        self._opened = 0

    def state(self, repo: str) -> State:
        """What is another one after each tell() of the repo, in whatever process; now and then also without.

        What was read of the repo between two equal states was not changed between them by who tells.
        """
        words = self._late_words()
        return self._opened, words[_hash("state", repo) % STATES]

    def tell(self, repo: str) -> None:
        """Something of the repo is about to change, or has changed; what others remember of it is void."""
        # Not a count: two that add one at the same time would add one.
        self._late_words()[_hash("state", repo) % STATES] = secrets.randbits(64)

    def claim(self, name: str, *, now: float, seconds: float) -> bool:
        """Whether to do what the name stands for: nobody has claimed it in the last so many seconds.

        `now` is seconds since 1970. Of two that ask in the same microsecond both may hear yes; and sometimes
        a name is forgotten too early.
        """
        words = self._late_words()
        hashed = _hash("claim", name)
        place = STATES + 2 * (hashed % CLAIMS)
        # A time to come is of a clock that has been set back.
        if words[place] == hashed and 0 <= now - words[place + 1] / _MICROSECONDS < seconds:
            return False
        words[place], words[place + 1] = hashed, int(now * _MICROSECONDS)
        return True

    def disclaim(self, name: str) -> None:
        """What was claimed has not been done."""
        words = self._late_words()
        hashed = _hash("claim", name)
        place = STATES + 2 * (hashed % CLAIMS)
        if words[place] == hashed:
            words[place] = 0

    def _late_words(self) -> memoryview | array[int]:
        if self._directory is not None:
            try:
                words = self._directory.late_file().words
            except OSError:
                # Removed, and the disk is full: nobody gets a turn to write either.
                self._opened += 1
                return self._words
            if words is not self._words:
                self._words = words
                self._opened += 1
        return self._words


def _hash(kind: str, name: str) -> int:
    data = f"{kind}\0{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
