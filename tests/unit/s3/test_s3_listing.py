"""What a listing's query asks for, and S3's particular cases of pages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.listing.keytable import KeyTable, KeyTableBuilder
from pachgw.s3.listing.pages import (
    ContinuationToken,
    ListParams,
    Page,
    build_page,
    parse_list_params,
    parse_token,
    render_token,
)
from pachgw.s3.request.target import parse_query

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def table(*keys: str) -> KeyTable:
    return KeyTable.build([(key, 1, bytes(32)) for key in keys], last_modified=NOW)


def keys_of(page: Page) -> list[str]:
    return [entry.key for entry in page.contents]


def test_defaults() -> None:
    assert parse_list_params(parse_query(b""), version=1) == ListParams(version=1)
    assert parse_list_params(parse_query(b"list-type=2"), version=2) == ListParams(
        version=2, fetch_owner=False
    )


def test_everything_of_version_1() -> None:
    query = parse_query(
        b"prefix=a+b&delimiter=%2F&max-keys=7&marker=m&encoding-type=url&start-after=s&fetch-owner=false"
    )
    assert parse_list_params(query, version=1) == ListParams(
        version=1, prefix="a b", delimiter="/", max_keys=7, marker="m", encode_urls=True, fetch_owner=True
    )


def test_everything_of_version_2() -> None:
    token = render_token(ContinuationToken(after="t", commit="c"))
    query = parse_query(
        b"list-type=2&prefix=p&delimiter=x&max-keys=0&start-after=s&fetch-owner=true&marker=m"
        b"&continuation-token=" + token.encode()
    )
    params = parse_list_params(query, version=2)
    assert params == ListParams(
        version=2,
        prefix="p",
        delimiter="x",
        max_keys=0,
        start_after="s",
        raw_token=token,
        token=ContinuationToken(after="t", commit="c"),
        fetch_owner=True,
    )
    assert params.after == "t"


@pytest.mark.parametrize(
    ("text", "max_keys"),
    [("0", 0), ("1", 1), ("1000", 1000), ("1001", 1000), ("2147483647", 1000), ("", 1000), ("007", 7)],
)
def test_max_keys(text: str, max_keys: int) -> None:
    assert parse_list_params(parse_query(b"max-keys=" + text.encode()), version=1).max_keys == max_keys


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("max-keys=junk", "max-keys", "junk"),
        ("max-keys=1e2", "max-keys", "1e2"),
        ("max-keys=%201", "max-keys", " 1"),
        ("max-keys=1.0", "max-keys", "1.0"),
        ("max-keys=%D9%A3", "max-keys", "٣"),
        ("max-keys=2147483648", "max-keys", "2147483648"),
        ("max-keys=99999999999999999999", "max-keys", "99999999999999999999"),
        ("max-keys=-1", "maxKeys", "-1"),
        ("encoding-type=base64", "encoding-type", "base64"),
        ("continuation-token=", "continuation-token", ""),
        ("continuation-token=junk", "continuation-token", "junk"),
        ("continuation-token=%C3%A9", "continuation-token", "é"),
    ],
)
def test_wrong_values(query: str, name: str, value: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_list_params(parse_query(query.encode()), version=2)
    assert (caught.value.code, caught.value.status) == ("InvalidArgument", 400)
    assert caught.value.fields == {"ArgumentName": name, "ArgumentValue": value}


@given(st.binary(max_size=30), st.integers(0, 200))
def test_a_changed_token_is_refused(noise: bytes, at: int) -> None:
    token = render_token(ContinuationToken(after="some/key", commit="c" * 32))
    at %= len(token)
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    for text in (changed, noise.decode("latin-1"), token[:-4], token + "AAAA"):
        with pytest.raises(S3Error):
            parse_token(text)


def test_order_is_that_of_utf_8_and_not_of_pfs() -> None:
    keys = ["a/b", "a-b", "a.b", "a0", "\uffff", "😀", "é", "z", "A", "a"]
    page = build_page(table(*keys), ListParams(version=1))
    assert keys_of(page) == ["A", "a", "a-b", "a.b", "a/b", "a0", "z", "é", "\uffff", "😀"]


def test_pages_of_three_lose_nothing() -> None:
    """The keys that Pachyderm's own gateway loses."""
    keys = table("a/b", "a/c/d", "a-b", "a.b", "a0", "aa/c", "b", "A", 'x&<y>"')
    marker, seen = "", []
    for _ in range(4):
        page = build_page(keys, ListParams(version=1, max_keys=3, marker=marker))
        seen += keys_of(page)
        if not page.is_truncated:
            break
        marker = seen[-1]
    assert seen == ["A", "a-b", "a.b", "a/b", "a/c/d", "a0", "aa/c", "b", 'x&<y>"']


def test_max_keys_0_is_empty_and_not_truncated() -> None:
    page = build_page(table("a", "b"), ListParams(version=2, max_keys=0))
    assert page == Page()


def test_a_full_last_page_is_not_truncated() -> None:
    assert not build_page(
        table("a", "b/1", "b/2"), ListParams(version=1, delimiter="/", max_keys=2)
    ).is_truncated


def test_next_marker_only_with_a_delimiter() -> None:
    keys = table("a", "b/1", "b/2", "c")
    assert build_page(keys, ListParams(version=1, max_keys=2)).next_marker is None
    page = build_page(keys, ListParams(version=1, max_keys=2, delimiter="/"))
    assert (page.next_marker, page.common_prefixes) == ("b/", ("b/",))
    page = build_page(keys, ListParams(version=1, max_keys=2, delimiter="/", marker="b/"))
    assert (keys_of(page), page.common_prefixes, page.is_truncated) == (["c"], (), False)


def test_a_leading_slash_of_the_prefix_counts() -> None:
    keys = table("a", "/a")
    assert keys_of(build_page(keys, ListParams(version=1, prefix="/"))) == ["/a"]


def test_delimiters_of_any_length() -> None:
    page = build_page(table("axxb", "axxc", "axd", "éé1"), ListParams(version=2, delimiter="xx"))
    assert (keys_of(page), page.common_prefixes) == (["axd", "éé1"], ("axx",))
    page = build_page(table("éé1", "éé2", "è"), ListParams(version=2, delimiter="éé"))
    assert (keys_of(page), page.common_prefixes) == (["è"], ("éé",))


def test_a_key_that_is_the_prefix_is_not_folded() -> None:
    page = build_page(table("a/", "a/b", "a/c/d"), ListParams(version=2, prefix="a/", delimiter="/"))
    assert (keys_of(page), page.common_prefixes) == (["a/", "a/b"], ("a/c/",))


def test_the_token_pins_the_commit() -> None:
    page = build_page(table("a", "b"), ListParams(version=2, max_keys=1), commit="c" * 32)
    assert page.next_token is not None
    assert parse_token(page.next_token) == ContinuationToken(after="a", commit="c" * 32)


def test_a_builder_takes_only_whole_hashes() -> None:
    builder = KeyTableBuilder()
    with pytest.raises(ValueError, match="31 bytes"):
        builder.add("a", 1, bytes(31))
    builder.add("a", 2**63, bytes(32))
    assert len(builder) == 1
    packed = builder.build(last_modified=NOW)
    assert len(builder) == 0
    assert packed.entry_at(0).size == 2**63


def test_an_empty_table() -> None:
    assert build_page(table(), ListParams(version=2, delimiter="/", prefix="a")) == Page()
    assert table().lower_bound(b"x") == 0
