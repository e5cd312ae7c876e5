"""The supervisor's end of the listeners' certificate: reads the files, tells what they have and until when.

Serving with it is web/tls.py's; who is handed what was read, the daemon's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from pachgw.web.tls import CertificateError, Pair, Served, describe, expiring, read_pair
from pachgw.workers.order import CERTIFICATE, Handed
from pachgw.workers.reloads import ReadError

LOOK_SECONDS = 86400.0
"""How often it is seen whether the certificate is about to expire."""

_log = Logger("pachgw.tls")


class ServerCertificate:
    """Certificate and key of the configuration. Their files are this process's alone to read."""

    def __init__(self, certificate: Path, key: Path, *, reactor: Any) -> None:
        self._certificate = certificate
        self._key = key
        self._reactor = reactor
        self._served: Served | None = None
        self._look: Any = None

    def read(self) -> Handed:
        """What to serve from now on, told to the log. Raises ReadError: then nothing has changed."""
        try:
            pair = read_pair(self._certificate, self._key)
            served = describe(pair)
        except CertificateError as error:
            raise ReadError(str(error)) from None
        self._served = served
        _log.info(
            "certificate of {names}, until {expires}, SHA-256 {fingerprint}",
            names=", ".join(served.names) or "nobody by name",
            expires=_day(served.expires),
            fingerprint=served.fingerprint,
        )
        self._warn()
        return Handed(name=CERTIFICATE, texts=(pair.certificate, pair.key))

    def start(self) -> None:
        """Look once a day whether the certificate is about to expire."""
        self._look = self._reactor.callLater(LOOK_SECONDS, self._look_again)

    def stop(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_again(self) -> None:
        self.start()
        self._warn()

    def _warn(self) -> None:
        now = datetime.fromtimestamp(self._reactor.seconds(), UTC)
        served = self._served
        if served is None:
            return
        if served.expires <= now:
            _log.error("the certificate has expired on {day}: clients refuse it", day=_day(served.expires))
        elif served.begins > now:
            _log.error(
                "the certificate is not valid before {day}: clients refuse it", day=_day(served.begins)
            )
        elif expiring(served, now):
            _log.warn("the certificate expires on {day}", day=_day(served.expires))


def handed_pair(handed: Handed) -> Pair:
    """The pair that read() has handed on."""
    certificate, key = handed.texts
    return Pair(certificate=certificate, key=key)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
