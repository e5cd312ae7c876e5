"""How often each may ask: as a bucket of its own would have it, over all processes, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.s3.processes.rates import BURST_LEAST, BURST_SECONDS, WAYS, Rates
from pachgw.s3.processes.sharedfile import RATE_WORDS, SharedDirectory

NOBODY = 1_800_000_000.0
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["key a", "key b", "token ä", "net 2001:db8::/64"]),
        st.integers(0, 400),
    ),
    max_size=150,
)


class Bucket:
    """What may be asked for at once, in requests; filled again as time goes."""

    def __init__(self, rate: int) -> None:
        self.most = float(max(BURST_LEAST, int(rate * BURST_SECONDS)))
        self.rate = rate
        self.level = self.most
        self.at = 0.0

    def take(self, now: float) -> float:
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        # Nanoseconds are what both have in common.
        if self.level < 1 - 1e-6:
            return (1 - self.level) / self.rate
        self.level -= 1
        return 0.0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), STEPS)
def test_each_has_a_bucket_of_its_own(rate: int, steps: list[tuple[int, str, int]]) -> None:
    now = 0.0
    with TemporaryDirectory() as directory:
        processes = [
            Rates(rate, SharedDirectory(Path(directory)), now=lambda: NOBODY + now) for _ in range(3)
        ]
        buckets: dict[str, Bucket] = {}
        for process, who, milliseconds in steps:
            now += milliseconds / 1000
            wait = processes[process].take(who)
            expected = buckets.setdefault(who, Bucket(rate)).take(now)
            assert abs(wait - expected) < 1e-4


def test_the_clock_may_be_set_back() -> None:
    now = NOBODY
    rates = Rates(1, now=lambda: now)
    while not rates.take("a"):
        pass
    now -= 3600
    assert rates.take("a") == 0.0


def test_any_number_is_no_limit() -> None:
    rates = Rates(0, now=lambda: NOBODY)
    assert not any(rates.take("a") for _ in range(10_000))


def test_a_crowd_takes_nothing_from_anybody() -> None:
    rates = Rates(1, now=lambda: NOBODY)
    names = [f"token {number}" for number in range(RATE_WORDS)]
    # Each of them for the first time, far more than there are places.
    assert not any(rates.take(name) for name in names)


def test_who_asks_most_keeps_the_place() -> None:
    now = NOBODY
    rates = Rates(1, now=lambda: now)
    while not rates.take("greedy"):
        pass
    for number in range(RATE_WORDS // WAYS):
        now += 0.00001
        rates.take(f"token {number}")
    assert rates.take("greedy") > 0
