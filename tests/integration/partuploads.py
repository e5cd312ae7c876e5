"""Uploads in parts, by raw requests, and what PFS has of them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from buckets import Bucket
from raw import Answer, ask

from pachgw.pfs.proto import pfs_pb2

MIB = 1024 * 1024
LEAST = 5 * MIB
"""The least size of a part that is not the last."""


def body_of(seed: object, size: int = LEAST) -> bytes:
    """Bytes that differ by seed."""
    block = hashlib.sha256(repr(seed).encode()).digest() * 2048
    return (block * (size // len(block) + 1))[:size]


class Upload:
    """One upload to a key of a bucket, through the gateway at `url`."""

    def __init__(self, b: Bucket, key: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.b = b
        self.url = b.url
        self.target = f"/{b.name}/{quote(key, safe='/')}"
        answer = self.ask("POST", "?uploads", headers=dict(headers or {}))
        assert answer.status == 200, answer
        (self.id,) = answer.all("UploadId")
        self.created = answer
        self.etags: dict[int, str] = {}

    def ask(self, method: str, query: str, **words: object) -> Answer:
        return ask(self.url, method, self.target + query, **words)

    def put(self, number: int, body: bytes, **headers: str) -> Answer:
        query = f"?partNumber={number}&uploadId={self.id}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.ask("PUT", query, body=body, headers=named)
        if answer.status == 200:
            self.etags[number] = answer.headers["etag"]
        return answer

    def copy(self, number: int, source: str, **headers: str) -> Answer:
        query = f"?partNumber={number}&uploadId={self.id}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.ask("PUT", query, headers={"x-amz-copy-source": source} | named)
        if answer.status == 200:
            self.etags[number] = answer.all("ETag")[0].replace("&quot;", '"')
        return answer

    def list_body(self, numbers: Sequence[int] | None = None) -> bytes:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{self.etags[number]}</ETag></Part>"
            for number in (sorted(self.etags) if numbers is None else numbers)
        )
        return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()

    def complete(self, numbers: Sequence[int] | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", f"?uploadId={self.id}", body=self.list_body(numbers), headers=named)

    def abort(self) -> Answer:
        return self.ask("DELETE", f"?uploadId={self.id}")

    def parts(self, query: str = "") -> Answer:
        return self.ask("GET", f"?uploadId={self.id}{query}")

    @property
    def branch(self) -> str:
        return f"_s3_upload_{self.id}"


def left_behind(b: Bucket) -> list[str]:
    """Branches of uploads that are there, and commits that were begun on such branches."""
    request = pfs_pb2.ListBranchRequest(repo=pfs_pb2.Repo(name=b.repo))
    branches = [info.branch.name for info in b.pfs.ListBranch(request).branch_info]
    commits = b.pfs.ListCommitStream(pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo(name=b.repo)))
    started = [info.branch.name for info in commits]
    return [name for name in branches + started if name.startswith("_s3_upload_")]


def commits_of(b: Bucket, branch: str = "master") -> int:
    """How many commits lie on the way to the head of the branch."""
    request = pfs_pb2.ListCommitRequest(repo=pfs_pb2.Repo(name=b.repo), to=b.commit(branch))
    return len(list(b.pfs.ListCommitStream(request)))


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer
