"""Uploads in parts: the checksums of parts and of the whole, and parts that are copied."""

from __future__ import annotations

import base64
import hashlib

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket
from partuploads import LEAST, MIB, Upload, body_of, crc32, left_behind, refused
from raw import ask
from sdk import s3_client


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
