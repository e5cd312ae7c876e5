"""Makes the private tree of a package: pachgw, what it needs, and launchers, for one Python of the system.

    /usr/bin/python3 deploy/tree.py DIRECTORY [WHEELHOUSE]

DIRECTORY/python gets the modules, DIRECTORY/bin the launchers. What is needed is pinned by requirements.txt
with its hashes, and comes from the WHEELHOUSE, or with none from where pip finds it. All that is made is the
same for the same sources, times of files aside. Uses nothing but the standard library and the system's pip,
setuptools and wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).absolute().parents[1]
REQUIREMENTS = PROJECT / "deploy" / "requirements.txt"

UNWANTED = re.compile(
    r".*\.(c|h|cpp|pyx|pxd|pyi|exe|pth)|\.gitignore|py\.typed|.*\.so\.[0-9.]*debug|__pycache__|newsfragments|bin"
)
"""Names of files and directories that nobody imports."""
TESTS = re.compile(r"_?tests?")
"""Directories of bundled tests."""

PLUGIN_SECONDS = 2
"""So much older are plugins than Twisted's cache of them: one as old as it counts as new, and a package gives
all files one time."""

CACHE = """
import sys
sys.path.insert(0, sys.argv[1])
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
assert "pachgw" in {maker.tapname for maker in getPlugins(IServiceMaker)}
"""


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(f"usage: {sys.argv[0]} DIRECTORY [WHEELHOUSE]", file=sys.stderr)
        return 2
    directory = Path(sys.argv[1]).absolute()
    wheelhouse = Path(sys.argv[2]).absolute() if sys.argv[2:] else None
    tree = directory / "python"
    tree.mkdir(parents=True)
    install_requirements(tree, wheelhouse)
    install_pachgw(tree)
    remove_unwanted(tree)
    settle_modes(tree)
    make_plugin_cache(tree)
    make_launchers(directory / "bin")
    return 0


def make_launchers(directory: Path) -> None:
    """They name the Python that the compiled modules are for: /usr/bin/python3 may become another one."""
    directory.mkdir()
    python = os.path.realpath(sys.executable)
    for source in sorted((PROJECT / "deploy" / "bin").iterdir()):
        launcher = directory / source.name
        text = source.read_text(encoding="utf-8")
        launcher.write_text(text.replace("#!/usr/bin/python3 ", f"#!{python} ", 1), encoding="utf-8")
        launcher.chmod(0o755)


def pip(*arguments: str | Path) -> None:
    command: list[str | Path] = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", *arguments]
    environ = os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run(command, check=True, env=environ)


def install_requirements(tree: Path, wheelhouse: Path | None) -> None:
    source = ("--no-index", "--find-links", wheelhouse) if wheelhouse is not None else ()
    pip(
        *("install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"),
        *("--ignore-installed", *source, "--target", tree, "--requirement", REQUIREMENTS),
    )


def install_pachgw(tree: Path) -> None:
    # Not by pip as well: it would leave out twisted/plugins, since there is a twisted/ already.
    with tempfile.TemporaryDirectory() as folder:
        source, wheels = Path(folder, "source"), Path(folder, "wheels")
        source.mkdir()
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(PROJECT / name, source)
        leave = shutil.ignore_patterns("__pycache__", "dropin.cache")
        for name in ("pachgw", "twisted"):
            shutil.copytree(PROJECT / name, source / name, ignore=leave)
        pip(
            *("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
            *("--wheel-dir", wheels, source),
        )
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tree)


def remove_unwanted(tree: Path) -> None:
    for top, directories, files in os.walk(tree):
        for name in tuple(directories):
            # The protobuf library has modules of this name that others import.
            if UNWANTED.fullmatch(name) or TESTS.fullmatch(name):
                shutil.rmtree(Path(top, name))
                directories.remove(name)
        for name in files:
            if UNWANTED.fullmatch(name):
                Path(top, name).unlink()
    # Served by werkzeug's debugger alone.
    shutil.rmtree(tree / "werkzeug" / "debug" / "shared", ignore_errors=True)


def settle_modes(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        path.chmod(0o755 if path.is_dir() else 0o644)
        if path.suffix == ".py":
            text = path.read_bytes()
            if text.startswith(b"#!"):
                # Nobody runs a module of a package by its name.
                path.write_bytes(text.partition(b"\n")[2])


def make_plugin_cache(tree: Path) -> None:
    """Or each twistd, which may not write here, would complain that it has none."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-ISB", "-W", "ignore", "-c", CACHE, str(tree)]
    subprocess.run(command, check=True, env=environ)
    plugins = tree / "twisted" / "plugins"
    cache = plugins / "dropin.cache"
    cache.chmod(stat.S_IMODE(0o644))
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or cache.stat().st_mtime)
    os.utime(cache, (moment, moment))
    for plugin in plugins.glob("*.py"):
        os.utime(plugin, (moment - PLUGIN_SECONDS, moment - PLUGIN_SECONDS))


if __name__ == "__main__":
    sys.exit(main())
