"""Ten thousand malformed requests: each answered or closed, no error of ours, and nothing left behind.

Which, is the same in each run: hypothesis chooses by a seed. The counts stand at the end of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pytest
from badhttp import BAD_REQUESTS, TOO_LARGE
from barrage import HANG_SECONDS, Barrage, Footprints, Outcome, Shot
from daemons import Daemon
from hypothesis import HealthCheck, Phase, given, seed, settings
from mutations import bases, mutated
from raw import ask
from smuggling import pairs

GUARDED = "master.guarded"
FUZZED = "master.fuzzed"
KEPT = b"kept as it is"
GOOD = f"GET /{GUARDED}/k HTTP/1.1\r\nHost: x\r\n\r\n".encode()
AT_ONCE = 40
SEED = 7
MUTATED = 8_100
MUTATED_LONG = 30_000
POOLS = 12
"""Threads, and descriptors, that pools may still begin: each has a bound, whatever comes."""
GROWTH_KIB = 96 * 1024
"""What a process may have grown by: caches and an allocator that keeps what it was given."""


class Target:
    """A daemon that is shot at, and what it was like before."""

    def __init__(self, daemon: Daemon, barrage: Barrage) -> None:
        self.daemon = daemon
        self.barrage = barrage
        self.footprints = Footprints(daemon=daemon)

    def fire_all(self, shots: Iterable[Shot]) -> Iterator[Outcome]:
        """Some at a time."""
        left = iter(shots)
        while some := list(islice(left, AT_ONCE)):
            yield from self.fire(some)

    def fire(self, shots: Sequence[Shot]) -> list[Outcome]:
        outcomes = self.barrage.fire(shots, good=GOOD)
        for one in outcomes:
            assert not one.fault(), (one.fault(), one)
        return outcomes

    def is_as_before(self) -> None:
        """Waits for what ends by itself."""
        before = self.footprints.before
        end = time.monotonic() + HANG_SECONDS
        while True:
            now = self.footprints.now()
            over = [(was, now[pid]) for pid, was in before.items() if not now[pid].is_within(was, POOLS)]
            if not over:
                break
            assert time.monotonic() < end, over
            time.sleep(0.05)
        for pid, was in before.items():
            self.barrage.notes.append(f"before {was}, after {now[pid]}")
            assert now[pid].memory_kib - was.memory_kib < GROWTH_KIB, (was, now[pid])

    def keys(self) -> list[str]:
        return ask(self.daemon.s3_url, "GET", f"/{FUZZED}?prefix=smuggled").all("Key")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, malformed: dict[str, Barrage]) -> Iterator[Target]:
    with Daemon(tmp_path_factory.mktemp("state"), "--workers", "1") as daemon:
        for bucket in (GUARDED, FUZZED):
            assert ask(daemon.s3_url, "PUT", f"/{bucket}", body=b"").status == 200
        assert ask(daemon.s3_url, "PUT", f"/{GUARDED}/k", body=KEPT).status == 200
        made = Target(daemon, Barrage(daemon.s3_url))
        malformed["malformed requests"] = made.barrage
        # Whatever is begun with the first request of a kind is there.
        for _ in range(3):
            assert {one.status for one in made.fire(bases(FUZZED))} < set(range(200, 504))
        made.footprints.take()
        yield made
        assert ask(daemon.s3_url, "GET", f"/{GUARDED}/k").body == KEPT
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "Unhandled" in line]


def test_the_list(target: Target) -> None:
    listed = [Shot(kind="listed", data=data) for data in (*BAD_REQUESTS.values(), *TOO_LARGE.values())]
    assert {one.status for one in target.fire_all(listed)} == {400}


def test_smuggled_requests_are_never_executed(target: Target) -> None:
    control = f"PUT /{FUZZED}/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
    target.fire([Shot(kind="control", data=(control % "smuggled-control" + control % "last").encode())])
    assert target.keys() == ["smuggled-control"]
    for outcome in target.fire_all(pairs(f"/{FUZZED}")):
        assert (outcome.status, outcome.closed) == (400, True), outcome
    assert target.keys() == ["smuggled-control"]


def _mutated(number: int, seeded: int) -> list[Shot]:
    """So many, no two of them the same."""
    found: dict[bytes, Shot] = {}

    # Nothing is tried here, so nothing has to be made smaller: of each it is known what came of it.
    @seed(seeded)
    @settings(
        max_examples=number * 5 // 4,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(bases(FUZZED)))
    def find(shot: Shot) -> None:
        found.setdefault(shot.data, shot)

    find()
    assert len(found) >= number
    return list(found.values())[:number]


def test_mutated_requests(target: Target) -> None:
    assert sum(1 for _ in target.fire_all(_mutated(MUTATED, SEED))) == MUTATED


@pytest.mark.long
@pytest.mark.parametrize("seeded", range(SEED + 1, SEED + 4))
def test_many_more_mutated_requests(target: Target, seeded: int) -> None:
    shots = _mutated(MUTATED_LONG, seeded)
    assert sum(1 for _ in target.fire_all(shots)) == MUTATED_LONG
    target.is_as_before()


def test_nothing_is_left_behind(target: Target) -> None:
    target.is_as_before()
