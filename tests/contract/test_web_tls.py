"""TLS of a listener over a real socket: which certificate, which versions, and reading both files again."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certificates import certificate
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pachgw.web.tls import CertificateError, Certificates, Pair, Served, describe, expiring, read_pair


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@contextmanager
def connected(port: int, *, ca: bytes, maximum: ssl.TLSVersion | None = None) -> Iterator[ssl.SSLSocket]:
    """A client that trusts nobody but the certificate's own issuer, and checks the name."""
    context = ssl.create_default_context(cadata=ca.decode())
    if maximum is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = maximum
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        yield secure


def echoed(secure: ssl.SSLSocket) -> bool:
    secure.sendall(b"x")
    return secure.recv(1) == b"x"


class Listener(TestCase):
    timeout = 60

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        directory = Path(made.name)
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self.issuer = self.write("localhost")
        self.certificates = Certificates()
        self.load()
        port = reactor.listenTCP(
            0, self.certificates.wrap(Factory.forProtocol(Echo), reactor), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def load(self) -> Served:
        pair = read_pair(self.certificate, self.key)
        self.certificates.serve(pair)
        return describe(pair)

    def write(self, name: str) -> bytes:
        key, public = certificate(name)
        self.certificate.write_bytes(public)
        self.key.write_bytes(key)
        return public

    def test_a_client_that_checks_is_served(self) -> Deferred[None]:
        def client() -> None:
            with connected(self.port, ca=self.issuer) as secure:
                self.assertTrue(echoed(secure))
                self.assertIn(secure.version(), ("TLSv1.2", "TLSv1.3"))
                # No HTTP/2 is spoken behind it.
                self.assertEqual(secure.selected_alpn_protocol(), "http/1.1")

        return deferToThread(client)

    def test_old_versions_are_refused(self) -> Deferred[None]:
        def client() -> None:
            with (
                self.assertRaises((ssl.SSLError, ConnectionResetError)),
                connected(self.port, ca=self.issuer, maximum=ssl.TLSVersion.TLSv1_1),
            ):
                pass

        return deferToThread(client)

    def test_a_new_certificate_is_for_new_connections(self) -> Deferred[None]:
        def client() -> None:
            with connected(self.port, ca=self.issuer) as before:
                self.assertTrue(echoed(before))
                issuer = self.write("localhost")
                served = self.load()
                with connected(self.port, ca=issuer) as after:
                    self.assertTrue(echoed(after))
                    self.assertNotEqual(before.getpeercert(True), after.getpeercert(True))
                self.assertTrue(echoed(before))
                self.assertEqual(served.names, ("localhost",))

        return deferToThread(client)

    def test_files_that_do_not_fit_leave_the_old_ones_in_force(self) -> Deferred[None]:
        def client() -> None:
            other, _ = certificate("localhost")
            self.key.write_bytes(other)
            with self.assertRaises(CertificateError) as error:
                self.load()
            self.assertIn("not the key of the certificate in", str(error.exception))
            with self.assertRaises(CertificateError):
                self.certificates.serve(Pair(certificate=self.issuer.decode(), key=other.decode()))
            with connected(self.port, ca=self.issuer) as secure:
                self.assertTrue(echoed(secure))

        return deferToThread(client)


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        key, public = certificate("localhost")
        self.good = {"cert": public, "key": key}

    def refused(self, **content: bytes | None) -> str:
        for name, data in (self.good | content).items():
            path = self.directory / name
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        with self.assertRaises(CertificateError) as error:
            read_pair(self.directory / "cert", self.directory / "key")
        self.assertNotIn("\n", str(error.exception))
        return str(error.exception)

    def test_what_is_wrong_is_one_line_with_the_file(self) -> None:
        private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        for content, why in (
            ({"cert": None}, "cert: No such file or directory"),
            ({"key": None}, "key: No such file or directory"),
            ({"cert": b""}, "cert: no certificate in PEM"),
            ({"cert": self.good["key"]}, "cert: no certificate in PEM"),
            ({"key": b"nothing"}, "key: no private key in PEM"),
            ({"key": self.good["cert"]}, "key: no private key in PEM"),
            ({"key": private}, "key: the key is encrypted; a daemon has nobody to ask"),
            ({"cert": b"x" * (1 << 20) + b"y"}, "cert: larger than 1048576 bytes"),
        ):
            self.assertTrue(self.refused(**content).endswith(why), why)

    def test_one_file_may_have_both_and_what_else_is_between(self) -> None:
        path = self.directory / "both"
        path.write_bytes("Bezeichnung: für uns\n".encode() + self.good["key"] + self.good["cert"])
        pair = read_pair(path, path)
        self.assertEqual(describe(pair).names, ("localhost",))
        self.assertNotIn("PRIVATE KEY", repr(pair))

    def test_when_it_ends(self) -> None:
        (self.directory / "cert").write_bytes(self.good["cert"])
        (self.directory / "key").write_bytes(self.good["key"])
        served = describe(read_pair(self.directory / "cert", self.directory / "key"))
        now = datetime.now(UTC)
        self.assertTrue(expiring(served, now))
        self.assertFalse(expiring(served, now - timedelta(days=30)))
