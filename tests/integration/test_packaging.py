"""The sdist and the wheel: what is in them, and that `twistd pachgw` runs from what they install."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sdk import s3_client

from pachgw import __version__

PROJECT = Path(__file__).parents[2]
SECONDS = 300
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
TWISTD = "from twisted.scripts.twistd import run; run()"


def run(*command: str | Path, cwd: Path) -> str:
    # Without PYTHONPATH, which may lead to the tree.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environ, check=False, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    sdist: Path
    wheel: Path
    """Made from the tree."""
    wheel_of_sdist: Path


def _wheel(source: Path, out: Path) -> Path:
    command = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    )
    run(*command, "--wheel-dir", out, source, cwd=out.parent)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("built")
    tree = base / "tree"
    # In a copy: a build leaves things behind, and others may be using the tree.
    unwanted = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "results")
    shutil.copytree(PROJECT, tree, ignore=unwanted)
    run(sys.executable, "-c", BUILD_SDIST, base / "sdist", cwd=tree)
    (sdist,) = (base / "sdist").iterdir()
    return Built(sdist=sdist, wheel=_wheel(tree, base / "one"), wheel_of_sdist=_wheel(sdist, base / "other"))


def _modules_of_the_tree() -> set[str]:
    found = {
        path.relative_to(PROJECT).as_posix()
        for pattern in ("*.py", "*.sql", "*.proto", "*.pyi", "py.typed")
        for path in (PROJECT / "pachgw").rglob(pattern)
    }
    return found | {"twisted/plugins/pachgw_plugin.py"}


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_the_package_and_the_plugin_and_nothing_else(built: Built) -> None:
    names = _names(built.wheel)
    assert names == _modules_of_the_tree()
    for suffix in ("_pb2.py", "_pb2_grpc.py", ".sql", "py.typed"):
        assert any(name.endswith(suffix) for name in names)


def test_the_sdist_makes_the_same_wheel(built: Built) -> None:
    assert _names(built.wheel_of_sdist) == _names(built.wheel)


def test_the_sdist_has_what_the_readme_speaks_of(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme)
    assert linked
    for name in (*linked, "LICENSE", "Makefile", "CHANGELOG.md", "setup.py", "tests/conftest.py"):
        assert name.rstrip("/") in names, name
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_readme_is_the_description(built: Built) -> None:
    with zipfile.ZipFile(built.wheel_of_sdist) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    description = metadata.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description.decode().strip() == (PROJECT / "README.md").read_text(encoding="utf-8").strip()


@pytest.fixture
def installed(built: Built, tmp_path: Path) -> Path:
    """The Python of an environment that has pachgw from the wheel, and the rest from this environment."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", built.wheel_of_sdist)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=tmp_path)
    (packages,) = environment.glob("lib/python*/site-packages")
    # A path in such a file is only added: no editable install there is followed to the tree.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "this-environment.pth").write_text("\n".join(sorted(here)) + "\n", encoding="utf-8")
    return python


@pytest.fixture
def s3_url(installed: Path, tmp_path: Path) -> Iterator[str]:
    empty = tmp_path / "empty"
    empty.mkdir()
    found = run(installed, "-c", "import pachgw; print(pachgw.__file__)", cwd=empty).strip()
    assert Path(found).is_relative_to(tmp_path), found
    options = ("--listen", "tcp:0:interface=127.0.0.1", "--state-dir", str(tmp_path / "state"))
    environ = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("PACH")
    }
    with subprocess.Popen(
        [installed, "-P", "-c", TWISTD, "--nodaemon", "--pidfile=", "pachgw", *options],
        cwd=empty,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        log = []
        for line in process.stdout:
            log.append(line)
            if listens := re.search(r"S3 listens on (http://\S+)", line):
                yield listens[1]
                process.terminate()
        assert process.wait(SECONDS) == 0, "".join(log)
    assert "Traceback" not in "".join(log)
    assert not list(empty.iterdir())


def test_the_installed_command_works_on_a_store(installed: Path, tmp_path: Path) -> None:
    """Also the one that it starts a server with."""
    command, store = installed.parent / "pachgw", tmp_path / "store"
    assert run(command, "--version", cwd=tmp_path) == f"pachgw {__version__}\n"
    assert run(command, "token", "activate", "--state-dir", store, cwd=tmp_path)
    assert run(command, "fsck", "--state-dir", store, cwd=tmp_path) == "no problems found\n"


def test_what_is_installed_serves(s3_url: str) -> None:
    s3 = s3_client(s3_url)
    s3.create_bucket(Bucket="master.images")
    first = s3.put_object(Bucket="master.images", Key="cats/tom.txt", Body=b"sleeps")
    s3.put_object(Bucket="master.images", Key="cats/tom.txt", Body=b"hunts")
    assert s3.get_object(Bucket="master.images", Key="cats/tom.txt")["Body"].read() == b"hunts"
    version = first["VersionId"]
    old = s3.get_object(Bucket="master.images", Key="cats/tom.txt", VersionId=version)
    assert old["Body"].read() == b"sleeps"
    as_it_was = s3.list_objects_v2(Bucket=f"{version}.master.images")["Contents"]
    assert [item["Key"] for item in as_it_was] == ["cats/tom.txt"]
