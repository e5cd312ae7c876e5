"""The package's life in a machine with systemd, in this order: installed, used, upgraded, removed, purged."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from bases import PROJECT, Base
from certificates import certificate
from machines import Machine, until

from pachgw.localpfs.db import FORMAT

pytestmark = pytest.mark.usefixtures("log_on_failure")

URL = "http://127.0.0.1:30600"
TLS_URL = "https://localhost:30601"
SETTINGS = "/etc/pachgw/pachgw.toml"
TAKE = """
import socket, sys
with socket.create_server(("127.0.0.1", 30600)):
    print("has", flush=True)
    sys.stdin.read()
"""
SYSTEM = ("etc", "usr", "opt", "var", "root", "home", "srv")
"""Where a package could leave something."""
CHANGES_BY_ITSELF = re.compile(
    r"var/(lib/(dpkg|systemd|apt)|log|cache/(apt|debconf|ldconfig|man)|tmp)(/|$)|root/(new|old)\.deb"
    r"|etc/(passwd|group|shadow|gshadow)-?$|etc/(machine-id|\.pwd\.lock|ld\.so\.cache|resolv\.conf)$"
)


def _files(root: Path) -> set[str]:
    found = set()
    for top in SYSTEM:
        for directory, names, files in os.walk(root / top):
            for name in (*names, *files):
                path = (Path(directory) / name).relative_to(root).as_posix()
                if not CHANGES_BY_ITSELF.match(path):
                    found.add(path)
    return found


@pytest.fixture(scope="module")
def files_before(machine: Machine) -> set[str]:
    return _files(machine.root)


@pytest.fixture
def settings(machine: Machine) -> Iterator[str]:
    """The settings as they are, and will be again; the service runs with them then."""
    before = machine.read(SETTINGS)
    yield before
    machine.write(SETTINGS, before)
    machine.run("systemctl", "restart", "pachgw")


def _active(machine: Machine) -> bool:
    return machine.unit("ActiveState") == "active" and machine.unit("SubState") == "running"


def test_it_is_installed_and_runs(machine: Machine, files_before: set[str]) -> None:
    assert files_before
    said = machine.run("dpkg", "--install", "/root/old.deb")
    assert "warning" not in said.lower(), said
    # Type=notify: dpkg came back when it was ready.
    assert _active(machine)
    assert machine.unit("StatusText") == "serving"
    assert machine.run("systemctl", "is-enabled", "pachgw.service").strip() == "enabled"
    assert machine.run("systemctl", "is-enabled", "pachgw.socket", check=False).strip() == "disabled"
    assert machine.run("stat", "-c", "%U:%G %a", "/var/lib/pachgw").strip() == "pachgw:pachgw 700"
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/pachgw/credentials").strip() == "root:root 700"
    assert "plugin cache" not in machine.journal()


def test_the_aws_cli(machine: Machine, tmp_path: Path) -> None:
    machine.aws("s3", "mb", "s3://master.images")
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"sleeps")
    large.write_bytes(os.urandom(20_000_000))
    for path in (small, large):
        machine.aws("s3", "cp", "--quiet", path, f"s3://master.images/{path.name}")
    machine.aws("s3", "cp", "--quiet", "s3://master.images/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert set(re.findall(r"\S+$", machine.aws("s3", "ls", "s3://master.images"), re.MULTILINE)) == {
        "small",
        "large",
    }


def test_the_command_speaks_of_the_service(machine: Machine) -> None:
    assert machine.run("pachgw", "fsck", "--data").strip() == "no problems found"
    assert "0 problems" in (said := machine.run("pachgw", "doctor")) or "no problems" in said
    assert f"{SETTINGS}:" in machine.run("pachgw", "config")
    machine.run("pachgw", "backup", "/var/tmp/backup")
    assert machine.run("pachgw", "fsck", "--state-dir", "/var/tmp/backup").strip() == "no problems found"
    machine.run("rm", "-r", "/var/tmp/backup")
    assert "pachgw" in machine.shell("zcat /usr/share/man/man8/pachgw.8.gz /usr/share/man/man1/pachgw.1.gz")


def test_the_smoke_test_of_autopkgtest(machine: Machine) -> None:
    shutil.copy(PROJECT / "debian" / "tests" / "smoke", machine.root / "root" / "smoke")
    try:
        machine.run("/root/smoke")
    finally:
        machine.run("rm", "/root/smoke")


def test_nothing_of_systemd_is_told_to_children(machine: Machine) -> None:
    main = machine.unit("MainPID")
    children = machine.run("pgrep", "--parent", main).split()
    assert len(children) >= 2
    for child in children:
        environ = machine.shell(f"tr '\\0' '\\n' < /proc/{child}/environ")
        assert not re.search("^(NOTIFY_SOCKET|WATCHDOG_|LISTEN_)", environ, re.MULTILINE)
        assert "-S -P -m pachgw." in machine.shell(f"tr '\\0' ' ' < /proc/{child}/cmdline")
    said = machine.shell(
        f"nsenter -t {main} -m -- sh -c 'touch /usr/lib/pachgw/x /etc/x /home/x 2>&1' || true"
    )
    assert said.count("Read-only file system") + said.count("Permission denied") == 3, said


def _curl(machine: Machine, *words: str | Path, check: bool = True) -> str:
    return machine.at_its_network("curl", "--silent", "--show-error", *words, check=check)


def test_tls_with_credentials_of_systemd(machine: Machine, settings: str, tmp_path: Path) -> None:
    key, chain = certificate("localhost")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(chain)
    machine.write("/etc/pachgw/credentials/key.pem", key.decode())
    machine.write("/etc/pachgw/credentials/certificate.pem", chain.decode())
    machine.write(
        SETTINGS,
        'pachd = "embedded"\nlisten = ["tcp:30600:interface=127.0.0.1", "tls:30601:interface=127.0.0.1"]\n'
        'tls-certificate = "credential:pachgw_certificate.pem"\ntls-key = "credential:pachgw_key.pem"\n',
    )
    machine.run("systemctl", "restart", "pachgw")
    assert (
        machine.aws("s3", "cp", "s3://master.images/small", "-", url=TLS_URL, AWS_CA_BUNDLE=str(ca))
        == "sleeps"
    )
    assert "no problems" in machine.run("pachgw", "doctor")
    machine.shell("rm /etc/pachgw/credentials/*")


def test_a_reload_takes_a_new_certificate(machine: Machine, settings: str, tmp_path: Path) -> None:
    machine.write(
        SETTINGS,
        'pachd = "embedded"\nlisten = ["tcp:30600:interface=127.0.0.1", "tls:30601:interface=127.0.0.1"]\n'
        'tls-certificate = "/etc/pachgw/tls.pem"\ntls-key = "/etc/pachgw/tls.pem"\n',
    )
    ca = tmp_path / "ca.pem"
    for command in ("restart", "reload"):
        key, chain = certificate("localhost")
        ca.write_bytes(chain)
        machine.write("/etc/pachgw/tls.pem", (key + chain).decode())
        machine.shell("chown root:pachgw /etc/pachgw/tls.pem; chmod 640 /etc/pachgw/tls.pem")
        machine.run("systemctl", command, "pachgw")
        until(
            lambda: _curl(machine, "--cacert", ca, f"{TLS_URL}/~/ready", check=False) == "ok\n",
            f"the certificate is not served after {command}",
        )
    assert machine.unit("ActiveState") == "active"
    assert "the certificate was read again, and is in force" in machine.journal()
    machine.run("rm", "/etc/pachgw/tls.pem")


def test_what_is_blocked_is_replaced(machine: Machine, settings: str) -> None:
    directory = "/run/systemd/system/pachgw.service.d"
    machine.shell(f"mkdir -p {directory}; printf '[Service]\\nWatchdogSec=6\\n' > {directory}/test.conf")
    machine.write(SETTINGS, f"{settings}workers = 2\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "pachgw")
    main, restarts = machine.unit("MainPID"), machine.unit("NRestarts")
    worker = machine.run("pgrep", "--parent", main, "-f", "pachgw.workers").split()[0]
    machine.run("kill", f"-{signal.SIGSTOP}", worker)
    until(
        lambda: "is blocked: it answers nothing, and is ended" in machine.journal(),
        "the worker stays blocked",
    )
    until(lambda: re.search("worker [12] serves again", machine.journal()) is not None, "no new worker")
    assert machine.unit("MainPID") == main
    machine.run("kill", f"-{signal.SIGSTOP}", main)
    until(lambda: machine.unit("NRestarts") != restarts, "the daemon stays blocked")
    until(lambda: _active(machine), "the daemon does not come back")
    assert machine.unit("MainPID") != main
    assert machine.aws("s3", "cp", "s3://master.images/small", "-") == "sleeps"
    machine.run("rm", "-r", directory)
    machine.run("systemctl", "daemon-reload")


def test_a_port_that_is_taken(machine: Machine) -> None:
    machine.run("systemctl", "stop", "pachgw")
    other = machine.started_at_its_network("python3", "-c", TAKE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "has\n"
        assert "failed" in machine.run("systemctl", "start", "pachgw", check=False)
        assert "pachgw cannot start: cannot listen on tcp:30600:interface=127.0.0.1" in machine.journal()
        assert not _active(machine)
    finally:
        other.communicate()
    until(lambda: _active(machine), "it does not start once the port is free")


def _asking(machine: Machine) -> object:
    asker = machine.started_at_its_network(
        "python3", PROJECT / "tests" / "deb" / "asker.py", f"{URL}/~/healthy"
    )
    assert asker.stdout is not None
    assert asker.stdout.readline() == "asking\n"

    def end() -> dict[str, object]:
        said, _ = asker.communicate()
        result: dict[str, object] = json.loads(said)
        return result

    return end


def test_nobody_is_refused_while_it_restarts_or_is_upgraded(machine: Machine) -> None:
    """From here on it has the socket of systemd, and the newer release with the settings of before."""
    own = machine.read(SETTINGS).replace("tcp:30600:interface=127.0.0.1", "systemd:domain=INET:name=s3", 1)
    machine.write(SETTINGS, own)
    machine.run("systemctl", "stop", "pachgw")
    assert "systemd has handed over no such socket" in (
        machine.run("systemctl", "start", "pachgw", check=False) + machine.journal()
    )
    machine.run("systemctl", "stop", "pachgw")
    machine.run("systemctl", "enable", "--now", "pachgw.socket")
    machine.run("systemctl", "start", "pachgw")
    end = _asking(machine)
    machine.run("systemctl", "restart", "pachgw")
    machine.run("systemctl", "restart", "pachgw")
    said = machine.run("dpkg", "--force-confdef", "--force-confold", "--install", "/root/new.deb")
    result = end()  # type: ignore[operator]
    print(f"restarts and upgrade: {result['asked']} requests")
    assert result["failed"] == []
    assert isinstance(result["asked"], int)
    assert result["asked"] > 50
    assert "0.0.9" in said
    assert _active(machine)
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "pachgw").startswith("0.1.0")
    assert machine.read(SETTINGS) == own
    assert machine.aws("s3", "cp", "s3://master.images/small", "-") == "sleeps"


def test_a_store_of_a_newer_release_is_refused(machine: Machine) -> None:
    database = "/var/lib/pachgw/pfs.sqlite"
    version = f"import sqlite3; sqlite3.connect('{database}').execute('PRAGMA user_version = %s')"
    machine.run("systemctl", "stop", "pachgw.socket", "pachgw")
    machine.run("python3", "-c", version % 99)
    machine.run("systemctl", "start", "pachgw.socket")
    machine.run("systemctl", "start", "pachgw", check=False)
    told = f"has format 99, this program reads formats 1 to {FORMAT}: a newer release of it made the file"
    assert f"{database} {told}" in machine.journal()
    machine.run("systemctl", "stop", "pachgw")
    machine.run("python3", "-c", version % FORMAT)
    machine.run("systemctl", "start", "pachgw")
    assert machine.aws("s3", "cp", "s3://master.images/small", "-") == "sleeps"


def test_a_store_of_an_older_format_is_upgraded_and_a_copy_kept(machine: Machine) -> None:
    """Of the first format, in which nothing is."""
    machine.run("systemctl", "stop", "pachgw.socket", "pachgw")
    schema = PROJECT / "pachgw" / "localpfs" / "schema" / "v1.sql"
    shutil.copy(schema, machine.root / "root" / "v1.sql")
    machine.shell("mv /var/lib/pachgw /var/lib/kept; install -d -o pachgw -g pachgw -m 700 /var/lib/pachgw")
    machine.run(
        "python3",
        "-c",
        "import sqlite3; sqlite3.connect('/var/lib/pachgw/pfs.sqlite').executescript("
        "open('/root/v1.sql').read() + ';PRAGMA user_version = 1;')",
    )
    machine.shell("chown pachgw:pachgw /var/lib/pachgw/*; rm /root/v1.sql")
    machine.run("systemctl", "start", "pachgw.socket", "pachgw")
    assert f"the store had format 1 and was upgraded to {FORMAT}" in machine.journal()
    assert (machine.root / "var/lib/pachgw/pfs.sqlite.format1").exists()
    machine.run("systemctl", "stop", "pachgw.socket", "pachgw")
    machine.shell("rm -r /var/lib/pachgw; mv /var/lib/kept /var/lib/pachgw")
    machine.run("systemctl", "start", "pachgw.socket", "pachgw")


def test_removed_it_leaves_settings_and_data(machine: Machine) -> None:
    machine.run("dpkg", "--remove", "pachgw")
    assert machine.run("systemctl", "is-active", "pachgw.service", "pachgw.socket", check=False).split() == [
        "inactive",
        "inactive",
    ]
    assert not (machine.root / "usr" / "lib" / "pachgw").exists()
    assert "systemd:domain" in machine.read(SETTINGS)
    assert (machine.root / "var" / "lib" / "pachgw" / "pfs.sqlite").exists()
    machine.run("dpkg", "--install", "/root/new.deb")
    until(lambda: _active(machine), "it does not run after it came back")
    assert machine.aws("s3", "cp", "s3://master.images/small", "-") == "sleeps"


def test_purged_it_leaves_nothing_but_its_user(machine: Machine, base: Base, files_before: set[str]) -> None:
    machine.run("dpkg", "--purge", "pachgw")
    assert sorted(_files(machine.root) - files_before) == []
    # What was there before still is.
    assert sorted(files_before - _files(machine.root)) == []
    assert "pachgw:" in machine.read("/etc/passwd")
    assert base.root.exists()
