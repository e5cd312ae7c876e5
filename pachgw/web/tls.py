"""TLS of the listeners: certificate and key are judged, and replaced without dropping a connection.

Which port speaks it, and when files are read again, is the daemon's to say.
"""

# Most of pyOpenSSL's and Twisted's methods that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLContextFactory, IProtocolFactory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

MAX_FILE_BYTES = 1024 * 1024
EXPIRY_DAYS = 14
"""So long before its end a certificate is worth a warning."""

# PEM may have any text between its blocks.
_ENCODING = "latin-1"


class CertificateError(Exception):
    """Certificate and key cannot be used; the text is one line that names the file and shows no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Certificate and key that belong together, as text in PEM; either may have the other in it as well."""

    certificate: str = field(repr=False)
    """The server's own first, then those between it and a root."""
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is shown to clients."""

    names: tuple[str, ...]
    """DNS names and addresses of the certificate."""
    begins: datetime
    expires: datetime
    """Aware UTC, both."""
    fingerprint: str
    """Hex SHA-256 of the certificate."""


def read_pair(certificate: Path, key: Path) -> Pair:
    """What both files hold, which may be one. Raises CertificateError for what could not be served."""
    pair = Pair(certificate=_read(certificate), key=_read(key))
    _context(pair, str(certificate), str(key))
    return pair


def describe(pair: Pair) -> Served:
    """What a client sees of the pair. Raises CertificateError."""
    own = _chain(pair, "the certificate")[0]
    return Served(
        names=_names(own),
        begins=own.not_valid_before_utc,
        expires=own.not_valid_after_utc,
        fingerprint=hashlib.sha256(own.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


@implementer(IOpenSSLContextFactory)
class Certificates:
    """The context of new connections; those that are there keep the one they began with."""

    def __init__(self) -> None:
        self._context: SSL.Context | None = None

    def serve(self, pair: Pair) -> None:
        """Show this pair from now on. Raises CertificateError: then nothing has changed."""
        self._context = _context(pair, "the certificate", "the key")

    def getContext(self) -> SSL.Context:
        """The context for one more connection; called by Twisted."""
        if self._context is None:
            raise RuntimeError("there is no certificate to serve")
        return self._context

    def wrap(self, factory: IProtocolFactory, clock: Any) -> TLSMemoryBIOFactory:
        """The factory of connections that speak TLS first and then what `factory` speaks."""
        return TLSMemoryBIOFactory(self, False, factory, clock=clock)


def expiring(served: Served, now: datetime, *, days: int = EXPIRY_DAYS) -> bool:
    """Whether the certificate ends within so many days, or has; `now` is aware."""
    return (served.expires - now.astimezone(UTC)).total_seconds() < days * 86400


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise CertificateError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return data.decode(_ENCODING)


def _context(pair: Pair, certificate_name: str, key_name: str) -> SSL.Context:
    """A context that shows the pair; errors say the names for what they are about."""
    chain = _chain(pair, certificate_name)
    key = _key(pair, key_name)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise CertificateError(f"{key_name}: not the key of the certificate in {certificate_name}")
    try:
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(chain[0]),
            extraCertChain=[crypto.X509.from_cryptography(one) for one in chain[1:]],
            # RFC 8996: what came before is deprecated.
            raiseMinimumTo=TLSVersion.TLSv1_2,
            acceptableProtocols=[b"http/1.1"],
        )
        context = options.getContext()
    except (SSL.Error, TypeError, ValueError) as error:
        raise CertificateError(f"{certificate_name}: {' '.join(str(error).split())}") from None
    # A client that asks to negotiate anew in the middle only burns our time (RFC 5746, RFC 7540 §9.2.1).
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    return context


def _chain(pair: Pair, name: str) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(pair.certificate.encode(_ENCODING))
    except ValueError:
        raise CertificateError(f"{name}: no certificate in PEM") from None
    if not chain:
        raise CertificateError(f"{name}: no certificate in PEM")
    return chain


def _key(pair: Pair, name: str) -> Any:
    try:
        return serialization.load_pem_private_key(pair.key.encode(_ENCODING), password=None)
    except TypeError:
        raise CertificateError(f"{name}: the key is encrypted; a daemon has nobody to ask") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{name}: no private key in PEM") from None


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    )
