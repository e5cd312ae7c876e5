"""minio-py, which shares nothing with botocore: streaming signatures, parts, copies, versions, forms."""

from __future__ import annotations

import io
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from daemons import Daemon
from formdata import encoded, post
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource, Tags
from minio.datatypes import PostPolicy
from minio.deleteobjects import DeleteObject
from tools import MIB, Files, digest_of, fill, seconds_now

METADATA = {"Author": "someone", "n": "1"}


@pytest.fixture
def client(daemon: Daemon) -> Minio:
    return Minio(urlsplit(daemon.s3_url).netloc, access_key="any", secret_key="any", secure=False)


def test_there_and_back(client: Minio, bucket: str, files: Files, tmp_path: Path) -> None:
    assert client.bucket_exists(bucket)
    before = seconds_now()
    for key in files.digests:
        client.fput_object(
            bucket,
            key,
            str(files.directory / key),
            content_type="text/x-poem",
            metadata=METADATA,
        )
    after = seconds_now()
    listed = {item.object_name for item in client.list_objects(bucket, recursive=True)}
    assert listed == set(files.digests)
    for key, digest in files.digests.items():
        back = tmp_path / "back"
        client.fget_object(bucket, key, str(back))
        assert digest_of(back) == digest, key
        stat = client.stat_object(bucket, key)
        assert stat.content_type == "text/x-poem"
        assert stat.metadata is not None
        assert (stat.metadata["x-amz-meta-author"], stat.metadata["x-amz-meta-n"]) == ("someone", "1")
        assert before <= stat.last_modified <= after
    folders = {item.object_name for item in client.list_objects(bucket) if item.is_dir}
    assert folders == {key.partition("/")[0] + "/" for key in files.digests if "/" in key}
    errors = client.remove_objects(bucket, [DeleteObject(key) for key in files.digests])
    assert list(errors) == []
    client.remove_bucket(bucket)


def test_parts_streams_and_copies(client: Minio, bucket: str, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    digest = fill(source, 12 * MIB + 1, 12)
    with source.open("rb") as file:
        client.put_object(
            bucket, "parts", file, -1, part_size=5 * MIB,
            content_type="text/x-parts", metadata=METADATA,
        )  # fmt: skip
    client.copy_object(bucket, "copy", CopySource(bucket, "parts"))
    stat = client.stat_object(bucket, "copy")
    assert stat.content_type == "text/x-parts"
    client.fget_object(bucket, "copy", str(back))
    assert digest_of(back) == digest
    client.compose_object(
        bucket,
        "twice",
        [
            ComposeSource(bucket, "parts"),
            ComposeSource(bucket, "copy", offset=0, length=100),
        ],
    )
    client.fget_object(bucket, "twice", str(back))
    assert back.read_bytes() == source.read_bytes() + source.read_bytes()[:100]


def test_versions_and_tags(client: Minio, bucket: str) -> None:
    tags = Tags.new_object_tags()
    tags["kind"] = "a b"
    versions = [
        client.put_object(bucket, "k", io.BytesIO(body), len(body), tags=tags).version_id
        for body in (b"one", b"two")
    ]
    client.remove_object(bucket, "k")
    listed = list(client.list_objects(bucket, include_version=True))
    # Its parser has delete markers come last, wherever they stand in the answer.
    assert [item.is_delete_marker for item in listed] == [False, False, True]
    assert [item.version_id for item in listed[:2]] == versions[::-1]
    for version, body in zip(versions, (b"one", b"two"), strict=True):
        assert version is not None
        answer = client.get_object(bucket, "k", version_id=version)
        assert answer.read() == body
        answer.close()
        answer.release_conn()
        assert client.get_object_tags(bucket, "k", version_id=version) == {"kind": "a b"}


def test_presigned(daemon: Daemon, client: Minio, bucket: str) -> None:
    put = client.presigned_put_object(bucket, "a b")
    with urllib.request.urlopen(urllib.request.Request(put, b"signed", method="PUT")) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(client.presigned_get_object(bucket, "a b")) as answer:
        assert answer.read() == b"signed"
    policy = PostPolicy(bucket, datetime.now(UTC) + timedelta(minutes=5))
    policy.add_starts_with_condition("$key", "in/")
    policy.add_content_length_range_condition(1, 100)
    fields = client.presigned_post_policy(policy) | {"key": "in/x"}
    sent = encoded(fields.items(), b"by form")
    assert post(daemon.s3_url, f"/{bucket}", sent).status == 204
    answer = client.get_object(bucket, "in/x")
    assert answer.read() == b"by form"
    answer.close()
    answer.release_conn()
