"""Conditions on reads and writes, with S3's precedence, and what many writers at once see of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from buckets import Bucket
from test_races import at_once

PAST = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
FUTURE = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
ETAG = "{etag}"

READS = [
    ({"If-Match": ETAG}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": f'"a", {ETAG}'}, 200),
    ({"If-Match": '"a", "b"'}, 412),
    ({"If-None-Match": ETAG}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": f'"a", W/{ETAG}'}, 304),
    ({"If-None-Match": '"a"'}, 200),
    ({"If-Modified-Since": PAST}, 200),
    ({"If-Modified-Since": FUTURE}, 304),
    ({"If-Unmodified-Since": PAST}, 412),
    ({"If-Unmodified-Since": FUTURE}, 200),
    ({"If-Match": ETAG, "If-Unmodified-Since": PAST}, 200),
    ({"If-None-Match": ETAG, "If-Modified-Since": PAST}, 304),
    ({"If-None-Match": '"a"', "If-Modified-Since": FUTURE}, 200),
    ({"If-Match": '"a"', "If-None-Match": ETAG}, 412),
    ({"If-Modified-Since": "no date"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), READS)
def test_reads(b: Bucket, headers: dict[str, str], status: int) -> None:
    etag = b.put("k", b"bytes").headers["etag"]
    b.ask("PUT", "/k", body=b"bytes", headers={"Content-Type": "a/b"})
    sent = {name: value.replace(ETAG, etag) for name, value in headers.items()}
    for method in ("GET", "HEAD"):
        answer = b.ask(method, "/k", headers=sent)
        assert answer.status == status
        if status == 304:
            assert (answer.headers["etag"], answer.body) == (etag, b"")
        elif status == 200:
            assert answer.headers["content-type"] == "a/b"


WRITES = [
    ({"If-Match": ETAG}, True),
    ({"If-Match": "*"}, True),
    ({"If-Match": '"a"'}, False),
    ({"If-None-Match": "*"}, False),
    ({"If-None-Match": ETAG}, False),
    ({"If-None-Match": '"a"'}, True),
    ({"If-Unmodified-Since": PAST}, False),
    ({"If-Unmodified-Since": FUTURE}, True),
]


@pytest.mark.parametrize(("headers", "holds"), WRITES)
def test_writes_and_deletes(b: Bucket, headers: dict[str, str], holds: bool) -> None:
    etag = b.put("k", b"old").headers["etag"]
    sent = {name: value.replace(ETAG, etag) for name, value in headers.items()}
    before = b.state()
    for method, body, status in (("DELETE", None, 204), ("PUT", b"new", 200)):
        answer = b.ask(method, "/k", body=body, headers=sent | {"x-amz-meta-a": "1"})
        if holds:
            assert answer.status == status, answer
            b.put("k", b"old")
        else:
            assert (answer.status, answer.code) == (412, "PreconditionFailed")
            assert b.state() == before


def test_what_is_not_there(b: Bucket) -> None:
    b.put("dir/below")
    before = b.state()
    for key in ("none", "dir"):
        for method, body in (("PUT", b"x"), ("DELETE", None)):
            if (key, method) == ("dir", "PUT"):
                continue
            for value in ("*", '"a"'):
                answer = b.ask(method, f"/{key}", body=body, headers={"If-Match": value})
                assert (answer.status, answer.code) == (404, "NoSuchKey"), (key, method)
    assert b.ask("DELETE", "/none", headers={"If-None-Match": "*"}).status == 204
    assert b.state() == before
    assert b.ask("PUT", "/none", body=b"x", headers={"If-None-Match": "*"}).status == 200


def test_a_batch_delete_with_etags(b: Bucket) -> None:
    etags = {key: b.put(key, key.encode()).headers["etag"] for key in "abc"}

    def item(key: str, etag: str | None) -> str:
        condition = "" if etag is None else f"<ETag>{etag.replace(chr(34), '&quot;')}</ETag>"
        return f"<Object><Key>{key}</Key>{condition}</Object>"

    body = "".join(
        (item("a", etags["a"]), item("b", '"other"'), item("c", "*"), item("none", "*"), item("no", None))
    )
    answer = b.ask("POST", "?delete", body=f"<Delete>{body}</Delete>".encode())
    assert answer.status == 200
    assert answer.all("Key") == ["a", "c", "no", "b", "none"]
    assert answer.all("Code") == ["PreconditionFailed", "NoSuchKey"]
    assert len(set(answer.all("DeleteMarkerVersionId"))) == 1
    assert b.keys() == ["b"]


def test_conditions_of_directory_buckets_are_refused(b: Bucket) -> None:
    b.put("k")
    before = b.state()
    for name in ("x-amz-if-match-size", "x-amz-if-match-last-modified-time"):
        assert b.ask("DELETE", "/k", headers={name: "1"}).code == "NotImplemented"
    assert b.state() == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "copy"])
def test_of_many_writers_one_has_the_etag_in_time(b: Bucket, method: str) -> None:
    """Read, then write only what was read: no change is lost, none happens twice."""
    b.put("source", b"source")
    for number in range(4):
        etag = b.put("k", f"round {number}".encode()).headers["etag"]

        def write(client: int, etag: str = etag, number: int = number) -> int:
            headers = {"If-Match": etag, "x-amz-meta-client": str(client)}
            if method == "copy":
                headers |= {"x-amz-copy-source": f"{b.name}/source", "x-amz-metadata-directive": "REPLACE"}
            body = None if method == "DELETE" else b"" if method == "copy" else f"{number} {client}".encode()
            return b.ask(method if method == "DELETE" else "PUT", "/k", body=body, headers=headers).status

        statuses = at_once(*(lambda client=client, write=write: write(client) for client in range(5)))
        if method == "DELETE":
            assert sorted(statuses) == [204, 404, 404, 404, 404]
        else:
            assert sorted(statuses) == [200, 412, 412, 412, 412]
            assert b.get("k").headers["x-amz-meta-client"] == str(statuses.index(200))
