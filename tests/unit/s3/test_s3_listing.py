"""What a listing's query asks for, and S3's particular cases of pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_pfs import COMMIT, TreePFS, page_of

from pachgw.s3.errors import S3Error
from pachgw.s3.listing.keytable import KeyTableBuilder, Row
from pachgw.s3.listing.pages import (
    ContinuationToken,
    ListParams,
    Page,
    parse_list_params,
    parse_token,
    render_token,
)
from pachgw.s3.request.target import parse_query


def page(*keys: str, params: ListParams) -> Page:
    """The page of a bucket with these keys."""
    return page_of(TreePFS(dict.fromkeys(keys, 1)), params)


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
    keys = ["a/b", "a-b", "a.b", "a0", "\uffff", "😀", "é", "z", "A", "a/"]
    found = page(*keys, params=ListParams(version=1))
    assert keys_of(found) == ["A", "a-b", "a.b", "a/", "a/b", "a0", "z", "é", "\uffff", "😀"]


def test_pages_of_three_lose_nothing() -> None:
    """The keys that Pachyderm's own gateway loses."""
    keys = ("a/b", "a/c/d", "a-b", "a.b", "a0", "aa/c", "b", "A", 'x&<y>"')
    marker, seen = "", []
    for _ in range(4):
        found = page(*keys, params=ListParams(version=1, max_keys=3, marker=marker))
        seen += keys_of(found)
        if not found.is_truncated:
            break
        marker = seen[-1]
    assert seen == ["A", "a-b", "a.b", "a/b", "a/c/d", "a0", "aa/c", "b", 'x&<y>"']


def test_max_keys_0_is_empty_and_not_truncated() -> None:
    assert page("a", "b", params=ListParams(version=2, max_keys=0)) == Page()


def test_a_full_last_page_is_not_truncated() -> None:
    params = ListParams(version=1, delimiter="/", max_keys=2)
    assert not page("a", "b/1", "b/2", params=params).is_truncated


def test_a_full_page_before_a_directory_without_files_is_not_truncated() -> None:
    pfs = TreePFS({"a": 1, "b/c/empty": 0}, ["/c/d", "/e"])
    for delimiter, max_keys, truncated in (("", 1, True), ("", 2, False), ("/", 1, True), ("/", 2, False)):
        params = ListParams(version=1, delimiter=delimiter, max_keys=max_keys)
        assert page_of(pfs, params).is_truncated is truncated


def test_next_marker_only_with_a_delimiter() -> None:
    keys = ("a", "b/1", "b/2", "c")
    assert page(*keys, params=ListParams(version=1, max_keys=2)).next_marker is None
    found = page(*keys, params=ListParams(version=1, max_keys=2, delimiter="/"))
    assert (found.next_marker, found.common_prefixes) == ("b/", ("b/",))
    found = page(*keys, params=ListParams(version=1, max_keys=2, delimiter="/", marker="b/"))
    assert (keys_of(found), found.common_prefixes, found.is_truncated) == (["c"], (), False)


def test_a_leading_slash_of_the_prefix_counts() -> None:
    assert keys_of(page("a", "/a", params=ListParams(version=1, prefix="/"))) == ["/a"]


def test_delimiters_of_any_length() -> None:
    found = page("axxb", "axxc", "axd", "éé1", params=ListParams(version=2, delimiter="xx"))
    assert (keys_of(found), found.common_prefixes) == (["axd", "éé1"], ("axx",))
    found = page("éé1", "éé2", "è", params=ListParams(version=2, delimiter="éé"))
    assert (keys_of(found), found.common_prefixes) == (["è"], ("éé",))


def test_a_key_that_is_the_prefix_is_not_folded() -> None:
    found = page("a/", "a/b", "a/c/d", params=ListParams(version=2, prefix="a/", delimiter="/"))
    assert (keys_of(found), found.common_prefixes) == (["a/", "a/b"], ("a/c/",))


def test_the_token_pins_the_commit() -> None:
    found = page("a", "b", params=ListParams(version=2, max_keys=1))
    assert found.next_token is not None
    assert parse_token(found.next_token) == ContinuationToken(after="a", commit=COMMIT)


def test_an_empty_bucket() -> None:
    assert page(params=ListParams(version=2, delimiter="/", prefix="a")) == Page()


def test_a_page_opens_only_what_it_comes_to() -> None:
    """The directories before the marker and behind the page are not read, nor are those that are folded."""
    pfs = TreePFS({f"d{number:03}/k{index}": 1 for number in range(100) for index in range(10)})

    def opened(**more: object) -> list[str]:
        pfs.calls.clear()
        page_of(pfs, ListParams(version=2, **more))  # type: ignore[arg-type]
        return sorted(path for _, path in pfs.calls)

    assert opened(max_keys=1) == ["/", "/d000"]
    assert opened(max_keys=10) == ["/", "/d000"]
    assert opened(max_keys=5, start_after="d050/k4") == ["/", "/d050"]
    assert opened(max_keys=5, prefix="d07") == ["/", "/d070"]
    assert opened(max_keys=5, prefix="d071/") == ["/d071"]
    assert opened(max_keys=50, delimiter="/") == ["/"]
    assert opened(max_keys=50, delimiter="/", start_after="d050/k4") == ["/", "/d050"]
    # The more it has passed through, the more it opens ahead.
    assert len(opened(max_keys=40)) <= 1 + 4 + 4
    assert len(opened(max_keys=400)) <= 1 + 40 + 8


def test_a_builder_takes_only_whole_hashes() -> None:
    builder = KeyTableBuilder()
    with pytest.raises(ValueError, match="31 bytes"):
        builder.add(Row(b"a", False, 1, bytes(31)))
    row = Row(b"a", False, 2**63 - 1, bytes(32))
    builder.add(row)
    assert len(builder) == 1
    assert builder.view().row_at(0) == row == builder.build().row_at(0)


def test_an_empty_table() -> None:
    assert len(KeyTableBuilder().build()) == 0
    assert KeyTableBuilder().view().lower_bound(b"x") == 0
