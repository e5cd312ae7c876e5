"""Who gets in: keys that are replaced, tokens of our own keys that are bad, limits before PFS is asked."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from pachgw.messages import RequestHead
from pachgw.pfs.port import NotAuthenticated
from pachgw.s3.auth import Payload, PayloadKind, Principal, SecretOf
from pachgw.s3.auth.fingerprint import fingerprint
from pachgw.s3.auth.keyring import Identity, Keyring, parse_keyring
from pachgw.s3.auth.permits import EVERYTHING, Permit
from pachgw.s3.auth.refusals import does_not_match, secret_for
from pachgw.s3.entrance import Entrance, check_permit
from pachgw.s3.errors import S3Error
from pachgw.s3.processes.rates import BURST_LEAST, Rates
from pachgw.s3.request.action import Action
from pachgw.s3.request.target import parse_target

HEAD = RequestHead(method="GET", raw_uri=b"/", headers=())
KEYS = '[[key]]\nid = "ours"\nsecret = "0123456789abcdef"\ntoken = "its-token"\n'


class Sessions:
    """A PFS that knows no token, and remembers those that it was asked about."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []

    def session(self, token: str | None, *, request_id: str = "") -> Any:
        self.tokens.append(token)
        return self

    async def who_am_i(self) -> str | None:
        raise NotAuthenticated("no", token_sent=True)


def signed_with(key_id: str | None, secret: str = "") -> Any:
    """Stands for the judgement of a signature by that secret."""

    def judge(secret_of: SecretOf) -> Principal:
        if key_id is not None and secret_for(key_id, secret_of) != secret:
            raise does_not_match()
        return Principal(access_key_id=key_id, payload=Payload(kind=PayloadKind.UNSIGNED))

    return judge


def outcome(entrance: Entrance, key_id: str | None, secret: str = "") -> Any:
    results: list[Any] = []
    Deferred.fromCoroutine(entrance.signer(HEAD, signed_with(key_id, secret))).addBoth(results.append)
    (result,) = results
    return getattr(result, "value", result)


def test_a_wrong_secret_of_a_key_of_ours_asks_nobody() -> None:
    sessions = Sessions()
    error = outcome(Entrance(parse_keyring(KEYS), sessions), "ours", "its-token")
    assert error.code == "SignatureDoesNotMatch"
    # Neither the id nor its token has gone anywhere.
    assert sessions.tokens == []


def test_a_wrong_secret_of_another_is_asked_about() -> None:
    sessions = Sessions()
    assert isinstance(outcome(Entrance(parse_keyring(KEYS), sessions), "token", "x"), NotAuthenticated)
    assert sessions.tokens == ["token"]


def test_where_only_our_keys_count_nobody_else_is_asked_about() -> None:
    sessions = Sessions()
    entrance = Entrance(parse_keyring(KEYS, only=True), sessions)
    assert outcome(entrance, "token", "token").code == "InvalidAccessKeyId"
    anonymous = outcome(entrance, None)
    with pytest.raises(S3Error) as error:
        anonymous.admitted()
    assert error.value.code == "AccessDenied"
    assert outcome(entrance, "ours", "0123456789abcdef").admitted().token == "its-token"
    assert sessions.tokens == []


def test_keys_are_replaced_for_the_next_request() -> None:
    entrance = Entrance(Keyring(), Sessions())
    assert outcome(entrance, "ours", "ours").admitted() == Identity(token="ours")
    entrance.replace(parse_keyring(KEYS))
    assert outcome(entrance, "ours", "0123456789abcdef").admitted().name == "ours"
    assert outcome(entrance, "ours", "ours").code == "SignatureDoesNotMatch"


def test_a_bad_token_of_our_own_key_is_told_once_to_the_log() -> None:
    entrance = Entrance(parse_keyring(KEYS), Sessions())
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        for _ in range(3):
            refusal = entrance.own_token_refused(Identity(token="its-token", name="ours"))
            assert refusal is not None
            assert (refusal.code, "its-token" in str(refusal)) == ("AccessDenied", False)
        # A token that is the client's own is the client's to mend.
        assert entrance.own_token_refused(Identity(token="its-token")) is None
    finally:
        globalLogPublisher.removeObserver(events.append)
    (event,) = (event for event in events if event.get("log_level") is LogLevel.error)
    text = event["log_format"].format(**event)
    assert fingerprint("its-token") in text
    assert "its-token" not in text.replace("its token", "")


