"""Pages of a listing against one sorted list and a plain model of what S3 does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tree_pfs import (
    COMMIT,
    NOW,
    TreePFS,
    done,
    hash_of,
    inline,
    kept_by,
    page_of,
    read_again,
    side_by_side,
    whole,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pachgw.pfs.port import FileInfo, TooLarge
from pachgw.s3.keys import decode_path
from pachgw.s3.listing import ordering
from pachgw.s3.listing.directories import Directories
from pachgw.s3.listing.keytable import ROWS_IN_A_BLOCK, KeyTableBuilder, Row
from pachgw.s3.listing.ordering import InOrder, least_behind, row_of
from pachgw.s3.listing.pages import (
    ContinuationToken,
    ListParams,
    Page,
    parse_list_params,
    parse_token,
    render_token,
)
from pachgw.s3.listing.rows import Rows
from pachgw.s3.listing.walk import Opener, prefix_of_directory
from pachgw.s3.request.target import Query

LETTERS = "ab/-.0 !#%2F\x00\x7féẞ\uffff😀"
KEYS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=6)
SETS = st.lists(KEYS, max_size=25).map(side_by_side)
TEXTS = st.text(st.sampled_from(LETTERS), max_size=3)
DELIMITERS = st.one_of(st.just(""), st.just("/"), st.text(st.sampled_from(LETTERS), min_size=1, max_size=2))


def items(keys: Iterable[str], prefix: str, delimiter: str) -> list[tuple[str, str]]:
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


def pages(
    pfs: TreePFS, params: ListParams, openers: Iterator[Opener], clock: Clock | None = None
) -> Iterator[Page]:
    """The pages as a client asks for them, one after the other, each with the next opener."""
    while True:
        page = done(read_again(pfs, params, next(openers)), clock)
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
            assert params.token.commit == COMMIT
        else:
            if params.delimiter:
                assert page.next_marker is not None
            else:
                assert page.next_marker is None
            params = replace(params, marker=page.next_marker or page.contents[-1].key)


def check_listing(keys: dict[str, int], params: ListParams, found: Iterator[Page]) -> None:
    """The pages together are what one sorted list says."""
    joined: list[tuple[str, str]] = []
    for page in found:
        assert page.key_count == len(page_items(page))
        assert page.key_count == params.max_keys if page.is_truncated else page.key_count <= params.max_keys
        for entry in page.contents:
            assert entry.size == keys[entry.key]
            assert entry.etag == f'"{hash_of(entry.key).hex()}-1"'
            assert entry.last_modified == NOW
        joined += page_items(page)
        assert len(joined) <= len(keys)
    assert joined == items(keys, params.prefix, params.delimiter)


EMPTY = st.lists(st.sampled_from(["/e", "/a", "/a-", "/b/e", "/%C3%A9", "/0/0"]), max_size=3)


def tree(keys: dict[str, int], empty: list[str]) -> TreePFS:
    """With directories that have no file, where no file is in their way."""
    below = {path: decode_path(f"{path}/x") for path in empty}
    return TreePFS(keys, [path for path, key in below.items() if key in side_by_side([*keys, key])])


@given(SETS, EMPTY, TEXTS, DELIMITERS, st.integers(1, 7), st.sampled_from([1, 2]))
@settings(max_examples=400, deadline=None)
def test_pages_joined_are_the_whole_listing(
    keys: dict[str, int], empty: list[str], prefix: str, delimiter: str, max_keys: int, version: int
) -> None:
    pfs = tree(keys, empty)
    params = ListParams(version=version, prefix=prefix, delimiter=delimiter, max_keys=max_keys)
    check_listing(keys, params, pages(pfs, params, itertools.repeat(whole(pfs))))


@given(SETS, EMPTY, TEXTS, DELIMITERS, st.integers(1, 4), st.data())
@settings(max_examples=250, deadline=None)
def test_pages_are_the_same_however_directories_are_read(
    keys: dict[str, int], empty: list[str], prefix: str, delimiter: str, max_keys: int, data: st.DataObject
) -> None:
    """Answered at once, as a stream, by whichever is first, kept or not; other ways for each page."""
    pfs = tree(keys, empty)
    pfs.batch = data.draw(st.integers(1, 4))
    clock = Clock()
    stores = [Directories(limit, reactor=clock, offload=inline) for limit in (0, 4096, 1 << 20)]

    def answer(_path: str) -> Deferred[None] | None:
        how = data.draw(st.sampled_from(["now", "late", "never", "too large"]))
        if how == "too large":
            raise TooLarge
        if how == "now":
            return None
        waiting: Deferred[None] = Deferred()
        if how == "late":
            clock.callLater(0.4, lambda: waiting.called or waiting.callback(None))
        return waiting

    pfs.at_once = answer

    def openers() -> Iterator[Opener]:
        while True:
            yield kept_by(
                data.draw(st.sampled_from(stores)),
                pfs,
                wants_all=data.draw(st.booleans()),
                goes_on=data.draw(st.booleans()),
            )

    params = ListParams(version=2, prefix=prefix, delimiter=delimiter, max_keys=max_keys)
    check_listing(keys, params, pages(pfs, params, openers(), clock))
    for store in stores:
        store.stop()
    assert all(stream.is_closed for stream in pfs.streams)
    clock.advance(3600)
    assert not clock.getDelayedCalls()


@given(SETS, TEXTS, DELIMITERS, KEYS, st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_marker_of_version_1(
    keys: dict[str, int], prefix: str, delimiter: str, marker: str, max_keys: int
) -> None:
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
    page = page_of(TreePFS(keys), params)
    assert page_items(page) == expected[:max_keys]
    assert page.is_truncated is (max_keys > 0 and len(expected) > max_keys)
    assert page.next_token is None


@given(SETS, TEXTS, DELIMITERS, KEYS, st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_start_after_of_version_2(
    keys: dict[str, int], prefix: str, delimiter: str, start_after: str, max_keys: int
) -> None:
    """Keys up to it are left out; a common prefix of later keys is shown."""
    later = {key for key in keys if key.encode() > start_after.encode()}
    expected = items(later, prefix, delimiter)
    params = ListParams(
        version=2, prefix=prefix, delimiter=delimiter, start_after=start_after, max_keys=max_keys, marker="a"
    )
    page = page_of(TreePFS(keys), params)
    assert page_items(page) == expected[:max_keys]
    assert page.is_truncated is (max_keys > 0 and len(expected) > max_keys)
    assert page.next_marker is None


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=50), st.none() | st.just("0" * 32))
def test_token_comes_back(after: str, commit: str | None) -> None:
    token = ContinuationToken(after=after, commit=commit)
    text = render_token(token)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    assert parse_token(text) == token


NAMES = st.lists(KEYS.map(lambda key: key[0] + key[1:].replace("/", "")), unique=True, max_size=40)


def infos(keys: dict[str, int]) -> list[FileInfo]:
    """The root's children, in PFS's order."""
    return TreePFS(keys)._list("read", "/")


@given(SETS, st.lists(st.integers(1, 5), min_size=1), st.integers(2, 40))
@settings(max_examples=400, deadline=None)
def test_order_comes_out_as_early_as_it_is_known(keys: dict[str, int], sizes: list[int], held: int) -> None:
    children = infos(keys)
    expected = sorted(map(row_of, children))
    ordered = InOrder(KeyTableBuilder())
    before = ordering.HELD_ROWS
    ordering.HELD_ROWS = held
    try:
        left = list(children)
        for size in itertools.cycle(sizes):
            if not left:
                break
            some, left = left[:size], left[size:]
            view = ordered.take(some)
            # What is out stays where it is; no child that is still to come belongs before it.
            assert [view.row_at(index) for index in range(len(view))] == expected[: len(view)]
        whole_table = ordered.finish()
    finally:
        ordering.HELD_ROWS = before
    assert [whole_table.row_at(index) for index in range(len(whole_table))] == expected


@given(SETS)
@settings(max_examples=400, deadline=None)
def test_no_greater_name_has_a_key_below_the_bound(keys: dict[str, int]) -> None:
    children = infos(keys)
    for index, info in enumerate(children):
        bound = least_behind(info.path[1:])
        assert all(row_of(later).key >= bound for later in children[index + 1 :])


@given(SETS)
def test_a_row_is_its_part_of_the_key(keys: dict[str, int]) -> None:
    pfs = TreePFS(keys)
    found = []
    for path, children in pfs.children.items():
        prefix = prefix_of_directory(path)
        for info in children.values():
            row = row_of(info)
            if row.is_directory:
                assert prefix + row.key.decode() == prefix_of_directory(info.path)
            else:
                assert prefix + row.key.decode() == decode_path(info.path)
                found.append(prefix + row.key.decode())
    assert sorted(found) == sorted(keys)


@given(st.integers(0, 3 * ROWS_IN_A_BLOCK), st.integers(-2, 2), st.integers(0, 5 * ROWS_IN_A_BLOCK))
@settings(max_examples=60, deadline=None)
def test_key_table_is_searched_across_blocks(count: int, around: int, wanted: int) -> None:
    length = max(0, count // ROWS_IN_A_BLOCK * ROWS_IN_A_BLOCK + around) if count % 2 else count
    rows = [
        Row(f"k{number // 2:06}".encode(), bool(number % 2), number, bytes(32)) for number in range(length)
    ]
    builder = KeyTableBuilder()
    for row in rows:
        builder.add(row)
    for table in (builder.view(), builder.build()):
        assert len(table) == length
        assert [table.row_at(index) for index in range(0, length, 97)] == rows[::97]
        for number in (wanted, 0, ROWS_IN_A_BLOCK // 2, ROWS_IN_A_BLOCK, length):
            key = f"k{number // 2:06}".encode()
            assert table.lower_bound(key) == sum(row.key < key for row in rows)
        assert table.nbytes < 100 * length + 20_000


class Counted:
    """Rows that count what is asked of them."""

    looks = 0

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.count = rows.count

    def row_at(self, index: int) -> Row:
        Counted.looks += 1
        return self._rows.row_at(index)

    async def reach(self, index: int) -> bool:
        return await self._rows.reach(index)

    async def seek(self, key: bytes) -> int:
        Counted.looks += 1
        return await self._rows.seek(key)

    def close(self) -> None:
        self._rows.close()


def test_a_page_costs_what_is_on_it() -> None:
    """As many looks at rows and directories for the first page as for the last, whatever the delimiter."""
    pfs = TreePFS({f"dir{number // 100:05}/file{number:05}": 1 for number in range(20_000)})
    opened: list[str] = []

    async def counted(path: str) -> Rows:
        opened.append(path)
        return Counted(await whole(pfs)(path))

    for delimiter in ("", "/", "f", "9"):
        costs = []
        for after in ("dir00000/file00050", "dir00001/file00150", "dir00180/file18050"):
            Counted.looks = 0
            opened.clear()
            params = ListParams(version=2, delimiter=delimiter, start_after=after, max_keys=10)
            page = page_of(pfs, params, counted)
            assert page.is_truncated
            costs.append((Counted.looks, len(opened)))
        if delimiter != "9":
            assert len(set(costs)) == 1
        assert max(costs) < (100, 20)
