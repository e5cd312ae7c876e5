"""S3 over TLS: listeners, what is sent either way, certificates that change under load, and how it starts."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import certifi
import pytest
from botocore.config import Config
from certificates import certificate
from daemons import Daemon
from secured import Files, SecureWire, port_of, reload
from wire import Closed, Wire, sign

BUCKET = "master.secret"
DATA = random.Random("tls").randbytes(1 << 20) * 8
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module", params=["1", "2"], ids=lambda workers: f"{workers}-workers")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    directory = tmp_path_factory.mktemp("tls")
    files = Files(directory)
    with Daemon(directory / "state", "--workers", request.param, *files.options) as daemon:
        port_of(daemon)
        with SecureWire(port_of(daemon), files.context()) as wire:
            assert wire.request("PUT", f"/{BUCKET}", body=b"").status == 200
            assert wire.request("PUT", f"/{BUCKET}/large", body=DATA).status == 200
        yield daemon, files
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "PRIVATE KEY" in line]


@pytest.fixture
def daemon(served: tuple[Daemon, Files]) -> Daemon:
    return served[0]


@pytest.fixture
def files(served: tuple[Daemon, Files]) -> Files:
    return served[1]


@pytest.fixture
def wire(daemon: Daemon, files: Files) -> Iterator[SecureWire]:
    with SecureWire(port_of(daemon), files.context()) as made:
        yield made


# What goes through.


def test_large_bodies_both_ways(wire: SecureWire) -> None:
    assert wire.request("PUT", f"/{BUCKET}/up", body=DATA).status == 200
    answer = wire.request("GET", f"/{BUCKET}/up")
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(DATA).digest()
    assert wire.request("GET", f"/{BUCKET}/up", {"Range": "bytes=5-9"}).body == DATA[5:10]


def test_a_chunked_upload(wire: SecureWire) -> None:
    wire.head("PUT", f"/{BUCKET}/chunked", {"Transfer-Encoding": "chunked"})
    for _ in range(40):
        wire.send(b"%x\r\n%b\r\n" % (100_000, DATA[:100_000]))
    wire.send(b"0\r\n\r\n")
    assert wire.answer("PUT").status == 200
    assert wire.request("GET", f"/{BUCKET}/chunked").body == DATA[:100_000] * 40


def test_a_body_that_is_waited_for(wire: SecureWire) -> None:
    wire.head("PUT", f"/{BUCKET}/waited", {"Content-Length": "4", "Expect": "100-continue"})
    assert wire.answer_head()[0] == 100
    wire.send(b"data")
    assert wire.answer("PUT").status == 200
    # Refused before it is sent.
    wire.head("PUT", "/a..b/waited", {"Content-Length": "4", "Expect": "100-continue"})
    assert wire.answer("PUT").status == 400


def test_an_upload_that_is_refused_early_reads_why(wire: SecureWire) -> None:
    """Its sender goes on sending, and finds the answer afterwards."""
    wire.head("PUT", "/master.nosuch/key", {"Content-Length": str(64 << 20)})
    for _ in range(64):
        wire.send(DATA[: 1 << 20])
    answer = wire.answer("PUT")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")
    assert answer.headers["connection"] == "close"


def test_the_last_answer_of_a_connection_is_whole_for_a_slow_reader(daemon: Daemon, files: Files) -> None:
    with SecureWire(port_of(daemon), files.context(), receive_bytes=65536) as slow:
        slow.head("GET", f"/{BUCKET}/large", {"Connection": "close"})
        assert slow.answer_head()[0] == 200
        digest = hashlib.sha256()
        # More than is on its way: the server has written the end long before the client comes to it.
        while data := slow.read(10_000):
            digest.update(data)
        assert digest.digest() == hashlib.sha256(DATA).digest()


def test_a_signed_request(wire: SecureWire) -> None:
    signed = sign("GET", f"/{BUCKET}/large")
    assert len(wire.request("GET", f"/{BUCKET}/large", signed.headers).body) == len(DATA)


def test_boto3_verifies_the_certificate(daemon: Daemon, files: Files) -> None:
    def client(verify: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=f"https://localhost:{port_of(daemon)}",
            verify=verify,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    s3 = client(str(files.authority))
    s3.put_object(Bucket=BUCKET, Key="boto3", Body=DATA)
    assert s3.get_object(Bucket=BUCKET, Key="boto3")["Body"].read() == DATA
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        client(certifi.where()).list_buckets()


def test_the_aws_command_verifies_the_certificate(daemon: Daemon, files: Files, tmp_path: Path) -> None:
    aws = Path(sys.executable).parent / "aws"
    if not aws.exists():
        pytest.skip("the AWS command is not installed")
    (tmp_path / "file").write_bytes(DATA)
    subprocess.run(
        [
            *(str(aws), "--endpoint-url", f"https://localhost:{port_of(daemon)}"),
            *("--ca-bundle", str(files.authority)),
            *("s3", "cp", "--quiet", str(tmp_path / "file"), f"s3://{BUCKET}/aws"),
        ],
        check=True,
        env=os.environ | KEYS,
    )
    with SecureWire(port_of(daemon), files.context()) as wire:
        assert wire.request("GET", f"/{BUCKET}/aws").body == DATA


def test_what_is_no_tls_gets_no_answer(daemon: Daemon, files: Files, wire: SecureWire) -> None:
    with Wire(f"http://127.0.0.1:{port_of(daemon)}") as plain:
        plain.head("GET", "/")
        with pytest.raises((Closed, ConnectionError, ValueError, AssertionError)):
            plain.answer()
    assert wire.request("GET", f"/{BUCKET}").status == 200


def test_versions_before_1_2_are_refused(daemon: Daemon, files: Files) -> None:
    context = files.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        SecureWire(port_of(daemon), context)


# The certificate changes.


def test_certificates_change_under_load(daemon: Daemon, files: Files) -> None:
    port = port_of(daemon)
    stop = threading.Event()
    seen: list[bytes] = []
    failures: list[BaseException] = []
    asked = threading.Semaphore(0)

    def load() -> None:
        try:
            while not stop.is_set():
                with SecureWire(port, files.context()) as new:
                    seen.append(new.certificate)
                    assert new.request("GET", f"/{BUCKET}/large", {"Range": "bytes=0-9"}).body == DATA[:10]
                asked.release()
        except BaseException as error:
            failures.append(error)
            asked.release()

    with SecureWire(port, files.context()) as lasting:
        before = lasting.certificate
        clients = [threading.Thread(target=load) for _ in range(2)]
        for client in clients:
            client.start()
        lasting.head("PUT", f"/{BUCKET}/lasting", {"Content-Length": str(6 * 100_000)})
        shown = []
        for turn in range(5):
            lasting.send(DATA[turn * 100_000 : (turn + 1) * 100_000])
            shown.append(files.renew())
            reload(daemon)
            # Each client has asked once more, from beginning to end.
            for _ in range(2 * len(clients)):
                assert asked.acquire(timeout=60)
            with SecureWire(port, files.context()) as new:
                assert new.certificate == shown[-1]
        lasting.send(DATA[500_000:600_000])
        assert lasting.answer("PUT").status == 200
        assert lasting.request("GET", f"/{BUCKET}/lasting").body == DATA[:600_000]
        assert lasting.certificate == before
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    print(f"\n  {len(shown)} certificates, {len(seen)} connections under load, none failed")
    assert {before, *shown[:-1]} <= set(seen)
    served = [hashlib.sha256(one).hexdigest() for one in shown]
    assert [print_ for print_ in served if any(print_ in line for line in daemon.log)] == served


def test_files_that_do_not_fit_leave_the_old_ones_in_force(daemon: Daemon, files: Files) -> None:
    with SecureWire(port_of(daemon), files.context()) as before:
        shown = before.certificate
    key = files.key.read_bytes()
    files.key.write_bytes(certificate("localhost")[0])
    reload(daemon, rf"error\] the certificate stays as it is: {files.key}: not the key of the certificate in")
    with SecureWire(port_of(daemon), files.context()) as after:
        assert after.certificate == shown
    files.key.write_bytes(key)
    reload(daemon)


def test_a_certificate_that_expires_soon_is_told(daemon: Daemon, files: Files) -> None:
    files.renew(ends=timedelta(days=90))
    seen = len(daemon.log)
    reload(daemon)
    assert not [line for line in daemon.log[seen:] if "expire" in line]
    files.renew(ends=timedelta(days=13))
    reload(daemon, r"warn\] the certificate expires on 20\d\d-")
    daemon.wait_for("the certificate was read again", after=seen + 2)


def test_a_worker_that_is_replaced_has_the_newest(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with Daemon(tmp_path / "state", "--workers", "2", *files.options) as daemon:
        newest = files.renew()
        reload(daemon)
        seen = len(daemon.log)
        for pid in daemon.worker_pids:
            os.kill(pid, signal.SIGKILL)
        for _ in range(2):
            daemon.wait_for("worker 1 serves again", after=seen)
            daemon.wait_for("worker 2 serves again", after=seen)
        for _ in range(6):
            with SecureWire(port_of(daemon), files.context()) as wire:
                assert wire.certificate == newest
        assert daemon.stop() == 0


def test_sighup_for_all_ends_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--workers", "2") as daemon:
        pids = {pid for pids in daemon.child_pids.values() for pid in pids}
        for pid in [*pids, daemon.pid]:
            os.kill(pid, signal.SIGHUP)
        daemon.wait_for("Received SIGHUP")
        assert {pid for pids in daemon.child_pids.values() for pid in pids} == pids
        assert daemon.stop() == 0


# Starts that fail.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_certificate_ends_the_start(tmp_path: Path, workers: str) -> None:
    files = Files(tmp_path)
    files.certificate.write_text("nothing", encoding="utf-8")
    daemon = Daemon(tmp_path / "state", "--workers", workers, *files.options)
    with pytest.raises(AssertionError, match="the daemon ended"):
        daemon.start()
    assert daemon.ended() == 1
    assert not daemon.tracebacks
    (line,) = [line for line in daemon.log if "critical]" in line]
    assert line.endswith(f"pachgw cannot start: {files.certificate}: no certificate in PEM")


def test_the_start_tells_what_is_served(tmp_path: Path) -> None:
    files = Files(tmp_path)
    shown = files.renew(ends=timedelta(days=-0.5))
    with Daemon(tmp_path / "state", *files.options) as daemon:
        fingerprint = hashlib.sha256(shown).hexdigest()
        daemon.wait_for(
            rf"certificate of localhost, until 20\d\d-\d\d-\d\d \d\d:\d\d UTC, SHA-256 {fingerprint}"
        )
        daemon.wait_for(r"error\] the certificate has expired on 20")
