"""boto3 as it comes and with the settings that change what it sends: bytes, headers, dates."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from pathlib import Path

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from daemons import Daemon
from formdata import encoded, post
from sdk import s3_client
from tools import MIB, SIZES, Files, digest_of, fill, seconds_now

LARGE = 200 * 1000 * 1000
HEADERS = {
    "ContentType": "text/x-poem; charset=utf-8",
    "ContentEncoding": "identity",
    "ContentDisposition": 'attachment; filename="poem.txt"',
    "ContentLanguage": "de",
    "CacheControl": "max-age=60",
    "Metadata": {"author": "someone", "n": "1"},
}

CONFIGS = {
    "defaults": Config(),
    "v2": Config(signature_version="s3"),
    "checksums-when-required": Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    ),
    "unsigned-payload": Config(s3={"payload_signing_enabled": False}),
    "signed-payload": Config(s3={"payload_signing_enabled": True}),
}


def client(daemon: Daemon, config: Config) -> object:
    return boto3.client(
        "s3",
        endpoint_url=daemon.s3_url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        config=config,
    )


def said_of(answer: dict[str, object]) -> dict[str, object]:
    """What an answer says of HEADERS."""
    return {name: answer.get(name) for name in HEADERS}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_puts_lists_gets_and_deletes(daemon: Daemon, bucket: str, files: Files, config: Config) -> None:
    s3 = client(daemon, config)
    before = seconds_now()
    for key in files.digests:
        with (files.directory / key).open("rb") as file:
            s3.put_object(Bucket=bucket, Key=key, Body=file, **HEADERS)
    after = seconds_now()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 4})
    listed = [item["Key"] for page in pages for item in page["Contents"]]
    assert listed == sorted(files.digests, key=str.encode)
    for key, digest in files.digests.items():
        answer = s3.get_object(Bucket=bucket, Key=key)
        body = answer["Body"].read()
        assert hashlib.sha256(body).hexdigest() == digest, key
        head = s3.head_object(Bucket=bucket, Key=key)
        assert head["ContentLength"] == len(body)
        assert said_of(head) == said_of(answer) == HEADERS
        assert before <= head["LastModified"] <= after
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in listed]})
    assert sorted(item["Key"] for item in gone["Deleted"]) == sorted(listed)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.delete_bucket(Bucket=bucket)


CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_each_checksum_is_kept_and_checked(s3: object, bucket: str, files: Files, algorithm: str) -> None:
    key = f"sizes/{SIZES[-1]}"
    with (files.directory / key).open("rb") as file:
        put = s3.put_object(Bucket=bucket, Key="k", Body=file, ChecksumAlgorithm=algorithm)
    # The SDK checks the body against the checksum that it asks for.
    answer = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert answer[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert hashlib.sha256(answer["Body"].read()).hexdigest() == files.digests[key]


@pytest.mark.parametrize("algorithm", [None, *CHECKSUMS])
def test_the_transfer_manager_uploads_in_parts(
    s3: object, bucket: str, tmp_path: Path, algorithm: str | None
) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    digest = fill(source, 17 * MIB + 3, 17)
    words = HEADERS if algorithm is None else HEADERS | {"ChecksumAlgorithm": algorithm}
    before = seconds_now()
    s3.upload_file(str(source), bucket, "a/b", ExtraArgs=words)
    after = seconds_now()
    s3.download_file(bucket, "a/b", str(back))
    assert digest_of(back) == digest
    head = s3.head_object(Bucket=bucket, Key="a/b")
    assert said_of(head) == HEADERS
    assert before <= head["LastModified"] <= after
    assert s3.head_object(Bucket=bucket, Key="a/b", PartNumber=1)["ContentLength"] == 8 * MIB
    # A copy by the transfer manager, in parts as well, takes the headers along.
    small = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    s3.copy({"Bucket": bucket, "Key": "a/b"}, bucket, "copy", Config=small)
    copied = s3.get_object(Bucket=bucket, Key="copy")
    assert hashlib.sha256(copied["Body"].read()).hexdigest() == digest
    assert said_of(copied) == HEADERS
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_stream_whose_length_nobody_knows(s3: object, bucket: str) -> None:
    class Stream(io.RawIOBase):
        left = 9 * MIB

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            given = b"s" * min(self.left, size if size >= 0 else self.left)
            self.left -= len(given)
            return given

    s3.upload_fileobj(Stream(), bucket, "stream")
    body = s3.get_object(Bucket=bucket, Key="stream")["Body"].read()
    assert body == b"s" * (9 * MIB)


def test_a_large_file_in_one_part_there_and_back(s3: object, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "large"
    digest = fill(source, LARGE, 7)
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


def test_older_versions(s3: object, bucket: str) -> None:
    versions = [
        s3.put_object(Bucket=bucket, Key="k", Body=str(index).encode())["VersionId"] for index in range(5)
    ]
    s3.delete_object(Bucket=bucket, Key="k")
    assert len(set(versions)) == len(versions)
    for index, version in enumerate(versions):
        answer = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (answer["Body"].read(), answer["VersionId"]) == (str(index).encode(), version)
        assert s3.list_objects_v2(Bucket=f"{version}.{bucket}")["KeyCount"] == 1
    listed = s3.list_object_versions(Bucket=bucket)
    assert [item["VersionId"] for item in listed["Versions"]] == versions[::-1]
    assert [item["Key"] for item in listed["DeleteMarkers"]] == ["k"]


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_urls(daemon: Daemon, bucket: str, signature: str) -> None:
    s3 = s3_client(daemon.s3_url, signature_version=signature)
    words = {"Bucket": bucket, "Key": "a b/ü+%.txt"}
    put = s3.generate_presigned_url("put_object", Params=words | {"ContentType": "text/x-a"}, ExpiresIn=60)
    request = urllib.request.Request(put, b"signed", {"Content-Type": "text/x-a"}, method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    said = words | {"ResponseContentType": "text/x-b", "ResponseContentDisposition": "inline"}
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=said)) as answer:
        assert answer.read() == b"signed"
        assert answer.headers["Content-Type"] == "text/x-b"
        assert answer.headers["Content-Disposition"] == "inline"
    assert s3.head_object(**words)["ContentType"] == "text/x-a"
    url = s3.generate_presigned_url("delete_object", Params=words)
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE")) as answer:
        assert answer.status == 204
    with pytest.raises(ClientError, match="404"):
        s3.head_object(**words)


def test_presigned_post(daemon: Daemon, s3: object, bucket: str) -> None:
    form = s3.generate_presigned_post(
        bucket,
        "in/${filename}",
        Fields={"Content-Type": "text/x-form", "x-amz-meta-who": "me", "success_action_status": "201"},
        Conditions=[
            {"Content-Type": "text/x-form"},
            {"x-amz-meta-who": "me"},
            {"success_action_status": "201"},
            ["content-length-range", 1, 100],
        ],
    )
    sent = encoded(form["fields"].items(), b"by form", filename="ü.txt")
    answer = post(daemon.s3_url, f"/{bucket}", sent)
    assert (answer.status, b"<PostResponse" in answer.body) == (201, True)
    answer = s3.get_object(Bucket=bucket, Key="in/ü.txt")
    assert answer["Body"].read() == b"by form"
    assert (answer["ContentType"], answer["Metadata"]) == ("text/x-form", {"who": "me"})
    assert form["url"] == f"{daemon.s3_url}/{bucket}"
    refused = post(daemon.s3_url, f"/{bucket}", encoded(form["fields"].items(), b"x" * 101))
    assert (refused.status, refused.code) == (400, "EntityTooLarge")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_resources_and_waiters(daemon: Daemon, s3: object, bucket: str) -> None:
    made = boto3.resource(
        "s3",
        endpoint_url=daemon.s3_url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
    ).Bucket(bucket)
    made.wait_until_exists()
    for number in range(5):
        made.put_object(Key=f"d/{number}", Body=b"x")
    made.Object("d/0").wait_until_exists()
    assert [item.key for item in made.objects.filter(Prefix="d/")] == [f"d/{number}" for number in range(5)]
    made.Object("e").copy_from(CopySource={"Bucket": bucket, "Key": "d/0"})
    made.objects.filter(Prefix="d/").delete()
    s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="d/0")
    assert [item.key for item in made.objects.all()] == ["e"]
    made.Object("e").delete()
    made.delete()
    made.wait_until_not_exists()
