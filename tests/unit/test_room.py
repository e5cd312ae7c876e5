"""Room: what is taken is given back, and shares shrink as it fills."""

from __future__ import annotations

import pytest

from pachgw.descriptors import KEPT, for_connections
from pachgw.room import Room


def test_room_is_taken_and_given_back() -> None:
    room = Room(100)
    assert room.take(60)
    assert not room.take(60)
    assert not room.take(30, spare=20)
    assert room.take(30, spare=10)
    assert room.left == 10
    room.give(90)
    assert (room.used, room.left) == (0, 100)


def test_what_cannot_wait_may_be_over_the_total() -> None:
    room = Room(10)
    room.take_anyhow(15)
    assert (room.used, room.left) == (15, 0)
    assert not room.take(1)
    room.give(15)
    assert room.left == 10


def test_nobody_gives_back_what_was_not_taken() -> None:
    room = Room(10)
    room.take_anyhow(3)
    with pytest.raises(ValueError, match="4 bytes"):
        room.give(4)
    assert room.used == 3


def test_later_shares_are_smaller() -> None:
    room = Room(1000)
    shares = []
    for _ in range(30):
        shares.append(room.share(4, least=10, most=200))
        room.take_anyhow(shares[-1])
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (200, 10)
    assert room.used <= 1000 + 30 * 10


@pytest.mark.parametrize(
    ("wanted", "limit", "expected"),
    [(4096, 20000, 4096), (4096, 2000, 2000 - KEPT), (4096, 300, 150), (10, 300, 10), (5, 1, 1)],
)
def test_connections_leave_descriptors_for_the_rest(wanted: int, limit: int, expected: int) -> None:
    assert for_connections(wanted, limit) == expected
