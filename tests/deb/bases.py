"""Base systems of Debian's releases, and the package built in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SUITES = os.environ.get("PACHGW_TEST_DEB", "").split()
"""The releases to be tried; the first one is looked at closest."""
KEPT = PROJECT / "build" / "test-deb"
SECONDS = 1200
"""For one step: another machine may be busy."""

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
RUNNING = ("systemd", "systemd-sysv", "dbus", "procps", "python3", "curl", "ca-certificates")
BUILDING = (
    *("build-essential", "debhelper", "dh-python", "fakeroot", "lintian"),
    *("python3-pip", "python3-setuptools", "python3-wheel"),
)
SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite} {suite}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def run(*command: str | Path, check: bool = True, **options: object) -> str:
    """What the command says; raises AssertionError with it where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}"
    text: str = done.stdout
    return text


def in_container(root: Path, *command: str, environ: dict[str, str] | None = None, check: bool = True) -> str:
    """What a command says in the system, as root, without a network and without systemd."""
    settings = [f"--setenv={name}={value}" for name, value in (environ or {}).items()]
    said = run(
        *(
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--pipe",
            "--private-network",
            "--as-pid2",
        ),
        *(f"--directory={root}", *settings, *command),
        check=check,
    )
    # What it says of itself at its end.
    return re.sub("^Attempted to remove disk file system under .*\n", "", said, flags=re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    package: Path
    changes: Path

    @classmethod
    def in_directory(cls, directory: Path) -> Built:
        (package,), (changes,) = directory.glob("*.deb"), directory.glob("*.changes")
        return cls(package=package, changes=changes)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.package.read_bytes()).hexdigest()

    def fields(self) -> dict[str, str]:
        """The control fields."""
        text = run("dpkg-deb", "--field", self.package)
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " ")

    def older(self, target: Path) -> None:
        """The same package with an older version, and with another /etc/pachgw/pachgw.toml."""
        tree = target.with_suffix(".tree")
        run("dpkg-deb", "--raw-extract", self.package, tree)
        control = tree / "DEBIAN" / "control"
        control.write_text(re.sub("^Version: .*$", "Version: 0.0.9", control.read_text(), flags=re.MULTILINE))
        settings = tree / "etc" / "pachgw" / "pachgw.toml"
        settings.write_text(f"# As it was before.\n{settings.read_text()}")
        run("dpkg-deb", "-Zgzip", "-z1", "--build", tree, target)
        shutil.rmtree(tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    suite: str
    root: Path
    wheelhouse: Path

    def copy(self, directory: Path) -> Path:
        """The system once more, to be changed."""
        root = directory / "root"
        run("cp", "--archive", "--reflink=auto", self.root, root)
        return root

    def build(
        self, directory: Path, *, where: str = "/srv/here", environ: dict[str, str] | None = None
    ) -> Built:
        """The package of the files that git knows, built at that path of the system."""
        root = self.copy(directory)
        try:
            source = root / where.lstrip("/")
            source.mkdir(parents=True)
            names = run("git", "-C", PROJECT, "ls-files", "-z").split("\0")
            for name in filter(None, names):
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, source / name, follow_symlinks=False)
            shutil.copytree(self.wheelhouse, root / "srv" / "wheels")
            given = {"WHEELHOUSE": "/srv/wheels", "OUTPUT": "/srv/out", **(environ or {})}
            command = f"umask {given.pop('UMASK', '022')}; exec {where}/deploy/deb"
            log = in_container(root, "/bin/sh", "-c", command, environ=given)
            (directory / "build.log").write_text(log)
            for path in (root / "srv" / "out").iterdir():
                shutil.copy(path, directory)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        return Built.in_directory(directory)


def make_base(suite: str) -> Base:
    """Made once; a half of one is none."""
    KEPT.mkdir(parents=True, exist_ok=True)
    root, wheelhouse = KEPT / suite, KEPT / f"wheels-{suite}"
    if not root.exists():
        unfinished = KEPT / f"{suite}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        sources = KEPT / f"{suite}.sources"
        own = Path("/etc/apt/sources.list.d/debian.sources")
        text = own.read_text() if own.exists() else SOURCES.format(suite="bookworm")
        sources.write_text(re.sub(r"\b(bookworm|trixie)\b", suite, text))
        run(
            *("mmdebstrap", "--variant=apt", "--quiet", f"--include={','.join((*RUNNING, *BUILDING))}"),
            *(suite, unfinished, sources),
        )
        # What names the machine itself, and nobody else would.
        (unfinished / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        unfinished.rename(root)
    fill(wheelhouse, PYTHONS[suite])
    return Base(suite=suite, root=root, wheelhouse=wheelhouse)


def fill(wheelhouse: Path, python: str) -> None:
    """The wheels that are pinned, for that Python."""
    # Those that the releases take, the newest first, as pip has it there.
    platforms = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
    version = python.replace(".", "")
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
        *("--only-binary=:all:", f"--python-version={python}", "--implementation=cp"),
        *(f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")),
        *(f"--platform={platform}_{os.uname().machine}" for platform in platforms),
        *("--find-links", wheelhouse, "--dest", wheelhouse),
        *("--requirement", PROJECT / "deploy" / "requirements.txt"),
    )
