"""Uploads in parts: what comes of them, what is refused, and that nothing stays behind."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket
from partuploads import LEAST, MIB, Upload, body_of, commits_of, left_behind
from raw import Answer, ask
from sdk import s3_client

from pachgw.pfs.proto import pfs_pb2


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer


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


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_boto3_sends_checksums(b: Bucket, algorithm: str) -> None:
    s3 = s3_client(b.url)
    created = s3.create_multipart_upload(Bucket=b.name, Key="k", ChecksumAlgorithm=algorithm)
    assert created["ChecksumAlgorithm"] == algorithm
    name = f"Checksum{algorithm}"
    parts = []
    words = {"Bucket": b.name, "Key": "k", "UploadId": created["UploadId"]}
    for number, size in ((1, LEAST), (2, 9)):
        answer = s3.upload_part(
            **words, PartNumber=number, Body=body_of(number, size), ChecksumAlgorithm=algorithm
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    wrong = [parts[0], parts[1] | {name: parts[0][name]}]
    with pytest.raises(ClientError, match="InvalidPart"):
        s3.complete_multipart_upload(**words, MultipartUpload={"Parts": wrong})
    other = "AAAAAAAAAAA=" if algorithm == "CRC64NVME" else parts[0][name]
    with pytest.raises(ClientError, match="BadDigest"):
        s3.complete_multipart_upload(**words, MultipartUpload={"Parts": parts}, **{name: other})
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.complete_multipart_upload(**words, MultipartUpload={"Parts": parts}, MpuObjectSize=7)
    done = s3.complete_multipart_upload(**words, MultipartUpload={"Parts": parts}, MpuObjectSize=LEAST + 9)
    kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    assert done["ChecksumType"] == kind
    head = s3.head_object(Bucket=b.name, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (done[name], kind)
    assert name not in s3.head_object(Bucket=b.name, Key="k")
    second = s3.get_object(Bucket=b.name, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (second[name], second["Body"].read()) == (parts[1][name], body_of(2, 9))
    if algorithm == "CRC64NVME":
        # Of the whole: the SDK verifies it itself.
        assert s3.get_object(Bucket=b.name, Key="k", ChecksumMode="ENABLED")["Body"].read()
    asked = s3.get_object_attributes(Bucket=b.name, Key="k", ObjectAttributes=["ObjectParts", "Checksum"])
    assert [part[name] for part in asked["ObjectParts"]["Parts"]] == [part[name] for part in parts]


def test_the_checksum_of_the_whole_from_those_of_its_parts(b: Bucket) -> None:
    kind = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
    upload = Upload(b, "k", headers=kind)
    bodies = [body_of(1), body_of(2, 100)]
    # The second comes without a checksum: it is reckoned.
    upload.put(1, bodies[0], x_amz_checksum_crc32=crc32(bodies[0]))
    assert upload.put(2, bodies[1]).headers["x-amz-checksum-crc32"] == crc32(bodies[1])
    whole = crc32(b"".join(bodies))
    refused(upload.complete(x_amz_checksum_type="COMPOSITE"), 400, "InvalidRequest")
    refused(upload.complete(x_amz_checksum_crc32=crc32(b"")), 400, "BadDigest")
    answer = upload.complete(x_amz_checksum_crc32=whole, x_amz_checksum_type="FULL_OBJECT")
    assert answer.status == 200, answer
    assert answer.all("ChecksumCRC32") == [whole]
    assert answer.headers["x-amz-checksum-crc32"] == whole


def test_a_part_that_is_not_what_was_said(b: Bucket) -> None:
    upload = Upload(b, "k", headers={"x-amz-checksum-algorithm": "CRC32"})
    for body in (b"x", body_of(1, 2 * MIB)):
        refused(upload.put(1, body, x_amz_checksum_crc32=crc32(b"other")), 400, "BadDigest")
        refused(
            upload.put(1, body, x_amz_checksum_sha1=base64.b64encode(hashlib.sha1(body).digest()).decode()),
            400,
            "InvalidRequest",
        )
        refused(upload.put(1, body, content_md5=base64.b64encode(bytes(16)).decode()), 400, "BadDigest")
    assert upload.parts().all("PartNumber") == []
    upload.abort()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-checksum-algorithm": "MD5"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-type": "COMPOSITE"}, 400, "InvalidRequest"),
        ({"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 501, "NotImplemented"),
        ({"x-amz-meta-a": "x" * 3000}, 400, "MetadataTooLarge"),
        ({"x-amz-tagging": "a=1&a=2"}, 400, "InvalidArgument"),
        ({"If-None-Match": "*"}, 501, "NotImplemented"),
    ],
)
def test_starts_that_are_refused(b: Bucket, headers: dict[str, str], status: int, code: str) -> None:
    state = b.state()
    refused(b.ask("POST", "/k?uploads", headers=headers), status, code)
    assert b.state() == state


def test_copying_parts(b: Bucket) -> None:
    source = body_of("source", 6 * MIB)
    b.put("s/ource", source)
    version = b.get("s/ource").headers["x-amz-version-id"]
    b.put("s/ource", b"newer")
    upload = Upload(b, "k")
    whole = f"/{b.name}/s/ource?versionId={version}"
    answer = upload.copy(1, whole)
    assert answer.status == 200, answer
    assert answer.headers["x-amz-copy-source-version-id"] == version
    assert upload.copy(2, whole, x_amz_copy_source_range=f"bytes=1-{LEAST}").status == 200
    assert upload.copy(3, f"{b.name}/s%2Fource").status == 200
    assert upload.parts().all("Size") == [str(6 * MIB), str(LEAST), "5"]
    assert upload.complete().status == 200
    assert b.get("k").body == source + source[1 : LEAST + 1] + b"newer"
    assert left_behind(b) == []


def test_copies_of_parts_that_are_refused(b: Bucket) -> None:
    b.put("s", b"0123456789")
    etag = b.get("s").headers["etag"]
    upload = Upload(b, "k")
    source = f"/{b.name}/s"
    for text in ("bytes=0-10", "bytes=5-4", "0-2", "bytes=0-", "bytes=-2", "bytes=a-b"):
        refused(upload.copy(1, source, x_amz_copy_source_range=text), 400, "InvalidArgument")
    refused(upload.copy(1, f"/{b.name}/nope"), 404, "NoSuchKey")
    refused(upload.copy(1, "/master.no-such-repo/s"), 404, "NoSuchBucket")
    refused(upload.copy(1, "s"), 400, "InvalidArgument")
    refused(upload.copy(1, source, x_amz_copy_source_if_match='"x"'), 412, "PreconditionFailed")
    refused(upload.copy(1, source, x_amz_copy_source_if_none_match=etag), 412, "PreconditionFailed")
    assert upload.parts().all("PartNumber") == []
    assert upload.copy(1, source, x_amz_copy_source_if_match=etag).status == 200
    assert upload.copy(1, source, x_amz_copy_source_range="bytes=3-5").status == 200
    assert upload.copy(1, source).status == 200
    assert upload.parts().all("Size") == ["10"]
    upload.abort()


def test_copied_parts_have_the_checksum_of_the_upload(b: Bucket) -> None:
    b.put("s", b"0123456789")
    upload = Upload(b, "k", headers={"x-amz-checksum-algorithm": "CRC32"})
    assert upload.copy(1, f"/{b.name}/s").all("ChecksumCRC32") == [crc32(b"0123456789")]
    answer = upload.copy(1, f"/{b.name}/s", x_amz_copy_source_range="bytes=2-4")
    assert answer.all("ChecksumCRC32") == [crc32(b"234")]
    assert upload.complete().status == 200
    assert b.get("k").body == b"234"


def test_a_part_from_an_open_commit(b: Bucket) -> None:
    b.start_commit()
    b.put("s", b"open")
    upload = Upload(b, "k")
    assert upload.copy(1, f"/{b.name}/s").status == 200
    assert upload.complete().status == 200
    assert b.get("k").body == b"open"
    b.finish_commit()


def test_many_parts(b: Bucket) -> None:
    """More than are joined at once; copies of one object make them."""
    b.put("s", body_of("s"))
    upload = Upload(b, "k")
    upload.copy(1, f"/{b.name}/s")
    etag = upload.etags[1]
    count = 230
    for number in range(2, count + 1):
        assert upload.copy(number, f"/{b.name}/s").status == 200
    assert set(upload.etags.values()) == {etag}
    upload.put(count + 1, b"end")
    page = upload.parts("&max-parts=100&part-number-marker=180")
    assert len(page.all("PartNumber")) == 51
    assert upload.complete().status == 200
    head = b.ask("HEAD", f"/k?partNumber={count + 1}")
    assert head.headers["x-amz-mp-parts-count"] == str(count + 1)
    assert head.headers["content-length"] == "3"
    end = b.ask("GET", "/k", headers={"Range": "bytes=-6"})
    assert end.body == body_of("s")[-3:] + b"end"
    middle = b.ask("GET", "/k", headers={"Range": f"bytes={LEAST * 150 - 2}-{LEAST * 150 + 1}"})
    assert middle.body == body_of("s")[-2:] + body_of("s")[:2]
    assert left_behind(b) == []


def test_copies_of_an_object_that_came_in_parts(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, body_of(1))
    upload.put(2, b"end")
    upload.complete()
    answer = ask(b.url, "PUT", f"/{b.name}/copy", headers={"x-amz-copy-source": f"/{b.name}/k"})
    assert answer.status == 200
    assert b.get("copy", "?partNumber=2").body == b"end"
    # The id stays with the first.
    b.delete("k")
    assert upload.complete().status == 200
    assert b.keys() == ["copy"]
