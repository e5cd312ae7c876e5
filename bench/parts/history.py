"""The index of changes: the first look at a long history, and what GET and LIST cost with it and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench import data
from bench.book import Sample
from bench.client import Client
from bench.stage import in_bucket
from bench.stand import Stand
from bench.subjects import S3
from pachgw.pfs.proto import pfs_pb2_grpc

KEYS = 1_000
PAGES = 20


def _path(number: int) -> str:
    return f"/{number // 100}/file-{number}"


def _make(stand: Stand, bucket: str, commits: int) -> None:
    """A repo of so many keys, each commit but the first of one key."""
    with stand.stage.channel() as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        data.make_repo(stub, bucket)
        data.put_files(stub, bucket, [(_path(number), b"0") for number in range(KEYS)])
        for number in range(commits):
            data.put_files(stub, bucket, [(_path(number % KEYS), b"%d" % number)])


def _seconds_of(subject: S3, key: str = "", **query: str) -> float:
    """Seconds of one GET."""
    with closing(Client(subject.told())) as client:
        begin = time.perf_counter()
        client.ask("GET", key, query)
        return time.perf_counter() - begin


def history(stand: Stand) -> None:
    commits = 200 if stand.quick else 2000
    bucket = f"{stand.stage.bucket}-history"
    _make(stand, bucket, commits)
    cache = stand.directory / "history-cache"
    book = stand.book

    def start(name: str, cache_dir: Path) -> S3:
        return in_bucket(stand.stage.gateway(name, "--workers", "1", cache_dir=cache_dir), bucket)

    gateway = start("pachgw", cache)
    key = _seconds_of(gateway, _path(0).lstrip("/"))
    book.one("history", f"first GET, {commits:,} commits", "pachgw", "ms", key * 1000)
    whole = _seconds_of(gateway, versions="", **{"max-keys": "1"})
    book.one("history", "then until all is read", "pachgw", "s", whole)
    book.one("history", "  for each commit", "pachgw", "ms", whole / commits * 1000)
    book.one("history", "a page of 1,000 versions", "pachgw", "ms", _seconds_of(gateway, versions="") * 1000)
    stand.stage.stop(gateway)
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    book.one("history", "the index on disk, for each change", "pachgw", "bytes", size / (commits + KEYS))
    gateway = start("pachgw", cache)
    again = _seconds_of(gateway, versions="", **{"max-keys": "1"})
    book.one("history", "first look after a restart", "pachgw", "ms", again * 1000)
    nowhere = stand.directory / "file"
    nowhere.write_bytes(b"")
    without = start("pachgw", nowhere / "none")
    for one in (gateway, without):
        _seconds_of(one, **{"list-type": "2"})
    _compare(stand, gateway, without)
    for one in (gateway, without):
        stand.stage.stop(one)


def _compare(stand: Stand, with_index: S3, without: S3) -> None:
    """GET and LIST with the index and without, in turns."""
    both = (("with index", with_index), ("without", without))
    for connections in (1, 16):
        case = f"GET, {connections} conn."
        takers = {
            (f"{case}, {name}", "pachgw"): stand.small(one, "GET", connections, keys="0/file-%d")
            for name, one in both
        }
        stand.book.turns("history", "/s", takers, base=(f"{case}, without", "pachgw"))

    def page(one: S3) -> Callable[[], Sample]:
        def take() -> Sample:
            times = [_seconds_of(one, **{"list-type": "2"}) for _ in range(PAGES)]
            return Sample(value=min(times) * 1000)

        return take

    takers = {(f"LIST, best of {PAGES}, {name}", "pachgw"): page(one) for name, one in both}
    stand.book.turns("history", "ms", takers, base=(f"LIST, best of {PAGES}, without", "pachgw"))
