"""Signatures: what an independent signer signs verifies however it is encoded, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.credentials import Credentials
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from signed_requests import authenticated, head, signed_by_botocore, with_header

from pachgw.messages import RequestHead
from pachgw.s3.auth import authenticate
from pachgw.s3.errors import S3Error

UNRESERVED = "-_.~"
SIGNERS = {
    "v4": lambda credentials: S3SigV4Auth(credentials, "s3", "us-east-1"),
    "v2": HmacV1Auth,
    "presigned-v4": lambda credentials: S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=60),
    "presigned-v2": lambda credentials: HmacV1QueryAuth(credentials, expires=60),
}
PRINTABLE = st.characters(
    min_codepoint=0x20, max_codepoint=0x2FFF, blacklist_categories=("Cs", "Cc", "Zs", "Zl")
)

signers = st.sampled_from(sorted(SIGNERS))
# botocore itself cuts a fragment off.
keys = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
# What a token can be: one line, without white space at its ends.
tokens = st.text(PRINTABLE, min_size=1, max_size=30)
names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda name: not name.lower().startswith(("x-amz-", "signature", "expires", "awsaccesskeyid", "content-"))
)
queries = st.lists(
    st.tuples(names, st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)), max_size=4
)
metadata = st.dictionaries(
    st.sampled_from(["x-amz-meta-a", "x-amz-meta-b", "content-type", "x-amz-storage-class"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip),
    max_size=3,
)


def uri(key: str, query: list[tuple[str, str]]) -> str:
    encoded = "&".join(
        f"{quote(name, safe=UNRESERVED)}={quote(value, safe=UNRESERVED)}" for name, value in query
    )
    return "/bucket/" + quote(key, safe="/" + UNRESERVED) + (f"?{encoded}" if encoded else "")


def signed(
    signer: str, method: str, target: str, headers: dict[str, str], key: str, secret: str | None = None
) -> RequestHead:
    def make(credentials: Credentials) -> object:
        return SIGNERS[signer](credentials)

    return signed_by_botocore(make, method, target, dict(headers), key=key, secret=secret)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(signers, keys, queries, metadata, tokens)
@example("v4", "a//b/../c", [("prefix", "a+b c")], {}, "a/b:c, Signature=x")
def test_what_botocore_signs_verifies(
    signer: str, key: str, query: list[tuple[str, str]], headers: dict[str, str], token: str
) -> None:
    # Three of one component are no header; nobody's token looks like that.
    assume("Signature=" not in token or signer != "v4")
    request = signed(signer, "PUT", uri(key, query), headers, token)
    assert authenticated(request).access_key_id == token


def recoded(path: bytes, choices: list[int]) -> bytes:
    """The path with some unreserved characters percent-encoded, in either case of hexadecimal digits."""
    out = bytearray()
    for at, byte in enumerate(path):
        choice = choices[at % len(choices)] if choices else 0
        escaped = b"%" in path[max(0, at - 2) : at + 1]
        out += b"%%%02x" % byte if choice and byte != 0x2F and not escaped else bytes([byte])
    return bytes(out)


@settings(max_examples=100, deadline=None)
@given(keys, queries, st.lists(st.integers(0, 1), max_size=20), st.randoms(use_true_random=False))
def test_version_4_verifies_however_path_and_query_are_encoded(
    key: str, query: list[tuple[str, str]], choices: list[int], random: object
) -> None:
    request = signed("v4", "GET", uri(key, query), {}, "k")
    path, mark, sent = request.raw_uri.partition(b"?")
    parts = [part.replace(b"%20", b"+") for part in sent.split(b"&")]
    random.shuffle(parts)  # type: ignore[attr-defined]
    again = RequestHead(
        method="GET", raw_uri=recoded(path, choices) + mark + b"&".join(parts), headers=request.headers
    )
    assert authenticated(again).access_key_id == "k"


@settings(max_examples=100, deadline=None)
@given(signers, keys, keys, tokens)
def test_a_signature_is_good_for_one_key_only(signer: str, key: str, other: str, token: str) -> None:
    assume(key != other)
    assume("Signature=" not in token)
    request = signed(signer, "GET", uri(key, []), {}, token)
    moved = request.raw_uri.replace(uri(key, []).encode(), uri(other, []).encode(), 1)
    assume(moved != request.raw_uri)
    with pytest.raises(S3Error) as caught:
        authenticated(RequestHead(method="GET", raw_uri=moved, headers=request.headers))
    assert caught.value.code == "SignatureDoesNotMatch"


@settings(max_examples=100, deadline=None)
@given(signers, tokens, tokens)
def test_another_secret_is_refused_and_neither_is_told(signer: str, token: str, secret: str) -> None:
    token, secret = f"token<{token}>", f"secret<{secret}>"
    assume("Signature=" not in token)
    request = signed(signer, "GET", "/bucket/key?location=", {}, token, secret)
    with pytest.raises(S3Error) as caught:
        authenticated(request)
    assert caught.value.code == "SignatureDoesNotMatch"
    told = str(caught.value) + "".join(caught.value.fields.values())
    for text in (token, secret):
        assert text not in told
        assert quote(text, safe=UNRESERVED) not in told


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["v4", "v2"]), st.integers(-3600, 3600))
def test_the_clock_decides(signer: str, seconds: int) -> None:
    request = signed(signer, "GET", "/bucket", {}, "k")
    now = datetime.now(UTC) + timedelta(seconds=seconds)
    assume(abs(abs(seconds) - 900) > 5)
    if abs(seconds) < 900:
        assert authenticated(request, now).access_key_id == "k"
    else:
        with pytest.raises(S3Error) as caught:
            authenticated(request, now)
        assert caught.value.code == "RequestTimeTooSkewed"


pieces = st.sampled_from(
    [
        "AWS4-HMAC-SHA256", "AWS", " ", ",", "Credential=", "SignedHeaders=", "Signature=", "host", "/", ":",
        ";", "k/20260301/us-east-1/s3/aws4_request", "x-amz-date", "0" * 64, "é", "\x01", "=",
    ]
)  # fmt: skip
query_pieces = st.sampled_from(
    [
        "X-Amz-Signature=", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Date=20260301T120000Z", "&", "%", "=",
        "X-Amz-Credential=k%2F20260301%2Fr%2Fs3%2Faws4_request", "X-Amz-SignedHeaders=host",
        "X-Amz-Expires=300", "Signature=", "AWSAccessKeyId=k", "Expires=99999999999", "+", "%FF",
        "x-amz-meta-a=%0A",
    ]
)  # fmt: skip
dates = st.sampled_from(
    ["20260301T120000Z", "Sun, 01 Mar 2026 12:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359"]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(pieces, st.text(PRINTABLE, max_size=5)), max_size=12).map("".join),
    st.lists(query_pieces, max_size=12).map("".join),
    st.one_of(dates, st.text(PRINTABLE, max_size=30)),
    st.booleans(),
)
def test_junk_is_refused_with_an_error_of_s3(value: str, query: str, date: str, in_header: bool) -> None:
    request = head("GET", f"/b/k?{query}", [("Host", "h"), ("x-amz-date", date)])
    if in_header:
        request = with_header(request, "authorization", value)
    try:
        principal = authenticate(
            request, now=datetime(2026, 3, 1, 12, tzinfo=UTC), secret_of=lambda _: "another secret"
        )
    except S3Error as error:
        assert error.status in (400, 403)
    else:
        assert principal.access_key_id is None
        assert not in_header
        assert not any(mark in f"&{query}" for mark in ("&X-Amz-Signature=", "&Signature="))
