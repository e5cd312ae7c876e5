"""choose_operation: which request is which action, and that nothing falls through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.request.action import Action
from pachgw.s3.request.operation import (
    ROUTES,
    choose_operation,
    refuse_unsupported_headers,
    response_overrides,
)
from pachgw.s3.request.target import Query, Target, parse_target


def lookup(**headers: str) -> Callable[[str], str | None]:
    """Headers by their names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return named.get


def choose(method: str, uri: str, **headers: str) -> Action:
    return choose_operation(method, parse_target(uri.encode()), lookup(**headers))


SIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k&X-Amz-Date=d&X-Amz-Expires=60"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=s&X-Amz-Security-Token=t"
)


@pytest.mark.parametrize(
    ("method", "uri", "action"),
    [
        ("GET", "/", "ListBuckets"),
        ("GET", "/?x-id=ListBuckets", "ListBuckets"),
        ("HEAD", "/", "ListBuckets"),
        ("GET", "/?prefix=a&max-buckets=3&continuation-token=t&bucket-region=r", "ListBuckets"),
        ("POST", "/b", "PostObject"),
        ("POST", "/b/", "PostObject"),
        ("GET", "/b", "ListObjects"),
        ("GET", "/b/", "ListObjects"),
        ("GET", "/b?", "ListObjects"),
        ("GET", "/b?prefix=a&delimiter=/&max-keys=3&marker=x&encoding-type=url", "ListObjects"),
        ("GET", "/b?list-type=2", "ListObjectsV2"),
        ("GET", "/b?list-type=2&start-after=a&continuation-token=t&fetch-owner=true", "ListObjectsV2"),
        ("GET", "/b?location", "GetBucketLocation"),
        ("GET", "/b/?location=x", "GetBucketLocation"),
        ("GET", "/b?versioning", "GetBucketVersioning"),
        ("PUT", "/b?versioning", "PutBucketVersioning"),
        ("HEAD", "/b", "HeadBucket"),
        ("PUT", "/b", "CreateBucket"),
        ("PUT", "/b?x-id=CreateBucket", "CreateBucket"),
        ("DELETE", "/b", "DeleteBucket"),
        ("POST", "/b?delete", "DeleteObjects"),
        ("POST", "/b/?delete&x-id=DeleteObjects", "DeleteObjects"),
        ("GET", "/b/k", "GetObject"),
        ("GET", "/b/k?x-id=GetObject", "GetObject"),
        ("GET", "/b/k?versionId=v&response-content-type=text/plain", "GetObject"),
        ("GET", f"/b/k?{SIGNED}", "GetObject"),
        ("GET", "/b/k?AWSAccessKeyId=k&Signature=s&Expires=1", "GetObject"),
        ("HEAD", "/b/k?versionId=v", "HeadObject"),
        ("PUT", "/b/k", "PutObject"),
        ("PUT", f"/b/k?{SIGNED}&x-id=PutObject", "PutObject"),
        ("DELETE", "/b/k", "DeleteObject"),
        ("DELETE", "/b/k?versionId=v", "DeleteObject"),
        ("GET", "/b//", "GetObject"),
        ("GET", "/b?uploads&prefix=a&delimiter=/&max-uploads=3", "ListMultipartUploads"),
        ("GET", "/b?uploads&key-marker=a&upload-id-marker=u&encoding-type=url", "ListMultipartUploads"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("POST", "/b/k?uploads=&x-id=CreateMultipartUpload", "CreateMultipartUpload"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart"),
        ("PUT", f"/b/k?uploadId=u&partNumber=1&{SIGNED}", "UploadPart"),
        ("GET", "/b/k?uploadId=u&max-parts=3&part-number-marker=1&encoding-type=url", "ListParts"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload"),
        ("GET", "/b/k?partNumber=1", "GetObject"),
        ("HEAD", "/b/k?partNumber=1&versionId=v", "HeadObject"),
        ("GET", "/b/k?attributes&versionId=v", "GetObjectAttributes"),
        ("GET", "/b/k?tagging", "GetObjectTagging"),
        ("PUT", "/b/k?tagging&versionId=v", "PutObjectTagging"),
        ("DELETE", "/b/k?tagging", "DeleteObjectTagging"),
    ],
)
def test_action(method: str, uri: str, action: str) -> None:
    assert choose(method, uri) == action


BUCKET_SUBRESOURCES = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "website",
    "uploads",
    "versions",
    "metadataTable",
    "session",
    "junk",
    "Location",
]
OBJECT_SUBRESOURCES = [
    "acl",
    "legal-hold",
    "retention",
    "torrent",
    "restore",
    "select",
    "uploads",
    "uploadId",
    "junk",
    "renameObject",
    "versionid",
]


PLAIN_ACTIONS = {
    *("ListObjects", "HeadBucket", "CreateBucket", "PostObject", "DeleteBucket"),
    *("GetObject", "HeadObject", "PutObject", "DeleteObject"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("value", ["", "=", "=1"])
def test_unknown_subresources_never_fall_through(method: str, value: str) -> None:
    for uri in [f"/b?{name}{value}" for name in BUCKET_SUBRESOURCES] + [
        f"/b/k?{name}{value}" for name in OBJECT_SUBRESOURCES
    ]:
        try:
            action = choose(method, uri)
        except S3Error as error:
            assert (error.code, error.status) == ("NotImplemented", 501), uri
        else:
            assert action not in PLAIN_ACTIONS, uri


@pytest.mark.parametrize(
    "name", ["junk", "Location", "ACL", "versionid", "Policy", "session", "renameObject"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("target", ["/b", "/b/k"])
def test_names_that_are_no_subresources(name: str, method: str, target: str) -> None:
    with pytest.raises(S3Error) as caught:
        choose(method, f"{target}?{name}")
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)


# By the query names of the API reference; what is missing here is not there.
SETTINGS = {
    "GET": {
        "GetBucketAcl": "acl",
        "GetBucketTagging": "tagging",
        "GetBucketPolicy": "policy",
        "GetBucketPolicyStatus": "policyStatus",
        "GetBucketCors": "cors",
        "GetBucketLifecycleConfiguration": "lifecycle",
        "GetBucketEncryption": "encryption",
        "GetObjectLockConfiguration": "object-lock",
        "GetBucketLogging": "logging",
        "GetBucketNotificationConfiguration": "notification",
        "GetBucketWebsite": "website",
        "GetBucketReplication": "replication",
        "GetBucketRequestPayment": "requestPayment",
        "GetBucketAccelerateConfiguration": "accelerate",
        "GetPublicAccessBlock": "publicAccessBlock",
        "GetBucketOwnershipControls": "ownershipControls",
        "GetBucketAnalyticsConfiguration": "analytics&id=1",
        "ListBucketAnalyticsConfigurations": "analytics",
        "GetBucketIntelligentTieringConfiguration": "intelligent-tiering&id=1",
        "ListBucketIntelligentTieringConfigurations": "intelligent-tiering",
        "GetBucketInventoryConfiguration": "inventory&id=1",
        "ListBucketInventoryConfigurations": "inventory",
        "GetBucketMetricsConfiguration": "metrics&id=1",
        "ListBucketMetricsConfigurations": "metrics",
    },
    "PUT": {
        "PutBucketAcl": "acl",
        "PutBucketRequestPayment": "requestPayment",
        "PutBucketOwnershipControls": "ownershipControls",
    },
    "DELETE": {
        "DeleteBucketTagging": "tagging",
        "DeleteBucketPolicy": "policy",
        "DeleteBucketLifecycle": "lifecycle",
        "DeleteBucketEncryption": "encryption",
        "DeleteBucketWebsite": "website",
        "DeleteBucketReplication": "replication",
        "DeletePublicAccessBlock": "publicAccessBlock",
    },
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_settings_of_a_bucket(method: str) -> None:
    mine = SETTINGS.get(method, {})
    for action, query in mine.items():
        assert choose(method, f"/b?{query}") == action
    for query in {query for queries in SETTINGS.values() for query in queries.values()} - {*mine.values()}:
        with pytest.raises(S3Error) as caught:
            choose(method, f"/b?{query}")
        assert caught.value.code == "NotImplemented", query


def test_settings_of_an_object() -> None:
    assert choose("GET", "/b/k?acl&versionId=v") == "GetObjectAcl"
    assert choose("PUT", "/b/k?acl") == "PutObjectAcl"
    assert choose("GET", "/b/k?retention") == "GetObjectRetention"
    assert choose("GET", "/b/k?legal-hold&versionId=v") == "GetObjectLegalHold"
    for method, query in (("PUT", "retention"), ("PUT", "legal-hold"), ("DELETE", "acl"), ("GET", "torrent")):
        with pytest.raises(S3Error) as caught:
            choose(method, f"/b/k?{query}")
        assert caught.value.code == "NotImplemented"


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("GET", "/?marker=3"),
        ("HEAD", "/b?acl"),
        ("HEAD", "/b?location"),
        ("DELETE", "/b?location"),
        ("DELETE", "/b?delete"),
        ("PUT", "/b?prefix=a"),
        ("GET", "/b?delete"),
        ("POST", "/b?x"),
        ("POST", "/b?delete&acl"),
        ("GET", "/b?location&acl"),
        ("GET", "/b?list-type=2&versions"),
        ("GET", "/b?versionId=v"),
        ("PUT", "/b/k?uploads"),
        ("PUT", "/b/k?uploadId=u"),
        ("PUT", "/b/k?partNumber=1"),
        ("HEAD", "/b/k?uploadId=u"),
        ("POST", "/b?uploads"),
        ("POST", "/b/k?select&select-type=2"),
        ("PUT", "/b/k?partNumber=1&uploadId=u&acl"),
        ("PUT", "/b/k?versionId=v"),
        ("PUT", "/b/k?x-amz-tagging=a"),
        ("DELETE", "/b/k?uploadId=u&versionId=v"),
        ("GET", "/b/k?prefix=a"),
        ("PUT", "/b/k?tagging&acl"),
        ("POST", "/b/k?tagging"),
        ("HEAD", "/b/k?attributes"),
        ("GET", "/b/k?attributes&partNumber=1"),
    ],
)
def test_not_implemented(method: str, uri: str) -> None:
    with pytest.raises(S3Error) as caught:
        choose(method, uri)
    assert caught.value.code == "NotImplemented"


def test_copy_is_not_a_put_of_nothing() -> None:
    assert choose("PUT", "/b/k", x_amz_copy_source="/b/other") == "CopyObject"
    assert choose("PUT", "/b/k", x_amz_copy_source="") == "CopyObject"
    part = "/b/k?partNumber=1&uploadId=u"
    assert choose("PUT", part, x_amz_copy_source="/b/other") == "UploadPartCopy"
    with pytest.raises(S3Error) as caught:
        choose("PUT", "/b/k?tagging", x_amz_copy_source="/b/other")
    assert caught.value.code == "NotImplemented"


@pytest.mark.parametrize(
    ("method", "uri", "allow", "kind"),
    [
        ("PUT", "/", "GET, HEAD", "SERVICE"),
        ("POST", "/", "GET, HEAD", "SERVICE"),
        ("DELETE", "/", "GET, HEAD", "SERVICE"),
        ("PATCH", "/b", "DELETE, GET, HEAD, POST, PUT", "BUCKET"),
        ("OPTIONS", "/b?acl", "DELETE, GET, HEAD, POST, PUT", "BUCKET"),
        ("TRACE", "/b/k", "DELETE, GET, HEAD, POST, PUT", "OBJECT"),
        ("get", "/b/k", "DELETE, GET, HEAD, POST, PUT", "OBJECT"),
        ("POST", "/b/k", "DELETE, GET, HEAD, PUT", "OBJECT"),
    ],
)
def test_wrong_method(method: str, uri: str, allow: str, kind: str) -> None:
    with pytest.raises(S3Error) as caught:
        choose(method, uri)
    error = caught.value
    assert (error.code, error.status) == ("MethodNotAllowed", 405)
    assert error.headers == (("Allow", allow),)
    assert error.fields == {"Method": method, "ResourceType": kind}


@pytest.mark.parametrize("value", ["1", "3", "", "two"])
def test_list_type_other_than_2(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        choose("GET", f"/b?list-type={value}")
    assert caught.value.code == "InvalidArgument"
    assert caught.value.fields == {"ArgumentName": "list-type", "ArgumentValue": value}


def test_delete_of_an_empty_version_id_is_not_a_delete_of_the_key() -> None:
    with pytest.raises(S3Error) as caught:
        choose("DELETE", "/b/k?versionId=")
    assert caught.value.code == "InvalidArgument"


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"]),
    st.sampled_from([None, "b"]),
    st.sampled_from([None, "k"]),
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), min_size=1, max_size=3),
)
def test_an_unknown_name_in_any_request_is_refused(
    method: str, bucket: str | None, key: str | None, names: list[str]
) -> None:
    unknown = Query(tuple((f"unknown-{name}", "") for name in names))
    target = Target(bucket=bucket, key=key if bucket else None, query=unknown)
    with pytest.raises(S3Error) as caught:
        choose_operation(method, target, lookup())
    assert caught.value.code in ("NotImplemented", "MethodNotAllowed")


def test_no_row_hides_another() -> None:
    """Each row of the table is chosen by a request that has what it requires, and nothing else."""
    for route in ROUTES:
        query = Query(tuple((name, "2" if name == "list-type" else "") for name in sorted(route.required)))
        bucket = None if route.kind.value == "SERVICE" else "b"
        key = "k" if route.kind.value == "OBJECT" else None
        target = Target(bucket=bucket, key=key, query=query)
        headers = lookup(x_amz_copy_source="/b/k") if route.copy else lookup()
        assert choose_operation(route.method, target, headers) is route.action


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_amz_server_side_encryption", "AES256"),
        ("x_amz_server_side_encryption_customer_algorithm", "AES256"),
        ("x_amz_object_lock_mode", "GOVERNANCE"),
        ("x_amz_website_redirect_location", "/x"),
        ("x_amz_storage_class", "GLACIER"),
        ("x_amz_expected_bucket_owner", "1"),
    ],
)
def test_headers_that_would_be_ignored_are_refused(name: str, value: str) -> None:
    with pytest.raises(S3Error) as caught:
        refuse_unsupported_headers(lookup(**{name: value}), Action.PUT_OBJECT)
    assert caught.value.code == "NotImplemented"
    assert caught.value.fields == {"Header": name.replace("_", "-")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_amz_acl", "public-read"),
        ("x_amz_acl", "junk"),
        ("x_amz_grant_read", "id=x"),
        ("x_amz_grant_full_control", ""),
    ],
)
def test_acls_are_refused_as_where_the_owner_owns_all(name: str, value: str) -> None:
    for action, code in (
        (Action.PUT_OBJECT, "AccessControlListNotSupported"),
        (Action.COPY_OBJECT, "AccessControlListNotSupported"),
        (Action.PUT_BUCKET_ACL, "AccessControlListNotSupported"),
        (Action.CREATE_BUCKET, "InvalidBucketAclWithObjectOwnership"),
    ):
        with pytest.raises(S3Error) as caught:
            refuse_unsupported_headers(lookup(**{name: value}), action)
        assert (caught.value.code, caught.value.status) == (code, 400)
    refuse_unsupported_headers(lookup(x_amz_acl="bucket-owner-full-control"), Action.PUT_OBJECT)


