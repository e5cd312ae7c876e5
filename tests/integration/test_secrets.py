"""Secrets go in and never out: not into logs, answers, command lines or environments of any process."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from daemons import Daemon
from formdata import BOUNDARY, encoded
from raw import ask

# Long, of letters that no other text has, and with some that are escaped.
ROOT, CLIENT, BEHIND_KEY, STALE, GATEWAY, SESSION = (
    f"{name}+/%=&~{name[::-1]}9q"
    for name in ("rootTkn", "clientTkn", "behindTkn", "staleTkn", "ownTkn", "sessTkn")
)
SECRET, STALE_SECRET, NEW_SECRET = (
    f"{name}<>&%+/={name[::-1]}Zx" for name in ("keySecret", "stale", "newSecret")
)
# As an id that is a token travels in clear text, from here on nobody but PFS and the client has it.
SECRETS = (ROOT, CLIENT, BEHIND_KEY, STALE, GATEWAY, SESSION, SECRET, STALE_SECRET, NEW_SECRET)
TOKENS = (
    "".join(
        f"[[token]]\ntoken = {json.dumps(token)}\nsubject = 'robot:{name}'\n"
        for token, name in ((ROOT, "root"), (CLIENT, "client"), (BEHIND_KEY, "behind"), (GATEWAY, "gateway"))
    )
    + "[roles]\n'robot:root' = ['SUPER']\n'robot:client' = ['FS']\n'robot:behind' = ['FS']\n"
)
KEYS = f"""
[[key]]
id = "good"
secret = {json.dumps(SECRET)}
token = {json.dumps(BEHIND_KEY)}

