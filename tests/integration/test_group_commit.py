"""Small writes that come at once share commits; each is answered, read and listed as if it had been alone."""

from __future__ import annotations

from buckets import Bucket
from sdk import s3_client
from test_races import at_once

WRITERS = 64


def _client(b: Bucket) -> object:
    return s3_client(b.url, max_pool_connections=WRITERS)


def _versions(s3: object, bucket: str) -> tuple[dict[tuple[str, str], int], set[tuple[str, str]]]:
    """Sizes of the versions by key and id, and the delete markers."""
    sizes, markers = {}, set()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", ()):
            sizes[version["Key"], version["VersionId"]] = version["Size"]
        markers |= {(marker["Key"], marker["VersionId"]) for marker in page.get("DeleteMarkers", ())}
    return sizes, markers


def test_many_puts_with_metadata(b: Bucket) -> None:
    s3 = _client(b)
    keys = [f"d{number % 4}/k{number}" for number in range(WRITERS)]

    def put(number: int) -> str:
        answer = s3.put_object(
            Bucket=b.name,
            Key=keys[number],
            Body=b"x" * number,
            ContentType=f"a/{number}",
            Metadata={"number": str(number)},
            ChecksumAlgorithm="SHA256",
        )
        return str(answer["VersionId"])

    ids = at_once(*(lambda number=number: put(number) for number in range(WRITERS)))
    assert set(ids) == set(b.commit_ids())
    assert b.commits() < WRITERS
    for number, (key, version) in enumerate(zip(keys, ids, strict=True)):
        for words in ({}, {"VersionId": version}):
            answer = s3.get_object(Bucket=b.name, Key=key, ChecksumMode="ENABLED", **words)
            assert answer["Body"].read() == b"x" * number
            assert answer["VersionId"] == version
            assert answer["ContentType"] == f"a/{number}"
            assert answer["Metadata"] == {"number": str(number)}
            assert answer["ChecksumSHA256"]
    sizes, markers = _versions(s3, b.name)
    assert sizes == {(key, ids[number]): number for number, key in enumerate(keys)}
    assert markers == set()
    listed = s3.list_objects_v2(Bucket=b.name)
    assert [item["Key"] for item in listed["Contents"]] == sorted(keys)


def test_puts_and_deletes_side_by_side(b: Bucket) -> None:
    """Each version and each marker is listed once, for its own key, and all that is left is right."""
    s3 = _client(b)
    keys = [f"k{number}" for number in range(16)]
    first = {key: s3.put_object(Bucket=b.name, Key=key, Body=b"1")["VersionId"] for key in keys}

    def change(number: int) -> tuple[str, str]:
        key = keys[number]
        if number % 2:
            answer = s3.delete_object(Bucket=b.name, Key=key)
            assert answer["DeleteMarker"]
        else:
            answer = s3.put_object(Bucket=b.name, Key=key, Body=b"22")
        return key, answer["VersionId"]

    changed = dict(at_once(*(lambda number=number: change(number) for number in range(len(keys)))))
    sizes, markers = _versions(s3, b.name)
    assert markers == {(key, changed[key]) for key in keys[1::2]}
    assert sizes == {(key, first[key]): 1 for key in keys} | {(key, changed[key]): 2 for key in keys[::2]}
    assert b.keys() == sorted(keys[::2])
    for key in keys[1::2]:
        gone = b.get(key)
        assert (gone.status, gone.headers["x-amz-version-id"]) == (404, changed[key])
        assert b.get(key, f"?versionId={changed[key]}").status == 405
        assert b.get(key, f"?versionId={first[key]}").body == b"1"
        # The commit is also a version of others.
        assert b.get(keys[0], f"?versionId={changed[key]}").status == 200


def test_large_ones_beside_small_ones(b: Bucket) -> None:
    s3 = _client(b)
    bodies = {f"small{number}": b"s" * number for number in range(12)}
    bodies |= {f"large{number}": bytes([number]) * 2_000_000 for number in range(4)}
    works = [
        lambda key=key, body=body: s3.put_object(Bucket=b.name, Key=key, Body=body)["VersionId"]
        for key, body in bodies.items()
    ]
    ids = dict(zip(bodies, at_once(*works), strict=True))
    assert set(ids.values()) == set(b.commit_ids())
    large = [version for key, version in ids.items() if key.startswith("large")]
    assert len(set(large)) == len(large)
    for key, body in bodies.items():
        assert b.get(key, f"?versionId={ids[key]}").body == body
