"""Answers in XML: order and namespace of elements, escaping."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.listing.buckets import BucketEntry, BucketPage
from pachgw.s3.listing.pages import KeyEntry, ListParams, Page
from pachgw.s3.xml.render import (
    DeletedObject,
    DeleteError,
    render_buckets,
    render_delete_result,
    render_error,
    render_list_objects,
    render_list_objects_v2,
    render_location,
    render_versioning,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, 89999, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def entry(key: str) -> KeyEntry:
    return KeyEntry(key=key, size=3, etag='"ab-1"', last_modified=NOW)


def names(element: Element) -> list[str]:
    return [child.tag.rpartition("}")[2] for child in element]


def text(element: Element, name: str) -> str | None:
    found = element.find(f"{{http://s3.amazonaws.com/doc/2006-03-01/}}{name}")
    return None if found is None else (found.text or "")


def test_error() -> None:
    assert render_error("NoSuchKey", "No & no", "/b/<k>", "id", {"Key": "<k>"}) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Error><Code>NoSuchKey</Code><Message>No &amp; no</Message><Key>&lt;k&gt;</Key>"
        b"<Resource>/b/&lt;k&gt;</Resource><RequestId>id</RequestId></Error>"
    )


@given(ANY_TEXT, ANY_TEXT)
def test_an_error_is_well_formed_whatever_it_names(resource: str, key: str) -> None:
    root = fromstring(render_error("NoSuchKey", "m", resource, "id", {"Key": key}))
    assert [child.text or "" for child in root] == [
        "NoSuchKey",
        "m",
        NOT_XML.sub("\ufffd", key),
        NOT_XML.sub("\ufffd", resource),
        "id",
    ]


def test_buckets() -> None:
    body = render_buckets(BucketPage(buckets=(BucketEntry(name="master.images", created=NOW),)))
    assert body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Owner><ID>00000000000000000000000000000000</ID><DisplayName>pachyderm</DisplayName></Owner>"
        b"<Buckets><Bucket><Name>master.images</Name><CreationDate>2026-03-04T05:06:07.000Z</CreationDate>"
        b"</Bucket></Buckets></ListAllMyBucketsResult>"
    )


def test_a_page_of_buckets() -> None:
    bucket = BucketEntry(name="master.images", created=NOW, region="here")
    root = fromstring(render_buckets(BucketPage(buckets=(bucket,), token="t", prefix="mas&")))
    assert names(root) == ["Owner", "Buckets", "ContinuationToken", "Prefix"]
    assert names(root[1][0]) == ["Name", "CreationDate", "BucketRegion"]
    assert [text(root, name) for name in ("ContinuationToken", "Prefix")] == ["t", "mas&"]


def test_location_and_versioning() -> None:
    assert render_location("PACHYDERM").endswith(
        b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">PACHYDERM</LocationConstraint>'
    )
    assert render_versioning("Enabled").endswith(
        b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Status>Enabled</Status></VersioningConfiguration>"
    )


def test_list_objects() -> None:
    params = ListParams(version=1, prefix="p", delimiter="/", max_keys=2, marker="m")
    page = Page(contents=(entry("pa"),), common_prefixes=("pb/",), is_truncated=True, next_marker="pb/")
    root = fromstring(render_list_objects("b", params, page))
    assert root.tag == "{http://s3.amazonaws.com/doc/2006-03-01/}ListBucketResult"
    assert names(root) == [
        "Name",
        "Prefix",
        "Marker",
        "NextMarker",
        "MaxKeys",
        "Delimiter",
        "IsTruncated",
        "Contents",
        "CommonPrefixes",
    ]
    assert [text(root, name) for name in names(root)[:7]] == ["b", "p", "m", "pb/", "2", "/", "true"]
    contents, common = root[7], root[8]
    assert names(contents) == ["Key", "LastModified", "ETag", "Size", "Owner", "StorageClass"]
    assert text(contents, "Key") == "pa"
    assert text(contents, "LastModified") == "2026-03-04T05:06:07.000Z"
    assert text(contents, "ETag") == '"ab-1"'
    assert text(contents, "Size") == "3"
    assert text(contents, "StorageClass") == "STANDARD"
    assert text(common, "Prefix") == "pb/"


def test_list_objects_empty() -> None:
    root = fromstring(render_list_objects("b", ListParams(version=1), Page()))
    assert names(root) == ["Name", "Prefix", "Marker", "MaxKeys", "IsTruncated"]
    assert text(root, "IsTruncated") == "false"


def test_list_objects_v2() -> None:
    params = ListParams(
        version=2,
        prefix="p",
        delimiter="/",
        start_after="s",
        raw_token="t",
        fetch_owner=False,
        encode_urls=True,
    )
    page = Page(contents=(entry("p a"),), common_prefixes=("pé/",), is_truncated=True, next_token="n")
    root = fromstring(render_list_objects_v2("b", params, page))
    assert names(root) == [
        "Name",
        "Prefix",
        "StartAfter",
        "ContinuationToken",
        "NextContinuationToken",
        "KeyCount",
        "MaxKeys",
        "Delimiter",
        "EncodingType",
        "IsTruncated",
        "Contents",
        "CommonPrefixes",
    ]
    assert text(root, "KeyCount") == "2"
    assert text(root, "EncodingType") == "url"
    assert names(root[10]) == ["Key", "LastModified", "ETag", "Size", "StorageClass"]
    assert text(root[10], "Key") == "p%20a"
    assert text(root[11], "Prefix") == "p%C3%A9/"


def test_list_objects_v2_empty() -> None:
    root = fromstring(render_list_objects_v2("b", ListParams(version=2), Page()))
    assert names(root) == ["Name", "Prefix", "KeyCount", "MaxKeys", "IsTruncated"]


@given(ANY_TEXT, ANY_TEXT)
def test_url_encoding_carries_every_key(key: str, prefix: str) -> None:
    params = ListParams(version=2, prefix=prefix, start_after=key, encode_urls=True, delimiter=prefix or "x")
    page = Page(contents=(entry(key),), common_prefixes=(prefix,))
    body = render_list_objects_v2("b", params, page)
    root = fromstring(body)
    assert unquote(text(root[-2], "Key") or "") == key
    assert unquote(text(root[-1], "Prefix") or "") == prefix
    assert unquote(text(root, "Prefix") or "") == prefix
    assert unquote(text(root, "StartAfter") or "") == key


@given(ANY_TEXT)
def test_plain_names_come_back_where_xml_has_them(key: str) -> None:
    body = render_list_objects("b", ListParams(version=1), Page(contents=(entry(key),)))
    if NOT_XML.search(key):
        # As in S3: a reference that says which character it is, in a document that XML 1.0 does not allow.
        with pytest.raises(ParseError):
            fromstring(body)
    else:
        assert text(fromstring(body)[-1], "Key") == key


def test_control_characters_are_references() -> None:
    body = render_delete_result([DeletedObject(key="a\x01\r\n\t\x7f\ufffe")], [])
    assert b"<Key>a&#x1;&#xD;&#xA;&#x9;&#x7F;&#xFFFE;</Key>" in body


def test_encoding_of_urls_is_that_of_s3() -> None:
    params = ListParams(version=1, encode_urls=True)
    page = Page(contents=tuple(entry(key) for key in ("asdf+b", "foo+1/bar", "quux ab/thud", "~-_.*'()")))
    root = fromstring(render_list_objects("b", params, page))
    assert [text(child, "Key") for child in root[-4:]] == [
        "asdf%2Bb",
        "foo%2B1/bar",
        "quux%20ab/thud",
        "~-_.%2A%27%28%29",
    ]


def test_delete_result() -> None:
    body = render_delete_result(
        [DeletedObject(key="a"), DeletedObject(key="b&", marker="c1")],
        [
            DeleteError(key="c", code="NotImplemented", message="m", version_id="v"),
            DeleteError(key="d", code="AccessDenied", message="m"),
        ],
    )
    assert body.endswith(
        b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Deleted><Key>a</Key></Deleted>"
        b"<Deleted><Key>b&amp;</Key><DeleteMarker>true</DeleteMarker>"
        b"<DeleteMarkerVersionId>c1</DeleteMarkerVersionId></Deleted>"
        b"<Error><Key>c</Key><VersionId>v</VersionId><Code>NotImplemented</Code><Message>m</Message></Error>"
        b"<Error><Key>d</Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>"
    )