[[key]]
id = "stale"
secret = {json.dumps(STALE_SECRET)}
token = {json.dumps(STALE)}
"""


def forms_of(secret: str) -> set[str]:
    """The texts by which a secret could be known again."""
    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), quote(secret), quote(secret, safe="").lower(), raw.hex()}
    forms |= {
        secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        json.dumps(secret)[1:-1],
    }
    for before in range(3):
        # What stands before and behind it shifts the letters.
        shifted = base64.b64encode(b"\0" * before + raw).decode()[4 if before else 0 : -4]
        forms |= {shifted, shifted.replace("+", "-").replace("/", "_")}
    return forms


FORMS = {form: secret for secret in SECRETS for form in forms_of(secret)}


def found_in(text: str) -> set[str]:
    return {secret for form, secret in FORMS.items() if form in text}


def test_the_search_finds_what_it_is_for() -> None:
    for form in (
        SECRET,
        quote(SECRET),
        base64.b64encode(f"a:{SECRET}".encode()).decode(),
        SECRET.encode().hex(),
    ):
        assert found_in(f"before {form} behind") == {SECRET}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    """A gateway in front of the PFS of another, each with workers; the files of secrets are their input."""
    directory = tmp_path_factory.mktemp("secrets")
    for name, text in (("tokens.toml", TOKENS), ("keys.toml", KEYS), ("own", GATEWAY)):
        (directory / name).write_text(text, encoding="utf-8")
        (directory / name).chmod(0o600)
    first = ("--pfs-tokens", str(directory / "tokens.toml"), "--pfs-listen", "127.0.0.1:0", "--workers", "2")
    with Daemon(directory / "state", *first) as behind:
        second = (
            *("--pachd", behind.pfs_address, "--pachd-token-file", str(directory / "own")),
            *("--access-keys", str(directory / "keys.toml"), "--cache-dir", str(directory / "cache")),
            *("--workers", "2", "--access-log", "json", "--metrics", "tcp:0:interface=127.0.0.1"),
        )
        with Daemon(directory, *second) as gateway:
            yield behind, gateway


ANSWERS: list[str] = []


def keep(status: int, headers: object, body: bytes) -> int:
    ANSWERS.append(f"{status} {headers} {body.decode('latin-1')}")
    return status


def send(url: str, method: str, target: str, body: bytes | None = None, **headers: str) -> int:
    answer = ask(url, method, target, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return keep(answer.status, answer.headers, answer.body)


PAIRS = (
    (CLIENT, CLIENT),
    ("good", SECRET),
    ("stale", STALE_SECRET),
    (STALE, STALE),
    (CLIENT, SECRET),
    ("good", CLIENT),
    ("unknown", SECRET),
)


def clients(url: str, pairs: Sequence[tuple[str, str]] = PAIRS) -> Iterator[object]:
    for key_id, secret in pairs:
        for signature in ("s3", "s3v4"):
            yield boto3.client(
                "s3",
                endpoint_url=url,
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
                aws_session_token=SESSION,
                region_name="us-east-1",
                config=Config(
                    retries={"max_attempts": 1}, s3={"addressing_style": "path"}, signature_version=signature
                ),
            )


def use(s3: object, url: str) -> None:
    """Good requests and bad ones, signed in the header, in the query and in a form."""
    bucket = {"Bucket": "master.r"}
    for action, arguments in (
        (s3.list_buckets, {}),
        (s3.create_bucket, bucket),
        (s3.put_object, bucket | {"Key": "k", "Body": b"data", "Metadata": {"a": "b"}}),
        (s3.get_object, bucket | {"Key": "k"}),
        (s3.get_object, bucket | {"Key": "none"}),
        (s3.get_object, {"Bucket": "no.such.bucket", "Key": "k"}),
        (s3.copy_object, bucket | {"Key": "c", "CopySource": "master.r/none"}),
        (s3.delete_objects, bucket | {"Delete": {"Objects": [{"Key": "k"}]}}),
    ):
        try:
            keep(200, action(**arguments)["ResponseMetadata"], b"")
        except ClientError as error:
            keep(0, error.response, b"")
    for action, key in (("get_object", "k"), ("put_object", "p")):
        signed = s3.generate_presigned_url(action, Params=bucket | {"Key": key})
        path = signed.removeprefix(url)
        method = "PUT" if action == "put_object" else "GET"
        body = b"data" if method == "PUT" else None
        # As it is; changed; cut; with what no URL has; long ago.
        for target in (
            path,
            path.replace("/master.r/", "/master.s/"),
            path.replace("Signature=", "Signature=00"),
            path.replace("Credential=", "Credential=%zz"),
            path.replace("Expires=", "Expires=x"),
            path.replace("X-Amz-Date=", "X-Amz-Date=x"),
            path + "&X-Amz-Credential=again&AWSAccessKeyId=again",
            path + "&unheard-of",
            path + "%FF",
        ):
            send(url, method, target, body)
    form = s3.generate_presigned_post("master.r", "posted")["fields"]
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    for changed in ({}, {"key": "other"}, {"policy": "bm9uZQ=="}, {"signature": "x", "x-amz-signature": "x"}):
        fields = {name: changed.get(name.lower(), value) for name, value in form.items()}
        send(url, "POST", "/master.r", encoded(fields.items(), b"data"), Content_Type=content_type)
    fields = {**form, "x-amz-credential": f"{CLIENT}/bad"}
    send(url, "POST", "/master.r", encoded(fields.items(), b"data"), Content_Type=content_type)


def malformed(url: str) -> None:
    """What no client sends, with a secret in it."""
    credential = f"{CLIENT}/20260101/us-east-1/s3/aws4_request"
    v4 = "AWS4-HMAC-SHA256"
    for authorization in (
        f"Bearer {CLIENT}",
        f"Basic {base64.b64encode(f'{CLIENT}:{SECRET}'.encode()).decode()}",
        f"AWS {CLIENT}",
        f"AWS {CLIENT}:{SECRET}",
        f"{v4} Credential={CLIENT}",
        f"{v4} Credential={credential}, SignedHeaders=host, Signature=0",
        f"{v4} Credential={credential}, Credential={credential}, SignedHeaders=host, Signature=0",
        f"{v4} Credential={CLIENT}/x/y/z/w, SignedHeaders=host;x-amz-date, Signature={SECRET}",
        CLIENT,
    ):
        send(url, "GET", "/master.r/k", Authorization=authorization, X_Amz_Date="20260101T000000Z")
        send(url, "GET", "/master.r/k", Authorization=authorization, X_Amz_Security_Token=SESSION)
    token = quote(CLIENT, safe="")
    for query in (
        f"AWSAccessKeyId={token}&Signature=x",
        f"AWSAccessKeyId={token}&Signature=x&Expires=9999999999",
        f"AWSAccessKeyId={token}%zz&Signature=x&Expires=1",
        f"X-Amz-Credential={token}&X-Amz-Signature=x",
        f"X-Amz-Credential={token}%FF&X-Amz-Signature=x",
        f"X-Amz-Security-Token={quote(SESSION, safe='')}&X-Amz-Signature=x",
    ):
        send(url, "GET", f"/master.r/k?{query}")
    # Cut off, or no HTTP.
    parts = urlsplit(url)
    for text in (
        f"GET /?AWSAccessKeyId={token} HTTP/9.9\r\n\r\n",
        f"GET /?AWSAccessKeyId={token}\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: AWS {CLIENT}:x\r\n folded\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization {CLIENT}\r\n\r\n",
        f"PUT /master.r/k HTTP/1.1\r\nHost: a\r\nAuthorization: AWS {CLIENT}:x\r\nContent-Length: x\r\n\r\n",
        f"PUT /b/k HTTP/1.1\r\nHost: a\r\nAuthorization: AWS {CLIENT}:x\r\nContent-Length: 9\r\n\r\nab",
        f"{CLIENT}\r\n\r\n",
    ):
        with socket.create_connection((parts.hostname or "", parts.port), timeout=60) as connection:
            connection.sendall(text.encode("latin-1"))
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while data := connection.recv(65536):
                    ANSWERS.append(data.decode("latin-1"))


def processes(daemon: Daemon) -> list[int]:
    return [daemon.pid, *(pid for pids in daemon.child_pids.values() for pid in pids)]


def test_no_secret_ever_comes_out(both: tuple[Daemon, Daemon]) -> None:
    behind, gateway = both
    assert len(processes(gateway)) == 3
    for daemon, pairs in ((behind, PAIRS[:1]), (gateway, PAIRS)):
        for s3 in clients(daemon.s3_url, pairs):
            use(s3, daemon.s3_url)
        malformed(daemon.s3_url)
    statuses = {answer.split(" ", 1)[0] for answer in ANSWERS}
    assert {"200", "204", "400", "403", "404"} <= statuses
    # Files that are read again, with a mistake beside a secret and without.
    keys = Path(gateway.options[gateway.options.index("--access-keys") + 1])
    for text, said in (
        (f"{KEYS}[[key]]\nid = 'new'\nsecret = {json.dumps(NEW_SECRET)}\ntoken = 7\n", "stays as it is"),
        (f"{KEYS}[[key]]\nid = 'new'\nsecret = {NEW_SECRET}\n", "stays as it is"),
        (f"{KEYS}[[key]]\nid = 'new'\nsecret = {json.dumps(NEW_SECRET)}\n", "is in force"),
    ):
        keys.write_text(text, encoding="utf-8")
        after = len(gateway.log)
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.wait_for(said, after=after)
    assert ask(gateway.s3_url, "GET", "/", token="new", secret=NEW_SECRET).code == "AccessDenied"
    # A worker that dies is given all of it again.
    after = len(gateway.log)
    os.kill(gateway.worker_pids[0], signal.SIGKILL)
    gateway.wait_for("serves again", after=after)
    metrics = gateway.wait_for(r"metrics are on (http://[^/\s]+)")
    for path in ("/metrics", "/~/ready", "/~/healthy", f"/?{quote(CLIENT)}"):
        send(metrics, "GET", path)
    for daemon in both:
        for pid in processes(daemon):
            for name in ("cmdline", "environ"):
                assert found_in(Path(f"/proc/{pid}/{name}").read_text(errors="replace")) == set(), name
        for line in daemon.log:
            assert found_in(line) == set(), line
            assert "Traceback" not in line
    for answer in ANSWERS:
        assert found_in(answer) == set(), answer


def test_not_even_when_the_backend_has_gone(both: tuple[Daemon, Daemon]) -> None:
    behind, gateway = both
    behind.kill()
    ANSWERS.clear()
    for s3 in clients(gateway.s3_url, PAIRS[:2]):
        use(s3, gateway.s3_url)
    assert any(answer.startswith("503 ") for answer in ANSWERS)
    for text in (*ANSWERS, *gateway.log):
        assert found_in(text) == set(), text