@pytest.mark.parametrize("action", list(Action))
def test_headers_that_nearly_every_client_sends_pass(action: Action) -> None:
    headers = lookup(
        content_type="text/plain",
        x_amz_meta_a="b",
        x_amz_acl="private",
        x_amz_storage_class="STANDARD",
        x_amz_date="20260101T000000Z",
        x_amz_content_sha256="UNSIGNED-PAYLOAD",
        x_amz_checksum_crc32="AAAAAA==",
        x_amz_sdk_checksum_algorithm="CRC32",
    )
    refuse_unsupported_headers(headers, action)


@pytest.mark.parametrize("name", ["if_none_match", "if_match"])
def test_conditions_are_refused_where_nobody_judges_them(name: str) -> None:
    for action in (
        Action.GET_OBJECT,
        Action.HEAD_OBJECT,
        Action.PUT_OBJECT,
        Action.COPY_OBJECT,
        Action.DELETE_OBJECT,
    ):
        refuse_unsupported_headers(lookup(**{name: "*"}), action)
    for action in (Action.DELETE_OBJECTS, Action.DELETE_BUCKET, Action.PUT_OBJECT_TAGGING):
        with pytest.raises(S3Error) as caught:
            refuse_unsupported_headers(lookup(**{name: "*"}), action)
        assert caught.value.code == "NotImplemented"


