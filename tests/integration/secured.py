"""A daemon that serves with TLS, its certificate, and clients that verify it."""

from __future__ import annotations

import os
import signal
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from daemons import Daemon
from wire import Wire


class Files:
    """Certificate and key on disk, and the authority that they come from."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "cert.pem"
        self.key = directory / "key.pem"
        self.authority = directory / "ca.pem"
        self._signing = ec.generate_private_key(ec.SECP256R1())
        self._issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        own = self._issue(self._issuer, self._signing, x509.BasicConstraints(ca=True, path_length=None))
        self.authority.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self.renew()

    @property
    def options(self) -> tuple[str, ...]:
        return (
            *("--listen", "tls:0:interface=127.0.0.1"),
            *("--tls-certificate", str(self.certificate)),
            *("--tls-key", str(self.key)),
        )

    def renew(self, *, ends: timedelta = timedelta(days=90)) -> bytes:
        """Write a new pair for localhost that ends so long from now; the new certificate, in DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        made = self._issue(subject, key, names, ends=ends)
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made.public_bytes(serialization.Encoding.DER)

    def _issue(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        *,
        ends: timedelta = timedelta(days=90),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(self._issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + ends)
            .add_extension(extension, critical=True)
            .sign(self._signing, hashes.SHA256())
        )

    def context(self) -> ssl.SSLContext:
        """A client's, which trusts nobody but the authority, and checks the name."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols(["http/1.1"])
        return context


class SecureWire(Wire):
    """A connection with TLS, to localhost."""

    def __init__(self, port: int, context: ssl.SSLContext, *, receive_bytes: int | None = None) -> None:
        super().__init__(f"http://127.0.0.1:{port}", receive_bytes=receive_bytes)
        self._file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._file = self.socket.makefile("rb")

    @property
    def certificate(self) -> bytes:
        """What the server has shown, in DER."""
        return self.socket.getpeercert(True)


def port_of(daemon: Daemon) -> int:
    """The port on which the daemon speaks TLS."""
    return int(daemon.wait_for(r"S3 listens on https://127\.0\.0\.1:(\d+)"))


def reload(daemon: Daemon, outcome: str = "the certificate was read again, and is in force") -> None:
    """SIGHUP; returns when the log says so."""
    seen = len(daemon.log)
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_for(outcome, after=seen)
