"""What is set for buckets and objects, as boto3 asks for it: mostly nothing, and nothing can be set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from daemons import Daemon
from raw import ask
from sdk import s3_client

CONFIG = {"Id": "1", "IsEnabled": True}

NOT_CONFIGURED = {
    "get_bucket_tagging": (404, "NoSuchTagSet"),
    "get_bucket_policy": (404, "NoSuchBucketPolicy"),
    "get_bucket_policy_status": (404, "NoSuchBucketPolicy"),
    "get_bucket_cors": (404, "NoSuchCORSConfiguration"),
    "get_bucket_lifecycle_configuration": (404, "NoSuchLifecycleConfiguration"),
    "get_bucket_encryption": (404, "ServerSideEncryptionConfigurationNotFoundError"),
    "get_object_lock_configuration": (404, "ObjectLockConfigurationNotFoundError"),
    "get_bucket_website": (404, "NoSuchWebsiteConfiguration"),
    "get_bucket_replication": (404, "ReplicationConfigurationNotFoundError"),
    "get_public_access_block": (404, "NoSuchPublicAccessBlockConfiguration"),
}
"""Calls on a bucket, and what they say."""
NO_SUCH_ID = (
    "get_bucket_analytics_configuration",
    "get_bucket_intelligent_tiering_configuration",
    "get_bucket_inventory_configuration",
    "get_bucket_metrics_configuration",
)
EMPTY = (
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_accelerate_configuration",
)
EMPTY_LISTS = (
    "list_bucket_analytics_configurations",
    "list_bucket_intelligent_tiering_configurations",
    "list_bucket_inventory_configurations",
    "list_bucket_metrics_configurations",
)
ANSWERED = ("get_bucket_acl", "get_bucket_request_payment", "get_bucket_ownership_controls")
DELETIONS = (
    "delete_bucket_tagging",
    "delete_bucket_policy",
    "delete_bucket_lifecycle",
    "delete_bucket_encryption",
    "delete_bucket_website",
    "delete_bucket_replication",
    "delete_public_access_block",
)
READS = (*NOT_CONFIGURED, *EMPTY, *EMPTY_LISTS, *ANSWERED)


def refusal(call: object, **words: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call(**words)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def said(answer: dict[str, object]) -> dict[str, object]:
    """The answer without what every answer has."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


@pytest.mark.parametrize("name", NOT_CONFIGURED)
def test_what_is_not_configured(s3: object, bucket: str, name: str) -> None:
    assert refusal(getattr(s3, name), Bucket=bucket) == NOT_CONFIGURED[name]
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    assert refusal(getattr(s3, name), Bucket=f"{version}.{bucket}") == NOT_CONFIGURED[name]


@pytest.mark.parametrize("name", NO_SUCH_ID)
def test_configurations_that_have_ids(s3: object, bucket: str, name: str) -> None:
    assert refusal(getattr(s3, name), Bucket=bucket, Id="any") == (404, "NoSuchConfiguration")


def test_what_is_empty(s3: object, bucket: str) -> None:
    for name in EMPTY:
        assert said(getattr(s3, name)(Bucket=bucket)) == {}, name
    for name in EMPTY_LISTS:
        assert said(getattr(s3, name)(Bucket=bucket)) == {"IsTruncated": False}, name


