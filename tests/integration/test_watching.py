"""Metrics, health and the access log of a real daemon, with one process that serves and with two."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from certificates import certificate
from cryptography import x509
from raw import ask
from scrapes import Scrape, Watched
from wire import Wire

REQUESTS = "pachgw_s3_requests_total"
BUCKET = "master.watched"
TOKEN = "hush-hush-token"
TOKENS = f"""
[[token]]
token = "{TOKEN}"
subject = "robot:alice"
[scopes.watched]
"robot:alice" = "OWNER"
"""


@pytest.fixture(scope="module", params=["1", "2"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp(f"watched{request.param}")
    options = ("--workers", request.param, "--access-log", "json", "--access-log-file")
    with Watched(directory / "state", *options, str(directory / "access.log")) as running:
        assert ask(running.daemon.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        assert ask(running.daemon.s3_url, "PUT", f"/{BUCKET}/first", body=b"1").status == 200
        yield running
        assert not running.daemon.tracebacks


def risen(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    return after.sum(name, **labels) - before.sum(name, **labels)


def test_sums_after_known_traffic(watched: Watched) -> None:
    url = watched.daemon.s3_url
    before = watched.scrape_until(lambda now: now.sum(REQUESTS, action="PutObject") >= 1)
    scrapes: list[Scrape] = []
    done = threading.Event()

    def keep_scraping() -> None:
        while not done.is_set():
            scrapes.append(watched.scrape())

    scraping = threading.Thread(target=keep_scraping)
    scraping.start()
    try:
        for number in range(6):
            assert ask(url, "PUT", f"/{BUCKET}/k{number}", body=b"x" * 100).status == 200
        for number in range(5):
            assert ask(url, "GET", f"/{BUCKET}/k{number}").body == b"x" * 100
        for _ in range(4):
            assert ask(url, "GET", f"/{BUCKET}/none").status == 404
        for _ in range(3):
            assert ask(url, "HEAD", f"/{BUCKET}/k1").status == 200
        assert ask(url, "GET", f"/{BUCKET}?list-type=2").status == 200
        assert ask(url, "GET", "/~/ready").status == 200
        with Wire(url) as wire:
            wire.send(b"junk\r\n\r\n")
            assert wire.answer().status == 400
        with Wire(url) as wire:
            wire.head("PUT", f"/{BUCKET}/gone", {"Content-Length": "10"})
    finally:
        done.set()
        scraping.join()
    after = watched.scrape_until(lambda now: risen(before, now, REQUESTS) >= 21)
    assert {
        (action, status): risen(before, after, REQUESTS, action=action, status=status)
        for action, status in (
            ("PutObject", "200"),
            ("GetObject", "200"),
            ("GetObject", "404"),
            ("HeadObject", "200"),
            ("ListObjectsV2", "200"),
            ("PutObject", "499"),
            ("-", "400"),
        )
    } == {
        ("PutObject", "200"): 6,
        ("GetObject", "200"): 5,
        ("GetObject", "404"): 4,
        ("HeadObject", "200"): 3,
        ("ListObjectsV2", "200"): 1,
        ("PutObject", "499"): 1,
        ("-", "400"): 1,
    }
    assert risen(before, after, REQUESTS) == 21
    assert risen(before, after, "pachgw_s3_request_seconds_count", action="GetObject") == 9
    assert risen(before, after, "pachgw_s3_request_seconds_bucket", action="GetObject", le="+Inf") == 9
    assert risen(before, after, "pachgw_s3_received_bytes_total", action="PutObject") == 600
    assert risen(before, after, "pachgw_s3_sent_bytes_total", action="GetObject") > 500
    assert risen(before, after, "pachgw_s3_refused_total", limit="bad_request") == 1
    assert risen(before, after, "pachgw_commit_members_sum") == 6
    assert risen(before, after, "pachgw_turn_wait_seconds_count") >= 1
    assert risen(before, after, "pachgw_pfs_call_seconds_count", method="PutFile", code="OK") >= 6
    assert risen(before, after, "pachgw_pfs_call_seconds_count", method="InspectFile") >= 9
    assert risen(before, after, "pachgw_cache_lookups_total", cache="small_objects") == 5
    assert after.sum("pachgw_s3_requests_in_flight") == 0
    # What the kernel has not told of yet is still there.
    assert after.sum("pachgw_pfs_calls_in_flight") == 0
    assert after.sum("pachgw_pfs_up") == 1
    for earlier, later in itertools.pairwise(scrapes):
        assert risen(earlier, later, REQUESTS) >= 0
    assert len(scrapes) > 1


def test_each_process_is_shown(watched: Watched) -> None:
    scrape = watched.scrape()
    workers = len(watched.daemon.worker_pids)
    processes = {"gateway", "pfs"} if not workers else {"worker 1", "worker 2", "supervisor", "pfs"}
    assert scrape.labels("process_resident_memory_bytes", "process") == processes
    assert scrape.labels("process_open_fds", "process") == processes
    assert scrape.labels("python_gc_collections_total", "process") == processes - {"pfs"}
    resident = scrape.sum("process_resident_memory_bytes", process="pfs")
    (line,) = (
        line
        for line in Path(f"/proc/{watched.daemon.pfs_pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert abs(resident - int(line.split()[1]) * 1024) < resident / 4
    assert scrape.sum("pachgw_workers", state="serving") == workers
    assert scrape.sum("pachgw_s3_limit", limit="connections") >= 8 * max(1, workers)
    (having,) = scrape.labels("pachgw_build_info", "version")
    assert scrape.sum("pachgw_build_info", version=having) == 1


def test_lines_of_the_access_log(watched: Watched) -> None:
    url = watched.daemon.s3_url
    ids = [
        ask(url, "PUT", f"/{BUCKET}/%C3%A9%22%0A", body=b"abc", headers={"User-Agent": "mine"}),
        ask(url, "GET", f"/{BUCKET}/%C3%A9%22%0A", token=TOKEN),
        ask(url, "GET", f"/{BUCKET}/none?versionId=abc&X-Amz-Security-Token=hush"),
    ]
    watched.scrape_until(lambda now: now.sum("pachgw_s3_requests_in_flight") == 0)
    path = Path(watched.daemon.options[watched.daemon.options.index("--access-log-file") + 1])
    lines = {line["request_id"]: line for line in map(json.loads, path.read_text().splitlines())}
    put, get, missing = (lines[answer.headers["x-amz-request-id"]] for answer in ids)
    about = {"action": "PutObject", "bucket": BUCKET, "key": 'é"\n', "status": 200}
    assert put | about == put
    assert (put["received"], put["user_agent"], put["client"]) == (3, "mine", "127.0.0.1")
    assert 0 < put["pfs_seconds"] <= put["seconds"]
    assert get["access_key"] == hashlib.sha256(TOKEN.encode()).hexdigest()[:12]
    assert get["sent"] == 3
    assert (missing["error"], missing["version"]) == (ids[2].code, "abc")
    assert "access_key" not in missing
    assert "hush" not in path.read_text()
    assert not any("/~/" in line["uri"] for line in lines.values())


def probe(url: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    answer = ask(url, method, path)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status, answer.body


def test_ready_while_pfs_is_there_and_only_then(watched: Watched) -> None:
    both = (watched.url, watched.daemon.s3_url)

    def await_all(status: int) -> None:
        for url in both:
            watched.await_probe(url, status)

    await_all(200)
    pid = watched.daemon.pfs_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await_all(503)
        if not watched.daemon.worker_pids:
            assert probe(watched.daemon.s3_url, "/~/ready") == (503, b"PFS does not answer\n")
        assert probe(watched.daemon.s3_url, "/~/healthy") == (200, b"ok\n")
        assert probe(watched.url, "/~/healthy") == (200, b"ok\n")
        watched.scrape_until(lambda now: now.sum("pachgw_pfs_up") == 0)
    finally:
        os.kill(pid, signal.SIGCONT)
    await_all(200)
    logged = len(watched.daemon.log)
    os.kill(pid, signal.SIGKILL)
    watched.daemon.wait_for("the embedded PFS serves again", after=logged)
    await_all(200)
    assert watched.daemon.pfs_pid != pid
    watched.scrape_until(lambda now: now.sum("pachgw_pfs_up") == 1)
    # One worker may still remember that PFS did not answer.
    watched.await_probe(watched.daemon.s3_url, 200, "HEAD")
    assert probe(watched.daemon.s3_url, "/~/healthy", "HEAD") == (200, b"")
    assert ask(watched.daemon.s3_url, "PUT", "/~/ready", body=b"").status == 400
    assert ask(watched.url, "GET", "/elsewhere").status == 404
    assert ask(watched.url, "POST", "/metrics", body=b"").status == 405


def test_sums_do_not_fall_when_a_worker_is_killed(tmp_path: Path) -> None:
    with Watched(tmp_path, "--workers", "2") as watched:
        url = watched.daemon.s3_url
        assert ask(url, "PUT", f"/{BUCKET}", body=b"").status == 200
        for number in range(10):
            assert ask(url, "PUT", f"/{BUCKET}/k{number}", body=b"x").status == 200
        watched.scrape_until(lambda now: now.sum(REQUESTS) == 11)
        for pid in watched.daemon.worker_pids:
            ends = watched.scrape().sum("pachgw_worker_ends_total")
            os.kill(pid, signal.SIGKILL)
            after = watched.scrape_until(lambda now, ends=ends: now.sum("pachgw_worker_ends_total") > ends)  # type: ignore[misc]
            assert after.sum(REQUESTS, action="PutObject", status="200") == 10
        after = watched.scrape_until(lambda now: now.sum("pachgw_workers", state="serving") == 2)
        assert after.sum("pachgw_commit_members_sum") == 10
        assert ask(url, "GET", f"/{BUCKET}/k1").status == 200
        watched.scrape_until(lambda now: now.sum(REQUESTS) == 12)


def test_a_worker_that_hangs_is_shown_as_it_was(tmp_path: Path) -> None:
    with Watched(tmp_path, "--workers", "2") as watched:
        url = watched.daemon.s3_url
        assert ask(url, "PUT", f"/{BUCKET}", body=b"").status == 200
        watched.scrape_until(lambda now: now.sum(REQUESTS) == 1)
        pids = watched.daemon.worker_pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as both:
                # Each takes as long as a worker may.
                ready = both.submit(probe, watched.url, "/~/ready")
                scrape = watched.scrape()
            assert scrape.sum(REQUESTS) == 1
            assert scrape.sum("pachgw_workers", state="silent") == 2
            assert ready.result() == (503, b"no worker answers\n")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        watched.scrape_until(lambda now: now.sum("pachgw_workers", state="serving") == 2)
        watched.await_probe(watched.url, 200)


def test_what_is_too_much_is_counted_by_limit_and_probes_are_not_refused(tmp_path: Path) -> None:
    with Watched(tmp_path, "--workers", "1", "--max-requests", "4") as watched:
        url = watched.daemon.s3_url
        assert ask(url, "PUT", f"/{BUCKET}", body=b"").status == 200
        with Wire(url) as first, Wire(url) as second:
            first.head("PUT", f"/{BUCKET}/a", {"Content-Length": "1000000"})
            watched.scrape_until(lambda now: now.sum("pachgw_s3_uploads_in_flight") == 1)
            second.head("PUT", f"/{BUCKET}/b", {"Content-Length": "1000000"})
            assert second.answer().status == 503
            scrape = watched.scrape_until(lambda now: now.sum("pachgw_s3_refused_total") == 1)
            assert scrape.sum("pachgw_s3_refused_total", limit="uploads") == 1
            assert scrape.sum(REQUESTS, action="-", status="503") == 1
            others = [Wire(url) for _ in range(3)]
            try:
                for other in others:
                    other.head("PUT", f"/{BUCKET}/c", {"Content-Length": "10"})
                watched.scrape_until(lambda now: now.sum("pachgw_s3_requests_in_flight") == 4)
                assert ask(url, "GET", f"/{BUCKET}/a").status == 503
                watched.await_probe(url, 200)
            finally:
                for other in others:
                    other.close()
        scrape = watched.scrape_until(lambda now: now.sum(REQUESTS, status="499") == 4)
        assert scrape.sum("pachgw_s3_refused_total", limit="requests") == 1
        assert scrape.sum("pachgw_s3_uploads_in_flight") == 0


def test_probes_need_no_auth_and_keys_of_a_bucket_in_the_host_are_keys(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    with Watched(
        *(tmp_path / "state", "--pfs-tokens", str(tokens), "--domain", "s3.test", "--workers", "1"),
    ) as watched:
        url = watched.daemon.s3_url
        assert ask(url, "PUT", f"/{BUCKET}", token=TOKEN, body=b"").status == 200
        assert ask(url, "GET", f"/{BUCKET}").status == 403
        watched.await_probe(url, 200)
        assert probe(url, "/~/ready") == (200, b"ok\n")
        assert probe(url, "/~/healthy") == (200, b"ok\n")
        assert ask(url, "PUT", f"/{BUCKET}/~/ready", token=TOKEN, body=b"a key").status == 200
        own = {"Host": f"{BUCKET}.s3.test"}
        assert ask(url, "GET", "/~/ready", headers=own).status == 403
        assert ask(url, "GET", "/~/ready", headers={"Host": "s3.test"}).body == b"ok\n"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=TOKEN,
            aws_secret_access_key=TOKEN,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        signed = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "~/ready"})
        parts = urlsplit(signed)
        answer = ask(
            url, "GET", f"{parts.path}?{parts.query}", headers={"Host": parts.netloc, "Referer": signed}
        )
        assert answer.body == b"a key"
        line = watched.daemon.wait_for(rf"(.*{answer.headers['x-amz-request-id']}.*)")
        assert hashlib.sha256(TOKEN.encode()).hexdigest()[:12] in line
        signature = parts.query.rpartition("X-Amz-Signature=")[2]
        assert len(signature) == 64
        text = "\n".join(watched.daemon.log) + str(watched.scrape().series)
        assert TOKEN not in text
        assert signature not in text


def test_ready_is_false_from_the_first_moment_of_stopping(tmp_path: Path) -> None:
    with Watched(tmp_path, "--workers", "2", "--drain-seconds", "60") as watched:
        url = watched.daemon.s3_url
        assert ask(url, "PUT", f"/{BUCKET}", body=b"").status == 200
        with Wire(url) as wire:
            # Stopping waits for it.
            wire.head("PUT", f"/{BUCKET}/a", {"Content-Length": "10"})
            watched.scrape_until(lambda now: now.sum("pachgw_s3_requests_in_flight") == 1)
            os.kill(watched.daemon.pid, signal.SIGTERM)
            watched.daemon.wait_for(r"\(TCP Port \d+ Closed\)")
            assert probe(watched.url, "/~/ready") == (503, b"the gateway is stopping\n")
            assert watched.scrape().sum("pachgw_s3_requests_in_flight") == 1
            wire.send(b"0123456789")
            assert wire.answer().status == 200
        assert watched.daemon.ended() == 0


def test_until_when_the_certificate_is_valid(tmp_path: Path) -> None:
    key, chain = certificate("localhost")
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "key.pem").chmod(0o600)
    tls = ("--tls-certificate", str(tmp_path / "chain.pem"), "--tls-key", str(tmp_path / "key.pem"))
    listen = ("--listen", "tls:0:interface=127.0.0.1")
    with Watched(tmp_path / "state", *listen, *tls, "--workers", "2") as watched:
        ends = x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()
        scrape = watched.scrape_until(lambda now: now.sum("pachgw_workers", state="serving") == 2)
        # Not their sum.
        assert scrape.sum("pachgw_tls_certificate_expiry_seconds") == ends


def test_an_endpoint_that_is_taken_ends_the_daemon(tmp_path: Path) -> None:
    with Watched(tmp_path / "one", "--workers", "1") as watched:
        port = urlsplit(watched.url).port
        second = Watched(tmp_path / "two", "--workers", "1", "--metrics", f"tcp:{port}:interface=127.0.0.1")
        with pytest.raises(AssertionError, match=rf"--metrics tcp:{port}:"):
            second.daemon.start()
        assert second.daemon.ended() == 1
