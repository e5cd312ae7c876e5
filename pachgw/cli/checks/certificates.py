"""Certificates: of the server that pachd is reached by, and of our own listeners."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pachgw.cli.checks.finding import Finding, ok, problem, warning
from pachgw.cli.checks.reach import Handshake, Place, shake_hands, unverified

SOON = timedelta(days=14)

# X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED = frozenset((18, 19))
_NO_ISSUER = frozenset((20, 21))
_NAMES = frozenset((62, 64))


def check_server(place: Place, connected: str, ca_certificates: str | None) -> list[Finding]:
    """Whether gRPC will take the certificate: issuer, names, times; and whether HTTP/2 is agreed on."""
    seen = shake_hands(connected, place, unverified())
    if seen is None:
        return [
            problem("TLS", f"{place.host}: the handshake fails", "see the server's log, and its TLS versions")
        ]
    try:
        context = _verifying(ca_certificates)
    except (ssl.SSLError, OSError) as error:
        return [problem("TLS", f"the CA's certificates cannot be used: {error}", "--pachd-ca: a file in PEM")]
    try:
        verified = shake_hands(connected, place, context)
    except ssl.SSLCertVerificationError as error:
        return [_refused(place, error, seen, own=ca_certificates is not None)]
    if verified is None:
        return [
            problem(
                "TLS",
                f"{place.host}: the handshake fails now and then",
                "see the load between here and there",
            )
        ]
    if verified.alpn != "h2":
        return [
            problem(
                "TLS",
                f"{place.host} speaks TLS, but does not agree to HTTP/2 (ALPN h2)",
                "gRPC refuses this: pass TCP through to pachd, or let the proxy speak HTTP/2 to clients",
            )
        ]
    return [_ends(place, verified)]


def _ends(place: Place, verified: Handshake) -> Finding:
    what = f"{verified.version}, certificate of {place.host}"
    try:
        certificate = x509.load_der_x509_certificate(verified.certificate)
    except ValueError:
        # What OpenSSL and gRPC take may still be too odd for it.
        return ok("TLS", f"{what}, whose end cannot be read")
    return _times("TLS", certificate, what, datetime.now(UTC))


def _verifying(ca_certificates: str | None) -> ssl.SSLContext:
    """As gRPC verifies: with the given certificates alone, else with the roots that it brings along."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    # A certificate that is itself given is enough for gRPC, whoever issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_certificates is not None:
        context.load_verify_locations(cadata=ca_certificates)
    elif path := os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        context.load_verify_locations(cafile=path)
    else:
        roots = (
            files("grpc").joinpath("_cython/_credentials/roots.pem").read_bytes().decode("ascii", "ignore")
        )
        context.load_verify_locations(cadata=_blocks(roots))
    return context


def _blocks(pem: str) -> str:
    """The certificates alone, without what is written between them."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return "\n".join(f"{begin}{part.partition(end)[0]}{end}" for part in pem.split(begin)[1:])


def _refused(place: Place, error: ssl.SSLCertVerificationError, seen: Handshake, *, own: bool) -> Finding:
    try:
        certificate = x509.load_der_x509_certificate(seen.certificate)
    except ValueError:
        return problem("TLS", f"{place.host}: {error.verify_message}", "see the certificate and --pachd-ca")
    code = error.verify_code
    if code in _NAMES:
        names = ", ".join(names_of(certificate)) or "no name"
        return problem(
            "TLS",
            f"the certificate is for {names}, not for {place.host}",
            "name pachd as the certificate does, or have one made with this name (subjectAltName)",
        )
    if code == _EXPIRED:
        return problem(
            "TLS",
            f"a certificate of {place.host} has expired; its own ends on"
            f" {_day(certificate.not_valid_after_utc)}",
            "renew it; if that day is not over yet, this machine's clock or the CA's certificate is wrong",
        )
    if code == _NOT_YET_VALID:
        return problem(
            "TLS",
            f"a certificate of {place.host} is valid from {certificate.not_valid_before_utc:%F %T} UTC on,"
            f" and here it is {datetime.now(UTC):%F %T}",
            "this machine's clock is behind, or the one of who made the certificate ahead: set them by NTP",
        )
    if code in _SELF_SIGNED or code in _NO_ISSUER:
        issuer = certificate.issuer.rfc4514_string() or "nobody"
        advice = (
            "--pachd-ca names another CA: take the certificate of the one that issued pachd's"
            if own
            else "name the CA's certificate with --pachd-ca FILE or $PACH_CA_CERTS; gRPC has its own roots"
        )
        return problem(
            "TLS", f"the certificate of {place.host} was issued by {issuer}, which is not known here", advice
        )
    return problem("TLS", f"{place.host}: {error.verify_message}", "see the certificate and --pachd-ca")


def check_own(certificate_file: Path, key_file: Path) -> list[Finding]:
    """Whether a listener can be opened with certificate and key: readable, of each other, in their time."""
    name = "certificate"
    try:
        certificate = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
    except OSError as error:
        return [
            problem(
                name,
                f"{certificate_file}: {error.strerror}",
                "run this as the daemon's user, or see the path",
            )
        ]
    except ValueError as error:
        return [
            problem(name, f"{certificate_file}: no certificate in PEM ({error})", "see the path and the file")
        ]
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except OSError as error:
        return [
            problem(name, f"{key_file}: {error.strerror}", "run this as the daemon's user, or see the path")
        ]
    except (ValueError, TypeError):
        # Not its text: nothing of a key is to be shown.
        return [problem(name, f"{key_file}: no key in PEM without a password", "see the path and the file")]
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(encoding, form) != certificate.public_key().public_bytes(encoding, form):
        return [
            problem(
                name,
                f"the key in {key_file} is not that of the certificate in {certificate_file}",
                "pair them",
            )
        ]
    names = ", ".join(names_of(certificate)) or "no name"
    return [_times(name, certificate, f"{certificate_file}, for {names}", datetime.now(UTC))]


def _times(name: str, certificate: x509.Certificate, what: str, now: datetime) -> Finding:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return problem(name, f"{what}: valid from {begin:%F %T} UTC on", "set the clock by NTP, or wait")
    if now > end:
        return problem(name, f"{what}: expired {_day(end)}", "renew it")
    if end - now < SOON:
        return warning(name, f"{what}: ends {_day(end)}", f"renew it within {(end - now).days} days")
    return ok(name, f"{what}, good until {_day(end)}")


def names_of(certificate: x509.Certificate) -> list[str]:
    """The hosts' names and addresses that the certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