def test_what_is_so(s3: object, bucket: str) -> None:
    assert said(s3.get_bucket_request_payment(Bucket=bucket)) == {"Payer": "BucketOwner"}
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_the_owner_has_full_control(s3: object, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    owner = s3.list_buckets()["Owner"]
    for answer in (
        s3.get_bucket_acl(Bucket=bucket),
        s3.get_object_acl(Bucket=bucket, Key="k"),
        s3.get_object_acl(Bucket=bucket, Key="k", VersionId=version),
        s3.get_bucket_acl(Bucket=f"{version}.{bucket}"),
    ):
        assert answer["Owner"] == owner
        (grant,) = answer["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"] == {**owner, "Type": "CanonicalUser"}
    assert refusal(s3.get_object_acl, Bucket=bucket, Key="no") == (404, "NoSuchKey")
    gone = refusal(s3.get_object_acl, Bucket=bucket, Key="k", VersionId=version[::-1])
    assert gone == (404, "NoSuchVersion")


def test_a_private_acl_is_what_it_is(s3: object, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")
    s3.put_object(Bucket=bucket, Key="l", Body=b"x", ACL="bucket-owner-full-control")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    for get, put, words in (
        (s3.get_bucket_acl, s3.put_bucket_acl, {}),
        (s3.get_object_acl, s3.put_object_acl, {"Key": "k"}),
    ):
        answer = get(Bucket=bucket, **words)
        same = {"Owner": answer["Owner"], "Grants": answer["Grants"]}
        put(Bucket=bucket, AccessControlPolicy=same, **words)
        everybody = {
            "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
            "Permission": "READ",
        }
        for grants in ([], [everybody], [*answer["Grants"], everybody]):
            other = {"Owner": answer["Owner"], "Grants": grants}
            refused = refusal(put, Bucket=bucket, AccessControlPolicy=other, **words)
            assert refused == (400, "AccessControlListNotSupported")
        for other in ({"ACL": "public-read"}, {"GrantRead": 'id="x"'}):
            refused = refusal(put, Bucket=bucket, **other, **words)
            assert refused == (400, "AccessControlListNotSupported")
    assert refusal(s3.put_object_acl, Bucket=bucket, Key="no", ACL="private") == (404, "NoSuchKey")


def test_acls_that_are_none(daemon: Daemon, s3: object, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for path in (f"/{bucket}?acl", f"/{bucket}/k?acl"):
        for body, code in (
            (b"", "MissingSecurityHeader"),
            (b"<x/>", "MalformedACLError"),
            (b"<AccessControlPolicy/>", "MalformedACLError"),
            (b"<AccessControlPolicy><Owner/></AccessControlPolicy>", "MalformedACLError"),
        ):
            answer = ask(daemon.s3_url, "PUT", path, body=body)
            assert (answer.status, answer.code) == (400, code), (path, body)
        answer = ask(daemon.s3_url, "PUT", path, body=b"<x/>", headers={"x-amz-acl": "private"})
        assert (answer.status, answer.code) == (400, "UnexpectedContent")


def test_public_objects_and_buckets_are_refused(s3: object, bucket: str) -> None:
    refused = refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert refused == (400, "AccessControlListNotSupported")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    made = refusal(s3.create_bucket, Bucket=f"public.{bucket.partition('.')[2]}", ACL="public-read")
    assert made == (400, "InvalidBucketAclWithObjectOwnership")


def test_what_can_be_set_is_what_is_so(s3: object, bucket: str) -> None:
    payment = {"Payer": "BucketOwner"}
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration=payment)
    payment = {"Payer": "Requester"}
    refused = refusal(s3.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration=payment)
    assert refused == (501, "NotImplemented")
    for ownership, expected in (("BucketOwnerEnforced", None), ("ObjectWriter", (501, "NotImplemented"))):
        words = {"Bucket": bucket, "OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}}
        if expected is None:
            s3.put_bucket_ownership_controls(**words)
        else:
            assert refusal(s3.put_bucket_ownership_controls, **words) == expected


def test_deleting_what_there_is_not(s3: object, bucket: str) -> None:
    for name in DELETIONS:
        assert getattr(s3, name)(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204, name
    s3.head_bucket(Bucket=bucket)


def test_nothing_else_can_be_set(s3: object, bucket: str) -> None:
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    encrypted = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    replication = {"Role": "r", "Rules": [{"Status": "Enabled", "Destination": {"Bucket": "b"}}]}
    cors = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    for name, words in {
        "put_bucket_tagging": {"Tagging": tags},
        "put_bucket_policy": {"Policy": "{}"},
        "put_bucket_cors": {"CORSConfiguration": cors},
        "delete_bucket_cors": {},
        "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": [rule]}},
        "put_bucket_encryption": {"ServerSideEncryptionConfiguration": {"Rules": [encrypted]}},
        "put_object_lock_configuration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
        "put_bucket_logging": {"BucketLoggingStatus": {}},
        "put_bucket_notification_configuration": {"NotificationConfiguration": {}},
        "put_bucket_website": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "i"}}},
        "put_bucket_replication": {"ReplicationConfiguration": replication},
        "put_bucket_accelerate_configuration": {"AccelerateConfiguration": {"Status": "Enabled"}},
        "put_public_access_block": {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}},
        "delete_bucket_ownership_controls": {},
        "delete_bucket_metrics_configuration": {"Id": "1"},
        "put_bucket_metrics_configuration": {"Id": "1", "MetricsConfiguration": {"Id": "1"}},
    }.items():
        assert refusal(getattr(s3, name), Bucket=bucket, **words) == (501, "NotImplemented"), name


