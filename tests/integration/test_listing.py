"""ListObjects and ListObjectsV2 on a few hundred nasty keys, against a sorted list of what was put."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest
from buckets import Bucket
from daemons import Daemon
from raw import Answer, ask

from pachgw.pfs.proto import pfs_pb2
from pachgw.s3.keys import ancestors, encode_key

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
MODULE_BUCKET = "master.nasty"

# Around the slash in the order of bytes, escapes and what looks like them, beyond ASCII, and beyond the BMP,
# which sorts before U+FFFD in UTF-16.
STEMS = (
    "a",
    "b",
    "a%2F",
    "a%2",
    "é",
    "ẞ",
    "日本",
    "\ufffd",
    "😀",
    "A",
    "~",
    " ",
    "+",
    "%",
    "&<>\"'",
    "-",
    "0",
    "x%41",
)
TAILS = (
    *(
        "",
        "/b",
        "-b",
        ".b",
        "0",
        "!",
        "/",
        "//",
        "//b",
        "/b/c",
        "/b-c",
        "/b.c/d",
        "/./x",
        "/../x",
        "/.",
        "/*",
        "%2Fb",
    ),
    *("/é", "/😀", "é", "\ufffd", "/%2F", " /b", "b/"),
)
OTHERS = (
    "/",
    "/a",
    "//x",
    "///",
    ".",
    "..",
    "../x",
    "./x",
    "deep" + "/x" * 30,
    "tab\there",
    "new\nline",
    "c\rr",
    "\x85",
)
CONTROLS = tuple(f"ctl/{character}x" for character in ("\x00", "\x01", "\x1f", "\x7f", "\ufffe", "\uffff"))


def _paths_conflict(key: str, others: dict[str, bytes]) -> bool:
    path = encode_key(key)
    above = set(ancestors(path))
    return any(
        other in above or path in ancestors(other) for other in (encode_key(other) for other in others)
    )


@pytest.fixture(scope="module")
def nasty(daemon: Daemon) -> Iterator[tuple[Bucket, dict[str, bytes]]]:
    """A bucket with all keys that can be there side by side, and what is in them."""
    b = Bucket(daemon, MODULE_BUCKET)
    assert ask(daemon.s3_url, "PUT", f"/{b.name}", body=b"").status == 200
    # The longest first: what is over a directory is refused, and few are.
    every = [*(stem + tail for stem in STEMS for tail in TAILS), *OTHERS, *CONTROLS]
    every.sort(key=lambda key: (-key.count("/"), key))
    keys: dict[str, bytes] = {}
    for number, key in enumerate(every):
        body = b"x" * (number % 3)
        answer = b.ask("PUT", "/" + quote(key, safe=""), body=body)
        if _paths_conflict(key, keys):
            assert (answer.status, answer.code) == (400, "InvalidFilePath"), key
        else:
            assert answer.status == 200, (key, answer)
            keys[key] = body
    assert len(keys) > 300
    yield b, keys
    b.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one answer tells."""

    items: list[tuple[str, str]]
    """("key" or "prefix", its text), in the order of bytes."""
    is_truncated: bool
    next_marker: str | None
    next_token: str | None
    texts: dict[str, str]
    """The single elements beside, decoded."""


def _page(answer: Answer, *, decode: bool = True) -> Page:
    assert answer.status == 200, answer
    root = ElementTree.fromstring(answer.body)
    assert root.tag == NAMESPACE + "ListBucketResult"
    decoded = unquote if decode else str

    def text(element: ElementTree.Element, name: str) -> str | None:
        found = element.find(NAMESPACE + name)
        return None if found is None else found.text or ""

    contents = [decoded(text(item, "Key") or "") for item in root.findall(NAMESPACE + "Contents")]
    prefixes = [decoded(text(item, "Prefix") or "") for item in root.findall(NAMESPACE + "CommonPrefixes")]
    for names in (contents, prefixes):
        assert names == sorted(set(names), key=str.encode)
    items = [*(("key", name) for name in contents), *(("prefix", name) for name in prefixes)]
    next_marker = text(root, "NextMarker")
    return Page(
        items=sorted(items, key=lambda item: item[1].encode()),
        is_truncated=text(root, "IsTruncated") == "true",
        next_marker=None if next_marker is None else decoded(next_marker),
        next_token=text(root, "NextContinuationToken"),
        texts={
            name: decoded(found)
            for name in ("Name", "Prefix", "Delimiter", "Marker", "StartAfter", "MaxKeys", "KeyCount")
            if (found := text(root, name)) is not None
        },
    )


def _query(**parameters: str | int | None) -> str:
    pairs = ((name.replace("_", "-"), value) for name, value in parameters.items() if value not in (None, ""))
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in pairs)


