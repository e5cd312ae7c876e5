"""The model against what queueing theory says, and against its own bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capacity import Kind, Place, bounds, interpolated, simulate

MS = 0.001
READ = Kind(gateway=1.0 * MS, pfs=0.5 * MS, calls=2)
WRITE = Kind(gateway=1.0 * MS, pfs=0.3 * MS, calls=1, commits=True)


def test_one_client_waits_for_nobody() -> None:
    outcome = simulate(READ, Place(gateways=1, pfs_servers=1), clients=1)
    assert outcome.rate == pytest.approx(1 / (1.5 * MS), rel=0.05)


def test_many_clients_get_what_the_busiest_station_allows() -> None:
    outcome = simulate(READ, Place(gateways=1, pfs_servers=1), clients=64)
    assert outcome.rate == pytest.approx(1000, rel=0.05)
    assert outcome.saturated == "gateways"
    assert outcome.busy["PFS"] == pytest.approx(0.5, abs=0.05)
    # Little's law: of 64 clients, each waits 64 ms for an answer.
    assert outcome.p50 == pytest.approx(64, rel=0.2)


def test_gateways_are_added_until_pfs_is_busy() -> None:
    rates = [
        simulate(READ, Place(gateways=count, pfs_servers=1), clients=64 * count) for count in (1, 2, 4, 8)
    ]
    assert rates[1].rate > 1.7 * rates[0].rate
    assert rates[3].rate == pytest.approx(2000, rel=0.05)
    assert rates[3].saturated == "PFS"


def test_processors_bound_what_shares_them() -> None:
    place = Place(gateways=4, pfs_servers=4, cores=2, client=0.5 * MS)
    outcome = simulate(READ, place, clients=64)
    assert outcome.rate == pytest.approx(2 / (2.0 * MS), rel=0.05)
    assert outcome.saturated == "processors"


def test_files_that_wait_share_a_commit() -> None:
    commit = interpolated([(1, 8 * MS), (64, 8 * MS)])
    place = Place(gateways=1, pfs_servers=4, commit=commit, group=64)
    alone, many = (simulate(WRITE, place, clients=clients) for clients in (1, 16))
    assert alone.files_a_commit == 1
    assert many.files_a_commit > 5
    assert many.rate > 5 * alone.rate
    singly = simulate(WRITE, Place(gateways=1, pfs_servers=4, commit=commit, group=1), clients=16)
    assert singly.rate == pytest.approx(125, rel=0.05)
    assert singly.saturated == "the branch's commits"


def test_the_same_seed_is_the_same_run() -> None:
    place = Place(gateways=2, pfs_servers=1, cores=2)
    assert simulate(READ, place, clients=9, seconds=2) == simulate(READ, place, clients=9, seconds=2)
    assert simulate(READ, place, clients=9, seconds=2) != simulate(READ, place, clients=9, seconds=2, seed=2)


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        Kind,
        gateway=st.floats(0.2 * MS, 5 * MS),
        pfs=st.floats(0.2 * MS, 5 * MS),
        calls=st.integers(1, 3),
        commits=st.booleans(),
    ),
    st.integers(1, 4),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(1, 40),
)
def test_no_bound_is_passed(kind: Kind, gateways: int, servers: int, cores: int | None, clients: int) -> None:
    commit = interpolated([(1, 2 * MS), (10, 4 * MS)])
    place = Place(gateways=gateways, pfs_servers=servers, cores=cores, commit=commit, group=16)
    least = min(bounds(kind, place, clients).values())
    outcome = simulate(kind, place, clients=clients, seconds=4)
    assert 0 < outcome.rate < least * 1.25
    assert all(0 <= share <= 1 for share in outcome.busy.values())


def test_a_line_through_points_goes_on_beyond_them() -> None:
    seconds = interpolated([(1, 8.4), (10, 12.7), (50, 44.0)])
    assert [seconds(files) for files in (1, 10, 50)] == pytest.approx([8.4, 12.7, 44.0])
    assert seconds(30) == pytest.approx((12.7 + 44.0) / 2)
    assert seconds(90) == pytest.approx(44.0 + 40 * (44.0 - 12.7) / 40)
