"""Uploads in parts: what comes of them, what is refused, and that nothing stays behind."""

from __future__ import annotations

import base64
import hashlib

import pytest
from buckets import Bucket
from partuploads import LEAST, MIB, Upload, body_of, commits_of, left_behind, refused
from raw import ask

from pachgw.pfs.proto import pfs_pb2


def test_parts_become_one_object_in_one_commit(b: Bucket) -> None:
    b.put("before")
    upload = Upload(b, "dir/k.txt")
    bodies = [body_of(1), body_of(2, LEAST + 1), body_of(3, 7)]
    for number, body in zip((2, 5, 9000), bodies, strict=True):
        assert upload.put(number, body).status == 200
    assert b.keys() == ["before"]
    assert commits_of(b) == 1
    answer = upload.complete()
    assert answer.status == 200, answer
    assert answer.all("Key") == ["dir/k.txt"]
    assert answer.all("Location")[0].endswith(f"/{b.name}/dir/k.txt")
    assert commits_of(b) == 2
    found = b.get("dir/k.txt")
    assert found.body == b"".join(bodies)
    assert answer.all("ETag")[0].replace("&quot;", '"') == found.headers["etag"]
    assert answer.headers["x-amz-version-id"] == found.headers["x-amz-version-id"]
    assert found.headers["content-type"] == "text/plain"
    assert left_behind(b) == []
    refused(upload.parts(), 404, "NoSuchUpload")
    refused(upload.put(1, b"x"), 404, "NoSuchUpload")
    refused(upload.abort(), 404, "NoSuchUpload")


@pytest.mark.parametrize("body", [b"", b"tiny"])
def test_one_small_part(b: Bucket, body: bytes) -> None:
    upload = Upload(b, "k")
    upload.put(7, body)
    assert upload.complete().status == 200
    answer = b.get("k", "?partNumber=1")
    assert (answer.body, answer.headers["x-amz-mp-parts-count"]) == (body, "1")
    assert left_behind(b) == []


def test_what_was_said_at_the_start_is_kept(b: Bucket) -> None:
    said = {
        "Content-Type": "image/x-own",
        "Cache-Control": "no-store",
        "x-amz-meta-Colour": "blue",
        "x-amz-tagging": "a=1&b=2",
    }
    upload = Upload(b, "k", headers=said)
    upload.put(1, b"x")
    upload.complete()
    answer = b.get("k")
    assert answer.headers["content-type"] == "image/x-own"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-amz-meta-colour"] == "blue"
    assert answer.headers["x-amz-tagging-count"] == "2"
    assert b.ask("GET", "/k?tagging").all("Value") == ["1", "2"]


def test_parts_of_an_object_are_read_by_number(b: Bucket) -> None:
    upload = Upload(b, "k")
    bodies = [body_of(number, LEAST + number) for number in range(3)]
    for number, body in enumerate(bodies, 1):
        upload.put(number * 10, body)
    upload.complete()
    start = 0
    for number, body in enumerate(bodies, 1):
        for method in ("GET", "HEAD"):
            answer = b.ask(method, f"/k?partNumber={number}")
            assert answer.status == 206
            assert answer.headers["content-length"] == str(len(body))
            stop = start + len(body) - 1
            assert answer.headers["content-range"] == f"bytes {start}-{stop}/{sum(map(len, bodies))}"
            assert answer.headers["x-amz-mp-parts-count"] == "3"
            assert answer.body == (body if method == "GET" else b"")
        start += len(body)
    refused(b.get("k", "?partNumber=4"), 416, "InvalidPartNumber")


def test_a_part_that_is_put_again(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, body_of("old"))
    old = upload.etags[1]
    upload.put(2, b"end")
    upload.put(1, body_of("new"))
    new, upload.etags[1] = upload.etags[1], old
    refused(upload.complete(), 400, "InvalidPart")
    upload.etags[1] = new
    assert upload.complete().status == 200
    assert b.get("k").body == body_of("new") + b"end"


