"""What the log is told of the listeners' certificate: what is in it, and that it ends soon."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certificates import certificate
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pachgw.workers.certificate import LOOK_SECONDS, ServerCertificate, handed_pair
from pachgw.workers.reloads import ReadError

DAY = 86400


class CertificateTest(SynchronousTestCase):
    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.certificate, self.key = Path(made.name, "cert"), Path(made.name, "key")
        self.clock = Clock()
        self.clock.rightNow = datetime.now(UTC).timestamp()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.subject = ServerCertificate(self.certificate, self.key, reactor=self.clock)

    def write(self, days: float) -> None:
        key, public = certificate("s3.example", ends=timedelta(days=days, minutes=5))
        self.certificate.write_bytes(public)
        self.key.write_bytes(key)

    def told(self) -> list[str]:
        """What the log has heard since this was last asked, but for the dates."""
        texts = [eventAsText(event, includeTimestamp=False) for event in self.events]
        self.events.clear()
        return [text.partition(" on 20")[0].partition(", until")[0] for text in texts]

    def test_daily_looks(self) -> None:
        self.write(days=16)
        self.subject.read()
        self.subject.start()
        assert self.told() == ["[pachgw.tls#info] certificate of s3.example"]
        self.clock.pump([LOOK_SECONDS] * 2)
        assert self.told() == []
        self.clock.advance(LOOK_SECONDS)
        assert self.told() == ["[pachgw.tls#warn] the certificate expires"]
        self.clock.advance(LOOK_SECONDS)
        assert self.told() == ["[pachgw.tls#warn] the certificate expires"]
        # A new one ends it.
        self.write(days=90)
        self.subject.read()
        self.clock.advance(LOOK_SECONDS)
        assert self.told() == ["[pachgw.tls#info] certificate of s3.example"]
        self.subject.stop()
        self.subject.stop()
        assert not self.clock.getDelayedCalls()

    def test_one_that_has_expired_or_is_not_yet_valid(self) -> None:
        self.write(days=1)
        self.subject.read()
        self.told()
        self.clock.rightNow += 2 * DAY
        self.subject.read()
        assert self.told()[1:] == ["[pachgw.tls#error] the certificate has expired"]
        self.clock.rightNow -= 10 * DAY
        self.subject.read()
        (line,) = self.told()[1:]
        assert line.startswith("[pachgw.tls#error] the certificate is not valid before 20")

    def test_files_that_do_not_fit_change_nothing(self) -> None:
        self.write(days=1)
        handed = self.subject.read()
        pair = handed_pair(handed)
        assert pair.certificate == self.certificate.read_text()
        assert "PRIVATE KEY" not in repr(handed)
        assert "PRIVATE KEY" not in str(self.told())
        self.key.write_text("nothing", encoding="utf-8")
        with self.assertRaises(ReadError) as error:
            self.subject.read()
        assert str(error.exception) == f"{self.key}: no private key in PEM"
        # What is in force is still watched.
        assert self.told() == []
        self.subject.start()
        self.clock.advance(LOOK_SECONDS)
        assert self.told()
        self.subject.stop()
