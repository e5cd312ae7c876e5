"""Real clients against the real daemon, byte for byte, each on a bucket of its own.

Files from nothing to 200 MB, and keys as people have them. A client whose tool is not installed is skipped by
name; `make test` installs them all, and CI fails if one is missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from daemons import Daemon
from minio import Minio

MIB = 1024 * 1024
SIZES = (0, 1, 65_536, 5 * MIB, 8 * MIB + 1)
LARGE = 200 * 1000 * 1000
# Below what makes multipart uploads of them: single PUTs of this size stream.
ONE_PART = 256 * MIB
KEYS = (
    "plain.txt",
    "a b/c d.txt",
    "a+b.txt",
    "100%.txt",
    "x%41.txt",
    "résumé (1).pdf",
    "日本語/ファイル.bin",
    "deep/er/and/deeper/leaf",
    "~tilde/[brackets]/{braces}!",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A directory of files, each name a key, and what is in them."""

    directory: Path
    digests: dict[str, str]


def _fill(path: Path, size: int, seed: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    block = hashlib.sha256(str(seed).encode()).digest() * 32768
    with path.open("wb") as file:
        left = size
        while left:
            piece = block[:left]
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_below(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): digest_of(path)
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("files")
    digests = {key: _fill(directory / key, 100 + index, index) for index, key in enumerate(KEYS)}
    for size in SIZES:
        digests[f"sizes/{size}"] = _fill(directory / f"sizes/{size}", size, size)
    return Files(directory=directory, digests=digests)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("large") / "large"
    return path, _fill(path, LARGE, 7)


def tool(name: str) -> str:
    """The tool beside this Python, else on the path; skips the test by its name where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"} | (environ or {}),
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


BOTO3 = {
    "defaults": Config(),
    "v2": Config(signature_version="s3"),
    "checksums-when-required": Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    ),
    "unsigned-payload": Config(s3={"payload_signing_enabled": False}),
    "signed-payload": Config(s3={"payload_signing_enabled": True}),
}


@pytest.mark.parametrize("config", BOTO3.values(), ids=BOTO3)
def test_boto3_puts_lists_gets_and_deletes(daemon: Daemon, bucket: str, files: Files, config: Config) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=daemon.s3_url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        config=config,
    )
    for key in files.digests:
        with (files.directory / key).open("rb") as file:
            s3.put_object(Bucket=bucket, Key=key, Body=file)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 4})
    listed = [item["Key"] for page in pages for item in page["Contents"]]
    assert listed == sorted(files.digests, key=str.encode)
    for key, digest in files.digests.items():
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert hashlib.sha256(body).hexdigest() == digest, key
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in listed]})
    assert sorted(item["Key"] for item in gone["Deleted"]) == sorted(listed)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.delete_bucket(Bucket=bucket)


CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_boto3_sends_each_checksum(s3: object, bucket: str, files: Files, algorithm: str) -> None:
    key = f"sizes/{SIZES[-1]}"
    with (files.directory / key).open("rb") as file:
        s3.put_object(Bucket=bucket, Key="k", Body=file, ChecksumAlgorithm=algorithm)
    body = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == files.digests[key]


def test_boto3_large_file_there_and_back(
    s3: object, bucket: str, large: tuple[Path, str], tmp_path: Path
) -> None:
    source, digest = large
    with source.open("rb") as file:
        s3.put_object(Bucket=bucket, Key="large", Body=file)
    back = tmp_path / "back"
    # The transfer manager gets it in ranges side by side.
    s3.download_file(bucket, "large", str(back))
    assert digest_of(back) == digest
    middle = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={MIB - 1}-{3 * MIB}")["Body"].read()
    with source.open("rb") as file:
        file.seek(MIB - 1)
        assert middle == file.read(2 * MIB + 2)


def test_boto3_reads_older_versions(s3: object, bucket: str) -> None:
    versions = [
        s3.put_object(Bucket=bucket, Key="k", Body=str(index).encode())["VersionId"] for index in range(5)
    ]
    s3.delete_object(Bucket=bucket, Key="k")
    assert len(set(versions)) == len(versions)
    for index, version in enumerate(versions):
        answer = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (answer["Body"].read(), answer["VersionId"]) == (str(index).encode(), version)
        assert s3.list_objects_v2(Bucket=f"{version}.{bucket}")["KeyCount"] == 1


def test_minio_there_and_back(
    daemon: Daemon, bucket: str, files: Files, large: tuple[Path, str], tmp_path: Path
) -> None:
    client = Minio(urlsplit(daemon.s3_url).netloc, access_key="any", secret_key="any", secure=False)
    assert client.bucket_exists(bucket)
    for key in files.digests:
        client.fput_object(bucket, key, str(files.directory / key), part_size=ONE_PART)
    client.fput_object(bucket, "large", str(large[0]), part_size=ONE_PART)
    listed = {item.object_name for item in client.list_objects(bucket, recursive=True)}
    assert listed == {*files.digests, "large"}
    for key, digest in ({**files.digests, "large": large[1]}).items():
        back = tmp_path / "back"
        client.fget_object(bucket, key, str(back))
        assert digest_of(back) == digest, key
    folders = {item.object_name for item in client.list_objects(bucket) if item.is_dir}
    assert folders == {key.partition("/")[0] + "/" for key in files.digests if "/" in key}
    for key in [*files.digests, "large"]:
        client.remove_object(bucket, key)
    client.remove_bucket(bucket)


@pytest.fixture
def aws(daemon: Daemon, tmp_path: Path) -> Iterator[list[str]]:
    config = tmp_path / "aws-config"
    config.write_text(
        f"[default]\nregion = us-east-1\ns3 =\n  multipart_threshold = {ONE_PART}\n", encoding="utf-8"
    )
    before = os.environ.get("AWS_CONFIG_FILE")
    os.environ["AWS_CONFIG_FILE"] = str(config)
    yield [tool("aws"), "--endpoint-url", daemon.s3_url]
    if before is None:
        del os.environ["AWS_CONFIG_FILE"]
    else:
        os.environ["AWS_CONFIG_FILE"] = before


def test_aws_cli_there_and_back(
    aws: list[str], bucket: str, files: Files, large: tuple[Path, str], tmp_path: Path
) -> None:
    run(*aws, "s3", "cp", "--recursive", "--quiet", str(files.directory), f"s3://{bucket}/in/")
    run(*aws, "s3", "cp", "--quiet", str(large[0]), f"s3://{bucket}/large")
    assert str(LARGE) in run(*aws, "s3", "ls", f"s3://{bucket}/large")
    run(*aws, "s3", "sync", "--quiet", f"s3://{bucket}/in/", str(tmp_path / "out"))
    assert digests_below(tmp_path / "out") == files.digests
    run(*aws, "s3", "cp", "--quiet", f"s3://{bucket}/large", str(tmp_path / "large"))
    assert digest_of(tmp_path / "large") == large[1]
    assert run(*aws, "s3", "sync", f"s3://{bucket}/in/", str(tmp_path / "out")) == ""
    run(*aws, "s3", "rm", "--recursive", "--quiet", f"s3://{bucket}")
    run(*aws, "s3", "rb", f"s3://{bucket}")


def test_s5cmd_there_and_back(
    daemon: Daemon, bucket: str, files: Files, large: tuple[Path, str], tmp_path: Path
) -> None:
    s5cmd = [tool("s5cmd"), "--endpoint-url", daemon.s3_url]
    part = str(ONE_PART // MIB)
    run(*s5cmd, "cp", "--part-size", part, f"{files.directory}/", f"s3://{bucket}/in/")
    run(*s5cmd, "cp", "--part-size", part, str(large[0]), f"s3://{bucket}/large")
    # Its pattern characters cannot be escaped in a source, so the rest is fetched as a whole.
    run(*s5cmd, "cp", f"s3://{bucket}/in/*", f"{tmp_path}/out/")
    assert digests_below(tmp_path / "out") == files.digests
    run(*s5cmd, "cp", f"s3://{bucket}/large", f"{tmp_path}/large")
    assert digest_of(tmp_path / "large") == large[1]
    run(*s5cmd, "rm", f"s3://{bucket}/*")
    run(*s5cmd, "rb", f"s3://{bucket}")


@pytest.fixture
def rclone(daemon: Daemon, tmp_path: Path) -> list[str]:
    config = tmp_path / "rclone.conf"
    config.write_text(
        "[gw]\ntype = s3\nprovider = Other\naccess_key_id = any\nsecret_access_key = any\n"
        f"endpoint = {daemon.s3_url}\nupload_cutoff = {ONE_PART // MIB}M\nuse_multipart_uploads = true\n",
        encoding="utf-8",
    )
    return [tool("rclone"), "--config", str(config), "--retries", "1", "--low-level-retries", "1"]


def test_rclone_there_and_back(
    rclone: list[str], bucket: str, files: Files, large: tuple[Path, str], tmp_path: Path
) -> None:
    run(*rclone, "copy", str(files.directory), f"gw:{bucket}/in")
    run(*rclone, "copyto", str(large[0]), f"gw:{bucket}/large")
    run(*rclone, "check", "--download", str(files.directory), f"gw:{bucket}/in")
    run(*rclone, "copy", f"gw:{bucket}/in", str(tmp_path / "out"))
    assert digests_below(tmp_path / "out") == files.digests
    run(*rclone, "copyto", f"gw:{bucket}/large", str(tmp_path / "large"))
    assert digest_of(tmp_path / "large") == large[1]
    run(*rclone, "delete", f"gw:{bucket}")
    run(*rclone, "rmdir", f"gw:{bucket}")


PACHYDERM = """
import sys
import python_pachyderm

host, port, repo = sys.argv[1:]
client = python_pachyderm.Client(host=host, port=int(port))
assert client.get_remote_version().major == 1
assert client.get_file((repo, "master"), "/from/s3").read() == b"by S3"
with client.commit(repo, "master") as commit:
    client.put_file_bytes(commit, "/from/pfs", b"by ")
    client.put_file_bytes(commit, "/from/pfs", b"PFS")
print([info.file.path for info in client.walk_file((repo, "master"), "/")])
print(client.inspect_branch(repo, "master").head.id)
"""


def test_python_pachyderm_and_s3_see_the_same(
    daemon: Daemon, s3: object, bucket: str, pachyderm_python: str
) -> None:
    s3.put_object(Bucket=bucket, Key="from/s3", Body=b"by S3")
    address = urlsplit(daemon.pfs_address)
    said = run(
        pachyderm_python,
        "-c",
        PACHYDERM,
        str(address.hostname),
        str(address.port),
        bucket.partition(".")[2],
        environ={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
    )
    paths, head = said.splitlines()
    assert paths == "['/', '/from', '/from/pfs', '/from/s3']"
    answer = s3.get_object(Bucket=bucket, Key="from/pfs")
    assert (answer["Body"].read(), answer["VersionId"]) == (b"by PFS", head)
