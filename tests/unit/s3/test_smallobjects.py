"""The cache of small files: what it takes, what it holds at most, and how memory for caches is divided."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.pfs.port import hash_of_object
from pachgw.s3.reading.caches import CACHE_BYTES, divide
from pachgw.s3.reading.smallobjects import ENTRY_BYTES, SMALL_BYTES, SmallObjects

LIMIT = 1 << 20


def test_the_hash_is_that_of_pfs() -> None:
    data = b"bytes"
    assert hash_of_object(data) == hashlib.sha256(hashlib.sha512(data).hexdigest().encode()).digest()


def test_kept_and_found() -> None:
    kept = SmallObjects(LIMIT)
    kept.keep(hash_of_object(b"data"), b"data")
    assert kept.get(hash_of_object(b"data")) == b"data"
    assert kept.get(hash_of_object(b"other")) is None
    assert kept.nbytes == 4 + ENTRY_BYTES


def test_other_bytes_than_the_hash_says_are_not_kept() -> None:
    kept = SmallObjects(LIMIT)
    kept.keep(hash_of_object(b"data"), b"date")
    assert kept.get(hash_of_object(b"data")) is None
    assert kept.nbytes == 0


@pytest.mark.parametrize(("size", "is_kept"), [(0, True), (SMALL_BYTES, True), (SMALL_BYTES + 1, False)])
def test_only_small_files(size: int, is_kept: bool) -> None:
    kept = SmallObjects(LIMIT)
    data = bytes(size)
    kept.keep(hash_of_object(data), data)
    assert (kept.get(hash_of_object(data)) is not None) == is_kept


def test_the_least_recently_used_goes_first() -> None:
    one, two, three = (bytes([value]) * 1000 for value in range(3))
    kept = SmallObjects(2 * (1000 + ENTRY_BYTES))
    kept.keep(hash_of_object(one), one)
    kept.keep(hash_of_object(two), two)
    kept.get(hash_of_object(one))
    kept.keep(hash_of_object(three), three)
    assert [kept.get(hash_of_object(data)) for data in (one, two, three)] == [one, None, three]


@given(
    limit=st.integers(0, 3000),
    files=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1200)), max_size=40),
)
def test_never_more_than_the_limit(limit: int, files: list[tuple[str, int]]) -> None:
    kept = SmallObjects(limit)
    put: dict[bytes, bytes] = {}
    for letter, size in files:
        data = letter.encode() * size
        put[hash_of_object(data)] = data
        kept.keep(hash_of_object(data), data)
        found = [data for file_hash in put if (data := kept.get(file_hash)) is not None]
        assert kept.nbytes == sum(map(len, found)) + ENTRY_BYTES * len(found) <= limit
        assert all(put[hash_of_object(data)] == data for data in found)


@given(st.integers(0, 1 << 40))
def test_the_shares_are_the_whole(cache_bytes: int) -> None:
    shares = divide(cache_bytes)
    assert shares.listings + shares.small_objects + shares.records == cache_bytes
    assert min(shares.listings, shares.small_objects, shares.records) >= 0


def test_the_shares_that_the_documentation_tells() -> None:
    shares = divide(CACHE_BYTES)
    assert [shares.listings >> 20, shares.small_objects >> 20, shares.records >> 20] == [64, 56, 8]
