"""The package as it is built: the same each time, what lintian says, what it needs and what is in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from bases import PROJECT, PYTHONS, SUITES, Base, Built, in_container, run

MOST_EXPOSED = 1.2


@pytest.fixture(scope="session")
def unpacked(base: Base, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system with the package's files in it."""
    root = base.copy(tmp_path_factory.mktemp(f"unpacked-{base.suite}"))
    # As dpkg does: /lib is a link, and stays one.
    unpack = (
        f"dpkg-deb --fsys-tarfile {built.package} | tar --extract --keep-directory-symlink --directory={root}"
    )
    run("/bin/bash", "-euo", "pipefail", "-c", unpack)
    for path in built.changes.parent.glob("pachgw_*"):
        shutil.copy(path, root / "root")
    return root


def test_another_build_is_the_same_file(base: Base, built: Built, tmp_path: Path) -> None:
    if base.suite != SUITES[0]:
        pytest.skip(f"built twice for {SUITES[0]} only")
    environ = {"UMASK": "027", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"}
    again = base.build(tmp_path, where="/var/another/place", environ=environ)
    assert again.digest == built.digest


def test_lintian_says_nothing(built: Built, unpacked: Path) -> None:
    said = in_container(
        unpacked,
        *("lintian", "--display-experimental", "--pedantic", "--allow-root", "--fail-on=none"),
        # That it is run as root is no word about the package.
        f"/root/{built.changes.name}",
        check=False,
    )
    lines = [
        line
        for line in said.splitlines()
        if not line.startswith(("running with root", "Warning:", "warning:"))
    ]
    assert lines == [], said


def test_each_override_has_its_reason() -> None:
    lines = (PROJECT / "debian" / "pachgw.lintian-overrides").read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        assert line.startswith("#") or before.startswith("#"), line


def test_what_it_needs_is_the_system_and_no_python_package(base: Base, built: Built) -> None:
    needs = built.fields()["Depends"].split(", ")
    names = {re.split("[ :|]", need)[0] for need in needs}
    assert f"python{PYTHONS[base.suite]}" in names
    assert "procps" in names
    assert not [name for name in names if name.startswith("python3-")]


def test_the_plugin_cache_is_newer_than_what_it_is_of(unpacked: Path) -> None:
    plugins = unpacked / "usr" / "lib" / "pachgw" / "python" / "twisted" / "plugins"
    cache = (plugins / "dropin.cache").stat()
    assert cache.st_mode & 0o777 == 0o644
    modules = list(plugins.glob("*.py"))
    assert plugins / "pachgw_plugin.py" in modules
    assert all(module.stat().st_mtime < cache.st_mtime for module in modules)


def test_the_launchers_name_the_python_they_were_built_with(base: Base, unpacked: Path) -> None:
    for launcher in ("twistd", "pachgw"):
        text = (unpacked / "usr" / "lib" / "pachgw" / "bin" / launcher).read_text()
        assert text.startswith(f"#!/usr/bin/python{PYTHONS[base.suite]} -IS\n")


def test_the_units(unpacked: Path) -> None:
    said = in_container(
        unpacked,
        *("systemd-analyze", "verify", "--man=no", "pachgw.service", "pachgw.socket"),
        check=False,
    )
    assert "pachgw" not in said, said
    said = in_container(
        unpacked, "systemd-analyze", "security", "--offline=true", "--no-pager", "pachgw.service", check=False
    )
    found = re.search("Overall exposure level for pachgw.service: ([0-9.]+)", said)
    assert found, said
    print(f"exposure {found[1]}")
    assert float(found[1]) <= MOST_EXPOSED


def test_the_daemon_runs_for_a_user_without_anything_and_writes_nothing_of_the_system(unpacked: Path) -> None:
    (unpacked / "srv" / "state").mkdir()
    shutil.chown(unpacked / "srv" / "state", 65534, 65534)
    script = """
        touch /srv/mark
        setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \\
            env -i /usr/lib/pachgw/bin/twistd --nodaemon --pidfile= pachgw --pachd embedded \\
            --state-dir /srv/state --listen tcp:30600:interface=127.0.0.1 > /srv/log 2>&1 &
        curl --silent --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:30600/~/ready
        kill $!
        wait $! || true
        cat /srv/log
        find /usr -newer /srv/mark
    """
    said = in_container(unpacked, "/bin/sh", "-ec", script)
    assert said.startswith("ok\n"), said
    assert "cache" not in said
    assert "/usr/lib" not in said
    assert "Traceback" not in said


def test_make_install_is_the_same_service(base: Base, tmp_path: Path) -> None:
    root = base.copy(tmp_path)
    try:
        names = run("git", "-C", PROJECT, "ls-files", "-z").split("\0")
        for name in filter(None, names):
            target = root / "srv" / "here" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target, follow_symlinks=False)
        shutil.copytree(base.wheelhouse, root / "srv" / "wheels")
        in_container(root, "make", "-C", "/srv/here", "install", "WHEELHOUSE=/srv/wheels")
        unit = (root / "etc" / "systemd" / "system" / "pachgw.service").read_text()
        assert "ExecStart=/usr/local/lib/pachgw/bin/twistd --nodaemon" in unit
        assert "/usr/lib/pachgw" not in unit
        said = in_container(
            root, "systemd-analyze", "verify", "--man=no", "pachgw.service", "pachgw.socket", check=False
        )
        assert "pachgw" not in said, said
        assert in_container(root, "systemd-sysusers", check=False) is not None
        assert "pachgw:" in (root / "etc" / "passwd").read_text()
        said = in_container(root, "/usr/local/bin/pachgw", "config")
        assert re.search('^state-dir = "/var/lib/pachgw"', said, re.MULTILINE), said
        assert "/etc/pachgw/pachgw.toml" in said
        # What somebody has changed stays.
        settings = root / "etc" / "pachgw" / "pachgw.toml"
        settings.write_text("workers = 1\n")
        in_container(root, "make", "-C", "/srv/here", "install", "WHEELHOUSE=/srv/wheels")
        assert settings.read_text() == "workers = 1\n"
    finally:
        shutil.rmtree(root, ignore_errors=True)