def test_a_list_that_is_refused_leaves_the_upload_as_it_is(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, b"small")
    upload.put(2, body_of(2))
    upload.put(3, b"end")
    refused(upload.complete([2, 1]), 400, "InvalidPartOrder")
    refused(upload.complete([2, 2]), 400, "InvalidPartOrder")
    refused(upload.complete([1, 2]), 400, "EntityTooSmall")
    upload.etags[4] = upload.etags[3]
    refused(upload.complete([2, 4]), 400, "InvalidPart")
    for body in (b"", b"junk", b"<Other/>", b"<CompleteMultipartUpload/>"):
        refused(upload.ask("POST", f"?uploadId={upload.id}", body=body), 400, "MalformedXML")
    assert b.keys() == []
    assert upload.complete([2, 3]).status == 200
    assert b.get("k").body == body_of(2) + b"end"
    assert left_behind(b) == []


def test_repeated_complete(b: Bucket) -> None:
    upload = Upload(b, "k", headers={"x-amz-checksum-algorithm": "CRC32"})
    upload.put(1, body_of(1))
    upload.put(2, b"end")
    first = upload.complete()
    assert first.status == 200
    # Also after others have written, and after the object has gone.
    b.put("other")
    again = upload.complete()
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["x-amz-version-id"] == first.headers["x-amz-version-id"]
    b.put("k", b"something else")
    b.delete("k")
    assert upload.complete().body == first.body
    assert b.keys() == ["other"]
    refused(upload.complete([1]), 404, "NoSuchUpload")


@pytest.mark.parametrize("number", ["0", "10001", "-1", "junk", ""])
def test_part_numbers_that_are_none(b: Bucket, number: str) -> None:
    upload = Upload(b, "k")
    refused(upload.put(number, b"x"), 400, "InvalidArgument")  # type: ignore[arg-type]
    assert upload.parts().all("PartNumber") == []
    assert upload.abort().status == 204


@pytest.mark.parametrize("upload_id", ["", "x", "0" * 32, "a" * 38, "..%2F..", "%F0%9F%98%80", "z" * 5000])
def test_ids_that_are_none(b: Bucket, upload_id: str) -> None:
    state = b.state()
    for method, query, body in (
        ("PUT", f"?partNumber=1&uploadId={upload_id}", b"x"),
        ("GET", f"?uploadId={upload_id}", None),
        ("DELETE", f"?uploadId={upload_id}", None),
        (
            "POST",
            f"?uploadId={upload_id}",
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>"
            b"</CompleteMultipartUpload>",
        ),
    ):
        refused(b.ask(method, f"/k{query}", body=body), 404, "NoSuchUpload")
    assert b.state() == state


def test_an_id_is_of_its_key_and_its_bucket(b: Bucket) -> None:
    assert b.ask("PUT", "", body=b"").status == 409
    other = f"dev.{b.repo}"
    assert ask(b.url, "PUT", f"/{other}", body=b"").status == 200
    upload = Upload(b, "k")
    upload.put(1, b"x")
    for target in (f"/{b.name}/other", f"/{other}/k"):
        for method, query in (
            ("PUT", "?partNumber=1&uploadId="),
            ("GET", "?uploadId="),
            ("DELETE", "?uploadId="),
        ):
            body = b"y" if method == "PUT" else None
            refused(ask(b.url, method, f"{target}{query}{upload.id}", body=body), 404, "NoSuchUpload")
        refused(
            ask(b.url, "POST", f"{target}?uploadId={upload.id}", body=upload.list_body()), 404, "NoSuchUpload"
        )
    missing = "/master.no-such-repo/k"
    refused(ask(b.url, "GET", f"{missing}?uploadId={upload.id}"), 404, "NoSuchBucket")
    refused(ask(b.url, "POST", f"{missing}?uploads"), 404, "NoSuchBucket")
    assert upload.complete().status == 200


def test_abort(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, body_of(1))
    assert upload.abort().status == 204
    refused(upload.abort(), 404, "NoSuchUpload")
    refused(upload.complete(), 404, "NoSuchUpload")
    refused(upload.put(1, b"x"), 404, "NoSuchUpload")
    refused(upload.put(1, body_of(2, 2 * MIB)), 404, "NoSuchUpload")
    assert b.keys() == []
    assert left_behind(b) == []


