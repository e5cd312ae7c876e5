"""Dates that do not move: of the commit that last changed a key, whoever wrote since, and after restarts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import ask
from tools import tool

from pachgw.s3.request.headers import parse_http_date

NAMES = [f"d{number % 3}/f{number}" for number in range(12)]
OTHERS = 100


def dates(b: Bucket, url: str | None = None, prefix: str = "") -> dict[str, str]:
    """LastModified of each key by ListObjectsV2, checked against HEAD's."""
    answer = ask(url or b.url, "GET", f"/{b.name}?list-type=2&prefix={prefix}")
    return dict(zip(answer.all("Key"), answer.all("LastModified"), strict=True))


def write_others(b: Bucket) -> None:
    """At least so many keys, each in a commit of its own, and until the second has changed."""
    begin = int(time.time())
    number = 0
    while number < OTHERS or int(time.time()) <= begin + 1:
        if number % 10:
            b.put(f"others/{number % OTHERS}", str(number).encode())
        else:
            b.put_path(f"/others/by-pfs-{number % OTHERS}", str(number).encode())
        number += 1
        if number > OTHERS:
            # There are enough, and only the clock is waited for.
            time.sleep(0.05)
    # A busy machine may still be reading what others have written.
    assert b.ask("GET", "?versions&max-keys=1").status == 200


def test_dates_stay_while_others_write(b: Bucket) -> None:
    before = time.time()
    for name in NAMES:
        b.put(name, name.encode())
    first = dates(b)
    heads = {name: b.ask("HEAD", f"/{name}").headers for name in NAMES}
    write_others(b)
    assert dates(b, prefix="d") == first
    for name in NAMES:
        now = b.ask("HEAD", f"/{name}").headers
        for header in ("last-modified", "x-amz-version-id", "etag"):
            assert now[header] == heads[name][header]
        conditional = {"If-Modified-Since": now["last-modified"]}
        assert b.ask("GET", f"/{name}", headers=conditional).status == 304
    # Also in a commit bucket, and by a token of the first page.
    head = b.commit_ids()[0]
    answer = b.raw("GET", f"/{head}.{b.repo}?list-type=2&prefix=d")
    assert dict(zip(answer.all("Key"), answer.all("LastModified"), strict=True)) == first
    assert all(date > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before - 1)) for date in first.values())


def test_a_write_may_depend_on_the_date(b: Bucket) -> None:
    b.put("k", b"one")
    date = b.ask("HEAD", "/k").headers["last-modified"]
    write_others(b)
    unchanged = {"If-Unmodified-Since": date}
    assert b.ask("PUT", "/k", body=b"two", headers=unchanged).status == 200
    later = b.ask("PUT", "/k", body=b"three", headers=unchanged)
    assert (later.status, later.code) == (412, "PreconditionFailed")
    assert b.get("k").body == b"two"


def test_a_write_by_others_is_seen_at_once(b: Bucket) -> None:
    """The first look after it is a listing; nothing else has asked for the history before."""
    b.put("k", b"one")
    date = b.ask("HEAD", "/k").headers["last-modified"]
    version = b.commit_ids()[0]
    begin = int(time.time())
    while int(time.time()) <= begin + 1:
        # Hundreds of commits would take longer than a listing waits.
        time.sleep(0.1)
        b.put_path("/other", b"x")
    assert parse_http_date(date) == datetime.fromisoformat(dates(b)["k"])
    assert b.ask("HEAD", "/k").headers["x-amz-version-id"] == version
    assert b.ask("HEAD", "/other").headers["x-amz-version-id"] == b.commit_ids()[0]


def test_an_open_commit_has_the_date_of_its_start(b: Bucket) -> None:
    b.put("k", b"one")
    date = b.ask("HEAD", "/k").headers["last-modified"]
    commit = b.start_commit()
    b.put_path("/new", b"x")
    headers = b.ask("HEAD", "/k").headers
    assert headers["x-amz-version-id"] == commit.id
    assert headers["last-modified"] >= date
    b.finish_commit()
    assert b.ask("HEAD", "/k").headers["last-modified"] == date
    assert b.ask("HEAD", "/new").headers["x-amz-version-id"] == commit.id


