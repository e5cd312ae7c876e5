"""A PFS with auth on: who may do what, and how each refusal looks."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from daemons import Daemon
from raw import Answer, ask

BUCKET = "master.shared"
TOKENS = """
[[token]]
token = "alice-token"
subject = "robot:alice"
[[token]]
token = "bob-token"
subject = "robot:bob"
[[token]]
token = "carol-token"
subject = "robot:carol"
[[token]]
token = "dave-token"
subject = "robot:dave"
[[token]]
token = "frank-token"
subject = "robot:frank"
expires = 2020-01-01T00:00:00Z
[[token]]
token = "root-token"
subject = "pach:root"
[roles]
"pach:root" = ["SUPER"]
[scopes.shared]
"robot:alice" = "OWNER"
"robot:bob" = "WRITER"
"robot:carol" = "READER"
"""
ALICE, BOB, CAROL, DAVE, ROOT = (f"{name}-token" for name in ("alice", "bob", "carol", "dave", "root"))
BAD_TOKENS = ("frank-token", "garbage", "ALICE-TOKEN")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("guarded")
    tokens = directory / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    with Daemon(directory / "state", "--pfs-tokens", str(tokens)) as running:
        answer = ask(running.s3_url, "PUT", f"/{BUCKET}", token=ALICE, body=b"")
        assert answer.status == 200, answer
        assert ask(running.s3_url, "PUT", f"/{BUCKET}/k", token=ALICE, body=b"data").status == 200
        yield running
        for line in running.log:
            assert "Traceback" not in line
            for secret in (ALICE, BOB, CAROL, DAVE, ROOT, *BAD_TOKENS[:1]):
                assert secret not in line


def _refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer


REQUESTS = [
    ("GET", "/", None),
    ("GET", f"/{BUCKET}", None),
    ("GET", f"/{BUCKET}?location", None),
    ("GET", f"/{BUCKET}?versioning", None),
    ("GET", f"/{BUCKET}/k", None),
    ("GET", f"/{BUCKET}/nope", None),
    ("GET", "/master.no-such-repo", None),
    ("GET", "/master.no-such-repo/k", None),
    ("GET", "/no-such-branch.shared/k", None),
    ("PUT", f"/{BUCKET}/k", b"other"),
    ("PUT", "/master.no-such-repo/k", b"other"),
    ("PUT", f"/{BUCKET}", b""),
    ("PUT", "/master.new-repo", b""),
    ("DELETE", f"/{BUCKET}/k", None),
    ("DELETE", f"/{BUCKET}", None),
    ("DELETE", "/master.no-such-repo", None),
    ("POST", f"/{BUCKET}?delete", b"<Delete><Object><Key>k</Key></Object></Delete>"),
    ("GET", f"/{BUCKET}/k?tagging", None),
    ("PUT", f"/{BUCKET}/k?tagging", b"<Tagging><TagSet></TagSet></Tagging>"),
    ("DELETE", f"/{BUCKET}/k?tagging", None),
]


@pytest.mark.parametrize("bad", BAD_TOKENS)
@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
def test_a_bad_token_learns_nothing(
    guarded: Daemon, bad: str, method: str, target: str, body: bytes | None
) -> None:
    answer = ask(guarded.s3_url, method, target, token=bad, body=body)
    _refused(answer, 403, "InvalidAccessKeyId")


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
def test_without_a_token_access_is_denied(
    guarded: Daemon, method: str, target: str, body: bytes | None
) -> None:
    _refused(ask(guarded.s3_url, method, target, body=body), 403, "AccessDenied")


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS[:3])
def test_a_wrong_secret_is_a_wrong_signature(
    guarded: Daemon, method: str, target: str, body: bytes | None
) -> None:
    answer = ask(guarded.s3_url, method, target, token=ALICE, secret="other", body=body)
    _refused(answer, 403, "SignatureDoesNotMatch")
    assert ALICE.encode() not in answer.body


def test_a_wrong_secret_of_a_bad_token_is_a_bad_token(guarded: Daemon) -> None:
    answer = ask(guarded.s3_url, "GET", f"/{BUCKET}", token="garbage", secret="other")
    _refused(answer, 403, "InvalidAccessKeyId")


def test_a_refused_write_changes_nothing(guarded: Daemon) -> None:
    for token in (None, CAROL, DAVE, *BAD_TOKENS):
        for method, body in (("PUT", b"other"), ("DELETE", None)):
            assert ask(guarded.s3_url, method, f"/{BUCKET}/k", token=token, body=body).status == 403
    assert ask(guarded.s3_url, "GET", f"/{BUCKET}/k", token=ALICE).body == b"data"


def test_want_of_scope_is_access_denied(guarded: Daemon) -> None:
    for method, target, body in (
        ("GET", f"/{BUCKET}", None),
        ("GET", f"/{BUCKET}/k", None),
        ("PUT", f"/{BUCKET}/new", b"x"),
        ("DELETE", f"/{BUCKET}/k", None),
        ("PUT", "/dev.shared", b""),
    ):
        _refused(ask(guarded.s3_url, method, target, token=DAVE, body=body), 403, "AccessDenied")
    assert ask(guarded.s3_url, "HEAD", f"/{BUCKET}/k", token=DAVE).status == 403


def test_a_reader_reads_and_a_writer_writes(guarded: Daemon) -> None:
    url = guarded.s3_url
    assert ask(url, "GET", f"/{BUCKET}/k", token=CAROL).body == b"data"
    assert ask(url, "GET", f"/{BUCKET}", token=CAROL).all("Key") == ["k"]
    _refused(ask(url, "PUT", f"/{BUCKET}/c", token=CAROL, body=b"x"), 403, "AccessDenied")
    assert ask(url, "PUT", f"/{BUCKET}/b", token=BOB, body=b"x").status == 200
    assert ask(url, "DELETE", f"/{BUCKET}/b", token=BOB).status == 204
    batch = b"<Delete><Object><Key>k</Key></Object></Delete>"
    answer = ask(url, "POST", f"/{BUCKET}?delete", token=CAROL, body=batch)
    assert answer.status == 403 or answer.all("Code") == ["AccessDenied"]
    assert ask(url, "GET", f"/{BUCKET}/k", token=CAROL).status == 200


def test_what_is_said_of_an_object_has_the_rights_of_its_bucket(guarded: Daemon) -> None:
    url = guarded.s3_url
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    said = {"Content-Type": "a/b", "x-amz-tagging": "b=2"}
    assert ask(url, "PUT", f"/{BUCKET}/said", token=BOB, body=b"x", headers=said).status == 200
    assert ask(url, "HEAD", f"/{BUCKET}/said", token=CAROL).headers["content-type"] == "a/b"
    assert ask(url, "GET", f"/{BUCKET}/said?tagging", token=CAROL).all("Key") == ["b"]
    attributes = {"x-amz-object-attributes": "ETag"}
    assert ask(url, "GET", f"/{BUCKET}/said?attributes", token=CAROL, headers=attributes).status == 200
    for token in (CAROL, DAVE):
        for method, body in (("PUT", tags), ("DELETE", None)):
            answer = ask(url, method, f"/{BUCKET}/said?tagging", token=token, body=body)
            _refused(answer, 403, "AccessDenied")
    # Nothing to be done, and yet nothing that a reader may do.
    _refused(ask(url, "DELETE", f"/{BUCKET}/k?tagging", token=CAROL), 403, "AccessDenied")
    _refused(ask(url, "GET", f"/{BUCKET}/said?tagging", token=DAVE), 403, "AccessDenied")
    answer = ask(url, "GET", f"/{BUCKET}/said?attributes", token=DAVE, headers=attributes)
    _refused(answer, 403, "AccessDenied")
    assert ask(url, "GET", f"/{BUCKET}/said?tagging", token=ALICE).all("Key") == ["b"]
    assert ask(url, "PUT", f"/{BUCKET}/said?tagging", token=BOB, body=tags).status == 200
    assert ask(url, "GET", f"/{BUCKET}/said?tagging", token=CAROL).all("Key") == ["a"]
    assert ask(url, "DELETE", f"/{BUCKET}/said", token=BOB).status == 204


def test_a_copy_wants_to_read_the_source_and_write_the_target(guarded: Daemon) -> None:
    url = guarded.s3_url
    assert ask(url, "PUT", "/master.copies", token=DAVE, body=b"").status == 200

    def copy(token: str | None, target: str, source: str) -> Answer:
        return ask(url, "PUT", target, token=token, headers={"x-amz-copy-source": source}, body=b"")

    shared, own = f"/{BUCKET}/copy", "/master.copies/copy"
    _refused(copy(DAVE, own, f"{BUCKET}/k"), 403, "AccessDenied")
    _refused(copy(DAVE, own, f"{BUCKET}/nope"), 403, "AccessDenied")
    _refused(copy(CAROL, shared, f"{BUCKET}/k"), 403, "AccessDenied")
    _refused(copy(BOB, own, f"{BUCKET}/k"), 403, "AccessDenied")
    _refused(copy(BOB, shared, "master.no-such-repo/k"), 404, "NoSuchBucket")
    _refused(copy(BOB, shared, "no-such-branch.shared/k"), 404, "NoSuchBucket")
    _refused(copy(None, shared, f"{BUCKET}/k"), 403, "AccessDenied")
    for bad in BAD_TOKENS:
        for source in (f"{BUCKET}/k", "master.no-such-repo/k"):
            _refused(copy(bad, shared, source), 403, "InvalidAccessKeyId")
    assert ask(url, "GET", f"/{BUCKET}", token=ALICE).all("Key") == ["k"]
    assert copy(BOB, shared, f"{BUCKET}/k").status == 200
    assert ask(url, "DELETE", shared, token=BOB).status == 204
    assert ask(url, "DELETE", "/master.copies", token=DAVE).status == 204


def test_a_writer_cannot_delete_the_last_bucket_of_a_repo(guarded: Daemon) -> None:
    url = guarded.s3_url
    assert ask(url, "DELETE", f"/{BUCKET}/k", token=ALICE).status == 204
    try:
        _refused(ask(url, "DELETE", f"/{BUCKET}", token=BOB), 403, "AccessDenied")
        assert ask(url, "HEAD", f"/{BUCKET}", token=BOB).status == 200
    finally:
        assert ask(url, "PUT", f"/{BUCKET}/k", token=ALICE, body=b"data").status == 200
    assert ask(url, "PUT", "/dev.shared", token=BOB, body=b"").status == 200
    assert ask(url, "DELETE", "/dev.shared", token=BOB).status == 204


def test_whoever_makes_a_bucket_owns_its_repo(guarded: Daemon) -> None:
    url = guarded.s3_url
    assert ask(url, "PUT", "/master.daves", token=DAVE, body=b"").status == 200
    assert ask(url, "PUT", "/master.daves/k", token=DAVE, body=b"x").status == 200
    _refused(ask(url, "GET", "/master.daves/k", token=ALICE), 403, "AccessDenied")
    _refused(ask(url, "PUT", "/master.daves", token=ALICE, body=b""), 409, "BucketAlreadyOwnedByYou")
    assert ask(url, "GET", "/master.daves/k", token=ROOT).body == b"x"
    assert ask(url, "DELETE", "/master.daves/k", token=DAVE).status == 204
    assert ask(url, "DELETE", "/master.daves", token=DAVE).status == 204


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_boto3_with_a_token(guarded: Daemon, version: str) -> None:
    def client(token: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=guarded.s3_url,
            aws_access_key_id=token,
            aws_secret_access_key=token,
            region_name="us-east-1",
            config=Config(signature_version=version),
        )

    alice, bad = client(ALICE), client("garbage")
    alice.put_object(Bucket=BUCKET, Key="dir/é+ (1)", Body=b"signed", Metadata={"a": "b"})
    assert alice.get_object(Bucket=BUCKET, Key="dir/é+ (1)")["Body"].read() == b"signed"
    alice.delete_object(Bucket=BUCKET, Key="dir/é+ (1)")
    with pytest.raises(ClientError) as refused:
        bad.get_object(Bucket=BUCKET, Key="k")
    assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"
