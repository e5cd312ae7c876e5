"""Buckets in the host's name: which host names which, and where an object is found."""

from __future__ import annotations

import pytest
from signed_requests import head

from pachgw.s3.errors import S3Error
from pachgw.s3.request.domains import Domains, object_url
from pachgw.s3.request.target import Target

DOMAINS = Domains(["s3.example.com", "Example.org.", "deep.s3.example.com"])


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("images.s3.example.com", "images"),
        ("master.images.s3.example.com", "master.images"),
        ("Images.S3.Example.COM:30600", "Images"),
        ("images.s3.example.com.", "images"),
        ("images.s3.example.com:", "images"),
        ("a.deep.s3.example.com", "a"),
        ("deep.s3.example.com", None),
        ("s3.example.com:80", None),
        ("images.example.org", "images"),
        (".s3.example.com", ""),
        ("xs3.example.com", None),
        ("example.com", None),
        ("127.0.0.1:30600", None),
        ("[::1]:30600", None),
        ("", None),
        (None, None),
    ],
)
def test_bucket_of(host: str | None, bucket: str | None) -> None:
    assert DOMAINS.bucket_of(host) == bucket
    assert Domains().bucket_of(host) is None


@pytest.mark.parametrize(
    ("host", "uri", "bucket", "key"),
    [
        ("b.s3.example.com", "/", "b", None),
        ("b.s3.example.com", "/?acl", "b", None),
        ("b.s3.example.com", "/k", "b", "k"),
        ("b.s3.example.com", "//k/", "b", "/k/"),
        ("b.s3.example.com", "/%2Fk?versionId=v", "b", "/k"),
        ("b.s3.example.com", "http://b.s3.example.com", "b", None),
        ("s3.example.com", "/b/k", "b", "k"),
    ],
)
def test_target_of(host: str, uri: str, bucket: str, key: str | None) -> None:
    target = DOMAINS.target_of(head("GET", uri, [("Host", host)]))
    assert (target.bucket, target.key) == (bucket, key)
    assert target.in_host == (host != "s3.example.com")
    assert target.resource == (f"/{bucket}" if key is None else f"/{bucket}/{key}")


@pytest.mark.parametrize("uri", ["k", "*", "/%zz", "/%FF"])
def test_targets_that_are_none(uri: str) -> None:
    with pytest.raises(S3Error) as caught:
        DOMAINS.target_of(head("GET", uri, [("Host", "b.s3.example.com")]))
    assert caught.value.code == "InvalidURI"


def test_an_empty_label_is_no_bucket() -> None:
    with pytest.raises(S3Error) as caught:
        DOMAINS.target_of(head("GET", "/k", [("Host", ".s3.example.com")]))
    assert caught.value.code == "InvalidBucketName"


@pytest.mark.parametrize(
    ("host", "uri", "url"),
    [
        ("b.s3.example.com:8080", "/", "http://b.s3.example.com:8080/a%20%C3%A9/%3F"),
        ("gw:30600", "/b", "http://gw:30600/b/a%20%C3%A9/%3F"),
    ],
)
def test_object_url(host: str, uri: str, url: str) -> None:
    request = head("POST", uri, [("Host", host)])
    target = DOMAINS.target_of(request)
    assert object_url(request, target, "a é/?") == url


def test_object_url_without_a_host() -> None:
    target = Target(bucket="b", key=None, query=DOMAINS.target_of(head("GET", "/b")).query)
    assert object_url(head("POST", "/b"), target, "k") == "http://localhost/b/k"
