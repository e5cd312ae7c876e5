"""The gRPC client of PFS over TLS: whom it trusts, and whom it does not."""

from __future__ import annotations

import grpc
from certificates import certificate
from client_case import file_info
from scripted_pfs import WAIT_SECONDS, ScriptedPFS, serve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from pachgw.pfs.client import GrpcPFS
from pachgw.pfs.port import Unavailable


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