def _list(b: Bucket, version: int, **parameters: str | int | None) -> Page:
    list_type = "2" if version == 2 else None
    return _page(b.ask("GET", "?" + _query(list_type=list_type, encoding_type="url", **parameters)))


def _pages(b: Bucket, version: int, **parameters: str | int | None) -> Iterator[Page]:
    """The pages as a client asks for them, one after the other."""
    more: dict[str, str | None] = {}
    while True:
        page = _list(b, version, **parameters | more)
        yield page
        if not page.is_truncated:
            assert page.next_token is None
            assert page.next_marker is None
            return
        if version == 2:
            assert page.next_marker is None
            more = {"continuation_token": page.next_token}
        else:
            assert page.next_token is None
            assert (page.next_marker is not None) is bool(parameters.get("delimiter"))
            more = {"marker": page.next_marker or page.items[-1][1]}


def _expected(keys: dict[str, bytes], prefix: str, delimiter: str, after: str = "") -> list[tuple[str, str]]:
    """Every item of a listing, in the order of bytes."""
    found: dict[tuple[str, str], None] = {}
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix) and key.encode() > after.encode():
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found["key" if at < 0 else "prefix", key if at < 0 else key[: at + len(delimiter)]] = None
    return list(found)


PREFIXES = (
    *(
        "",
        "a",
        "a/",
        "a/b",
        "a/b/",
        "a//",
        "a-",
        "a%",
        "a%2F",
        "a%2Fb",
        "/",
        "//",
        "é",
        "日",
        "\ufffd",
        "😀/",
        " ",
    ),
    *("ctl/", "ctl/\x00", "nope", "nope/", "a/b/c/d", ".", "..", "deep/x/", "&<", "deep" + "/x" * 30),
)
DELIMITERS = ("", "/", "-", "b", "//", "é", "%", "/b")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_pages_joined_are_the_whole(
    nasty: tuple[Bucket, dict[str, bytes]], version: int, delimiter: str
) -> None:
    b, keys = nasty
    for prefix in PREFIXES:
        expected = _expected(keys, prefix, delimiter)
        for max_keys in (None, 7, 50) if prefix != "" else (None, 50):
            joined: list[tuple[str, str]] = []
            for page in _pages(b, version, prefix=prefix, delimiter=delimiter, max_keys=max_keys):
                assert len(page.items) <= (max_keys or 1000)
                assert not page.is_truncated or len(page.items) == max_keys
                assert page.texts["Prefix"] == prefix
                assert page.texts.get("Delimiter", "") == delimiter
                assert page.texts["MaxKeys"] == str(max_keys or 1000)
                assert page.texts.get("KeyCount") == (str(len(page.items)) if version == 2 else None)
                joined += page.items
            assert joined == expected, (prefix, delimiter, max_keys)


@pytest.mark.parametrize("delimiter", ["", "/", "b"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "日本/"])
def test_start_after(nasty: tuple[Bucket, dict[str, bytes]], prefix: str, delimiter: str) -> None:
    """Keys up to it are left out; a common prefix is shown if keys of it come after."""
    b, keys = nasty
    for after in (*sorted(keys)[::12], *PREFIXES, "a/b/c!", "a/b/d", "日本/b/", "zzz", "\U0010ffff"):
        expected = _expected(keys, prefix, delimiter, after)
        page = _list(b, 2, prefix=prefix, delimiter=delimiter, start_after=after, max_keys=5)
        assert page.items == expected[:5], after
        assert page.is_truncated is (len(expected) > 5)
        assert page.texts.get("StartAfter", "") == after