Sync = Callable[[str, str], list[str]]
"""Sync one place to another; the lines that say what was moved."""


def _said(*command: str) -> list[str]:
    environ = os.environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture(params=["aws", "s5cmd", "rclone"])
def sync(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> Iterator[tuple[str, Sync]]:
    """How the client names a bucket, and its sync."""
    url = daemon.s3_url
    if request.param == "aws":
        command = [tool("aws"), "--endpoint-url", url, "--region", "us-east-1", "s3", "sync", "--no-progress"]
        # It takes what is newer in S3 than here for unchanged, without this.
        command.append("--exact-timestamps")
        yield "s3://{}/", lambda source, target: _said(*command, source, target)
    elif request.param == "s5cmd":
        s5cmd = [tool("s5cmd"), "--endpoint-url", url, "sync"]

        def by_s5cmd(source: str, target: str) -> list[str]:
            return _said(*s5cmd, source + ("*" if source.startswith("s3:") else ""), target)

        yield "s3://{}/", by_s5cmd
    else:
        config = tmp_path / "rclone.conf"
        config.write_text(
            "[gw]\ntype = s3\nprovider = Other\naccess_key_id = any\nsecret_access_key = any\n"
            f"endpoint = {url}\n",
            encoding="utf-8",
        )
        # By S3's own date, and not by one that it has put beside it.
        rclone = [tool("rclone"), "--config", str(config), "--use-server-modtime", "--update", "-v", "sync"]

        def by_rclone(source: str, target: str) -> list[str]:
            return [line for line in _said(*rclone, source, target) if ": Copied" in line]

        yield "gw:{}/", by_rclone


def test_sync_moves_nothing_but_what_changed(b: Bucket, sync: tuple[str, Sync], tmp_path: Path) -> None:
    place, run = sync
    there = place.format(b.name) + "d/"
    here = f"{tmp_path / 'here'}/"
    for name in NAMES:
        path = Path(here, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert len(run(here, there)) == len(NAMES)
    back = f"{tmp_path / 'back'}/"
    Path(back).mkdir()
    assert len(run(there, back)) == len(NAMES)
    write_others(b)
    assert run(here, there) == []
    assert run(there, back) == []
    # A file of the same size with other bytes, up and down.
    changed = Path(here, NAMES[3])
    changed.write_text(NAMES[3].swapcase(), encoding="utf-8")
    os.utime(changed, (time.time() + 5, time.time() + 5))
    (moved,) = run(here, there)
    assert NAMES[3] in moved
    (moved,) = run(there, back)
    assert NAMES[3] in moved
    assert Path(back, NAMES[3]).read_text(encoding="utf-8") == NAMES[3].swapcase()


def _index_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("changes-*.sqlite*"))


def _put_some(b: Bucket) -> dict[str, str]:
    for name in NAMES:
        b.put(name, name.encode())
    write_others(b)
    return dates(b, prefix="d")


@pytest.mark.parametrize("what", ["kept", "removed", "damaged"])
def test_after_a_restart_dates_are_the_same(tmp_path: Path, what: str) -> None:
    state = tmp_path / "state"
    with Daemon(state, "--pfs-listen", "127.0.0.1:0") as daemon:
        assert ask(daemon.s3_url, "PUT", "/master.r", body=b"").status == 200
        b = Bucket(daemon, "master.r")
        first = _put_some(b)
        whole = b.ask("GET", "?versions").body
        b.close()
    files = _index_files(state / "gateway")
    assert files
    for path in files:
        if what == "removed":
            path.unlink()
        elif what == "damaged":
            data = bytearray(path.read_bytes())
            data[100:] = b"\xa5" * max(0, len(data) - 100)
            path.write_bytes(bytes(data))
    with Daemon(state, "--pfs-listen", "127.0.0.1:0") as daemon:
        b = Bucket(daemon, "master.r")
        answer = b.ask("GET", "?versions")
        assert answer.body == whole, (answer, daemon.log)
        assert dates(b, prefix="d") == first
        assert not daemon.tracebacks
        b.close()


def test_without_a_place_for_the_index_everything_else_goes_on(tmp_path: Path) -> None:
    # A file where the directory should be made: nobody can make it, not even root.
    (tmp_path / "file").write_bytes(b"")
    with Daemon(
        tmp_path / "state", "--pfs-listen", "127.0.0.1:0", "--cache-dir", str(tmp_path / "file" / "cache")
    ) as daemon:
        assert ask(daemon.s3_url, "PUT", "/master.r", body=b"").status == 200
        b = Bucket(daemon, "master.r")
        b.put("k", b"one")
        head = b.put("other").headers["x-amz-version-id"]
        # The head stands in.
        answer = b.ask("HEAD", "/k")
        assert (answer.status, answer.headers["x-amz-version-id"]) == (200, head)
        assert list(dates(b)) == ["k", "other"]
        assert b.ask("GET", "?versions").code == "SlowDown"
        assert b.delete("k").status == 204
        assert not daemon.tracebacks
        b.close()


@pytest.mark.parametrize("shared", [True, False], ids=["one index", "two indexes"])
def test_two_gateways_on_one_store(tmp_path: Path, shared: bool) -> None:
    state = tmp_path / "state"
    with Daemon(state, "--pfs-listen", "127.0.0.1:0") as first:
        cache = state / "gateway" if shared else tmp_path / "cache"
        options = ("--pachd", first.pfs_address, "--cache-dir", str(cache))
        with Daemon(tmp_path, *options) as second:
            assert ask(first.s3_url, "PUT", "/master.r", body=b"").status == 200
            b = Bucket(first, "master.r")
            for number in range(20):
                url = (first, second)[number % 2].s3_url
                assert ask(url, "PUT", f"/master.r/k{number % 5}", body=str(number).encode()).status == 200
            answers = [ask(one.s3_url, "GET", "/master.r?versions") for one in (first, second)]
            assert answers[0].body == answers[1].body
            assert len(answers[0].all("VersionId")) == 20
            assert dates(b, first.s3_url) == dates(b, second.s3_url)
            for number in range(5):
                heads = [ask(one.s3_url, "HEAD", f"/master.r/k{number}").headers for one in (first, second)]
                for header in ("last-modified", "x-amz-version-id"):
                    assert heads[0][header] == heads[1][header]
            b.close()


def test_who_may_not_read_learns_nothing_from_the_index(tmp_path: Path) -> None:
    """What one client's reads have filled is not told to another whose token has no scope on the repo."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        "".join(f'[[token]]\ntoken = "{name}"\nsubject = "github:{name}"\n' for name in ("alice", "bob")),
        encoding="utf-8",
    )
    with Daemon(tmp_path / "state", "--pfs-listen", "127.0.0.1:0", "--pfs-tokens", str(tokens)) as daemon:
        assert ask(daemon.s3_url, "PUT", "/master.r", body=b"", token="alice").status == 200
        put = ask(daemon.s3_url, "PUT", "/master.r/k", body=b"one", token="alice")
        version = put.headers["x-amz-version-id"]
        ask(daemon.s3_url, "DELETE", "/master.r/k", token="alice")
        assert ask(daemon.s3_url, "GET", "/master.r?versions", token="alice").all("VersionId")[1] == version
        for target in (
            "/master.r?versions",
            f"/{version}.r?versions",
            "/master.r/k",
            f"/master.r/k?versionId={version}",
            f"/{version}.r/k",
        ):
            answer = ask(daemon.s3_url, "GET", target, token="bob")
            assert (answer.status, answer.code) == (403, "AccessDenied"), target
            assert "x-amz-delete-marker" not in answer.headers
