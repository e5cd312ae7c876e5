"""Request bodies in XML: what is taken, and that nothing hostile is."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.xml.body import ObjectToDelete, parse_create_bucket, parse_delete

NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def delete(*keys: str, namespace: str = "", head: str = "") -> bytes:
    objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"{head}<Delete{namespace}>{objects}</Delete>".encode()


def keys_of(body: bytes) -> list[str]:
    return [item.key for item in parse_delete(body)[1]]


@pytest.mark.parametrize("namespace", ["", NS])
@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="UTF-8"?>\n'])
def test_keys_in_order(namespace: str, head: str) -> None:
    body = delete("b", "a", "a", "é €", " x ", "<&>", namespace=namespace, head=head)
    assert keys_of(body) == ["b", "a", "a", "é €", " x ", "<&>"]


def test_prefixed_namespace_versions_and_white_space() -> None:
    body = (
        b'<s:Delete xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/">\n <s:Quiet> TRUE </s:Quiet>\n'
        b" <s:Object>\n <s:VersionId>v</s:VersionId><s:Key>a&#13;b</s:Key>\n</s:Object>\n</s:Delete>\n"
    )
    assert parse_delete(body) == (True, [ObjectToDelete(key="a\rb", version_id="v")])


@pytest.mark.parametrize(("text", "quiet"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_quiet(text: str, quiet: bool) -> None:
    body = f"<Delete><Object><Key>k</Key></Object><Quiet>{text}</Quiet></Delete>".encode()
    assert parse_delete(body) == (quiet, [ObjectToDelete(key="k", version_id=None)])


def test_a_thousand_objects_and_no_more() -> None:
    many = [f"{number}" for number in range(1000)]
    assert keys_of(delete(*many)) == many
    with pytest.raises(S3Error) as caught:
        parse_delete(delete(*many, "one more"))
    assert caught.value.code == "MalformedXML"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 10))
    + "]>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"<Delete>",
        b"<Other/>",
        b"<Delete/>",
        b"<Delete></Delete>",
        b"<delete><Object><Key>k</Key></Object></delete>",
        b'<Delete xmlns="urn:other"><Object><Key>k</Key></Object></Delete>',
        b"<Delete><Quiet>true</Quiet></Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Quiet>true</Quiet><Quiet>true</Quiet><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><Key/></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><VersionId>v</VersionId></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a<b/></Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><What/></Object></Delete>",
        b"<Delete><What/><Object><Key>a</Key></Object></Delete>",
        b"<Delete><Object><Key>a\xff</Key></Object></Delete>",
        b"<Delete><Object><Key>a&#1;</Key></Object></Delete>",
        b"<Delete><Object><Key>a\x00</Key></Object></Delete>",
        b"<Delete><Object><Key>&unknown;</Key></Object></Delete>",
        b"<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
        b'<!DOCTYPE d [<!ENTITY e "x">]><Delete><Object><Key>&e;</Key></Object></Delete>',
        b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>',
        b'<!DOCTYPE d SYSTEM "http://127.0.0.1:1/x"><Delete><Object><Key>a</Key></Object></Delete>',
        BOMB.encode() + b"<Delete><Object><Key>&lol9;</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="no-such"?><Delete><Object><Key>a</Key></Object></Delete>',
        b'<?xml version="1.0" encoding="big5"?><Delete><Object><Key>a</Key></Object></Delete>',
        b"<Delete>" * 50_000 + b"</Delete>" * 50_000,
    ],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parse_delete(body)
    assert (caught.value.code, caught.value.status) == ("MalformedXML", 400)


def test_an_etag_is_a_condition_on_an_object() -> None:
    named = b"<Object><Key>k</Key><ETag>&quot;e&quot;</ETag></Object>"
    body = b"<Delete>" + named + b"<Object><Key>l</Key></Object></Delete>"
    assert [item.etag for item in parse_delete(body)[1]] == ['"e"', None]


@pytest.mark.parametrize("name", ["LastModifiedTime", "Size"])
def test_conditions_on_an_object_are_not_ignored(name: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_delete(f"<Delete><Object><Key>k</Key><{name}>1</{name}></Object></Delete>".encode())
    assert caught.value.code == "NotImplemented"


@given(st.binary(max_size=60))
def test_any_bytes_are_malformed(body: bytes) -> None:
    with pytest.raises(S3Error):
        parse_delete(body)


XML_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), min_size=1, max_size=9
)


@given(st.lists(XML_TEXT, min_size=1, max_size=5))
def test_any_keys_come_back(keys: list[str]) -> None:
    assert keys_of(delete(*keys)) == keys


@pytest.mark.parametrize(
    ("body", "region"),
    [
        (b"", None),
        (b"<CreateBucketConfiguration/>", None),
        (
            b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>"
            b"</CreateBucketConfiguration>",
            "eu-west-1",
        ),
        (
            f"<CreateBucketConfiguration{NS}>\n<LocationConstraint/>\n</CreateBucketConfiguration>".encode(),
            None,
        ),
    ],
)
def test_create_bucket(body: bytes, region: str | None) -> None:
    assert parse_create_bucket(body) == region


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<junk", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (b"<CreateBucketConfiguration><What/></CreateBucketConfiguration>", "MalformedXML"),
        (b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>", "NotImplemented"),
        (b"<CreateBucketConfiguration><Bucket/></CreateBucketConfiguration>", "NotImplemented"),
        (b"<!DOCTYPE x><CreateBucketConfiguration/>", "MalformedXML"),
    ],
)
def test_create_bucket_refused(body: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_create_bucket(body)
    assert caught.value.code == code
