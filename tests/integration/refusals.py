"""What every refusal has in common: S3's XML, nothing left behind, and a connection that goes on."""

from __future__ import annotations

from xml.etree import ElementTree

from buckets import Bucket
from raw import Answer
from wire import Wire

FILES = {"d/k": b"below", "e": b"", "f": b"12345"}
"""Keys and contents of the bucket that refused requests speak of."""


def is_error(answer: Answer, method: str, status: int, code: str) -> None:
    """The answer is S3's error of that status and code."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/xml"
    assert answer.headers["x-amz-request-id"]
    if method == "HEAD":
        assert answer.body == b""
        return
    root = ElementTree.fromstring(answer.body)
    assert root.tag == "Error"
    texts = {child.tag: child.text for child in root}
    assert len(texts) == len(root), answer
    assert texts["Code"] == code, answer
    assert texts["Message"]
    assert texts["Resource"]
    assert texts["RequestId"] == answer.headers["x-amz-request-id"]


def refused(
    b: Bucket,
    method: str,
    target: str | bytes,
    status: int,
    code: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    stays: bool | None = True,
) -> Answer:
    """The answer to a bad request, once everything that holds for all of them was seen to hold.

    `{b}` and `{repo}` in a target are the bucket and its repo. `stays` says whether the connection can go on:
    not where the client would have to send much that nobody wants; None where that depends on timing.
    """
    if isinstance(target, str):
        target = target.replace("{b}", b.name).replace("{repo}", b.repo)
    before = b.state()
    with Wire(b.url) as wire:
        answer = wire.request(method, target, headers, body)
        is_error(answer, method, status, code)
        kept = answer.headers.get("connection") != "close"
        assert stays in {None, kept}
        if kept:
            is_well(wire, b)
    if not kept:
        with Wire(b.url) as wire:
            is_well(wire, b)
    assert b.state() == before
    return answer


def is_well(wire: Wire, b: Bucket) -> None:
    """A good request on this connection is answered."""
    answer = wire.request("GET", f"/{b.name}/f")
    assert (answer.status, answer.body) == (200, FILES["f"])