@pytest.mark.parametrize("delimiter", ["", "/", "b"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "日本/"])
def test_marker(nasty: tuple[Bucket, dict[str, bytes]], prefix: str, delimiter: str) -> None:
    """Keys up to it are left out, and so is the common prefix that it lies in."""
    b, keys = nasty
    for marker in (*sorted(keys)[::12], *PREFIXES, "a/b/c!", "a/b/d", "日本/b/", "zzz", "\U0010ffff"):
        expected = [
            (kind, name)
            for kind, name in _expected(keys, prefix, delimiter, marker)
            if kind == "key" or not marker.startswith(name)
        ]
        page = _list(b, 1, prefix=prefix, delimiter=delimiter, marker=marker, max_keys=5)
        assert page.items == expected[:5], marker
        assert page.is_truncated is (len(expected) > 5)
        assert page.texts["Marker"] == marker


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize(
    ("prefix", "delimiter", "size"),
    [("", "", 100), ("", "/", 5), ("a", "/", 3), ("a/", "b", 2), ("ctl/", "", 2)],
)
def test_paginators_of_boto3(
    s3: object,
    nasty: tuple[Bucket, dict[str, bytes]],
    operation: str,
    prefix: str,
    delimiter: str,
    size: int,
) -> None:
    b, keys = nasty
    pages = s3.get_paginator(operation).paginate(
        Bucket=b.name, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    found: list[tuple[str, str]] = []
    for page in pages:
        contents = page.get("Contents", [])
        for item in contents:
            assert item["Size"] == len(keys[item["Key"]])
        found += [("key", item["Key"]) for item in contents]
        found += [("prefix", item["Prefix"]) for item in page.get("CommonPrefixes", [])]
    assert sorted(found, key=lambda item: item[1].encode()) == _expected(keys, prefix, delimiter)


@pytest.mark.parametrize("version", [1, 2])
def test_names_as_they_are(nasty: tuple[Bucket, dict[str, bytes]], version: int) -> None:
    """Without encoding-type, where XML has the characters."""
    b, keys = nasty
    list_type = "2" if version == 2 else None
    for prefix, delimiter in itertools.product(("", "a", "a/b", "&<", "\n", "日"), ("", "/", "é")):
        readable = {key: keys[key] for key in keys if not key.startswith("ctl/")}
        first = "ctl0" if prefix == "" and delimiter != "/" else ""
        query = _query(
            list_type=list_type,
            prefix=prefix,
            delimiter=delimiter,
            marker=first if version == 1 else None,
            start_after=first if version == 2 else None,
        )
        page = _page(b.ask("GET", "?" + query), decode=False)
        expected = _expected(readable if first else keys, prefix, delimiter, first)
        assert page.items == expected


def test_entries_say_what_head_says(nasty: tuple[Bucket, dict[str, bytes]]) -> None:
    b, keys = nasty
    answer = b.ask("GET", "?list-type=2&prefix=a&encoding-type=url")
    listed = zip(*(answer.all(name) for name in ("Key", "Size", "ETag", "StorageClass")), strict=True)
    count = 0
    for key, size, etag, storage_class in itertools.islice(listed, 40):
        head = b.ask("HEAD", "/" + quote(unquote(key), safe=""))
        assert head.headers["content-length"] == size == str(len(keys[unquote(key)]))
        assert head.headers["etag"] == etag.replace("&quot;", '"')
        assert storage_class == "STANDARD"
        count += 1
    assert count == 40
    assert not answer.all("Owner")
    assert b.ask("GET", "?list-type=2&prefix=a&max-keys=1&fetch-owner=true").all("DisplayName")
    assert b.ask("GET", "?prefix=a&max-keys=1").all("DisplayName")


@pytest.mark.parametrize("version", [1, 2])
def test_no_keys_asked_for(nasty: tuple[Bucket, dict[str, bytes]], version: int) -> None:
    page = _list(nasty[0], version, max_keys=0)
    assert (page.items, page.is_truncated) == ([], False)
    assert _list(nasty[0], version, max_keys=5000).texts["MaxKeys"] == "1000"


def test_a_bucket_without_commits(b: Bucket) -> None:
    for version, delimiter, prefix in itertools.product((1, 2), ("", "/"), ("", "a", "a/")):
        page = _list(b, version, delimiter=delimiter, prefix=prefix, start_after="a", marker="a")
        assert (page.items, page.is_truncated) == ([], False)


def test_directories_without_files_are_not_there(b: Bucket) -> None:
    for key in ("e/f/g/k", "e/h", "keep/k"):
        b.put(key)
    for key in ("e/f/g/k", "e/h"):
        b.delete(key)
    # PFS still has them.
    for path in ("/e", "/e/f/g"):
        info = b.pfs.InspectFile(pfs_pb2.InspectFileRequest(file=b.file(path)))
        assert info.file_type == pfs_pb2.DIR
    for version in (1, 2):
        assert _list(b, version).items == [("key", "keep/k")]
        assert _list(b, version, delimiter="/").items == [("prefix", "keep/")]
        for prefix in ("e", "e/", "e/f/", "e/f/g/"):
            for delimiter in ("", "/"):
                assert _list(b, version, prefix=prefix, delimiter=delimiter).items == []


def test_empty_files_make_a_common_prefix(b: Bucket) -> None:
    for key in ("z/a/b/empty", "z/c", "y/"):
        b.put(key, b"")
    for version in (1, 2):
        assert _list(b, version, delimiter="/").items == [("prefix", "y/"), ("prefix", "z/")]
        assert _list(b, version, delimiter="/", prefix="z/").items == [("prefix", "z/a/"), ("key", "z/c")]
        assert _list(b, version, delimiter="/", prefix="y/").items == [("key", "y/")]


def test_a_marker_beside_what_it_marks(b: Bucket) -> None:
    """As file browsers make folders: `d/` is an object, and `d/k` another one."""
    for key in ("d/", "d/k", "d//", "d-"):
        b.put(key)
    for version in (1, 2):
        assert _list(b, version, delimiter="/").items == [("key", "d-"), ("prefix", "d/")]
        below = [("key", "d/"), ("prefix", "d//"), ("key", "d/k")]
        assert _list(b, version, delimiter="/", prefix="d/").items == below
        assert [page.items[0] for page in _pages(b, version, delimiter="/", prefix="d/", max_keys=1)] == below
    b.delete("d/")
    assert b.decoded_keys() == ["d-", "d//", "d/k"]
    b.delete("d/k")
    b.delete("d//")
    b.put("d/")
    assert b.decoded_keys() == ["d-", "d/"]


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages_are_of_the_commit_of_the_first(b: Bucket, delimiter: str) -> None:
    keys = [f"d{number}/k" for number in range(6)]
    for key in keys:
        b.put(key)
    expected = _expected(dict.fromkeys(keys, b""), "", delimiter)
    found: list[tuple[str, str]] = []
    for number, page in enumerate(_pages(b, 2, delimiter=delimiter, max_keys=1)):
        found += page.items
        b.put(f"d{number + 1}-new/k")
        b.delete(f"d{number + 2}/k")
    assert found == expected
    assert len(_list(b, 2, delimiter=delimiter).items) != len(expected)


def test_pages_are_of_one_commit_while_others_write(b: Bucket) -> None:
    """Keys come in no order: pages of two commits would together be what no commit ever was."""
    names = [f"k{number:04}" for number in range(150)]
    random.Random(7).shuffle(names)
    for name in names[:30]:
        b.put(name)
    writer = threading.Thread(target=lambda: [b.put(name) for name in names[30:]])
    writer.start()
    listings = 0
    while writer.is_alive() or not listings:
        found = [key for page in _pages(b, 2, max_keys=3) for _, key in page.items]
        assert found == sorted(names[: len(found)])
        listings += 1
    writer.join()
    assert b.keys() == sorted(names)


def test_each_commit_is_a_bucket_to_list(b: Bucket) -> None:
    present: dict[str, bytes] = {}
    history: list[tuple[str, dict[str, bytes]]] = []
    for number in range(12):
        key = f"d{number % 4}/k{number}"
        if number % 3 == 2:
            gone = next(iter(present))
            b.delete(gone)
            del present[gone]
        else:
            b.put(key, bytes(number))
            present[key] = bytes(number)
        history.append((b.commit_ids()[0], dict(present)))
    for commit, keys in history:
        for name in (f"{commit}.{b.repo}", f"{commit}.master.{b.repo}", f"{commit}.other.{b.repo}"):
            answer = ask(b.url, "GET", f"/{name}?list-type=2")
            assert answer.all("Key") == sorted(keys)
            assert answer.all("Size") == [str(len(keys[key])) for key in sorted(keys)]
            assert answer.all("Name") == [name]
        for delimiter in ("", "/"):
            query = _query(list_type="2", delimiter=delimiter, max_keys=1)
            expected = _expected(keys, "", delimiter)
            token = None
            for index, item in enumerate(expected):
                more = "" if token is None else f"&continuation-token={token}"
                page = _page(ask(b.url, "GET", f"/{commit}.{b.repo}?{query}{more}"))
                assert page.items == [item]
                assert page.is_truncated is (index + 1 < len(expected))
                token = page.next_token


def test_an_open_head_is_listed_as_it_stands(b: Bucket) -> None:
    for key in ("a/1", "b"):
        b.put(key)
    b.start_commit()
    assert b.keys() == ["a/1", "b"]
    b.put("a/2")
    b.put("c")
    assert b.keys() == ["a/1", "a/2", "b", "c"]
    for version in (1, 2):
        assert _list(b, version, delimiter="/").items == [("prefix", "a/"), ("key", "b"), ("key", "c")]
        assert _list(b, version, prefix="a/").items == [("key", "a/1"), ("key", "a/2")]
        joined = [item for page in _pages(b, version, max_keys=1) for item in page.items]
        assert joined == [("key", key) for key in ("a/1", "a/2", "b", "c")]
    # Its pages are of what there is when each is asked for.
    pages = _pages(b, 2, max_keys=2)
    assert next(pages).items == [("key", "a/1"), ("key", "a/2")]
    b.delete("b")
    b.put("d")
    assert next(pages).items == [("key", "c"), ("key", "d")]
    assert b.delete("a/1").status == 204
    assert b.keys() == ["a/2", "c", "d"]
    b.finish_commit()
    assert b.keys() == ["a/2", "c", "d"]
    assert _list(b, 2, delimiter="/").items == [("prefix", "a/"), ("key", "c"), ("key", "d")]
