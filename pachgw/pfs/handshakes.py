"""What is wrong with the TLS of a server that is not spoken to, for the log; to callers it is merely away.

Whom to trust is channel.py's, what a failed call means errors.py's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from twisted.logger import Logger

AGAIN_SECONDS = 60.0
"""So long the same server is not told of again: each of many calls may fail."""

# As gRPC's core writes them (1.74 to 1.76).
_TROUBLES = (
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED: ([^:]*)"),
        r"its certificate is not trusted (\1); --pachd-ca names who issued it",
    ),
    (re.compile(r"Hostname Verification Check failed"), "its certificate is for another name"),
    (re.compile(r"missing selected ALPN property"), "it does not agree to HTTP/2 (ALPN h2)"),
    (re.compile(r"WRONG_VERSION_NUMBER"), "it does not speak TLS; grpc:// is for servers without"),
    (re.compile(r"Failed to create security handshaker"), "the certificates of --pachd-ca cannot be used"),
    (re.compile(r"[Hh]andshake failed[^:]*: (.*)"), r"the TLS handshake with it fails: \1"),
)

_log = Logger("pachgw.pfs")


def trouble(details: str) -> str | None:
    """What the text of a failed call says of TLS, in plain words; None where it is about something else."""
    for pattern, words in _TROUBLES:
        if found := pattern.search(details):
            return found.expand(words)
    return None


class Handshakes:
    """Tells the log why one server is not spoken to, not oftener than once a minute; from any thread."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._told_at: float | None = None

    def failed(self, details: str | None) -> None:
        """A call was not made, for a reason that has this text."""
        words = trouble(details or "")
        if words is None:
            return
        now = self._clock()
        if self._told_at is None or now - self._told_at >= AGAIN_SECONDS:
            self._told_at = now
            _log.error("{address} is not spoken to: {words}", address=self._address, words=words)
