"""MinIO's client, and so its SDK for Go: up, down, sync, copies, versions, tags, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import Daemon
from tools import MIB, RUN_SECONDS, Files, digest_of, digests_below, fill, mc, run

LARGE = 40 * MIB + 1

Client = Callable[..., str]


@pytest.fixture
def client(daemon: Daemon, tmp_path: Path) -> Client:
    """What mc says to a command; the alias is `gw`."""
    words = (mc(), "--config-dir", str(tmp_path / "mc"), "--disable-pager")

    def ask(*command: str, stdin: bytes | None = None) -> str:
        return run(*words, *command, stdin=stdin)

    ask("alias", "set", "gw", daemon.s3_url, "anything", "anything", "--api", "S3v4", "--path", "on")
    return ask


def refused(tmp_path: Path, *command: str) -> str:
    """What mc says of what it could not do."""
    words = (mc(), "--config-dir", str(tmp_path / "mc"))
    done = subprocess.run(
        [*words, *command], check=False, capture_output=True, text=True, timeout=RUN_SECONDS
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_there_and_back(client: Client, s3: object, bucket: str, files: Files, tmp_path: Path) -> None:
    for name in files.digests:
        # mc takes a file of this very second for newer than its object.
        os.utime(files.directory / name, (time.time() - 60,) * 2)
    client("mirror", "--quiet", str(files.directory), f"gw/{bucket}/in")
    assert client("diff", str(files.directory), f"gw/{bucket}/in") == ""
    said = [json.loads(line) for line in client("--json", "ls", "-r", f"gw/{bucket}/in/").splitlines()]
    assert {line["key"]: line["size"] for line in said} == {
        name: (files.directory / name).stat().st_size for name in files.digests
    }
    client("mirror", "--quiet", f"gw/{bucket}/in", str(tmp_path / "out"))
    assert digests_below(tmp_path / "out") == files.digests
    # The same with what has gone and what has changed.
    (tmp_path / "out" / "plain.txt").unlink()
    (tmp_path / "out" / "a+b.txt").write_bytes(b"other")
    client("mirror", "--quiet", "--overwrite", "--remove", str(tmp_path / "out"), f"gw/{bucket}/in")
    assert client("cat", f"gw/{bucket}/in/a+b.txt") == "other"
    assert "in/plain.txt" not in client("ls", "-r", f"gw/{bucket}")
    client("cp", "--quiet", "--recursive", f"gw/{bucket}/in/deep/", f"{tmp_path}/deep/")
    assert list(digests_below(tmp_path / "deep").values()) == [files.digests["deep/er/and/deeper/leaf"]]
    client("rm", "--recursive", "--force", f"gw/{bucket}/in")
    assert client("ls", "-r", f"gw/{bucket}") == ""


def test_large_objects_with_what_is_said_of_them(
    client: Client, s3: object, bucket: str, other: str, tmp_path: Path
) -> None:
    digest = fill(tmp_path / "large", LARGE, 7)
    words = ("--attr", "who=me;Cache-Control=no-store;Content-Type=text/x-a", "--tags", "a=b&c=d")
    client("cp", "--quiet", *words, str(tmp_path / "large"), f"gw/{bucket}/large")
    client("cp", "--quiet", f"gw/{bucket}/large", f"gw/{other}/copy")
    client("mv", "--quiet", f"gw/{bucket}/large", f"gw/{other}/moved")
    for key in ("copy", "moved"):
        head = s3.head_object(Bucket=other, Key=key)
        assert (head["Metadata"]["who"], head["CacheControl"]) == ("me", "no-store")
        assert (head["ContentType"], head["ContentLength"]) == ("text/x-a", LARGE)
    client("cp", "--quiet", f"gw/{other}/moved", str(tmp_path / "back"))
    assert digest_of(tmp_path / "back") == digest
    assert json.loads(client("--json", "tag", "list", f"gw/{other}/copy"))["tagset"] == {"a": "b", "c": "d"}
    client("pipe", "--quiet", f"gw/{bucket}/piped", stdin=b"by a pipe")
    assert client("cat", f"gw/{bucket}/piped") == "by a pipe"
    assert f"{bucket}/piped" in client("find", f"gw/{bucket}", "--name", "pip*")
    assert json.loads(client("--json", "stat", f"gw/{bucket}/piped"))["size"] == 9
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_versions(client: Client, s3: object, bucket: str, tmp_path: Path) -> None:
    for body in (b"one", b"two"):
        client("pipe", "--quiet", f"gw/{bucket}/k", stdin=body)
    client("rm", f"gw/{bucket}/k")
    lines = client("--json", "ls", "--versions", f"gw/{bucket}/k").splitlines()
    versions = [json.loads(line) for line in lines]
    assert [version.get("isDeleteMarker", False) for version in versions] == [True, False, False]
    assert client("cat", "--version-id", versions[2]["versionId"], f"gw/{bucket}/k") == "one"
    assert "versioning is enabled" in client("version", "info", f"gw/{bucket}")
    # Versions stay, and mc itself looks for them before it removes a bucket.
    for command in (("rm", "-r", "--force", "--versions"), ("rb", "--force")):
        assert "Versions are commits" in refused(tmp_path, *command, f"gw/{bucket}")
    assert "is not empty" in refused(tmp_path, "rb", f"gw/{bucket}")
    s3.delete_bucket(Bucket=bucket)
    assert bucket not in client("ls", "gw")
    client("mb", f"gw/{bucket}")
    client("rb", f"gw/{bucket}")