def test_listing_parts(b: Bucket) -> None:
    upload = Upload(b, "k e/y", headers={"x-amz-checksum-algorithm": "SHA256"})
    for number in (10, 2, 1, 9):
        upload.put(number, b"x" * number)
    whole = upload.parts()
    assert whole.all("PartNumber") == ["1", "2", "9", "10"]
    assert whole.all("Size") == ["1", "2", "9", "10"]
    assert [etag.replace("&quot;", '"') for etag in whole.all("ETag")] == [
        upload.etags[number] for number in (1, 2, 9, 10)
    ]
    assert whole.all("ChecksumSHA256") == [
        base64.b64encode(hashlib.sha256(b"x" * number).digest()).decode() for number in (1, 2, 9, 10)
    ]
    assert whole.all("StorageClass") == ["STANDARD"]
    assert whole.all("ChecksumAlgorithm") == ["SHA256"]
    assert whole.all("Key") == ["k e/y"]
    page = upload.parts("&max-parts=3")
    assert (page.all("PartNumber"), page.all("IsTruncated")) == (["1", "2", "9"], ["true"])
    rest = upload.parts(f"&part-number-marker={page.all('NextPartNumberMarker')[0]}&encoding-type=url")
    assert (rest.all("PartNumber"), rest.all("IsTruncated")) == (["10"], ["false"])
    assert rest.all("Key") == ["k%20e/y"]
    refused(upload.parts("&max-parts=-1"), 400, "InvalidArgument")
    upload.abort()


def test_listing_uploads(b: Bucket) -> None:
    keys = ["a/1", "a/2", "a/2", "b", "c d", "é"]
    uploads = [Upload(b, key) for key in keys]
    whole = b.ask("GET", "?uploads")
    assert whole.all("UploadId") == [upload.id for upload in uploads]
    assert whole.all("Key") == keys
    assert whole.all("IsTruncated") == ["false"]
    assert b.ask("GET", "?uploads&prefix=a/").all("Key") == keys[:3]
    folded = b.ask("GET", "?uploads&delimiter=/")
    assert folded.all("Key") == keys[3:]
    assert folded.all("Prefix")[-1] == "a/"
    assert b.ask("GET", "?uploads&encoding-type=url&prefix=c").all("Key") == ["c%20d"]
    marker = f"?uploads&key-marker=a/2&upload-id-marker={uploads[1].id}"
    assert b.ask("GET", marker).all("UploadId") == [upload.id for upload in uploads[2:]]
    assert b.ask("GET", "?uploads&key-marker=a/2").all("Key") == keys[3:]
    seen: list[str] = []
    query = "?uploads&max-uploads=2"
    while True:
        page = b.ask("GET", query)
        seen += page.all("UploadId")
        if page.all("IsTruncated") == ["false"]:
            break
        query = (
            f"?uploads&max-uploads=2&encoding-type=url&key-marker={page.all('NextKeyMarker')[0]}"
            f"&upload-id-marker={page.all('NextUploadIdMarker')[0]}"
        )
    assert seen == [upload.id for upload in uploads]
    refused(ask(b.url, "GET", "/master.no-such-repo?uploads"), 404, "NoSuchBucket")
    refused(b.ask("GET", "?uploads&max-uploads=x"), 400, "InvalidArgument")
    for upload in uploads:
        assert upload.abort().status == 204
    assert b.ask("GET", "?uploads").all("Key") == []


def test_uploads_are_of_their_branch(b: Bucket) -> None:
    other = b.beside("dev")
    other.ask("PUT", "", body=b"")
    mine, theirs = Upload(b, "k"), Upload(other, "k")
    assert b.ask("GET", "?uploads").all("UploadId") == [mine.id]
    assert other.ask("GET", "?uploads").all("UploadId") == [theirs.id]
    theirs.put(1, b"x")
    assert theirs.complete().status == 200
    assert other.get("k").body == b"x"
    assert b.get("k").status == 404
    mine.abort()


