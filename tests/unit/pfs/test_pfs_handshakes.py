"""Which failures of TLS the log is told of, in which words, and how often."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from pachgw.pfs.handshakes import AGAIN_SECONDS, Handshakes, trouble

TO = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:46855: "
SSL = "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:{}:SSL routines:OPENSSL_internal:"


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (
            TO
            + SSL.format("1000007d")
            + "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK",
            "its certificate is not trusted (unable to get local issuer certificate); --pachd-ca names who"
            " issued it",
        ),
        (
            TO + SSL.format("1000007d") + "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
            "its certificate is not trusted (certificate has expired); --pachd-ca names who issued it",
        ),
        (
            TO + "Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check"
            " failed.",
            "its certificate is for another name",
        ),
        (
            TO + "Cannot check peer: missing selected ALPN property.",
            "it does not agree to HTTP/2 (ALPN h2)",
        ),
        (
            TO
            + SSL.format("100000f7")
            + "WRONG_VERSION_NUMBER: Invalid certificate verification context: OK",
            "it does not speak TLS; grpc:// is for servers without",
        ),
        (TO + "Failed to create security handshaker.", "the certificates of --pachd-ca cannot be used"),
        (
            TO + SSL.format("10000410") + "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "the TLS handshake with it fails: SSL_ERROR_SSL: error:10000410:SSL"
            " routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE",
        ),
        (TO + "Failed to connect to remote host: Connection refused", None),
        ("", None),
    ],
)
def test_troubles(details: str, words: str | None) -> None:
    assert trouble(details) == words


def test_the_log_is_told_once_a_minute() -> None:
    clock = Clock()
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)
    try:
        handshakes = Handshakes("grpcs://h:1", clock=clock.seconds)
        details = TO + "Cannot check peer: missing selected ALPN property."
        handshakes.failed(None)
        handshakes.failed("Connection refused")
        assert not told
        for seconds in (0, 1, AGAIN_SECONDS - 2, 1, 1):
            clock.advance(seconds)
            handshakes.failed(details)
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert [eventAsText(event, includeTimestamp=False) for event in told] == 2 * [
        "[pachgw.pfs#error] grpcs://h:1 is not spoken to: it does not agree to HTTP/2 (ALPN h2)"
    ]
