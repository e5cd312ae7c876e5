"""`pachgw doctor` on a store, directories and ports: what is there, whose it is; and nothing changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import certificate
from localpfs_process import running
from scripted_pfs import short_directory
from talkers import refused_port, talking

from pachgw.cli.checks import listeners
from pachgw.cli.checks.backend import check_store
from pachgw.cli.checks.certificates import check_own
from pachgw.cli.checks.directories import check_directory, check_secret_file
from pachgw.cli.checks.finding import Finding
from pachgw.cli.checks.listeners import Entry, check_listeners, check_monitor, check_pfs_listen
from pachgw.cli.checks.settings import check_settings
from pachgw.config import Embedded
from pachgw.localpfs import lock
from pachgw.localpfs.db import FILE_NAME, FORMAT

NOBODY = 65534


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "ANSWER_SECONDS", 0.5)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_directory() as made:
        yield made


def store(state: Path, *, tokens: Path | None = None) -> Embedded:
    return Embedded(state_dir=state, pfs_listen=None, tokens_file=tokens, source="the default")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def content(directory: Path) -> dict[str, object]:
    """All files with their bytes, modes and times."""
    return {
        str(path): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (directory, *directory.rglob("*"))
    }


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Root can write everywhere; while this lasts we are not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A directory that everybody may look into, and nobody may write to."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o555)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def test_store_that_is_not_there_yet(folder: Path) -> None:
    before = content(folder)
    findings, asked = check_store(store(folder / "deep" / "state"))
    assert {finding.outcome for finding in findings} <= {"ok", "warning"}
    assert "the daemon makes it" in by_name(findings)["state directory"].found
    assert asked.auth is None
    assert content(folder) == before


def test_store_at_rest_is_left_as_it_is(folder: Path) -> None:
    with running(folder / "state", folder / "s"):
        pass
    before = content(folder)
    findings, _ = check_store(store(folder / "state"))
    named = by_name(findings)
    assert f"format {FORMAT}" in named["store"].found
    assert "no daemon" in named["server"].found
    assert named["state directory"].outcome == "ok"
    assert content(folder) == before


def test_store_that_is_served(folder: Path) -> None:
    with running(folder / "state", folder / "s"):
        findings, asked = check_store(store(folder / "state"))
        named = by_name(findings)
        assert named["server"].outcome == named["version"].outcome == named["token"].outcome == "ok"
        assert asked.auth is False
        (folder / "s").rename(folder / "elsewhere")
        findings, asked = check_store(store(folder / "state"))
        assert by_name(findings)["connection"].outcome == "problem"
        (folder / "elsewhere").rename(folder / "s")


@pytest.mark.parametrize(
    ("version", "outcome", "words"),
    [
        (FORMAT + 1, "problem", "newer release"),
        (FORMAT - 1, "warning", "upgrades"),
        (0, "problem", "no database"),
    ],
)
def test_formats(folder: Path, version: int, outcome: str, words: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.execute("CREATE TABLE t (c)")
        database.execute(f"PRAGMA user_version = {version}")
    before = content(folder)
    finding = by_name(check_store(store(folder))[0])["store"]
    assert finding.outcome == outcome
    assert words in finding.found + finding.advice
    assert content(folder) == before


def test_file_that_is_no_database(folder: Path) -> None:
    (folder / FILE_NAME).write_text("x" * 100)
    assert by_name(check_store(store(folder))[0])["store"].outcome == "problem"


def test_lock_of_others(folder: Path) -> None:
    descriptor = lock.take(folder)
    try:
        assert "does not say" in by_name(check_store(store(folder))[0])["server"].found
        lock.say(descriptor, backup_of="/x")
        assert by_name(check_store(store(folder))[0])["server"].outcome == "warning"
    finally:
        os.close(descriptor)
    (folder / lock.FILE_NAME).write_bytes(b"\xff\xfe")
    assert by_name(check_store(store(folder))[0])["server"].outcome == "skipped"
    (folder / lock.FILE_NAME).write_text('{"backup_of": "/x"}')
    assert "is a backup" in by_name(check_store(store(folder))[0])["server"].found


def test_tokens_file(folder: Path) -> None:
    file = folder / "tokens"
    file.write_text('[[token]]\ntoken = "very secret"\nsubject = "robot:a"\n')
    file.chmod(0o600)
    assert by_name(check_store(store(folder, tokens=file))[0])["tokens file"].outcome == "ok"
    file.chmod(0o644)
    assert "chmod 600" in by_name(check_store(store(folder, tokens=file))[0])["tokens file"].advice
    file.write_text('[[token]]\ntoken = "very secret"\n')
    finding = by_name(check_store(store(folder, tokens=file))[0])["tokens file"]
    assert finding.outcome == "problem"
    assert "very secret" not in finding.found


def test_directory_that_cannot_be_written(locked: Path) -> None:
    with somebody_else():
        there = check_directory("d", locked, setting="--state-dir", durable=True)
        below = check_directory("d", locked / "new", setting="--state-dir", durable=True)
    assert there[0].outcome == below[0].outcome == "problem"
    assert "not writable" in there[0].found
    assert "may not make it" in below[0].found
    assert "--state-dir" in below[0].advice


def test_directory_that_others_can_read(folder: Path) -> None:
    folder.chmod(0o755)
    assert "chmod 700" in check_directory("d", folder, setting="--state-dir", durable=True)[0].advice
    folder.chmod(0o700)
    assert check_directory("d", folder, setting="--state-dir", durable=True)[0].outcome == "ok"
    (folder / "file").touch()
    for path in (folder / "file", folder / "file" / "below"):
        (finding,) = check_directory("d", path, setting="--state-dir", durable=True)
        assert finding.outcome == "problem"


def test_file_of_a_secret(folder: Path) -> None:
    file = folder / "token"
    file.write_text("secret")
    file.chmod(0o640)
    assert check_secret_file("token file", file).outcome == "ok"
    file.chmod(0o644)
    assert check_secret_file("token file", file).outcome == "warning"


def endpoint(port: int) -> str:
    return f"tcp:{port}:interface=127.0.0.1"


def test_ports() -> None:
    (free,), _ = check_listeners([endpoint(refused_port())], Entry(auth=False))
    assert free.outcome == "ok"
    with talking(
        b"HTTP/1.1 200 OK\r\nServer: other/1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    ) as port:
        (other,), sightings = check_listeners([endpoint(port)], Entry(auth=False))
    assert other.outcome == "problem"
    assert "other/1 has the port" in other.found
    assert sightings[0].ahead_seconds < -1e9
    for say in (None, b"", b"SSH-2.0-x\r\n"):
        with talking(say) as port:
            (strange,), sightings = check_listeners([endpoint(port)], Entry(auth=False))
        assert strange.outcome == "problem"
        assert "does not answer HTTP" in strange.found
        assert sightings == []
    away = check_listeners(["tcp:1234:interface=192.0.2.1"], Entry(auth=True))[0][0]
    assert "no address of this machine" in away.found
    high = check_listeners(["tcp:65536:interface=127.0.0.1"], Entry(auth=True))[0][0]
    assert high.outcome == "problem"


OFF, ON, UNKNOWN = Entry(auth=False), Entry(auth=True), Entry(auth=None)


@pytest.mark.parametrize(
    ("description", "entry", "outcomes"),
    [
        ("tcp:0:interface=127.0.0.1", OFF, ["ok"]),
        ("tcp:0", OFF, ["ok", "problem"]),
        ("tcp:0", Entry(auth=False, open_to_all=True), ["ok", "warning"]),
        ("tcp:0", ON, ["ok", "warning"]),
        ("tls:0", ON, ["ok", "ok"]),
        ("tls:0", OFF, ["ok", "problem"]),
        ("tls:0", UNKNOWN, ["ok", "skipped"]),
        ("tls:0", Entry(auth=False, keys_only=True), ["ok", "ok"]),
        ("tcp:0", Entry(auth=None, keys_only=True), ["ok", "warning"]),
        ("systemd:domain=INET:index=0", UNKNOWN, ["skipped"]),
    ],
)
def test_who_gets_in(description: str, entry: Entry, outcomes: list[str]) -> None:
    findings, _ = check_listeners([description], entry)
    assert [finding.outcome for finding in findings] == outcomes


def test_sockets_to_listen_on(folder: Path) -> None:
    def of(path: Path) -> Finding:
        (finding,) = check_listeners([f"unix:{path}"], Entry(auth=False))[0]
        return finding

    assert of(folder / "s").outcome == "ok"
    assert of(folder / "missing" / "s").outcome == "problem"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        assert "left over" in of(folder / "s").found
        server.listen()
        assert "serves there already" in of(folder / "s").found
    (folder / "file").touch()
    assert of(folder / "file").outcome == "ok"


def test_port_of_metrics() -> None:
    def of(port: int) -> Finding:
        (finding,) = check_monitor(endpoint(port))
        assert finding.name == "metrics"
        return finding

    assert of(refused_port()).outcome == "ok"
    with talking(b"HTTP/1.1 200 OK\r\nServer: TwistedWeb\r\n\r\n") as port:
        assert "served there already" in of(port).found
    with talking(b"HTTP/1.1 404 Not Found\r\nServer: other\r\n\r\n") as port:
        assert of(port).outcome == "problem"
        assert "--metrics" in of(port).advice


def test_port_of_the_embedded_pfs() -> None:
    assert check_pfs_listen(f"127.0.0.1:{refused_port()}", running=False).outcome == "ok"
    with talking(None) as port:
        assert check_pfs_listen(f"localhost:{port}", running=False).outcome == "problem"
        assert check_pfs_listen(f"127.0.0.1:{port}", running=True).outcome == "ok"


def test_own_certificates(folder: Path) -> None:
    key_file, file = folder / "key.pem", folder / "certificate.pem"
    key, public = certificate("s3.example.com", ends=timedelta(days=60))
    key_file.write_bytes(key)
    file.write_bytes(public)
    (good,) = check_own(file, key_file)
    assert good.outcome == "ok"
    assert "s3.example.com" in good.found
    key_file.write_bytes(certificate("s3.example.com")[0])
    assert "not that of the certificate" in check_own(file, key_file)[0].found
    key_file.write_text("no key at all")
    assert "no key in PEM" in check_own(file, key_file)[0].found
    file.write_text("nor a certificate")
    assert "no certificate in PEM" in check_own(file, key_file)[0].found
    key, public = certificate("s3.example.com", ends=timedelta(hours=-1))
    key_file.write_bytes(key)
    file.write_bytes(public)
    assert "expired" in check_own(file, key_file)[0].found
    key_file.unlink()
    assert check_own(file, key_file)[0].outcome == "problem"
    assert check_own(folder / "none", key_file)[0].outcome == "problem"


@pytest.mark.parametrize(
    ("environ", "options", "without", "backend"),
    [
        ({}, {"cors": "/nowhere.toml"}, {"cors"}, True),
        ({}, {"pachd": "http://x"}, {"pachd"}, False),
        ({"PACHD_ADDRESS": "http://x"}, {}, {"pachd"}, False),
        ({"PACHGW_KEY_ENCODING": "base64"}, {"pachd": "grpc://x"}, {"key-encoding"}, True),
        ({}, {"listen": ["tcp:x"]}, {"listen"}, True),
        ({}, {"pachd": "grpc://x", "state-dir": "/x"}, {"state-dir"}, False),
        ({}, {"listen": ["tls:0"]}, {"listen"}, True),
        ({}, {"listen": ["tls:0"], "tls-key": "/nowhere"}, {"listen", "tls-certificate", "tls-key"}, True),
        ({}, {"pachd": "http://x", "cors": "/nowhere.toml"}, {"pachd", "pachd-ca", "state-dir"}, False),
    ],
)
def test_configuration_that_is_wrong(
    environ: dict[str, str], options: dict[str, object], without: set[str], backend: bool
) -> None:
    found = check_settings({"HOME": "/nowhere"} | environ, options, None)
    assert [finding.outcome for finding in found.findings] == ["problem"]
    assert found.without == without
    assert found.has_backend == backend
    assert found.config is not None


def test_file_of_settings_that_is_wrong(folder: Path) -> None:
    file = folder / "pachgw.toml"
    file.write_text("lisen = []\n")
    found = check_settings({"HOME": "/nowhere"}, {}, str(file))
    assert found.config is None
    assert f"{file}:1: lisen" in found.findings[0].found
    file.write_text(f'cors = "/nowhere.toml"\nstate-dir = "{folder}"\n')
    found = check_settings({"HOME": "/nowhere"}, {}, str(file))
    assert found.without == {"cors"}
    assert found.has_backend
    assert found.config is not None
    assert isinstance(found.config.backend, Embedded)
    assert found.config.backend.state_dir == folder
