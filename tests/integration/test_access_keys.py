"""Access keys of a file: every action with each limit, every way to sign, with auth in PFS on and off."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from daemons import Daemon
from formdata import BOUNDARY, encoded
from raw import Answer, ask

from pachgw.s3.gateway import ACTIONS
from pachgw.s3.request.action import Action

TOKEN = "alice-pachyderm-token"
TOKENS = f"""
[[token]]
token = "{TOKEN}"
subject = "robot:alice"
[roles]
"robot:alice" = ["FS"]
"""


def secret_of(key_id: str) -> str:
    return f"the-secret-key-of-{key_id}"


def entry(key_id: str, *more: str, token: str | None = TOKEN) -> str:
    lines = ["[[key]]", f'id = "{key_id}"', f'secret = "{secret_of(key_id)}"', *more]
    return "\n".join(lines if token is None else [*lines, f'token = "{token}"']) + "\n"


KEYS = (
    entry("whole")
    + entry("reader", "read-only = true")
    + entry("boxed", 'buckets = ["master.box"]')
    + entry("boxreader", 'buckets = ["*.box"]', "read-only = true")
)
BUCKETS = ("master.box", "dev.box", "master.other")


@pytest.fixture(scope="module", params=["auth", "no-auth"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "tokens.toml").write_text(TOKENS, encoding="utf-8")
    keys = directory / "keys.toml"
    keys.write_text(KEYS, encoding="utf-8")
    keys.chmod(0o600)
    options = ["--pfs-tokens", str(directory / "tokens.toml")] if request.param == "auth" else []
    with Daemon(directory / "state", "--access-keys", str(keys), *options) as running:
        whole = client(running, "whole")
        for bucket in BUCKETS:
            whole.create_bucket(Bucket=bucket)
            whole.put_object(Bucket=bucket, Key="k", Body=b"data")
        yield running
        _CLIENTS.clear()
        assert not running.tracebacks


_CLIENTS: dict[tuple[str, ...], object] = {}
"""Making one takes longer than a request."""


def client(daemon: Daemon, key_id: str, signature: str = "s3v4") -> object:
    name = (daemon.s3_url, key_id, signature)
    if name not in _CLIENTS:
        _CLIENTS[name] = boto3.client(
            "s3",
            endpoint_url=daemon.s3_url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret_of(key_id),
            region_name="us-east-1",
            config=Config(
                retries={"max_attempts": 1}, s3={"addressing_style": "path"}, signature_version=signature
            ),
        )
    return _CLIENTS[name]


def code_of(action: object, /, **arguments: object) -> str:
    """The code of the error that the SDK's action ends with, "" for none."""
    try:
        action(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


SDK = botocore.session.get_session().get_service_model("s3")
CHANGES = ("Put", "Post", "Delete", "Create", "Copy", "Upload", "Complete", "Abort")


def request_of(action: Action, bucket: str) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers of a request for the action on the bucket."""
    if action is Action.POST_OBJECT:
        return "POST", f"/{bucket}", {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    model = SDK.operation_model(str(action))
    uri = model.http["requestUri"].replace("{Bucket}", bucket).replace("{Key+}", "k")
    members = model.input_shape.members if model.input_shape else {}
    for name in model.input_shape.required_members if model.input_shape else ():
        said = members[name].serialization
        if said.get("location") == "querystring" and said["name"] not in uri:
            uri += f"{'&' if '?' in uri else '?'}{said['name']}=1"
    return model.http["method"], uri, {"x-amz-copy-source": f"/{bucket}/k"} if "CopySource" in members else {}


def denied_by_the_key(answer: Answer, method: str) -> bool:
    """Whether a limit of the access key refused the request, and not something else."""
    if method == "HEAD":
        return answer.status == 403
    return answer.code == "AccessDenied" and b"<Message>The access key " in answer.body


def send(daemon: Daemon, key_id: str, action: Action, bucket: str) -> bool:
    """Whether the key is denied the action."""
    method, target, headers = request_of(action, bucket)
    body = b"" if method in ("PUT", "POST") else None
    if action is not Action.POST_OBJECT:
        answer = ask(
            daemon.s3_url, method, target, token=key_id, secret=secret_of(key_id), headers=headers, body=body
        )
        return denied_by_the_key(answer, method)
    # A form is signed in its fields.
    fields = client(daemon, key_id).generate_presigned_post(bucket, "k")["fields"]
    body = encoded(fields.items(), b"data")
    return denied_by_the_key(ask(daemon.s3_url, method, target, headers=headers, body=body), method)


@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_every_action_with_every_limit(kept: Daemon, action: Action) -> None:
    changes = str(action).startswith(CHANGES)
    on_a_bucket = action is not Action.LIST_BUCKETS
    table = {
        ("reader", "master.other"): changes,
        ("boxed", "master.box"): False,
        ("boxed", "dev.box"): on_a_bucket,
        ("boxed", "master.other"): on_a_bucket,
        ("boxreader", "dev.box"): changes,
        ("boxreader", "master.other"): on_a_bucket,
    }
    # Denied first: what is allowed may remove the object that others are about.
    for (key_id, bucket), denied in sorted(table.items(), key=lambda item: not item[1]):
        assert send(kept, key_id, action, bucket) is denied, (key_id, bucket)
    if changes:
        client(kept, "whole").put_object(Bucket="master.box", Key="k", Body=b"data")


def test_a_denied_request_changes_nothing(kept: Daemon) -> None:
    whole, boxed, reader = (client(kept, key_id) for key_id in ("whole", "boxed", "reader"))
    whole.put_object(Bucket="master.other", Key="kept", Body=b"before")
    for s3 in (boxed, reader):
        assert code_of(s3.put_object, Bucket="master.other", Key="kept", Body=b"x") == "AccessDenied"
        assert code_of(s3.delete_object, Bucket="master.other", Key="kept") == "AccessDenied"
        objects = {"Objects": [{"Key": "kept"}]}
        assert code_of(s3.delete_objects, Bucket="master.other", Delete=objects) == "AccessDenied"
        assert code_of(s3.create_bucket, Bucket="master.made-by-nobody") == "AccessDenied"
        assert code_of(s3.delete_bucket, Bucket="master.other") == "AccessDenied"
    assert whole.get_object(Bucket="master.other", Key="kept")["Body"].read() == b"before"
    assert "master.made-by-nobody" not in listed(whole)


def listed(s3: object) -> set[str]:
    return {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_buckets_are_listed_to_whom_they_are_for(kept: Daemon) -> None:
    assert listed(client(kept, "whole")) >= set(BUCKETS)
    assert listed(client(kept, "reader")) >= set(BUCKETS)
    assert listed(client(kept, "boxed")) == {"master.box"}
    assert listed(client(kept, "boxreader")) == {"master.box", "dev.box"}


def test_a_source_of_a_copy_has_to_be_allowed_as_well(kept: Daemon) -> None:
    whole, boxed = client(kept, "whole"), client(kept, "boxed")
    whole.put_object(Bucket="master.other", Key="source", Body=b"secret")
    version = whole.put_object(Bucket="master.box", Key="own", Body=b"own")["VersionId"]
    foreign = whole.put_object(Bucket="dev.box", Key="foreign", Body=b"foreign")["VersionId"]
    upload = boxed.create_multipart_upload(Bucket="master.box", Key="parts")["UploadId"]
    part = {"Bucket": "master.box", "Key": "parts", "UploadId": upload, "PartNumber": 1}
    for source in (
        "master.other/source",
        "other/source",
        "dev.box/foreign",
        f"master.box/foreign?versionId={foreign}",
        f"{foreign}.box/foreign",
        f"master.box/own?versionId={version}",
    ):
        copy = {"Bucket": "master.box", "Key": "copy", "CopySource": source}
        assert code_of(boxed.copy_object, **copy) == "AccessDenied", source
        assert code_of(boxed.upload_part_copy, CopySource=source, **part) == "AccessDenied", source
    assert code_of(boxed.copy_object, Bucket="master.box", Key="copy", CopySource="box/own") == ""
    assert code_of(boxed.upload_part_copy, CopySource="master.box/own", **part) == ""
    # And a target.
    assert (
        code_of(boxed.copy_object, Bucket="dev.box", Key="copy", CopySource="master.box/own")
        == "AccessDenied"
    )
    boxed.abort_multipart_upload(Bucket="master.box", Key="parts", UploadId=upload)


def test_versions_and_commits_are_of_every_branch(kept: Daemon) -> None:
    whole, boxed, boxreader = (client(kept, key_id) for key_id in ("whole", "boxed", "boxreader"))
    version = whole.put_object(Bucket="dev.box", Key="v", Body=b"of dev")["VersionId"]
    for action in (boxed.get_object, boxed.head_object, boxed.get_object_tagging):
        denied = code_of(action, Bucket="master.box", Key="v", VersionId=version)
        assert denied in ("AccessDenied", "403")
    assert code_of(boxed.list_objects_v2, Bucket=f"{version}.master.box") == "AccessDenied"
    for bucket, more in (("dev.box", {"VersionId": version}), (f"{version}.box", {})):
        assert boxreader.get_object(Bucket=bucket, Key="v", **more)["Body"].read() == b"of dev"
    assert code_of(boxreader.get_object, Bucket="master.other", Key="k", VersionId=version) == "AccessDenied"


SIGNATURES = ("s3", "s3v4")


@pytest.mark.parametrize("signature", SIGNATURES)
def test_ways_to_sign(kept: Daemon, signature: str) -> None:
    boxed = client(kept, "boxed", signature)
    boxed.put_object(Bucket="master.box", Key="signed", Body=b"x" * 100_000)
    assert boxed.get_object(Bucket="master.box", Key="signed")["Body"].read() == b"x" * 100_000
    assert code_of(boxed.get_object, Bucket="master.other", Key="k") == "AccessDenied"
    for bucket, status in (("master.box", 200), ("master.other", 403)):
        url = boxed.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        # Nobody reads a token out of it.
        assert TOKEN not in url
        assert fetched(url).status == status
        url = boxed.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "put"})
        assert fetched(url, "PUT", b"body").status == status
        form = boxed.generate_presigned_post(bucket, "posted")
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        body = encoded(form["fields"].items(), b"data")
        answer = ask(kept.s3_url, "POST", f"/{bucket}", headers=headers, body=body)
        assert answer.status == (204 if status == 200 else 403), answer


def fetched(url: str, method: str = "GET", body: bytes | None = None) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body=body)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def test_signed_chunks_are_of_the_key_s_secret(kept: Daemon) -> None:
    # The SDK sends a trailing checksum in chunks for what it can read but once.
    boxed = client(kept, "boxed")
    boxed.upload_fileobj(Source(b"y" * 300_000), "master.box", "chunks")
    assert boxed.get_object(Bucket="master.box", Key="chunks")["Body"].read() == b"y" * 300_000


class Source:
    """Bytes that cannot be read twice."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        size = len(self._data) if size < 0 else size
        data, self._data = self._data[:size], self._data[size:]
        return data


def test_wrong_secrets_and_unknown_ids(kept: Daemon) -> None:
    for secret in ("boxed", TOKEN, secret_of("reader"), secret_of("boxed") + "x"):
        answer = ask(kept.s3_url, "GET", "/master.box/k", token="boxed", secret=secret)
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    answer = ask(kept.s3_url, "GET", "/master.box/k", token="nobody", secret="something-else")
    # Without auth in PFS any text is a token.
    assert answer.code == ("InvalidAccessKeyId" if has_auth(kept) else "SignatureDoesNotMatch")


def has_auth(daemon: Daemon) -> bool:
    return "--pfs-tokens" in daemon.options


def test_a_token_is_still_both_keys(kept: Daemon) -> None:
    assert ask(kept.s3_url, "GET", "/master.other/k", token=TOKEN).body == b"data"
    assert ask(kept.s3_url, "GET", "/master.other/k").status == (403 if has_auth(kept) else 200)


# Only these keys, and a file that changes.


def hang_up(daemon: Daemon, pattern: str) -> str:
    """Have the files read again; the log's line about it."""
    after = len(daemon.log)
    os.kill(daemon.pid, signal.SIGHUP)
    return daemon.wait_for(f".*{pattern}.*", after=after)


def status(daemon: Daemon, key_id: str) -> tuple[int, str]:
    answer = ask(daemon.s3_url, "GET", "/", token=key_id, secret=secret_of(key_id))
    return answer.status, answer.code


def test_only_these_keys_and_they_change(tmp_path: Path) -> None:
    tokens, keys = tmp_path / "tokens.toml", tmp_path / "keys.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    keys.write_text(entry("first") + entry("stale", token="no-such-token-at-all") + entry("bare", token=None))
    keys.chmod(0o640)
    options = (
        "--pfs-tokens",
        str(tokens),
        "--access-keys",
        str(keys),
        "--access-keys-only",
        "--workers",
        "2",
    )
    with Daemon(tmp_path / "state", *options) as daemon:
        daemon.wait_for(r"keys\.toml has secrets, and others than its owner can read it")
        assert status(daemon, "first") == (200, "")
        # Neither tokens nor nobody.
        answer = ask(daemon.s3_url, "GET", "/", token=TOKEN)
        assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
        assert ask(daemon.s3_url, "GET", "/").code == "AccessDenied"
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        form = encoded([("key", "posted")], b"data")
        assert ask(daemon.s3_url, "POST", "/master.x", headers=headers, body=form).code == "AccessDenied"
        # A key whose token PFS does not take is its owner's affair, and told once by each worker.
        for key_id in ("stale", "bare"):
            for _ in range(6):
                assert status(daemon, key_id) == (403, "AccessDenied")
            daemon.wait_for(f"access key {key_id}: ")
            assert len([line for line in daemon.log if f"access key {key_id}: " in line]) <= 2
        # What is wrong changes nothing.
        keys.write_text(entry("second") + "[[key]]\nid = 7\n")
        assert "key 2: id: " in hang_up(daemon, "stays as it is")
        assert (status(daemon, "first"), status(daemon, "second")[1]) == ((200, ""), "InvalidAccessKeyId")
        keys.unlink()
        hang_up(daemon, "stays as it is")
        assert status(daemon, "first") == (200, "")
        # On connections that are open, too, and in a worker that comes later.
        keys.write_text(entry("second"))
        parts = urlsplit(daemon.s3_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request("GET", "/")
        connection.getresponse().read()
        hang_up(daemon, "was read again, and is in force")
        url = client(daemon, "second").generate_presigned_url("list_buckets")
        connection.request("GET", url.removeprefix(daemon.s3_url))
        assert connection.getresponse().status == 200
        connection.close()
        after = len(daemon.log)
        for pid in daemon.worker_pids:
            os.kill(pid, signal.SIGKILL)
        for number in (1, 2):
            daemon.wait_for(f"worker {number} serves again", after=after)
        for _ in range(4):
            assert (status(daemon, "second"), status(daemon, "first")[1]) == ((200, ""), "InvalidAccessKeyId")
        assert not daemon.tracebacks
        shown = "\n".join(daemon.log)
        for secret in (TOKEN, "no-such-token-at-all", *map(secret_of, ("first", "second", "stale"))):
            assert secret not in shown


def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(entry("good") + f'[[key]]\nid = "abc"\nsecret = "{secret_of("abc")}"\nbuckets = []')
    daemon = Daemon(tmp_path / "state", "--access-keys", str(keys))
    with pytest.raises(AssertionError, match="the daemon ended"):
        daemon.start()
    assert daemon.ended() == 1
    (line,) = (line for line in daemon.log if "cannot start" in line)
    assert f"--access-keys {keys}: key 2: buckets: " in line
    assert "the-secret-key-of" not in "\n".join(daemon.log)