def test_locks_of_objects(s3: object, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for get in (s3.get_object_retention, s3.get_object_legal_hold):
        assert refusal(get, Bucket=bucket, Key="k") == (400, "InvalidRequest")
        assert refusal(get, Bucket=bucket, Key="no") == (404, "NoSuchKey")
    hold = {"Status": "ON"}
    refused = refusal(s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold=hold)
    assert refused == (501, "NotImplemented")
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": "2031-01-01"}
    refused = refusal(s3.put_object_retention, Bucket=bucket, Key="k", Retention=retention)
    assert refused == (501, "NotImplemented")


def test_other_questions_about_objects(s3: object, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    words = {"Bucket": bucket, "Key": "k"}
    query = {
        "ExpressionType": "SQL",
        "Expression": "SELECT * FROM s3object",
        "InputSerialization": {"CSV": {}},
        "OutputSerialization": {"CSV": {}},
    }
    for call in (
        lambda: s3.get_object_torrent(**words),
        lambda: s3.restore_object(**words, RestoreRequest={"Days": 1}),
        lambda: s3.select_object_content(**words, **query),
    ):
        assert refusal(call) == (501, "NotImplemented")


@pytest.mark.parametrize("name", [*READS, *DELETIONS])
def test_a_bucket_that_is_not_there(s3: object, bucket: str, name: str) -> None:
    missing = f"none.{bucket.partition('.')[2]}"
    assert refusal(getattr(s3, name), Bucket=missing) == (404, "NoSuchBucket")


TOKENS = """
[[token]]
token = "owner-token"
subject = "robot:owner"
[[token]]
token = "reader-token"
subject = "robot:reader"
[[token]]
token = "stranger-token"
subject = "robot:stranger"
[scopes.shared]
"robot:owner" = "OWNER"
"robot:reader" = "READER"
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("guarded-settings")
    tokens = directory / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    with Daemon(directory / "state", "--pfs-tokens", str(tokens)) as running:
        owner = s3_client(running.s3_url, token="owner-token")
        owner.create_bucket(Bucket="master.shared")
        owner.put_object(Bucket="master.shared", Key="k", Body=b"x")
        yield running


@pytest.mark.parametrize("name", READS)
def test_readers_may_ask(guarded: Daemon, name: str) -> None:
    expected = NOT_CONFIGURED.get(name)
    for token in ("owner-token", "reader-token"):
        call = getattr(s3_client(guarded.s3_url, token=token), name)
        if expected is None:
            call(Bucket="master.shared")
        else:
            assert refusal(call, Bucket="master.shared") == expected
    for token, code in (("stranger-token", "AccessDenied"), ("bad", "InvalidAccessKeyId")):
        call = getattr(s3_client(guarded.s3_url, token=token), name)
        assert refusal(call, Bucket="master.shared") == (403, code)
        missing = refusal(call, Bucket="none.shared")
        assert missing == ((404, "NoSuchBucket") if token == "stranger-token" else (403, code))


@pytest.mark.parametrize("name", DELETIONS)
def test_owners_may_delete(guarded: Daemon, name: str) -> None:
    getattr(s3_client(guarded.s3_url, token="owner-token"), name)(Bucket="master.shared")
    for token, code in (("reader-token", "AccessDenied"), ("bad", "InvalidAccessKeyId")):
        call = getattr(s3_client(guarded.s3_url, token=token), name)
        assert refusal(call, Bucket="master.shared") == (403, code)


def test_who_may_set_acls(guarded: Daemon) -> None:
    words = {"Bucket": "master.shared", "ACL": "private"}
    owner = s3_client(guarded.s3_url, token="owner-token")
    owner.put_bucket_acl(**words)
    owner.put_object_acl(**words, Key="k")
    for token in ("reader-token", "stranger-token"):
        other = s3_client(guarded.s3_url, token=token)
        assert refusal(other.put_bucket_acl, **words) == (403, "AccessDenied")
        assert refusal(other.put_object_acl, **words, Key="k") == (403, "AccessDenied")
    answer = ask(guarded.s3_url, "GET", "/master.shared?acl")
    assert (answer.status, answer.code) == (403, "AccessDenied")
