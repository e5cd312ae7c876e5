"""SIGKILL of the daemon, its PFS and its workers under load: what was acknowledged is there, and is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from daemons import Daemon
from kill_load import Killer, Load
from proxied import LARGE, content
from raw import ask
from sdk import s3_client
from wire import Wire

BUCKET = "master.kept"
SEEDS = (0, 3, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long))


def _half_a_put(url: str, key: str) -> socket.socket:
    """A connection that has sent half of a large PUT and goes no further."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
    head = f"PUT /{BUCKET}/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"
    connection.sendall(head.encode() + bytes(4_000_000))
    return connection


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_in_mid_put(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    versions: dict[str, str] = {}
    enough = threading.Event()

    with Daemon(tmp_path) as daemon:
        s3 = s3_client(daemon.s3_url)
        s3.create_bucket(Bucket=BUCKET)

        def write(number: int) -> None:
            mine = s3_client(daemon.s3_url)
            for index in range(1000):
                key = f"w{number}/{index}"
                size = chance.choice((0, 10, 100_000, 2_000_000))
                body = hashlib.sha256(key.encode()).digest() * (size // 32)
                try:
                    answer = mine.put_object(Bucket=BUCKET, Key=key, Body=body)
                except Exception:  # the daemon is gone
                    return
                acknowledged[key] = body
                versions[key] = answer["VersionId"]
                if len(acknowledged) >= 10 + 5 * seed:
                    enough.set()

        halves = [_half_a_put(daemon.s3_url, f"half{index}") for index in range(2)]
        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        daemon.kill()
        for writer in writers:
            writer.join()
        for half in halves:
            with contextlib.suppress(OSError):
                half.close()

    with Daemon(tmp_path) as daemon:
        s3 = s3_client(daemon.s3_url)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        found = {item["Key"] for page in pages for item in page.get("Contents", ())}
        assert set(acknowledged) <= found
        # A writer may have been killed between the commit and its answer: one key each, whole.
        assert len(found - set(acknowledged)) <= len(writers)
        assert not any(key.startswith("half") for key in found)
        for key, body in acknowledged.items():
            assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
            assert s3.get_object(Bucket=BUCKET, Key=key, VersionId=versions[key])["Body"].read() == body
        for key in found - set(acknowledged):
            body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            assert body == (hashlib.sha256(key.encode()).digest() * (len(body) // 32))


def test_pfs_killed_alone_comes_back(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        s3 = s3_client(daemon.s3_url)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"kept")
        killed, seen = daemon.pfs_pid, len(daemon.log)
        os.kill(killed, signal.SIGKILL)
        daemon.wait_for(r"embedded PFS ended .*SIGKILL", after=seen)
        answers = [ask(daemon.s3_url, "GET", f"/{BUCKET}/k") for _ in range(3)]
        for answer in answers:
            if answer.status != 200:
                assert answer.status == 503
                assert answer.headers["retry-after"]
        daemon.wait_for("serves again", after=seen)
        # The SDK's own patience: it comes again after a 503.
        patient = s3_client(daemon.s3_url, retries={"max_attempts": 10, "mode": "standard"})
        assert patient.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"kept"
        assert daemon.pfs_pid != killed
        assert daemon.stop() == 0


def test_a_get_survives_its_pfs(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        assert ask(daemon.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        assert ask(daemon.s3_url, "PUT", f"/{BUCKET}/k", body=content("k", LARGE)).status == 200
        with Wire(daemon.s3_url, receive_bytes=65536) as slow:
            slow.head("GET", f"/{BUCKET}/k")
            assert slow.answer_head()[0] == 200
            seen = len(daemon.log)
            os.kill(daemon.pfs_pid, signal.SIGKILL)
            daemon.wait_for("serves again", after=seen)
            assert slow.read(LARGE) == content("k", LARGE)
        daemon.wait_for("a download goes on at byte [1-9]", after=seen)
        assert not [line for line in daemon.log if "Traceback" in line]


def _kill_under_load(tmp_path: Path, *, seed: int, times: int) -> None:
    with Daemon(tmp_path, "--workers", "2", "--cache-memory", "0") as daemon:
        assert ask(daemon.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        killer = Killer(daemon, seed=seed)
        with Load(daemon, BUCKET, writers=4, readers=4, seed=seed) as load:
            killer.kill(load, times=times)
        load.check()
        s3 = s3_client(daemon.s3_url, retries={"max_attempts": 10, "mode": "standard"})
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        found = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}
        assert found.items() >= load.acknowledged.items()
        assert found.items() <= (load.acknowledged | load.failed).items()
        went_on = sum("a download goes on" in line for line in daemon.log)
        print(f"\n  {dict(killer.counts)}, {len(load.acknowledged)} acknowledged, none lost")
        print(f"  {dict(sorted(load.counts.items()))}, went on {went_on} times")
        assert daemon.stop() == 0


def test_pfs_and_workers_are_killed_under_load(tmp_path: Path) -> None:
    _kill_under_load(tmp_path, seed=1, times=3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_pfs_and_workers_are_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    _kill_under_load(tmp_path, seed=seed, times=20)
