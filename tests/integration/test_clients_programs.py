"""Clients in environments of their own: s3fs, obstore, pyarrow, DuckDB, Polars, restic, and JavaScript.

What they do, and what they expect, is in clients/; here is what they leave behind, as boto3 sees it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from daemons import Daemon
from tools import MIB, SCRIPTS, Files, digests_below, fill, missing, run, run_script, tool


@pytest.fixture
def arguments(daemon: Daemon, bucket: str, other: str, files: Files) -> list[str]:
    return [daemon.s3_url, bucket, other, str(files.directory)]


@pytest.mark.parametrize(
    ("package", "script"),
    [
        ("s3fs", "s3fs_client.py"),
        ("obstore", "obstore_client.py"),
        ("pyarrow", "tables_pyarrow.py"),
        ("duckdb_extension_httpfs", "tables_duckdb.py"),
        ("polars", "tables_polars.py"),
    ],
    ids=["s3fs", "obstore", "pyarrow", "duckdb", "polars"],
)
def test_in_python(package: str, script: str, arguments: list[str], s3: object, bucket: str) -> None:
    run_script(package, script, *arguments)
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_in_javascript(arguments: list[str], s3: object, bucket: str) -> None:
    modules = Path(os.environ.get("S3_CLIENTS", "")) / "node_modules"
    if not (modules / "@aws-sdk/client-s3").exists():
        missing("the AWS SDK for JavaScript")
    script = str(SCRIPTS / "javascript" / "client.cjs")
    run(tool("node"), script, *arguments, environ={"NODE_PATH": str(modules)})
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_restic(daemon: Daemon, bucket: str, tmp_path: Path) -> None:
    restic = [tool("restic"), "-r", f"s3:{daemon.s3_url}/{bucket}/backup", "--no-cache"]
    environ = {"RESTIC_PASSWORD": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    source = tmp_path / "source"
    for number in range(20):
        fill(source / f"d{number % 3}" / f"ü {number}", 1 + number * 100_000, number)
    fill(source / "large", 20 * MIB, 99)
    run(*restic, "init", environ=environ)
    run(*restic, "backup", str(source), environ=environ)
    fill(source / "large", 20 * MIB, 100)
    (source / "d0" / "ü 0").unlink()
    run(*restic, "backup", str(source), environ=environ)
    assert "no errors were found" in run(*restic, "check", "--read-data", environ=environ)
    run(*restic, "restore", "latest", "--target", str(tmp_path / "back"), environ=environ)
    assert digests_below(Path(f"{tmp_path}/back{source}")) == digests_below(source)
    run(*restic, "forget", "--keep-last", "1", "--prune", environ=environ)
    assert "no errors were found" in run(*restic, "check", "--read-data", environ=environ)
    assert run(*restic, "snapshots", "--json", environ=environ).count('"short_id"') == 1
