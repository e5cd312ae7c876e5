"""Clients and TLS with a CA of one's own: by the settings of docs/connect.md, and not without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import commands
import pytest
from daemons import Daemon
from secured import Files, port_of
from tools import RUN_SECONDS, mc, tool

KEYS = {"AWS_ACCESS_KEY_ID": "anything", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}
BOTO3 = """
import sys, boto3
print(boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1").list_buckets()["Buckets"])
"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A gateway with TLS that has the bucket master.seen, and the file of its CA."""
    directory = tmp_path_factory.mktemp("tls")
    files = Files(directory)
    with Daemon(directory / "state", *files.options) as daemon:
        url = f"https://localhost:{port_of(daemon)}"
        environ = KEYS | {"AWS_CA_BUNDLE": str(files.authority)}
        made = asked((tool("aws"), "--endpoint-url", url, "s3", "mb", "s3://master.seen"), directory, environ)
        assert made.returncode == 0, made.stderr
        yield url, files.authority


def asked(command: tuple[str, ...], home: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SSL_"))}
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        env=own | KEYS | environ | {"HOME": str(home)},
    )


@dataclass(frozen=True)
class Asking:
    """A command that shows the buckets, and what has it trust a CA."""

    command: tuple[str, ...]
    words: tuple[str, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()


def asking(name: str, url: str, authority: Path, home: Path) -> Asking:
    bundle = (("AWS_CA_BUNDLE", str(authority)),)
    match name:
        case "aws":
            return Asking((tool("aws"), "--endpoint-url", url, "s3", "ls"), environ=bundle)
        case "boto3":
            return Asking((tool("python"), "-c", BOTO3, url), environ=bundle)
        case "rclone":
            command = (*commands.rclone(url, home), "lsd", "gw:")
            return Asking(command, words=("--ca-cert", str(authority)))
        case "s5cmd":
            command = (tool("s5cmd"), "--retry-count", "0", "--endpoint-url", url, "ls")
            return Asking(command, environ=(("SSL_CERT_FILE", str(authority)),))
        case "s3cmd":
            config = home / "s3cfg"
            command = tuple(commands.s3cmd(url, home))
            config.write_text(config.read_text().replace("use_https = False", "use_https = True"))
            return Asking((*command, "ls"), words=("--ca-certs", str(authority)))
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["aws", "boto3", "rclone", "s5cmd", "s3cmd"])
def test_a_ca_of_ones_own(name: str, served: tuple[str, Path], tmp_path: Path) -> None:
    it = asking(name, *served, tmp_path)
    assert asked(it.command, tmp_path, {}).returncode != 0
    said = asked((*it.command, *it.words), tmp_path, dict(it.environ))
    assert said.returncode == 0, said.stderr
    assert "master.seen" in said.stdout


def test_mc(served: tuple[str, Path], tmp_path: Path) -> None:
    url, authority = served
    # By a variable: `mc alias set --api` asks nobody.
    environ = {"MC_HOST_gw": url.replace("://", "://anything:anything@")}
    assert asked((mc(), "ls", "gw"), tmp_path, environ).returncode != 0
    (tmp_path / ".mc" / "certs" / "CAs").mkdir(parents=True, exist_ok=True)
    (tmp_path / ".mc" / "certs" / "CAs" / "ca.pem").write_bytes(authority.read_bytes())
    said = asked((mc(), "ls", "gw"), tmp_path, environ)
    assert said.returncode == 0, said.stderr
    assert "master.seen" in said.stdout
