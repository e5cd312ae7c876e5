"""Large files and many files through each client with its own defaults: what takes minutes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import commands
import pytest
from daemons import Daemon
from minio import Minio
from sdk import s3_client
from tools import digest_of, fill, run

pytestmark = pytest.mark.long

LARGE = 1_000_000_007
MANY = 3000


def by_boto3(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    s3 = s3_client(url)
    s3.upload_file(str(there), bucket, "large")
    s3.download_file(bucket, "large", str(back))


def by_minio(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    client = Minio(urlsplit(url).netloc, access_key="any", secret_key="any", secure=False)
    client.fput_object(bucket, "large", str(there))
    client.fget_object(bucket, "large", str(back))


def by_aws(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    aws = commands.aws(url)
    run(*aws, "s3", "cp", "--quiet", str(there), f"s3://{bucket}/large")
    run(*aws, "s3", "cp", "--quiet", f"s3://{bucket}/large", str(back))


def by_s5cmd(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    s5cmd = commands.s5cmd(url)
    run(*s5cmd, "cp", str(there), f"s3://{bucket}/large")
    run(*s5cmd, "cp", f"s3://{bucket}/large", str(back))


def by_rclone(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    rclone = commands.rclone(url, directory)
    run(*rclone, "copyto", str(there), f"gw:{bucket}/large")
    run(*rclone, "copyto", f"gw:{bucket}/large", str(back))


def by_s3cmd(url: str, directory: Path, bucket: str, there: Path, back: Path) -> None:
    s3cmd = commands.s3cmd(url, directory)
    run(*s3cmd, "put", str(there), f"s3://{bucket}/large")
    run(*s3cmd, "get", f"s3://{bucket}/large", str(back))


@pytest.mark.parametrize("client", [by_boto3, by_minio, by_aws, by_s5cmd, by_rclone, by_s3cmd])
def test_a_large_file_there_and_back(
    daemon: Daemon, s3: object, bucket: str, tmp_path: Path, client: object
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    digest = fill(there, LARGE, 11)
    client(daemon.s3_url, tmp_path, bucket, there, back)
    assert digest_of(back) == digest
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    there.unlink()
    back.unlink()


def test_many_files_are_synced_once(daemon: Daemon, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for number in range(MANY):
        fill(here / f"d{number % 7}" / f"f{number}", number % 100, number)
    s5cmd, aws = commands.s5cmd(daemon.s3_url), commands.aws(daemon.s3_url)
    rclone = commands.rclone(daemon.s3_url, tmp_path)
    run(*s5cmd, "sync", f"{here}/", f"s3://{bucket}/")
    assert run(*s5cmd, "sync", f"{here}/", f"s3://{bucket}/") == ""
    assert run(*aws, "s3", "sync", str(here), f"s3://{bucket}/") == ""
    run(*rclone, "check", str(here), f"gw:{bucket}")
    run(*s5cmd, "rm", f"s3://{bucket}/*")
    assert run(*aws, "s3", "ls", "--recursive", f"s3://{bucket}/").strip() == ""
