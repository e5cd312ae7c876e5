"""Signatures of the loads against botocore's, and as the gateway verifies them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from bench.signing import UNSIGNED, Keys, Signer, path_of, query_string

KEYS = Keys(access="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG", region="eu-central-1")
HOST = "127.0.0.1:30600"
KEY = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
NAMES = st.dictionaries(st.sampled_from(["list-type", "prefix", "uploads", "X y", "z~"]), KEY, max_size=4)


def _authorization(method: str, path: str, query: str, headers: dict[str, str], stamp: str) -> str:
    """What botocore says, of a request of that moment."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers={**headers, "X-Amz-Content-SHA256": UNSIGNED})
    request.headers["X-Amz-Date"] = stamp
    request.context["timestamp"] = stamp
    auth = S3SigV4Auth(Credentials(KEYS.access, KEYS.secret), "s3", KEYS.region)
    canonical = auth.canonical_request(request)
    return str(auth.signature(auth.string_to_sign(request, canonical), request))


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@given(key=KEY, query=NAMES)
def test_signatures_are_botocores(method: str, key: str, query: dict[str, str]) -> None:
    now = datetime.now(UTC)
    path, said = path_of("master.bench", key), query_string(query)
    extra = {"content-type": "text/x-bench", "x-amz-meta-a": "b"} if method == "PUT" else {}
    first, headers = _parsed(
        Signer(KEYS, HOST, now).head(method, path, said, length=7 if method == "PUT" else None, headers=extra)
    )
    assert first == f"{method} {path}{'?' * bool(said)}{said} HTTP/1.1"
    assert headers.get("content-length") == ("7" if method == "PUT" else None)
    theirs = _authorization(method, path, said, extra, headers["x-amz-date"])
    assert headers["authorization"].rpartition("Signature=")[2] == theirs


def test_the_secret_is_in_no_head_and_in_no_repr() -> None:
    head = Signer(KEYS, HOST).head("GET", "/b")
    assert KEYS.secret not in head.decode()
    assert KEYS.secret not in repr(KEYS)
    assert f"Credential={KEYS.access}/" in head.decode()
