"""A gateway that reaches its PFS by TLS: whom it trusts, whom it does not, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate
from daemons import Daemon
from raw import ask
from refusals import is_error
from secured import Files
from tlsproxy import TLSProxy

BUCKET = "master.far"
DATA = bytes(range(256)) * 12_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pachd(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PFS behind TLS, for the name localhost."""
    with Daemon(tmp_path_factory.mktemp("pfs"), "--pfs-listen", "127.0.0.1:0") as pfs:
        host, _, port = pfs.pfs_address.removeprefix("grpc://").rpartition(":")
        with TLSProxy(files.certificate, files.key, host, int(port)) as proxy:
            yield proxy.port


@pytest.mark.parametrize(("workers", "way"), [("1", "variable"), ("2", "option")])
def test_a_server_whose_issuer_is_named(
    pachd: int, files: Files, tmp_path: Path, workers: str, way: str
) -> None:
    options = ["--pachd", f"grpcs://localhost:{pachd}", "--workers", workers]
    environ = {}
    if way == "option":
        options += ["--pachd-ca", str(files.authority)]
    else:
        environ["PACH_CA_CERTS"] = str(files.authority)
    with Daemon(tmp_path, *options, environ=environ) as gateway:
        gateway.wait_for(rf"PFS: grpcs://localhost:{pachd} \(from --pachd\)")
        bucket = f"{BUCKET}-{way}-{workers}"
        assert ask(gateway.s3_url, "PUT", f"/{bucket}", body=b"").status == 200
        assert ask(gateway.s3_url, "PUT", f"/{bucket}/k", body=DATA).status == 200
        assert ask(gateway.s3_url, "GET", f"/{bucket}/k").body == DATA
        assert gateway.stop() == 0
        assert not gateway.tracebacks


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_that_is_not_trusted(pachd: int, files: Files, tmp_path: Path, host: str) -> None:
    """By a CA that has not issued its certificate, or by another name than the certificate's."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificate("other")[1] if host == "localhost" else files.authority.read_bytes())
    options = ("--pachd", f"grpcs://{host}:{pachd}", "--pachd-ca", str(authority))
    with Daemon(tmp_path / "gateway", *options) as gateway:
        is_error(ask(gateway.s3_url, "GET", "/"), "GET", 503, "ServiceUnavailable")
        is_error(ask(gateway.s3_url, "PUT", f"/{BUCKET}/k", body=b"x"), "PUT", 503, "ServiceUnavailable")
        # In our own log, whatever gRPC prints.
        gateway.wait_for(rf"\[(?:worker \d+ )?pachgw[^]]*\] .*grpcs://{host}:{pachd}.*certificate")
        assert gateway.stop() == 0
        assert not gateway.tracebacks


def test_a_ca_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
    options = ("--pachd", "grpcs://localhost:1", "--pachd-ca", str(tmp_path / "ca.pem"))
    daemon = Daemon(tmp_path / "gateway", *options)
    with pytest.raises(AssertionError, match="the daemon ended"):
        daemon.start()
    assert daemon.ended() == 1
    (line,) = [line for line in daemon.log if "critical]" in line]
    assert "pachgw cannot start: --pachd-ca: what should certify grpcs://localhost:1: " in line
    assert not daemon.tracebacks


def test_a_ca_without_tls_is_told(files: Files, tmp_path: Path) -> None:
    options = ("--pachd", "grpc://localhost:1", "--pachd-ca", str(files.authority))
    with Daemon(tmp_path, *options) as gateway:
        gateway.wait_for(r"warn\] grpc://localhost:1 is spoken to in clear, tokens too")
