"""Uploads in parts from many clients at once, through several gateways and restarts, and with auth on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from buckets import Bucket
from daemons import Daemon
from partuploads import LEAST, MIB, Upload, body_of, commits_of, left_behind
from raw import Answer, ask
from test_races import at_once


@pytest.fixture
def second(daemon: Daemon, tmp_path: Path) -> Iterator[Daemon]:
    """Another gateway in front of the same PFS."""
    with Daemon(tmp_path, "--pachd", daemon.pfs_address, "--cache-dir", str(tmp_path / "cache")) as running:
        yield running
        assert not running.tracebacks


def test_parts_side_by_side(b: Bucket) -> None:
    """Of several uploads to one key: each object is that of one upload, and all are versions."""
    uploads = [Upload(b, "k") for _ in range(3)]
    works: list[Callable[[], Answer]] = [
        lambda upload=upload, number=number: upload.put(number, body_of((upload.id, number)))
        for upload in uploads
        for number in (1, 2, 3)
    ]
    assert {answer.status for answer in at_once(*works)} == {200}
    answers = at_once(*(upload.complete for upload in uploads))
    assert [answer.status for answer in answers] == [200] * 3
    for upload, answer in zip(uploads, answers, strict=True):
        version = answer.headers["x-amz-version-id"]
        wanted = b"".join(body_of((upload.id, number)) for number in (1, 2, 3))
        assert b.get("k", f"?versionId={version}").body == wanted
    assert commits_of(b) == 3
    assert left_behind(b) == []


def test_the_same_part_from_many_clients(b: Bucket, second: Daemon) -> None:
    upload = Upload(b, "k")
    bodies = [f"{client}".encode() * 1000 for client in range(8)]
    urls = [b.url, second.s3_url] * 4
    target = f"{upload.target}?partNumber=1&uploadId={upload.id}"
    answers = at_once(
        *(
            lambda url=url, body=body: ask(url, "PUT", target, body=body)
            for url, body in zip(urls, bodies, strict=True)
        )
    )
    assert {answer.status for answer in answers} == {200}
    (etag,) = (text.replace("&quot;", '"') for text in upload.parts().all("ETag"))
    upload.etags[1] = etag
    winner = next(
        body for answer, body in zip(answers, bodies, strict=True) if answer.headers["etag"] == etag
    )
    assert upload.complete().status == 200
    assert b.get("k").body == winner


def test_complete_against_abort(b: Bucket, second: Daemon) -> None:
    for number in range(8):
        key = f"{number}"
        upload = Upload(b, key)
        upload.put(1, body_of(number))
        upload.put(2, b"end")
        abort = f"{upload.target}?uploadId={upload.id}"
        url = second.s3_url if number % 2 else b.url
        completed, aborted = at_once(upload.complete, lambda url=url, abort=abort: ask(url, "DELETE", abort))
        assert (completed.status, aborted.status) in {(200, 204), (200, 404), (404, 204)}, completed
        found = b.get(key)
        assert found.status == completed.status
        if found.status == 200:
            assert found.body == body_of(number) + b"end"
        assert left_behind(b) == []


def test_many_completes(b: Bucket, second: Daemon) -> None:
    for number in range(4):
        upload = Upload(b, f"{number}")
        upload.put(1, body_of(number))
        upload.put(2, b"end")
        body = upload.list_body()
        target = f"{upload.target}?uploadId={upload.id}"
        before = commits_of(b) if number else 0
        answers = at_once(
            *(
                lambda url=url, target=target, body=body: ask(url, "POST", target, body=body)
                for url in (b.url, second.s3_url) * 3
            )
        )
        assert [answer.status for answer in answers] == [200] * 6, answers
        assert all(b"<CompleteMultipartUploadResult" in answer.body for answer in answers), answers
        # An answer that takes long begins before the version is known, and has no header for it.
        assert len({answer.headers.get("x-amz-version-id") for answer in answers} - {None}) <= 1
        assert commits_of(b) == before + 1
        assert left_behind(b) == []


def test_completes_that_exclude_each_other(b: Bucket) -> None:
    """If-None-Match lets one of several uploads through; the others can still be aborted."""
    uploads = [Upload(b, "k") for _ in range(4)]
    for upload in uploads:
        upload.put(1, upload.id.encode())
    answers = at_once(*(lambda upload=upload: upload.complete(if_none_match="*") for upload in uploads))
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412]
    for upload, answer in zip(uploads, answers, strict=True):
        if answer.status == 200:
            assert b.get("k").body == upload.id.encode()
        else:
            assert upload.abort().status == 204
    assert commits_of(b) == 1
    assert left_behind(b) == []


def test_a_part_whose_client_goes_away(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, b"old")
    parts = urlsplit(b.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        head = (
            f"PUT {upload.target}?partNumber=1&uploadId={upload.id} HTTP/1.1\r\n"
            "Host: x\r\nContent-Length: 8000000\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(4_000_000))
    assert upload.parts().all("Size") == ["3"]
    assert upload.complete().status == 200
    assert b.get("k").body == b"old"


def test_a_restart_in_mid_upload(tmp_path: Path) -> None:
    """The daemon is killed between parts, in mid-part and before the complete; nothing is lost."""
    with Daemon(tmp_path, "--pfs-listen", "127.0.0.1:0") as daemon:
        assert ask(daemon.s3_url, "PUT", "/master.r", body=b"").status == 200
        b = Bucket(daemon, "master.r")
        upload = Upload(b, "k", headers={"Content-Type": "a/b"})
        assert upload.put(1, body_of(1)).status == 200
        parts = urlsplit(daemon.s3_url)
        half = socket.create_connection((parts.hostname, parts.port), timeout=30)
        head = f"PUT {upload.target}?partNumber=2&uploadId={upload.id} HTTP/1.1\r\nHost: x\r\n"
        half.sendall(f"{head}Content-Length: {8 * MIB}\r\n\r\n".encode() + bytes(4 * MIB))
        daemon.kill()
        with contextlib.suppress(OSError):
            half.close()
        b.close()
    with Daemon(tmp_path, "--pfs-listen", "127.0.0.1:0") as daemon:
        upload.url = daemon.s3_url
        assert upload.parts().all("PartNumber") == ["1"]
        assert upload.put(2, body_of(2)).status == 200
        daemon.kill()
    with Daemon(tmp_path, "--pfs-listen", "127.0.0.1:0") as daemon:
        b = Bucket(daemon, "master.r")
        upload.url = daemon.s3_url
        assert b.ask("GET", "?uploads").all("UploadId") == [upload.id]
        assert upload.put(3, b"end").status == 200
        first = upload.complete()
        assert first.status == 200
        found = b.get("k")
        assert (found.body, found.headers["content-type"]) == (body_of(1) + body_of(2) + b"end", "a/b")
        assert left_behind(b) == []
        b.close()
    with Daemon(tmp_path) as daemon:
        upload.url = daemon.s3_url
        assert upload.complete().all("ETag") == first.all("ETag")


TOKENS = "".join(
    f'[[token]]\ntoken = "{name}-token"\nsubject = "robot:{name}"\n'
    for name in ("owner", "writer", "reader", "nobody")
) + (
    '[scopes.shared]\n"robot:owner" = "OWNER"\n"robot:writer" = "WRITER"\n"robot:reader" = "READER"\n'
    '[scopes.other]\n"robot:nobody" = "OWNER"\n'
)


def test_who_may_do_what(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    with Daemon(tmp_path / "state", "--pfs-tokens", str(tokens)) as daemon:

        def by(name: str | None, method: str, rest: str, body: bytes | None = None) -> Answer:
            token = None if name is None else f"{name}-token"
            return ask(daemon.s3_url, method, f"/master.shared{rest}", body=body, token=token)

        assert by("owner", "PUT", "", b"").status == 200
        refusals = {
            "reader": "AccessDenied",
            "nobody": "AccessDenied",
            "unknown": "InvalidAccessKeyId",
            None: "AccessDenied",
        }
        for name, code in refusals.items():
            answer = by(name, "POST", "/k?uploads", b"")
            assert (answer.status, answer.code) == (403, code)
        (upload_id,) = by("writer", "POST", "/k?uploads", b"").all("UploadId")
        part = f"/k?partNumber=1&uploadId={upload_id}"
        # Also where the gateway remembers the upload.
        etag = by("writer", "PUT", part, b"secret").headers["etag"]
        listed = (
            f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
            "</CompleteMultipartUpload>"
        ).encode()
        for name, code in refusals.items():
            for size in (1, 2 * MIB):
                answer = by(name, "PUT", part, bytes(size))
                assert (answer.status, answer.code) == (403, code), name
            for method, rest, body in (
                ("DELETE", f"/k?uploadId={upload_id}", None),
                ("POST", f"/k?uploadId={upload_id}", listed),
            ):
                answer = by(name, method, rest, body)
                assert (answer.status, answer.code) == (403, code), (name, method)
            for rest in (f"/k?uploadId={upload_id}", "?uploads"):
                answer = by(name, "GET", rest)
                if name == "reader":
                    assert answer.status == 200
                else:
                    assert (answer.status, answer.code) == (403, code), name
            # What there is not is told to nobody else either.
            answer = by(name, "GET", "/k?uploadId=nope")
            wanted = (404, "NoSuchUpload") if name == "reader" else (403, code)
            assert (answer.status, answer.code) == wanted, name
        # Whoever may write goes on with what others began.
        assert by("owner", "GET", f"/k?uploadId={upload_id}").all("Size") == ["6"]
        assert by("owner", "POST", f"/k?uploadId={upload_id}", listed).status == 200
        assert by("reader", "GET", "/k").body == b"secret"
        assert by("nobody", "GET", "/k").status == 403
        # A copy needs both.
        assert ask(daemon.s3_url, "PUT", "/master.other", body=b"", token="nobody-token").status == 200
        (upload_id,) = ask(
            daemon.s3_url, "POST", "/master.other/k?uploads", body=b"", token="nobody-token"
        ).all("UploadId")
        answer = ask(
            daemon.s3_url,
            "PUT",
            f"/master.other/k?partNumber=1&uploadId={upload_id}",
            headers={"x-amz-copy-source": "/master.shared/k"},
            token="nobody-token",
        )
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert not daemon.tracebacks


def test_parts_of_the_least_size_are_enough(b: Bucket) -> None:
    upload = Upload(b, "k")
    upload.put(1, body_of(1, LEAST - 1))
    upload.put(2, b"end")
    answer = upload.complete()
    assert (answer.status, answer.code) == (400, "EntityTooSmall")
    upload.put(1, body_of(1, LEAST))
    assert upload.complete().status == 200
