"""ListObjectVersions, version ids and delete markers, against the real daemon."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket
from raw import ask

from pachgw.pfs.proto import pfs_pb2
from pachgw.s3.listing.pages import ContinuationToken, render_token


def versions(s3: object, bucket: str, **words: object) -> list[tuple[str, str, bool, bool]]:
    """Key, version id, whether it is the latest, whether it is a delete marker; sorted."""
    answer = s3.list_object_versions(Bucket=bucket, **words)
    rows = [(v["Key"], v["VersionId"], v["IsLatest"], False) for v in answer.get("Versions", [])]
    rows += [(v["Key"], v["VersionId"], v["IsLatest"], True) for v in answer.get("DeleteMarkers", [])]
    return sorted(rows)


def test_each_change_of_a_key_is_a_version(b: Bucket, s3: object) -> None:
    first = b.put("k", b"one").headers["x-amz-version-id"]
    b.put("other", b"x")
    second = b.put("k", b"two").headers["x-amz-version-id"]
    deleted = b.delete("k")
    assert deleted.headers["x-amz-delete-marker"] == "true"
    marker = deleted.headers["x-amz-version-id"]
    third = b.put("k", b"one").headers["x-amz-version-id"]
    answer = b.ask("GET", "?versions&prefix=k")
    assert answer.status == 200, answer
    # Newest first, versions and markers in one order.
    assert answer.all("VersionId") == [third, marker, second, first]
    assert answer.all("IsLatest") == ["true", "false", "false", "false"]
    assert answer.all("Size") == ["3", "3", "3"]
    dates = answer.all("LastModified")
    assert dates == sorted(dates, reverse=True)
    assert b.get("k", f"?versionId={second}").body == b"two"
    assert b.get("k", f"?versionId={first}").body == b"one"
    other = b.ask("HEAD", "/other").headers["x-amz-version-id"]
    assert versions(s3, b.name, Prefix="other") == [("other", other, True, False)]


def test_the_same_bytes_again_are_a_version(b: Bucket) -> None:
    first = b.put("k", b"one").headers["x-amz-version-id"]
    second = b.put("k", b"one").headers["x-amz-version-id"]
    assert first != second
    assert b.ask("GET", "?versions").all("VersionId") == [second, first]
    assert b.ask("HEAD", "/k").headers["x-amz-version-id"] == second


def test_get_and_head_name_the_version_that_the_list_names(b: Bucket) -> None:
    version = b.put("k", b"one").headers["x-amz-version-id"]
    for number in range(3):
        b.put(f"later-{number}")
    head = b.commit_ids()[0]
    assert b.ask("GET", "?versions&prefix=k").all("VersionId") == [version]
    plain = b.ask("HEAD", "/k")
    assert plain.headers["x-amz-version-id"] == version
    # Any commit that has the key can be asked for, and is what was asked for; the date is the change's.
    asked = b.ask("HEAD", f"/k?versionId={head}")
    assert asked.headers["x-amz-version-id"] == head
    assert asked.headers["last-modified"] == plain.headers["last-modified"]
    by_commit = b.raw("HEAD", f"/{head}.{b.repo}/k")
    assert by_commit.headers["x-amz-version-id"] == version


def test_a_delete_marker_cannot_be_read(b: Bucket) -> None:
    b.put("k", b"one")
    marker = b.delete("k").headers["x-amz-version-id"]
    b.put("other")
    for method in ("GET", "HEAD"):
        answer = b.ask(method, f"/k?versionId={marker}")
        assert answer.status == 405
        assert answer.headers["x-amz-delete-marker"] == "true"
        assert "last-modified" in answer.headers
        gone = b.ask(method, "/k")
        assert gone.status == 404
        assert (gone.headers["x-amz-delete-marker"], gone.headers["x-amz-version-id"]) == ("true", marker)
        # It was gone before this commit: that is no version of it.
        later = b.ask(method, f"/k?versionId={b.commit_ids()[0]}")
        assert later.status == 404
        assert "x-amz-delete-marker" not in later.headers
        never = b.ask(method, "/never")
        assert (never.status, never.headers.get("x-amz-delete-marker")) == (404, None)


def test_a_batch_delete_makes_markers(b: Bucket, s3: object) -> None:
    for key in ("a", "b"):
        b.put(key)
    names = [{"Key": key} for key in ("a", "b", "never")]
    answer = s3.delete_objects(Bucket=b.name, Delete={"Objects": names})
    marked = {item["Key"]: item.get("DeleteMarkerVersionId") for item in answer["Deleted"]}
    assert marked["never"] is None
    assert marked["a"] == marked["b"] == b.commit_ids()[0]
    assert [row for row in versions(s3, b.name) if row[3]] == [
        ("a", marked["a"], True, True),
        ("b", marked["b"], True, True),
    ]


def test_commits_by_others_are_versions(b: Bucket) -> None:
    mine = b.put("k", b"one").headers["x-amz-version-id"]
    b.put_path("/k", b"by PFS")
    theirs = b.commit_ids()[0]
    assert b.ask("HEAD", "/k").headers["x-amz-version-id"] == theirs
    again = b.put("k", b"two").headers["x-amz-version-id"]
    b.pfs.DeleteFile(pfs_pb2.DeleteFileRequest(file=b.file("/k")))
    assert b.ask("GET", "?versions").all("VersionId") == [b.commit_ids()[0], again, theirs, mine]


def test_a_deleted_commit_is_no_version_any_more(b: Bucket) -> None:
    first = b.put("k", b"one").headers["x-amz-version-id"]
    second = b.put("k", b"two").headers["x-amz-version-id"]
    third = b.put("other").headers["x-amz-version-id"]
    assert b.ask("GET", "?versions&prefix=k").all("VersionId") == [second, first]
    b.pfs.DeleteCommit(pfs_pb2.DeleteCommitRequest(commit=b.commit(second)))
    # Whoever asks for it makes it known; else it is seen when the history is looked at again.
    assert b.ask("HEAD", f"/k?versionId={second}").status == 404
    assert b.ask("GET", "?versions&prefix=k").all("VersionId") == [third, first]
    assert b.ask("HEAD", "/k").headers["x-amz-version-id"] == third


def test_pages_of_versions_joined_are_the_whole(b: Bucket, s3: object) -> None:
    for round_ in range(3):
        for key in ("a", "b/x", "b/y", "c"):
            b.put(key, str(round_).encode())
    b.delete("a")
    whole = [(row[0], row[1]) for row in versions(s3, b.name)]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=b.name, PaginationConfig={"PageSize": 2})
    found = []
    for page in pages:
        rows = page.get("Versions", []) + page.get("DeleteMarkers", [])
        assert len(rows) <= 2
        found += [(row["Key"], row["VersionId"]) for row in rows]
    assert len(found) == 13
    assert sorted(found) == sorted(whole)
    folded = s3.list_object_versions(Bucket=b.name, Delimiter="/")
    assert [prefix["Prefix"] for prefix in folded["CommonPrefixes"]] == ["b/"]
    assert {row["Key"] for row in folded["Versions"]} == {"a", "c"}


def test_a_commit_bucket_has_the_versions_up_to_it(b: Bucket) -> None:
    first = b.put("k", b"one").headers["x-amz-version-id"]
    second = b.put("k", b"two").headers["x-amz-version-id"]
    b.put("k", b"three")
    answer = b.raw("GET", f"/{second}.{b.repo}?versions")
    assert answer.all("VersionId") == [second, first]
    assert answer.all("IsLatest") == ["true", "false"]
    assert b.raw("GET", f"/{second}.{b.repo}/k?versionId={first}").body == b"one"


def test_an_empty_bucket_and_an_open_commit(b: Bucket) -> None:
    empty = b.ask("GET", "?versions")
    assert (empty.status, empty.all("VersionId")) == (200, [])
    version = b.put("k", b"one").headers["x-amz-version-id"]
    commit = b.start_commit()
    b.put_path("/new", b"not yet")
    assert b.ask("GET", "?versions").all("VersionId") == [version]
    b.finish_commit()
    assert sorted(b.ask("GET", "?versions").all("VersionId")) == sorted([version, commit.id])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("version-id-marker=x", "InvalidArgument"),
        ("key-marker=k&version-id-marker=00000000000040000000000000000000", "InvalidArgument"),
        ("max-keys=-1", "InvalidArgument"),
        ("max-keys=x", "InvalidArgument"),
        ("encoding-type=x", "InvalidArgument"),
    ],
)
def test_bad_questions(full: Bucket, query: str, code: str) -> None:
    answer = full.ask("GET", f"?versions&{query}")
    assert (answer.status, answer.code) == (400, code)


def test_buckets_that_are_not_there(full: Bucket) -> None:
    for bucket in ("master.never", "never.full", f"{'0' * 12}4{'0' * 19}.full"):
        answer = full.raw("GET", f"/{bucket}?versions")
        assert (answer.status, answer.code) == (404, "NoSuchBucket"), bucket


def test_names_are_encoded_where_asked_for(b: Bucket) -> None:
    b.put("a b/é\x01")
    answer = b.ask("GET", "?versions&encoding-type=url&prefix=" + quote("a b/"))
    assert answer.all("Key") == ["a%20b/%C3%A9%01"]
    assert answer.all("Prefix") == ["a%20b/"]


def test_versioning_is_enabled_and_stays_so(b: Bucket, s3: object) -> None:
    s3.put_bucket_versioning(Bucket=b.name, VersioningConfiguration={"Status": "Enabled"})
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_versioning(Bucket=b.name, VersioningConfiguration={"Status": "Suspended"})
    assert refused.value.response["Error"]["Code"] == "InvalidBucketState"
    assert s3.get_bucket_versioning(Bucket=b.name)["Status"] == "Enabled"
    for body in (b"", b"x", b"<x/>"):
        assert b.ask("PUT", "?versioning", body=body).code == "MalformedXML"
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert b.raw("PUT", "/master.never?versioning", body=enabled).code == "NoSuchBucket"


def test_versions_are_not_deleted(b: Bucket) -> None:
    version = b.put("k", b"one").headers["x-amz-version-id"]
    assert b.ask("DELETE", f"/k?versionId={version}").code == "NotImplemented"
    assert b.get("k").body == b"one"


def test_no_way_leads_to_a_reserved_branch(b: Bucket) -> None:
    """Neither a commit bucket, a version id nor a token that somebody has made up."""
    b.put("k", b"one")
    file = pfs_pb2.File(commit=b.commit("_s3_metadata"), path="/secret")
    b.pfs.PutFile(iter([pfs_pb2.PutFileRequest(file=file, value=b"x")]))
    branch = pfs_pb2.Branch(repo=pfs_pb2.Repo(name=b.repo), name="_s3_metadata")
    commit = b.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch)).head.id
    for query in ("", "?versions", "?list-type=2", "?location", "?versioning"):
        answer = b.raw("GET", f"/{commit}.{b.repo}{query}")
        assert (answer.status, answer.code) == (404, "NoSuchBucket"), query
    assert b.raw("HEAD", f"/{commit}.{b.repo}").status == 404
    assert b.raw("GET", f"/{commit}.{b.repo}/secret").code == "NoSuchBucket"
    answer = b.get("secret", f"?versionId={commit}")
    assert (answer.status, answer.code) == (404, "NoSuchVersion")
    token = render_token(ContinuationToken(after="", commit=commit))
    answer = b.ask("GET", f"?list-type=2&continuation-token={quote(token)}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert ask(b.url, "GET", f"/_s3_metadata.{b.repo}").code == "InvalidBucketName"
