"""Settings of TLS and of the stop: certificate and key are files or credentials, where a port needs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachgw.config import Config, ConfigError, load
from pachgw.config.show import in_force

LISTEN = "tls:8443:interface=0.0.0.0"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cert.pem").write_text("x", encoding="utf-8")
    (tmp_path / "key.pem").write_text("x", encoding="utf-8")
    return str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")


def loaded(environ: dict[str, str] | None = None, **options: object) -> Config:
    # Whoever serves other machines says so; that has tests of its own.
    return load(environ or {}, state_dir="/nonexistent/state", **options)


def refused(environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(environ, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_both_files(files: tuple[str, str]) -> None:
    certificate, key = files
    config = loaded(listen=["tcp:1", LISTEN], tls_certificate=certificate, tls_key=key)
    assert config.listen == ("tcp:1", LISTEN)
    assert (config.tls_certificate, config.tls_key) == (Path(certificate), Path(key))


def test_behind_a_proxy_as_well(files: tuple[str, str]) -> None:
    assert refused(listen=[f"haproxy:{LISTEN}"]).endswith("needs --tls-certificate as well")
    config = loaded(listen=[f"haproxy:{LISTEN}"], tls_certificate=files[0], tls_key=files[1])
    assert config.listen == (f"haproxy:{LISTEN}",)


def test_none_are_needed_without_a_listener(files: tuple[str, str]) -> None:
    config = loaded(listen=["tcp:1"])
    assert (config.tls_certificate, config.tls_key) == (None, None)


def test_a_listener_needs_both(files: tuple[str, str]) -> None:
    certificate, key = files
    assert refused(listen=[LISTEN]) == f"--listen {LISTEN}: needs --tls-certificate as well"
    assert refused(listen=[LISTEN], tls_certificate=certificate) == (
        f"--listen {LISTEN}: needs --tls-key as well"
    )
    assert refused(listen=[LISTEN], tls_key=key) == f"--listen {LISTEN}: needs --tls-certificate as well"


def test_without_a_listener_they_are_refused(files: tuple[str, str]) -> None:
    certificate, key = files
    text = refused(tls_certificate=certificate, tls_key=key)
    assert text.startswith("--tls-certificate: for listeners with TLS, and there is none; add for example")
    assert refused({"PACHGW_TLS_KEY": key}) == "PACHGW_TLS_KEY: needs --tls-certificate as well"
    assert refused(tls_certificate=certificate) == (
        "--tls-certificate: for listeners with TLS, and there is none; add for example"
        " --listen tls:443:interface=0.0.0.0"
    )


def test_a_file_that_is_not_there(files: tuple[str, str]) -> None:
    assert refused(listen=[LISTEN], tls_certificate=files[0], tls_key="/nonexistent/key") == (
        "--tls-key /nonexistent/key: No such file or directory"
    )


def test_credentials_of_systemd(files: tuple[str, str], tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    options = {"listen": [LISTEN], "tls_certificate": files[0], "tls_key": "credential:key.pem"}
    assert loaded(environ, **options).tls_key == tmp_path / "key.pem"
    # What is printed is what was given, which means the same in the next run of the service.
    shown = {name: value for name, value, _ in in_force(environ, _named(options), None)}
    assert shown["tls-key"] == "credential:key.pem"


def _named(options: dict[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in options.items()} | {
        "state-dir": "/nonexistent/s"
    }


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("credential:none", "/none: No such file or directory"),
        ("credential:", ": allowed is credential:NAME, with the NAME of LoadCredential="),
        ("credential:../key.pem", ": allowed is credential:NAME, with the NAME of LoadCredential="),
        ("credential:..", ": allowed is credential:NAME, with the NAME of LoadCredential="),
    ],
)
def test_credentials_that_are_none(files: tuple[str, str], tmp_path: Path, value: str, why: str) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    text = refused(environ, listen=[LISTEN], tls_certificate=files[0], tls_key=value)
    assert text.startswith(f"--tls-key {value}")
    assert text.endswith(why)


def test_credentials_without_systemd(files: tuple[str, str]) -> None:
    text = refused(listen=[LISTEN], tls_certificate=files[0], tls_key="credential:key")
    assert text.startswith("--tls-key credential:key: $CREDENTIALS_DIRECTORY is not set")


@pytest.mark.parametrize(("text", "seconds"), [(None, 10), ("0", 0), ("3600", 3600)])
def test_drain_seconds(text: str | None, seconds: int) -> None:
    assert loaded(drain_seconds=text).drain_seconds == seconds


@pytest.mark.parametrize("text", ["-1", "3601", "1.5", "x"])
def test_drain_seconds_refused(text: str) -> None:
    assert refused(drain_seconds=text) == f"--drain-seconds {text}: allowed are seconds from 0 to 3600"
