"""Endpoints on systemd's sockets, which are judged without them, and credentials for every secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw.config import Cluster, ConfigError, Embedded, load
from pachgw.config.endpoints import handed_over, is_local, is_tls, place_of


@pytest.mark.parametrize(
    "endpoint",
    [
        "systemd:domain=INET:name=s3",
        "systemd:domain=INET6:index=0",
        "systemd:domain=UNIX:name=s3",
        "haproxy:systemd:domain=INET:index=12",
    ],
)
def test_endpoints_on_sockets_of_systemd(endpoint: str) -> None:
    assert load({}, listen=[endpoint], pachd="embedded", state_dir="/s").listen == (endpoint,)
    assert handed_over(endpoint) == endpoint.removeprefix("haproxy:")
    # Whose they are is seen when they are there.
    assert place_of(endpoint) is None
    assert not is_local(endpoint)
    assert not is_tls(endpoint)


def test_tls_on_one(tmp_path: Path) -> None:
    endpoint = "tls:systemd:domain=INET:name=s3"
    with pytest.raises(ConfigError, match="needs --tls-certificate as well"):
        load({}, listen=[endpoint], pachd="embedded", state_dir="/s")
    (tmp_path / "both").touch()
    both = str(tmp_path / "both")
    config = load({}, listen=[endpoint], tls_certificate=both, tls_key=both, pachd="embedded", state_dir="/s")
    assert config.listen == (endpoint,)
    assert is_tls(endpoint)
    assert handed_over(endpoint) == "systemd:domain=INET:name=s3"


@pytest.mark.parametrize(
    "endpoint",
    [
        "systemd:",
        "systemd:domain=INET",
        "systemd:name=s3",
        "systemd:domain=INET:name=s3:index=0",
        "systemd:domain=IPX:name=s3",
        "systemd:domain=INET:index=one",
        "systemd:domain=INET:name=",
        "systemd:INET:0",
        "tls:systemd:domain=INET",
    ],
)
def test_what_is_none(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="allowed is systemd:domain=INET:name=s3") as caught:
        load({}, listen=[endpoint], pachd="embedded", state_dir="/s")
    assert str(caught.value).startswith(f"--listen {endpoint}: ")


def test_others_are_opened_by_us() -> None:
    for endpoint in ("tcp:30600", "tls:443", "unix:/systemd:domain=INET", "haproxy:tcp:1"):
        assert handed_over(endpoint) is None


def test_tokens_may_be_credentials(tmp_path: Path) -> None:
    (tmp_path / "pachgw_token").write_text("0123abcd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    given = {"pachd": "grpc://h:1", "pachd_token_file": "credential:pachgw_token"}
    backend = load(environ, **given).backend
    assert isinstance(backend, Cluster)
    assert backend.token == "0123abcd"
    with pytest.raises(ConfigError, match=r"pachd-token-file.*CREDENTIALS_DIRECTORY is not set"):
        load({}, **given)
    own = load(environ, pachd="embedded", state_dir="/s", pfs_tokens="credential:pachgw_token").backend
    assert isinstance(own, Embedded)
    assert own.tokens_file == tmp_path / "pachgw_token"
