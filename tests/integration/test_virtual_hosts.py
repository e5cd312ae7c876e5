"""Buckets in the host's name: every kind of request, both signatures, and the path as before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from daemons import Daemon
from raw import Answer, ask

DOMAIN = "s3.example.com"
BUCKET = "master.hosted"


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    options = ("--domain", DOMAIN, "--domain", f"deeper.{DOMAIN}")
    with Daemon(tmp_path_factory.mktemp("hosting"), *options) as running:
        assert ask(running.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        yield running
        assert not running.tracebacks


def at(daemon: Daemon, host: str, method: str, target: str, **words: object) -> Answer:
    headers = {"Host": host} | words.pop("headers", {})
    return ask(daemon.s3_url, method, target, headers=headers, **words)


def client(daemon: Daemon, **config: object) -> object:
    """boto3 that puts the bucket into the host; the daemon is its proxy, so no name has to be resolved."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://{DOMAIN}",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "virtual"},
            retries={"max_attempts": 1},
            proxies={"http": daemon.s3_url},
            **config,
        ),
    )


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_boto3(hosting: Daemon, version: str) -> None:
    s3 = client(hosting, signature_version=version)
    seen = []
    s3.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    s3.create_bucket(Bucket=f"{version}.hosted")
    key = "dir/é+ (1)//x"
    s3.put_object(Bucket=f"{version}.hosted", Key=key, Body=b"data", Metadata={"a": "b"})
    assert s3.get_object(Bucket=f"{version}.hosted", Key=key)["Body"].read() == b"data"
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=f"{version}.hosted")["Contents"]] == [key]
    s3.get_bucket_acl(Bucket=f"{version}.hosted")
    s3.delete_objects(Bucket=f"{version}.hosted", Delete={"Objects": [{"Key": key}]})
    s3.delete_bucket(Bucket=f"{version}.hosted")
    with pytest.raises(ClientError) as missing:
        s3.head_bucket(Bucket=f"{version}.hosted")
    assert missing.value.response["Error"]["Code"] == "404"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]
    assert all(urlsplit(url).hostname.startswith(f"{version}.hosted.") for url in seen[:-1])


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls(hosting: Daemon, version: str) -> None:
    s3 = client(hosting, signature_version=version)
    for operation, method, body, status in (
        ("put_object", "PUT", b"presigned", 200),
        ("get_object", "GET", None, 200),
        ("get_object_tagging", "GET", None, 200),
        ("delete_object", "DELETE", None, 204),
    ):
        words = {"Bucket": BUCKET, "Key": "p q/é"}
        url = urlsplit(s3.generate_presigned_url(operation, Params=words))
        assert url.hostname == f"{BUCKET}.{DOMAIN}"
        target = f"{url.path}?{url.query}"
        answer = at(hosting, url.netloc, method, target, body=body)
        assert answer.status == status, answer
        # The same URL is of no use for another bucket.
        other = at(hosting, url.netloc.replace(BUCKET, "dev.hosted"), method, target, body=body)
        assert (other.status, other.code) == (403, "SignatureDoesNotMatch")


def test_hosts(hosting: Daemon) -> None:
    put = at(hosting, f"{BUCKET}.{DOMAIN}:80", "PUT", "/a/b", body=b"data")
    assert put.status == 200
    for host, target in (
        (f"{BUCKET}.{DOMAIN}", "/a/b"),
        (f"{BUCKET}.{DOMAIN.upper()}.", "/a/b"),
        (f"hosted.{DOMAIN}", "/a/b"),
        (f"{BUCKET}.deeper.{DOMAIN}", "/a/b"),
        (DOMAIN, f"/{BUCKET}/a/b"),
        (f"deeper.{DOMAIN}", f"/{BUCKET}/a/b"),
        ("elsewhere.example.com", f"/{BUCKET}/a/b"),
        ("127.0.0.1", f"/{BUCKET}/a/b"),
        ("", f"/{BUCKET}/a/b"),
        (f"not{DOMAIN}", f"/{BUCKET}/a/b"),
    ):
        answer = at(hosting, host, "GET", target)
        assert (answer.status, answer.body) == (200, b"data"), host
    listed = at(hosting, f"{BUCKET}.{DOMAIN}", "GET", "/?list-type=2")
    assert (listed.all("Name"), listed.all("Key")) == ([BUCKET], ["a/b"])


def test_the_path_is_the_key(hosting: Daemon) -> None:
    host = f"{BUCKET}.{DOMAIN}"
    assert at(hosting, host, "PUT", f"/{BUCKET}/k", body=b"deep").status == 200
    assert at(hosting, host, "PUT", "//k", body=b"slash").status == 200
    keys = at(hosting, host, "GET", "/").all("Key")
    assert {"/k", f"{BUCKET}/k"} <= set(keys)
    assert at(hosting, "any", "GET", f"/{BUCKET}//k").body == b"slash"
    missing = at(hosting, host, "GET", "/no/such%20key")
    assert missing.all("Resource") == [f"/{BUCKET}/no/such key"]
    for key in (f"/{BUCKET}/k", "//k"):
        assert at(hosting, host, "DELETE", key).status == 204


def test_hosts_that_are_no_buckets(hosting: Daemon) -> None:
    for host, status, code in (
        (f".{DOMAIN}", 400, "InvalidBucketName"),
        (f"a..b.{DOMAIN}", 400, "InvalidBucketName"),
        (f"a.b.c.d.{DOMAIN}", 400, "InvalidBucketName"),
        (f"_s3_metadata.hosted.{DOMAIN}", 400, "InvalidBucketName"),
        (f"none.hosted.{DOMAIN}", 404, "NoSuchBucket"),
    ):
        for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
            answer = at(hosting, host, method, "/k", body=body)
            assert (answer.status, answer.code) == (status, code), (host, method)


def test_without_a_domain_the_host_says_nothing(daemon: Daemon, bucket: str) -> None:
    answer = at(daemon, f"{bucket}.{DOMAIN}", "PUT", f"/{bucket}/k", body=b"x")
    assert answer.status == 200
    assert at(daemon, f"{bucket}.{DOMAIN}", "GET", "/k").code == "NoSuchBucket"


def test_the_aws_cli(hosting: Daemon, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[default]\ns3 =\n  addressing_style = virtual\nregion = us-east-1\n", encoding="utf-8"
    )
    (tmp_path / "file").write_bytes(b"by cli")
    environ = {
        "PATH": "/usr/bin:/bin",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": hosting.s3_url,
    }
    aws = [
        str(Path(sys.executable).parent / "aws"),
        "--endpoint-url",
        f"http://{DOMAIN}",
    ]
    for arguments in (
        ["s3", "cp", str(tmp_path / "file"), f"s3://{BUCKET}/cli"],
        ["s3", "cp", f"s3://{BUCKET}/cli", str(tmp_path / "back")],
        ["s3", "rm", f"s3://{BUCKET}/cli"],
    ):
        subprocess.run([*aws, *arguments], env=environ, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "back").read_bytes() == b"by cli"
