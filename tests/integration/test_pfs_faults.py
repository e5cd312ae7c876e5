"""The connection to PFS is slow, silent, gone or reset at any byte: right answers or errors, and no trace."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from buckets import Bucket
from daemons import Daemon
from faultproxy import Way
from proxied import BUCKET, LARGE, SMALL, Proxied, Trials, content, fill
from raw import Answer, ask
from wire import Closed, Wire

BATCH = b"<Delete><Object><Key>nothing</Key></Object></Delete>"
SECONDS = 60
"""Only a test that is about to fail waits so long."""
SLACK = 4
"""Threads and descriptors that come and go by themselves: of gRPC's own pool, of a connection's end."""


@pytest.fixture(scope="module")
def pfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    options = ("--pfs-listen", "127.0.0.1:0", "--workers", "1")
    with Daemon(tmp_path_factory.mktemp("pfs"), *options) as running:
        fill(running)
        yield running
    assert not [line for line in running.log if "Traceback" in line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pfs: Daemon) -> Iterator[Proxied]:
    with Proxied(tmp_path_factory.mktemp("reset"), pfs) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, pfs: Daemon) -> Iterator[Proxied]:
    """One that waits for nothing long."""
    limits = ("--pfs-answer-seconds", "2", "--pfs-idle-seconds", "2", "--pfs-commit-seconds", "2")
    with Proxied(tmp_path_factory.mktemp("hasty"), pfs, *limits) as made:
        yield made


# Reset.


def _offsets(total: int, *, count: int, seed: str) -> list[int]:
    """The first, the last, the one that is not reached any more, and some in between."""
    chance = random.Random(seed)
    return sorted({0, 1, total - 1, total, *(chance.randrange(total) for _ in range(count))})


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_reset_at_some_bytes(place: Proxied, method: str) -> None:
    trials = Trials(place)
    for way, total in trials.bytes_of(method).items():
        for offset in _offsets(total, count=8, seed=f"{method} {way}"):
            trials.run(method, way, offset)
    trials.tell()
    assert sum(count for what, count in trials.counts.items() if " reset " in what) >= 20


@pytest.mark.long
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_reset_at_every_byte(place: Proxied, method: str) -> None:
    trials = Trials(place)
    for way, total in trials.bytes_of(method).items():
        for offset in range(total + 1):
            trials.run(method, way, offset)
    trials.tell()


def test_reset_in_large_bodies(place: Proxied) -> None:
    """A GET goes on from its byte. A PUT that is reset in its body leaves nothing."""
    chance = random.Random(7)
    resumed = place.watched.scrape().sum("pachgw_pfs_reads_resumed_total")
    for _ in range(4):
        # Beyond what comes before the first piece: there is something to go on from.
        place.proxy.reset_after(Way.TO_CLIENT, chance.randrange(LARGE // 4, LARGE))
        answer = place.get("large")
        assert place.proxy.heal()
        assert answer is not None
        assert (answer.status, answer.body == content("large", LARGE)) == (200, True)
    assert place.watched.scrape().sum("pachgw_pfs_reads_resumed_total") - resumed >= 4
    for number in range(3):
        place.proxy.reset_after(Way.TO_SERVER, chance.randrange(LARGE))
        answer = place.put(f"large-{number}", LARGE)
        assert place.proxy.heal()
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
        assert place.there(f"large-{number}") is None
        place.is_well()


def test_an_open_commit_is_not_gone_on_with(place: Proxied) -> None:
    """What is in it may be other bytes by then: the connection is cut."""
    bucket = Bucket(place.pfs, "master.open")
    assert bucket.ask("PUT", body=b"").status == 200
    bucket.start_commit()
    bucket.put("large", content("open", LARGE))
    place.proxy.reset_after(Way.TO_CLIENT, LARGE // 2)
    with Wire(place.url) as wire:
        wire.head("GET", "/master.open/large")
        status, headers = wire.answer_head()
        assert (status, headers["content-length"]) == (200, str(LARGE))
        try:
            got = wire.read(LARGE)
        except ConnectionResetError:
            got = b""
        assert len(got) < LARGE
        assert content("open", LARGE).startswith(got)
    assert place.proxy.heal()
    place.is_well()
    bucket.close()


# Latency.


def test_a_slow_way(place: Proxied) -> None:
    place.proxy.delay(0.02)
    assert place.put("slow", SMALL).status == 200
    assert place.put("slow-large", 2_000_000).status == 200
    for key, size in (("slow", SMALL), ("slow-large", 2_000_000)):
        answer = place.get(key)
        assert answer is not None
        assert answer.body == content(key, size)
    keys = ask(place.url, "GET", f"/{BUCKET}?prefix=slow").all("Key")
    assert keys == ["slow", "slow-large"]
    place.proxy.heal()


# Silence.

REQUESTS: tuple[tuple[str, str, bytes | None], ...] = (
    ("GET", "/", None),
    ("GET", f"/{BUCKET}", None),
    ("HEAD", f"/{BUCKET}", None),
    ("GET", f"/{BUCKET}/small", None),
    ("HEAD", f"/{BUCKET}/small", None),
    ("GET", f"/{BUCKET}/large", None),
    ("PUT", f"/{BUCKET}/stalled", b"x"),
    ("PUT", f"/{BUCKET}/stalled-large", bytes(3_000_000)),
    ("DELETE", f"/{BUCKET}/nothing", None),
    ("POST", f"/{BUCKET}?delete", BATCH),
    ("PUT", "/master.stalled", b""),
    ("DELETE", "/master.nothing", None),
)


class _Halfway:
    """A GET and a PUT in the middle of their bodies."""

    def __init__(self, place: Proxied, key: str) -> None:
        self._place = place
        self.key = key
        self._get = Wire(place.url, receive_bytes=65536)
        self._put = Wire(place.url)
        self._get.head("GET", f"/{BUCKET}/large")
        assert self._get.answer_head()[0] == 200
        self._put.head("PUT", f"/{BUCKET}/{key}", {"Content-Length": str(LARGE)})
        self._put.send(content(key, LARGE)[: LARGE // 2])

    def end_get(self) -> bytes:
        """The bytes that came; whole or not."""
        with self._get as wire:
            try:
                return wire.read(LARGE)
            except ConnectionResetError:
                return b""

    def end_put(self) -> Answer | None:
        """The answer; None where the connection was ended instead, in the body."""
        with self._put as wire:
            try:
                wire.send(content(self.key, LARGE)[LARGE // 2 :])
                return wire.answer("PUT")
            except (OSError, Closed):
                return None


def _stall(place: Proxied, seed: int, requests: Sequence[tuple[str, str, bytes | None]]) -> Counter[str]:
    """A time of silence that begins between requests and in mid-body; how they ended."""
    halfway = _Halfway(place, f"half-{seed}")
    place.proxy.stall()
    ends: Counter[str] = Counter()
    with ThreadPoolExecutor(len(requests) + 2) as pool:
        got, put = pool.submit(halfway.end_get), pool.submit(halfway.end_put)
        asked = [pool.submit(ask, place.url, method, target, body=body) for method, target, body in requests]
        for one in asked:
            answer = one.result()
            assert answer.status == 503, answer
            assert answer.headers["retry-after"]
            ends["503"] += 1
        assert len(got.result()) < LARGE
        ends["GET cut"] += 1
        answer = put.result()
        assert answer is None or answer.status == 503, answer
        ends["PUT failed"] += 1
    assert ask(place.url, "GET", "/~/ready").status == 503
    place.proxy.heal()
    return ends


def _is_as_before(place: Proxied) -> None:
    """Until the gateway has seen that PFS is there again; then all is as it was."""
    end = time.monotonic() + SECONDS
    while (answer := place.get("small")) is None or answer.status == 503:
        assert time.monotonic() < end, answer
    place.is_well()
    while ask(place.url, "GET", "/~/ready").status != 200:
        assert time.monotonic() < end
    large = place.get("large")
    assert large is not None
    assert large.body == content("large", LARGE)


def _without_stall(place: Proxied, requests: Sequence[tuple[str, str, bytes | None]]) -> None:
    halfway = _Halfway(place, "half-0")
    with ThreadPoolExecutor(len(requests) + 2) as pool:
        got, put = pool.submit(halfway.end_get), pool.submit(halfway.end_put)
        asked = [pool.submit(ask, place.url, method, target, body=body) for method, target, body in requests]
        for one in (*asked, got, put):
            one.result()
    assert ask(place.pfs.s3_url, "DELETE", f"/{BUCKET}/half-0").status == 204


def _stalls(
    place: Proxied, *, count: int, requests: Sequence[tuple[str, str, bytes | None]] = REQUESTS
) -> None:
    _without_stall(place, requests)
    before = place.held()
    ends = sum((_stall(place, number, requests) for number in range(count)), Counter())
    _is_as_before(place)
    end = time.monotonic() + SECONDS
    while any(now > then + SLACK for now, then in zip(place.held(), before, strict=True)):
        # What a connection had is let go of a little after its answer.
        assert time.monotonic() < end, (before, place.held())
        place.get("small")
    print(f"\n  {count} stalls: {dict(ends)}; descriptors and threads {before} before, {place.held()} after")
    assert [place.there(f"half-{number}") for number in range(count)] == [None] * count


def test_silence_has_an_end_and_leaves_nothing(hasty: Proxied) -> None:
    # Writes to one branch wait for each other, and so one after the other for PFS.
    _stalls(hasty, count=1, requests=REQUESTS[:7])


@pytest.mark.long
def test_much_silence_leaves_nothing(hasty: Proxied) -> None:
    _stalls(hasty, count=12)


# A peer that is gone without a word.


class Lost:
    """What became of requests that were under way, or came, when the other end was gone.

    Keepalive takes 12 seconds to see it, in which other tests run.
    """

    def __init__(self, place: Proxied) -> None:
        self.place = place
        self._halfway = _Halfway(place, "half")
        self.accepted = place.proxy.accepted
        place.proxy.lose_peers()
        self._pool = ThreadPoolExecutor(3)
        self.got = self._pool.submit(self._halfway.end_get)
        self.put = self._pool.submit(self._halfway.end_put)
        self.asked = self._pool.submit(place.get, "small")

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture(scope="module", autouse=True)
def lost(tmp_path_factory: pytest.TempPathFactory, pfs: Daemon) -> Iterator[Lost]:
    # All requests on the connection that is lost: another worker has one of its own.
    options = ("--pfs-keepalive-seconds", "6", "--workers", "1")
    with Proxied(tmp_path_factory.mktemp("lost"), pfs, *options) as place:
        made = Lost(place)
        yield made
        made.close()


def test_a_peer_that_is_gone_is_noticed(lost: Lost) -> None:
    """By keepalive: the deadlines are a minute."""
    answer = lost.asked.result()
    assert answer is not None
    assert (answer.status, answer.body) == (200, content("small", SMALL))
    assert lost.got.result() == content("large", LARGE)
    put = lost.put.result()
    assert put is None or put.status == 503
    assert lost.place.there("half") is None
    assert lost.place.proxy.accepted > lost.accepted
    assert lost.place.calls("DEADLINE_EXCEEDED") == 0
    assert lost.place.watched.scrape().sum("pachgw_pfs_retries_total", method="InspectFile") >= 1


@pytest.mark.long
def test_pings_do_not_end_a_connection(lost: Lost) -> None:
    """An idle one is kept by both sides for more pings than a server needs to lose its patience."""
    for one in (lost.asked, lost.got, lost.put):
        one.result()
    lost.place.is_well()
    accepted = lost.place.proxy.accepted
    before = lost.place.proxy.counts()
    end = time.monotonic() + 2 * SECONDS
    # A ping is 17 bytes, and so is its answer; nothing else is on the way.
    while lost.place.proxy.counts()[Way.TO_CLIENT] - before[Way.TO_CLIENT] < 6 * 17:
        assert time.monotonic() < end
        time.sleep(0.1)
    lost.place.is_well()
    assert lost.place.proxy.accepted == accepted


# No connection to be had.


@pytest.mark.long
def test_where_it_is_known_that_pfs_is_away_nobody_waits(hasty: Proxied) -> None:
    """Of a connection that cannot be made only the first calls wait."""
    hasty.proxy.stall()
    hasty.proxy.cut()
    _until_calls_are_refused(hasty)
    deadlines = hasty.calls("DEADLINE_EXCEEDED")
    for _ in range(3):
        for method, target, body in REQUESTS:
            answer = ask(hasty.url, method, target, body=body)
            assert answer.status == 503
            assert answer.headers["retry-after"]
    assert hasty.calls("DEADLINE_EXCEEDED") == deadlines
    hasty.proxy.heal()
    _is_as_before(hasty)


def _until_calls_are_refused(place: Proxied) -> None:
    """Until calls are refused for want of a connection."""
    end = time.monotonic() + SECONDS
    while True:
        before = place.calls("DEADLINE_EXCEEDED"), place.calls("UNAVAILABLE")
        answer = place.get("small")
        assert answer is not None
        assert answer.status == 503
        after = place.calls("DEADLINE_EXCEEDED"), place.calls("UNAVAILABLE")
        if after[0] == before[0] and after[1] > before[1]:
            return
        assert time.monotonic() < end, (before, after)