def test_a_fingerprint_is_that_of_the_list_of_tokens() -> None:
    assert hashlib.sha256(b"a-token").hexdigest().startswith(fingerprint("a-token"))
    assert len(fingerprint("a-token")) == 12
    assert fingerprint("\ud800") != fingerprint("a-token")


def check(permit: Permit, action: Action, uri: str, source: str | None = None) -> str:
    """The code of the error, "" for none."""
    headers = () if source is None else ((b"x-amz-copy-source", source.encode()),)
    head = RequestHead(method="PUT", raw_uri=uri.encode(), headers=headers)
    try:
        check_permit(permit, action, head, parse_target(uri.encode()))
    except S3Error as error:
        return error.code
    return ""


def test_without_limits_nothing_is_judged_here() -> None:
    assert check(EVERYTHING, Action.COPY_OBJECT, "/no.such.bucket.at-all/k", "nonsense") == ""


def test_sources_and_versions_are_judged() -> None:
    boxed = Permit(buckets=("master.box",))
    for action in (Action.COPY_OBJECT, Action.UPLOAD_PART_COPY):
        assert check(boxed, action, "/box/k", "/box/source") == ""
        assert check(boxed, action, "/box/k", "%62ox/source") == ""
        for source in ("other/k", "%6fther/k", "dev.box/k", "box/k?versionId=0"):
            assert check(boxed, action, "/box/k", source) == "AccessDenied", source
        assert check(boxed, action, "/box/k", "nonsense") == "InvalidArgument"
    assert check(boxed, Action.GET_OBJECT, "/box/k?versionId=x") == "AccessDenied"
    assert check(boxed, Action.GET_OBJECT, "/box/k?versionId=") == ""
    assert check(boxed, Action.LIST_BUCKETS, "/") == ""
    assert check(boxed, Action.GET_OBJECT, "/a.b.c.d/k") == "InvalidBucketName"


def peer(address: str) -> RequestHead:
    return RequestHead(method="GET", raw_uri=b"/", headers=(), peer=address)


NOBODY = Identity(token=None)
TOKEN = Identity(token="t")
KEY = Identity(token="t", name="ours")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ((KEY, "192.0.2.1"), (KEY, "192.0.2.2"), True),
        ((KEY, "192.0.2.1"), (TOKEN, "192.0.2.1"), False),
        ((TOKEN, "192.0.2.1"), (Identity(token="u"), "192.0.2.1"), False),
        ((TOKEN, "192.0.2.1"), (NOBODY, "192.0.2.1"), False),
        ((NOBODY, "192.0.2.1"), (NOBODY, "192.0.2.1"), True),
        ((NOBODY, "192.0.2.1"), (NOBODY, "192.0.2.2"), False),
        ((NOBODY, "2001:db8::1"), (NOBODY, "2001:db8::ffff:1"), True),
        ((NOBODY, "2001:db8::1"), (NOBODY, "2001:db8:0:1::1"), False),
        ((NOBODY, "fe80::1%eth0"), (NOBODY, "fe80::2%eth0"), True),
        ((NOBODY, "::ffff:192.0.2.1"), (NOBODY, "::ffff:192.0.2.2"), False),
        ((NOBODY, "unix"), (NOBODY, "unix"), True),
        ((NOBODY, "unix"), (NOBODY, "192.0.2.1"), False),
    ],
)
def test_whose_rate_it_is(one: tuple[Identity, str], other: tuple[Identity, str], is_same: bool) -> None:
    slowed: list[None] = []
    entrance = Entrance(
        Keyring(),
        Sessions(),
        rates=Rates(1, now=lambda: 1_800_000_000.5),
        slowed=lambda: slowed.append(None),
    )
    for _ in range(BURST_LEAST):
        entrance.charge(one[0], peer(one[1]))
    assert slowed == []
    if not is_same:
        entrance.charge(other[0], peer(other[1]))
        return
    with pytest.raises(S3Error) as refused:
        entrance.charge(other[0], peer(other[1]))
    assert (refused.value.code, refused.value.headers) == ("SlowDown", (("Retry-After", "1"),))
    assert slowed == [None]