def test_tags_are_refused_where_they_would_get_lost() -> None:
    refuse_unsupported_headers(lookup(x_amz_tagging="a=1"), Action.PUT_OBJECT)
    refuse_unsupported_headers(lookup(x_amz_tagging="a=1"), Action.COPY_OBJECT)
    with pytest.raises(S3Error):
        refuse_unsupported_headers(lookup(x_amz_tagging="a=1"), Action.CREATE_BUCKET)


def test_encryption_keys_are_refused_in_reads_too() -> None:
    with pytest.raises(S3Error):
        refuse_unsupported_headers(lookup(x_amz_server_side_encryption_customer_key="k"), Action.GET_OBJECT)


def test_response_overrides() -> None:
    target = parse_target(
        b"/b/k?response-content-type=text/plain&response-content-disposition=a%3B%20filename%3D%C3%A9"
        b"&response-cache-control=no-store&response-expires=x&response-content-language=de"
        b"&response-content-encoding=gzip&response-content-type=second&versionId=v"
    )
    assert response_overrides(target.query) == {
        "Content-Type": "text/plain",
        "Content-Disposition": "a; filename=é",
        "Cache-Control": "no-store",
        "Expires": "x",
        "Content-Language": "de",
        "Content-Encoding": "gzip",
    }
    assert response_overrides(parse_target(b"/b/k?response-content-type=").query) == {}


@pytest.mark.parametrize("value", ["a%0D%0Ab", "a%0Ab", "%00", "%7F"])
def test_response_overrides_cannot_split_the_answer(value: str) -> None:
    target = parse_target(f"/b/k?response-content-type={value}".encode())
    with pytest.raises(S3Error) as caught:
        response_overrides(target.query)
    assert caught.value.code == "InvalidArgument"
