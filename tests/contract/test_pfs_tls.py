"""The gRPC client of PFS over TLS: whom it trusts, and whom it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
from client_case import file_info
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scripted_pfs import WAIT_SECONDS, ScriptedPFS, serve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import Unavailable


def certificate(name: str) -> tuple[bytes, bytes]:
    """A key and a certificate for the name that it signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)


class TestTLS(TestCase):
    timeout = 60

    def serve(self, name: str) -> tuple[int, bytes]:
        """The port of a server with a certificate for the name, and the certificate."""
        key, public = certificate(name)
        servicer = ScriptedPFS()
        servicer.on_inspect_file = lambda request, _: file_info(request.file.path, size=3)
        server = serve(servicer, "127.0.0.1:0", grpc.ssl_server_credentials([(key, public)]))
        self.addCleanup(lambda: server.stop(0).wait(WAIT_SECONDS))
        return server.bound_port, public

    async def size_of_a_file(self, port: int, trusted: bytes | None) -> int:
        client = GrpcPFS(f"grpcs://localhost:{port}", reactor=reactor, ca_certificates=trusted)
        client.start()
        try:
            return (await client.session("token").inspect_file("r", "master", "/f")).size
        finally:
            await client.stop()

    async def test_server_whose_issuer_is_trusted(self) -> None:
        port, public = self.serve("localhost")
        self.assertEqual(await self.size_of_a_file(port, public), 3)

    async def test_server_of_another_name_is_not_spoken_to(self) -> None:
        port, public = self.serve("elsewhere.example")
        await self.assertFailure(self.size_of_a_file_later(port, public), Unavailable)

    async def test_server_whose_issuer_is_unknown_is_not_spoken_to(self) -> None:
        port, _ = self.serve("localhost")
        await self.assertFailure(self.size_of_a_file_later(port, None), Unavailable)

    def size_of_a_file_later(self, port: int, trusted: bytes | None) -> Deferred[int]:
        return Deferred.fromCoroutine(self.size_of_a_file(port, trusted))