def test_uploads_go_with_their_bucket(b: Bucket) -> None:
    dev = f"/dev.{b.repo}"
    assert ask(b.url, "PUT", dev, body=b"").status == 200
    kept = Upload(b, "k")
    other = b.beside("dev")
    gone = Upload(other, "k")
    gone.put(1, b"x")
    assert ask(b.url, "DELETE", dev).status == 204
    assert ask(b.url, "PUT", dev, body=b"").status == 200
    assert other.ask("GET", "?uploads").all("Key") == []
    refused(gone.complete(), 404, "NoSuchUpload")
    assert set(left_behind(b)) == {kept.branch}
    assert ask(b.url, "DELETE", dev).status == 204
    assert b.ask("DELETE", "").status == 204
    assert b.ask("PUT", "", body=b"").status == 200
    refused(kept.parts(), 404, "NoSuchUpload")
    assert left_behind(b) == []


def test_parts_are_in_no_bucket(b: Bucket) -> None:
    b.put("k")
    upload = Upload(b, "k2")
    upload.put(1, b"secret")
    commit = b.pfs.InspectBranch(_branch(b, upload.branch)).head.id
    names = ask(b.url, "GET", "/").all("Name")
    assert b.name in names
    assert not any("_s3_" in name for name in names)
    refused(ask(b.url, "GET", f"/{upload.branch}.{b.repo}"), 400, "InvalidBucketName")
    refused(ask(b.url, "GET", f"/{commit}.{b.repo}"), 404, "NoSuchBucket")
    refused(b.get("k", f"?versionId={commit}"), 404, "NoSuchVersion")
    source = f"/{commit}.{b.repo}/parts/00001"
    assert ask(b.url, "PUT", f"/{b.name}/x", headers={"x-amz-copy-source": source}).status == 404
    assert b.ask("GET", "?versions").all("Key") == ["k"]
    upload.abort()


def _branch(b: Bucket, name: str) -> pfs_pb2.InspectBranchRequest:
    return pfs_pb2.InspectBranchRequest(branch=pfs_pb2.Branch(repo=pfs_pb2.Repo(name=b.repo), name=name))


def test_conditions_on_complete(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, b"mine")
    b.put("k", b"theirs")
    etag = b.get("k").headers["etag"]
    refused(upload.complete(if_none_match="*"), 412, "PreconditionFailed")
    refused(upload.complete(if_match='"other"'), 412, "PreconditionFailed")
    assert b.get("k").body == b"theirs"
    upload.put(1, b"mine again")
    assert upload.complete(if_match=etag).status == 200
    assert b.get("k").body == b"mine again"
    fresh = Upload(b, "fresh")
    fresh.put(1, b"x")
    refused(fresh.complete(if_match=etag), 404, "NoSuchKey")
    assert fresh.complete(if_none_match="*").status == 200
    assert left_behind(b) == []


def test_a_key_below_an_object(b: Bucket) -> None:
    b.put("a")
    refused(b.ask("POST", "/a/b?uploads"), 400, "InvalidFilePath")
    upload = Upload(b, "c/d")
    upload.put(1, b"x")
    b.put("c")
    refused(upload.complete(), 400, "InvalidFilePath")
    assert b.delete("c").status == 204
    # It was joined already, and is open again.
    upload.put(1, b"y")
    assert upload.complete().status == 200
    assert b.get("c/d").body == b"y"
    assert left_behind(b) == []


def test_the_same_bytes_twice_are_two_versions(b: Bucket) -> None:
    versions = []
    for colour in ("red", "blue"):
        upload = Upload(b, "k", headers={"x-amz-meta-colour": colour})
        upload.put(1, b"same")
        versions.append(upload.complete().headers["x-amz-version-id"])
    assert len(set(versions)) == 2
    assert b.get("k").headers["x-amz-meta-colour"] == "blue"
    assert b.get("k", f"?versionId={versions[0]}").headers["x-amz-meta-colour"] == "red"


def test_into_an_open_commit(b: Bucket) -> None:
    b.put("k", b"1")
    b.start_commit()
    upload = Upload(b, "k")
    upload.put(1, b"2")
    assert upload.complete().status == 200
    assert upload.complete().status == 200
    assert b.get("k").body == b"2"
    b.finish_commit()
    assert b.get("k").body == b"2"
    assert commits_of(b) == 2
    assert left_behind(b) == []
