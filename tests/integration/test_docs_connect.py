"""docs/connect.md: what it says of S3 clients is run as it stands there, against the real daemon."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from daemons import Daemon
from sdk import s3_client
from tools import RUN_SECONDS, mc, missing, tool

from pachgw.web.site import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "connect.md").read_text(encoding="utf-8")
ENDPOINT = "127.0.0.1:30600"
REPO = "images"

Block = tuple[str, str]
"""Its language and its text."""


def sections() -> dict[str, str]:
    """The clients' sections by their titles."""
    clients = PAGE.partition("\n## S3 clients\n")[2].partition("\n## ")[0]
    found = re.split(r"^### (.+)$", clients, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def blocks(section: str) -> list[Block]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


class Desk:
    """A home and a working directory of a user who follows the page."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.work = directory / "work"
        for made in (self.home, self.work):
            made.mkdir()

    def run(self, *command: str, programs: Sequence[str] = ()) -> str:
        """What the command said; it has to succeed, with nothing in its environment that sets clients up."""
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "XDG_"))
        }
        folders = [str(Path(tool(program)).parent) for program in programs]
        own |= {"HOME": str(self.home), "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.work, env=own, timeout=RUN_SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def keep(self, text: str) -> None:
        """A block that is a file says in its first line which."""
        named = re.match(r"# ~/(\S+)\n", text)
        assert named is not None, text
        path = self.home / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def shell(program: str) -> Callable[[Desk, str], None]:
    def follow(desk: Desk, text: str) -> None:
        assert program in shlex.split(text)
        desk.run("bash", "-euc", text, programs=[program])

    return follow


def python_with(*packages: str) -> str:
    """A Python that has the packages: the clients' own, or this one."""
    look = (
        "import importlib.util as i, sys; sys.exit(any(i.find_spec(name) is None for name in sys.argv[1:]))"
    )
    clients = os.environ.get("S3_CLIENTS")
    for python in (Path(clients or "/none", "bin", "python"), Path(sys.executable)):
        if python.exists() and not subprocess.run([python, "-c", look, *packages], check=False).returncode:
            return str(python)
    missing(" and ".join(packages))
    raise AssertionError


def python(*packages: str) -> Callable[[Desk, str], None]:
    def follow(desk: Desk, text: str) -> None:
        desk.run(python_with(*packages), "-c", text)

    return follow


def duckdb(desk: Desk, text: str) -> None:
    # Its extension comes as a package, where users download it.
    load = """
import duckdb, duckdb_extension_httpfs, pathlib, sys
(found,) = pathlib.Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
database = duckdb.connect()
database.execute(f"LOAD '{found}'")
print(database.execute(sys.argv[1]).fetchall())
"""
    assert "'tom'" in desk.run(python_with("duckdb", "duckdb_extension_httpfs"), "-c", load, text)


TRIED: dict[str, tuple[Callable[[Desk, str], None], str]] = {
    "AWS CLI": (shell("aws"), "cats/tom.txt"),
    "boto3": (python("boto3"), "cats/tom.txt"),
    "MinIO's SDK for Python": (python("minio"), "cats/tom.txt"),
    "MinIO client mc": (shell("mc"), "cats/tom.txt"),
    "rclone": (shell("rclone"), "cats/tom.txt"),
    "s5cmd": (shell("s5cmd"), "cats/tom.txt"),
    "s3cmd": (shell("s3cmd"), "cats/tom.txt"),
    "s3fs and pandas": (python("s3fs", "pandas"), "cats/tom.txt"),
    "DuckDB": (duckdb, "cats/weights.parquet"),
}
NEEDS_A_BUCKET = {"DuckDB"}


@pytest.mark.parametrize("title", TRIED)
def test_client_as_the_page_has_it(title: str, daemon: Daemon, tmp_path: Path) -> None:
    if title == "MinIO client mc":
        mc()
    follow, key = TRIED[title]
    repo = f"{REPO}-{list(TRIED).index(title)}"
    bucket = f"master.{repo}"
    s3 = s3_client(daemon.s3_url)
    if title in NEEDS_A_BUCKET:
        s3.create_bucket(Bucket=bucket)
    desk = Desk(tmp_path)
    text = sections()[title].replace(ENDPOINT, urlsplit(daemon.s3_url).netloc).replace(REPO, repo)
    ran = 0
    for language, block in blocks(text):
        if language == "ini":
            desk.keep(block)
        else:
            follow(desk, block)
            ran += 1
    assert ran == 1
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert body == b"sleeps\n" if key.endswith(".txt") else body.startswith(b"PAR1")


def test_every_client_is_tried() -> None:
    # Spark by test_clients_spark.py.
    assert set(sections()) == {*TRIED, "Spark"}
    assert "Not tried" not in PAGE


def test_idle_connections_are_closed_when_the_page_says_so() -> None:
    (seconds,) = re.findall(r"idle for (\d+) seconds", PAGE)
    assert int(seconds) == Limits().idle_seconds
