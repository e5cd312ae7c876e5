"""`pachgw doctor` on the way to pachd: real servers of every kind, and what is said of each."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import certificate
from google.protobuf.empty_pb2 import Empty
from localpfs_process import running
from scripted_pfs import WAIT_SECONDS, short_directory
from talkers import full_port, refused_port, server_context, talking

from pachgw.cli.checks import listeners, pachd, reach
from pachgw.cli.checks.backend import check_cluster
from pachgw.cli.checks.finding import Finding
from pachgw.cli.checks.machine import Sighting
from pachgw.cli.checks.pachd import Asked
from pachgw.config import Cluster
from pachgw.pfs.proto import pfs_pb2, pfs_pb2_grpc, version_pb2

MONTHS = timedelta(days=60)
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(reach, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(listeners, "ANSWER_SECONDS", 0.3)


class Stage:
    """Servers of a test, stopped at its end."""

    def __init__(self) -> None:
        self._servers: list[grpc.Server] = []

    def serve(
        self,
        handlers: dict[str, Callable[[Any, grpc.ServicerContext], Any]],
        credentials: grpc.ServerCredentials | None = None,
    ) -> int:
        """The port of a server of these unary methods, named with their services."""
        server = grpc.server(ThreadPoolExecutor(8))
        for path, function in handlers.items():
            service, _, method = path[1:].rpartition("/")
            handler = grpc.unary_unary_rpc_method_handler(
                function,
                request_deserializer=lambda data: data,
                response_serializer=lambda message: message.SerializeToString(),
            )
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, {method: handler}),)
            )
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        self._servers.append(server)
        return port

    def stop(self) -> None:
        for server in self._servers:
            server.stop(0).wait(WAIT_SECONDS)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.stop()


def of_version(major: int, minor: int, path: str = "/versionpb.API/GetVersion") -> dict[str, Any]:
    return {path: lambda *_: version_pb2.Version(major=major, minor=minor, micro=4)}


def look(
    address: str, *, ca: bytes | None = None, token: str | None = None
) -> tuple[dict[str, Finding], Asked]:
    """The findings by their names."""
    cluster = Cluster(
        address=address, source="--pachd", ca_certificates=ca.decode() if ca else None, token=token
    )
    findings, asked = check_cluster(cluster, {})
    assert len({finding.name for finding in findings}) == len(findings)
    assert all(finding.advice for finding in findings if finding.outcome in {"warning", "problem"})
    return {finding.name: finding for finding in findings}, asked


def problem_in(findings: dict[str, Finding], name: str) -> Finding:
    """The one problem there is."""
    (found,) = (finding for finding in findings.values() if finding.outcome == "problem")
    assert found.name == name, found
    return found


def test_port_that_nobody_has() -> None:
    findings, asked = look(f"grpc://localhost:{refused_port()}")
    assert "pachctl port-forward" in problem_in(findings, "connection").advice
    assert findings["version"].outcome == "skipped"
    assert not asked.answers


def test_port_that_nobody_has_elsewhere() -> None:
    findings, _ = look(f"grpc://127.0.0.2:{refused_port()}")
    found = problem_in(findings, "connection")
    assert "connection refused" in found.found
    assert "1650" in found.advice


def test_port_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "CONNECT_SECONDS", 0.3)
    with full_port() as port:
        findings, _ = look(f"grpc://127.0.0.1:{port}")
    found = problem_in(findings, "connection")
    assert "no answer within 0.3 s" in found.found
    assert "firewalls" in found.advice


def test_name_that_is_none() -> None:
    findings, _ = look(f"grpc://{'a' * 64}.example:30650")
    assert "getent hosts" in problem_in(findings, "name").advice


def test_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(reach, "NAME_SECONDS", 0.1)
    monkeypatch.setattr(reach.socket, "getaddrinfo", lambda *_, **__: asked.wait(WAIT_SECONDS) and [])
    findings, _ = look("grpc://pachd.example.com:30650")
    asked.set()
    assert "/etc/resolv.conf" in problem_in(findings, "name").advice


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (None, "says nothing"),
        (b"", "closes the connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP/2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "web server"),
    ],
    ids=["silent", "closing", "ssh", "http"],
)
def test_port_of_something_else(say: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "CONNECT_SECONDS", 0.3)
    with talking(say) as port:
        findings, _ = look(f"grpc://127.0.0.1:{port}")
        assert words in problem_in(findings, "protocol").found
        findings, _ = look(f"grpcs://127.0.0.1:{port}")
        assert "does not speak TLS" in problem_in(findings, "TLS").found


def test_schemes_taken_for_each_other(stage: Stage) -> None:
    key, public = certificate("localhost")
    plain = stage.serve(of_version(1, 13))
    secret = stage.serve(of_version(1, 13), grpc.ssl_server_credentials([(key, public)]))
    findings, _ = look(f"grpcs://localhost:{plain}")
    assert f"use grpc://localhost:{plain}," in problem_in(findings, "TLS").advice
    findings, _ = look(f"grpc://localhost:{secret}")
    assert f"use grpcs://localhost:{secret}," in problem_in(findings, "protocol").advice


def tls(stage: Stage, name: str, **times: timedelta) -> tuple[int, bytes]:
    """A pachd with a certificate: its port, and the certificate."""
    key, public = certificate(name, **times)
    return stage.serve(of_version(1, 13), grpc.ssl_server_credentials([(key, public)])), public


def test_certificate_that_is_good(stage: Stage) -> None:
    port, public = tls(stage, "localhost", ends=MONTHS)
    findings, asked = look(f"grpcs://localhost:{port}", ca=public)
    assert findings["TLS"].outcome == findings["version"].outcome == "ok"
    assert asked.answers


def test_certificate_that_ends_soon(stage: Stage) -> None:
    port, public = tls(stage, "localhost", ends=timedelta(days=3, minutes=1))
    findings, _ = look(f"grpcs://localhost:{port}", ca=public)
    assert findings["TLS"].outcome == "warning"
    assert "within 3 days" in findings["TLS"].advice
    assert findings["version"].outcome == "ok"


def test_certificate_of_another_name(stage: Stage) -> None:
    port, public = tls(stage, "elsewhere.example", ends=MONTHS)
    findings, _ = look(f"grpcs://localhost:{port}", ca=public)
    assert "elsewhere.example, not for localhost" in problem_in(findings, "TLS").found
    assert findings["version"].outcome == "skipped"


def test_certificate_of_an_unknown_issuer(stage: Stage) -> None:
    port, _ = tls(stage, "localhost", ends=MONTHS)
    _, other = certificate("localhost")
    findings, _ = look(f"grpcs://localhost:{port}")
    assert "name the CA's certificate with --pachd-ca" in problem_in(findings, "TLS").advice
    findings, _ = look(f"grpcs://localhost:{port}", ca=other)
    assert "names another CA" in problem_in(findings, "TLS").advice


def test_certificate_out_of_its_time(stage: Stage) -> None:
    port, public = tls(stage, "localhost", begins=timedelta(days=-9), ends=timedelta(days=-1))
    findings, _ = look(f"grpcs://localhost:{port}", ca=public)
    assert "has expired" in problem_in(findings, "TLS").found
    port, public = tls(stage, "localhost", begins=timedelta(days=1), ends=MONTHS)
    findings, _ = look(f"grpcs://localhost:{port}", ca=public)
    assert "clock" in problem_in(findings, "TLS").advice


def test_tls_without_http2(tmp_path: Path) -> None:
    key, public = certificate("localhost", ends=MONTHS)
    with talking(b"", tls=server_context(public, key, tmp_path)) as port:
        findings, _ = look(f"grpcs://localhost:{port}", ca=public)
    assert "ALPN" in problem_in(findings, "TLS").found


def test_certificates_that_are_none(stage: Stage) -> None:
    port, _ = tls(stage, "localhost")
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    findings, _ = look(f"grpcs://localhost:{port}", ca=broken)
    assert "--pachd-ca" in problem_in(findings, "TLS").advice


@pytest.mark.parametrize(
    ("handlers", "outcome", "words"),
    [
        (of_version(1, 13), "ok", "Pachyderm 1.13.4"),
        (of_version(1, 11), "warning", "Pachyderm 1.11.4"),
        (of_version(2, 6, "/versionpb_v2.API/GetVersion"), "problem", "Pachyderm 2.6.4"),
        ({"/some.API/Call": lambda *_: Empty()}, "problem", "no Pachyderm"),
        (
            {"/pfs.API/ListRepo": lambda *_: pfs_pb2.ListRepoResponse()},
            "warning",
            "does not tell its version",
        ),
    ],
    ids=["1.13", "1.11", "2.6", "other", "mute"],
)
def test_versions(stage: Stage, handlers: dict[str, Any], outcome: str, words: str) -> None:
    findings, asked = look(f"grpc://127.0.0.1:{stage.serve(handlers)}")
    assert findings["version"].outcome == outcome
    assert words in findings["version"].found
    assert asked.answers == (outcome != "problem")


def test_server_that_does_not_answer_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pachd, "CALL_SECONDS", 0.3)
    over = threading.Event()
    port = stage.serve({"/versionpb.API/GetVersion": lambda *_: over.wait(WAIT_SECONDS) and Empty()})
    findings, _ = look(f"grpc://127.0.0.1:{port}")
    over.set()
    assert "0.3 s" in problem_in(findings, "version").found


def test_refusals_come_as_one_line(stage: Stage) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.INTERNAL, "first\nsecond\x1b[2J")

    findings, _ = look(f"grpc://127.0.0.1:{stage.serve({'/versionpb.API/GetVersion': refuse})}")
    assert "INTERNAL: first second?[2J" in problem_in(findings, "version").found


def test_clock_of_a_proxy_before_pachd(stage: Stage) -> None:
    def answer(_: Any, context: grpc.ServicerContext) -> version_pb2.Version:
        context.send_initial_metadata([("date", email.utils.formatdate(time.time() + 3600, usegmt=True))])
        return version_pb2.Version(major=1, minor=13, micro=4)

    _, asked = look(f"grpc://127.0.0.1:{stage.serve({'/versionpb.API/GetVersion': answer})}")
    (sighting,) = asked.sightings
    assert isinstance(sighting, Sighting)
    assert 3500 < sighting.ahead_seconds < 3601


def test_proxy_in_the_environment() -> None:
    place = reach.place_of("grpc://pachd.example.com:30650")
    assert place is not None
    (finding,) = reach.check_proxy(place, {"https_proxy": "http://user:password@proxy:3128"})
    assert "$https_proxy" in finding.found
    assert "password" not in finding.found + finding.advice
    assert reach.check_proxy(place, {"https_proxy": "http://p:1", "no_proxy": "localhost,.example.com"}) == []
    assert reach.check_proxy(place, {}) == []


def test_tokens() -> None:
    file = f'[[token]]\ntoken = "{TOKEN}"\nsubject = "robot:gate"\n'
    with short_directory() as folder:
        (folder / "tokens").write_text(file)
        options = (f"--tokens={folder / 'tokens'}", "--listen=127.0.0.1:0")
        with running(folder / "state", folder / "s", *options) as server:
            address = f"grpc://{server.ready['listen']}"
            none, asked = look(address)
            cluster = Cluster(address=address, source="--pachd")
            needed, _ = check_cluster(cluster, {}, needs_token=True)
            good, _ = look(address, token=TOKEN)
            bad, _ = look(address, token=f"{TOKEN}0")
            by_socket, _ = look(f"unix:{folder / 's'}", token=TOKEN)
    assert asked.auth is True
    assert (needed[-1].name, needed[-1].outcome) == ("token", "problem")
    assert (none["token"].outcome, "repos" in none) == ("skipped", False)
    assert "robot:gate" in good["token"].found
    assert good["repos"].outcome == "ok"
    assert "get-auth-token" in problem_in(bad, "token").advice
    assert {
        name: finding.found for name, finding in by_socket.items() if name in good and name != "version"
    } == {name: finding.found for name, finding in good.items() if name in {"token", "repos"}} | {
        "connection": by_socket["connection"].found
    }
    assert TOKEN not in str((none, good, bad, by_socket))


def test_token_that_ends_soon(stage: Stage) -> None:
    from pachgw.pfs.proto import auth_pb2

    handlers = of_version(1, 13) | {
        "/auth.API/WhoAmI": lambda *_: auth_pb2.WhoAmIResponse(username="robot:a", ttl=600, is_admin=True),
        "/pfs.API/ListRepo": lambda *_: pfs_pb2.ListRepoResponse(),
    }
    findings, _ = look(f"grpc://127.0.0.1:{stage.serve(handlers)}", token="t")
    assert findings["token"].outcome == "warning"
    assert "an admin, good for another 10 minutes" in findings["token"].found


def test_auth_that_is_off() -> None:
    with short_directory() as folder:
        with running(folder / "state", folder / "s") as server, server.channel() as channel:
            stub = pfs_pb2_grpc.APIStub(channel)
            stub.CreateRepo(pfs_pb2.CreateRepoRequest(repo=pfs_pb2.Repo(name="r")))
            findings, asked = look(f"unix:{folder / 's'}", token="any")
        gone, _ = look(f"unix:{folder / 's'}")
        (folder / "file").touch()
        none, _ = look(f"unix:{folder / 'file'}")
    assert asked.auth is False
    assert findings["repos"].found.startswith("1 repo ")
    assert "start the server" in problem_in(gone, "connection").advice
    assert "not a socket" in problem_in(none, "connection").found
