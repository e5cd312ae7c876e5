"""Pages of a listing against one sorted list and a plain model of what S3 does."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.s3.listing.keytable import KeyTable
from pachgw.s3.listing.pages import (
    ContinuationToken,
    ListParams,
    Page,
    build_page,
    parse_list_params,
    parse_token,
    render_token,
)
from pachgw.s3.request.target import Query

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)

LETTERS = "ab/-.0\x00\x7féẞ\uffff😀"
KEYS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=6)
TEXTS = st.text(st.sampled_from(LETTERS), max_size=3)
DELIMITERS = st.one_of(st.just(""), st.just("/"), st.text(st.sampled_from(LETTERS), min_size=1, max_size=2))


def table(keys: set[str]) -> KeyTable:
    shuffled = sorted(keys, key=hash)
    return KeyTable.build(
        [(key, len(key), hashlib.sha256(key.encode()).digest()) for key in shuffled], last_modified=NOW
    )


def items(keys: set[str], prefix: str, delimiter: str) -> list[tuple[str, str]]:
    """Every item of the whole listing with the kind of each, in S3's order."""
    found: dict[tuple[str, str], None] = {}
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found["key" if at < 0 else "prefix", key if at < 0 else key[: at + len(delimiter)]] = None
    return list(found)


def page_items(page: Page) -> list[tuple[str, str]]:
    both = [("key", entry.key) for entry in page.contents] + [
        ("prefix", prefix) for prefix in page.common_prefixes
    ]
    return sorted(both, key=lambda item: item[1].encode())


def pages(keys: KeyTable, params: ListParams, commit: str | None) -> Iterator[Page]:
    """The pages as a client asks for them, one after the other."""
    for _ in range(len(keys) + 1):
        page = build_page(keys, params, commit=commit)
        yield page
        if not page.is_truncated:
            return
        if params.version == 2:
            assert page.next_token is not None
            query = Query(
                (
                    ("prefix", params.prefix),
                    ("delimiter", params.delimiter),
                    ("max-keys", str(params.max_keys)),
                    ("start-after", params.start_after),
                    ("continuation-token", page.next_token),
                )
            )
            params = parse_list_params(query, version=2)
            assert params.token is not None
            assert params.token.commit == commit
        else:
            if params.delimiter:
                assert page.next_marker is not None
            else:
                assert page.next_marker is None
            params = replace(params, marker=page.next_marker or page.contents[-1].key)
    raise AssertionError("the listing does not come to an end")


@given(st.sets(KEYS, max_size=25), TEXTS, DELIMITERS, st.integers(1, 7), st.sampled_from([1, 2]))
@settings(max_examples=1500)
def test_pages_joined_are_the_whole_listing(
    keys: set[str], prefix: str, delimiter: str, max_keys: int, version: int
) -> None:
    params = ListParams(version=version, prefix=prefix, delimiter=delimiter, max_keys=max_keys)
    joined: list[tuple[str, str]] = []
    for page in pages(table(keys), params, "c0ffee"):
        assert page.key_count == len(page_items(page))
        assert page.key_count == max_keys if page.is_truncated else page.key_count <= max_keys
        for entry in page.contents:
            assert entry.size == len(entry.key)
            assert entry.etag == f'"{hashlib.sha256(entry.key.encode()).hexdigest()}-1"'
            assert entry.last_modified == NOW
        joined += page_items(page)
    assert joined == items(keys, prefix, delimiter)


@given(st.sets(KEYS, max_size=25), TEXTS, DELIMITERS, KEYS, st.integers(0, 7))
@settings(max_examples=1500)
def test_marker_of_version_1(keys: set[str], prefix: str, delimiter: str, marker: str, max_keys: int) -> None:
    """Keys up to the marker are left out, and so is the common prefix that the marker lies in."""
    later = {key for key in keys if key.encode() > marker.encode()}
    expected = [
        (kind, name)
        for kind, name in items(later, prefix, delimiter)
        if not (kind == "prefix" and marker.startswith(name))
    ]
    params = ListParams(
        version=1, prefix=prefix, delimiter=delimiter, marker=marker, max_keys=max_keys, start_after="a"
    )
    page = build_page(table(keys), params)
    assert page_items(page) == expected[:max_keys]
    assert page.is_truncated is (max_keys > 0 and len(expected) > max_keys)
    assert page.next_token is None


@given(st.sets(KEYS, max_size=25), TEXTS, DELIMITERS, KEYS, st.integers(0, 7))
@settings(max_examples=1500)
def test_start_after_of_version_2(
    keys: set[str], prefix: str, delimiter: str, start_after: str, max_keys: int
) -> None:
    """Keys up to it are left out; a common prefix of later keys is shown."""
    later = {key for key in keys if key.encode() > start_after.encode()}
    expected = items(later, prefix, delimiter)
    params = ListParams(
        version=2, prefix=prefix, delimiter=delimiter, start_after=start_after, max_keys=max_keys, marker="a"
    )
    page = build_page(table(keys), params)
    assert page_items(page) == expected[:max_keys]
    assert page.is_truncated is (max_keys > 0 and len(expected) > max_keys)
    assert page.next_marker is None


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=50), st.none() | st.just("0" * 32))
def test_token_comes_back(after: str, commit: str | None) -> None:
    token = ContinuationToken(after=after, commit=commit)
    text = render_token(token)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    assert parse_token(text) == token


@given(st.sets(KEYS, max_size=40), KEYS)
def test_key_table_is_sorted_and_searched(keys: set[str], wanted: str) -> None:
    packed = table(keys)
    ordered = sorted(key.encode() for key in keys)
    assert [packed.key_at(index) for index in range(len(packed))] == ordered
    assert packed.lower_bound(wanted.encode()) == sum(key < wanted.encode() for key in ordered)
    assert packed.nbytes == sum(map(len, ordered)) + 44 * len(ordered)


class Counted:
    """A KeyTable that counts what is asked of it."""

    def __init__(self, keys: KeyTable) -> None:
        self.keys = keys
        self.looks = 0

    def __len__(self) -> int:
        return len(self.keys)

    def key_at(self, index: int) -> bytes:
        self.looks += 1
        return self.keys.key_at(index)

    def entry_at(self, index: int):  # type: ignore[no-untyped-def]
        self.looks += 1
        return self.keys.entry_at(index)

    def lower_bound(self, key: bytes) -> int:
        self.looks += len(self.keys).bit_length()
        return self.keys.lower_bound(key)


def test_a_page_costs_what_is_on_it() -> None:
    """The same number of looks at the keys for the first and the last page, with and without a delimiter."""
    rng = random.Random(1)
    numbers = list(range(20_000))
    rng.shuffle(numbers)
    packed = KeyTable.build(
        [(f"dir{number // 100:05}/file{number:05}", 1, bytes(32)) for number in numbers], last_modified=NOW
    )
    for delimiter, prefix_count in (("", 0), ("/", 200)):
        costs = []
        for page_at in (0, 100, 19_000):
            counted = Counted(packed)
            after = packed.key_at(page_at).decode()
            page = build_page(
                counted, ListParams(version=2, delimiter=delimiter, start_after=after, max_keys=10)
            )
            assert page.key_count == 10
            assert len(page.common_prefixes) == min(prefix_count, 10)
            costs.append(counted.looks)
        assert max(costs) == min(costs)
        assert max(costs) < 300
