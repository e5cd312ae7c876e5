"""The codec of keys: both ways, over random and over all short nasty texts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachgw.s3.errors import S3Error
from pachgw.s3.keys import (
    KeyEncoding,
    ancestors,
    check_representable,
    decode_path,
    directory_of_prefix,
    encode_key,
    places_of_prefix,
    representable,
)

GLOB = set("*?[]{}!()@+^")
HELD = [chr(code) for code in range(0x20, 0x7F) if chr(code) not in GLOB]

# Pieces that meet each other badly: whole escapes, halves of them, dots, slashes, and what they stand for.
NASTY = [
    *(
        "%",
        "%2",
        "%2F",
        "%2f",
        "%2E",
        "%25",
        "%2A",
        "%41",
        "%C3",
        "%A9",
        "%C3%A9",
        "%E2%82%AC",
        "%F0%9F%98%80",
    ),
    *("%ED%A0%80", "%C0%80", "%F4%90%80%80", "%00", "%7F", "%FF", "25", "2F", "2E", "C3", "A9", "E", "F"),
    *("/", "//", ".", "..", "./", "/.", " ", "a", "é", "€", "😀", "+", "*", "\x00", "\n", "\x7f", "\\", "~"),
]
KEYS = st.lists(
    st.one_of(
        st.sampled_from(NASTY), st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=12,
).map("".join)
HELD_PIECES = [piece for piece in NASTY if set(piece) <= set(HELD)]


def is_clean(path: str) -> bool:
    """Whether PFS 1.x takes the path and changes nothing in it."""
    if not path.startswith("/") or not all(segment not in ("", ".", "..") for segment in path[1:].split("/")):
        return False
    return all(" " <= character <= "~" and character not in GLOB for character in path)


PATHS = (
    st.lists(st.one_of(st.sampled_from(HELD_PIECES), st.sampled_from(HELD)), min_size=1, max_size=12)
    .map(lambda pieces: "/" + "".join(pieces))
    .filter(is_clean)
)


@given(KEYS)
@settings(max_examples=2000)
def test_each_key_has_one_clean_path_and_comes_back(key: str) -> None:
    path = encode_key(key)
    assert is_clean(path)
    assert decode_path(path) == key


@given(PATHS)
@settings(max_examples=2000)
def test_each_clean_path_has_one_key_and_comes_back(path: str) -> None:
    key = decode_path(path)
    assert key
    assert encode_key(key) == path


@pytest.mark.parametrize(("alphabet", "longest"), [("%2F/.C3A9é+", 5), ("%25EF/.", 6), ("/.a%", 8)])
def test_all_short_keys(alphabet: str, longest: int) -> None:
    paths = set()
    count = 0
    for length in range(1, longest + 1):
        for characters in itertools.product(alphabet, repeat=length):
            key = "".join(characters)
            path = encode_key(key)
            assert is_clean(path), key
            assert decode_path(path) == key
            paths.add(path)
            count += 1
    assert len(paths) == count


@pytest.mark.parametrize(("alphabet", "longest"), [("%2F/.C3A9", 5), ("%25EF/.", 6), ("/.a%", 8)])
def test_all_short_clean_paths(alphabet: str, longest: int) -> None:
    for length in range(1, longest + 1):
        for characters in itertools.product(alphabet, repeat=length):
            path = "/" + "".join(characters)
            if is_clean(path):
                assert encode_key(decode_path(path)) == path


# Escapes as units, so that sequences of whole ones are all tried.
UNITS = ["%", "%25", "%2F", "%2E", "%C3", "%A9", "%2A", "/", ".", "25", "2F", "2E", "a"]


def test_all_short_sequences_of_escapes() -> None:
    for length in range(1, 6):
        for pieces in itertools.product(UNITS, repeat=length):
            text = "".join(pieces)
            assert decode_path(encode_key(text)) == text
            if is_clean("/" + text):
                assert encode_key(decode_path("/" + text)) == "/" + text


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b.txt", "/a/b.txt"),
        (" a", "/ a"),
        ("back\\slash", "/back\\slash"),
        ("résumé (1).pdf", "/r%C3%A9sum%C3%A9 %281%29.pdf"),
        ("a+b", "/a%2Bb"),
        ("x*", "/x%2A"),
        ("100%", "/100%"),
        ("x%41", "/x%41"),
        ("x%C3", "/x%C3"),
        ("x%2Ey", "/x%2Ey"),
        ("x%2Fy", "/x%2Fy"),
        ("x%2a", "/x%2a"),
        ("x%2A", "/x%252A"),
        ("x%252A", "/x%25252A"),
        ("x%25", "/x%25"),
        ("x%C3%A9", "/x%25C3%A9"),
        ("é", "/%C3%A9"),
        ("%ED%A0%80", "/%ED%A0%80"),
        ("a/", "/a%2F"),
        ("a%2F", "/a%252F"),
        ("a%252F", "/a%25252F"),
        ("a%252Fb", "/a%252Fb"),
        ("a%2F/b", "/a%2F/b"),
        ("%2Fa", "/%252Fa"),
        ("/a", "/%2Fa"),
        ("a//b", "/a/%2Fb"),
        ("a//", "/a/%2F"),
        ("a///b", "/a/%2F/b"),
        ("/", "/%2F"),
        ("//", "/%2F%2F"),
        ("///", "/%2F/%2F"),
        (".", "/%2E"),
        ("..", "/%2E%2E"),
        ("...", "/..."),
        ("a/../b", "/a/%2E%2E/b"),
        ("a/./b", "/a/%2E/b"),
        (".a/..b", "/.a/..b"),
        ("%2E", "/%252E"),
        ("%2E%2E", "/%252E%2E"),
        ("%2E.", "/%2E."),
        ("a\x00b\n", "/a%00b%0A"),
        ("*", "/%2A"),
        ("**", "/%2A%2A"),
    ],
)
def test_example(key: str, path: str) -> None:
    assert encode_key(key) == path
    assert decode_path(path) == key


def test_a_path_may_stand_for_a_key_longer_than_s3_allows() -> None:
    path = "/" + "x" * 1500
    assert decode_path(path) == "x" * 1500
    assert encode_key("x" * 1500) == path


def test_the_empty_key_is_never_the_root() -> None:
    with pytest.raises(S3Error) as caught:
        encode_key("")
    assert caught.value.code == "InvalidRequest"


def test_a_lone_surrogate_is_no_key() -> None:
    with pytest.raises(S3Error) as caught:
        encode_key("a\ud800")
    assert caught.value.code == "InvalidURI"


@given(KEYS)
def test_strict_refuses_just_the_keys_that_do_not_stay_as_they_are(key: str) -> None:
    check_representable(key, KeyEncoding.PERCENT)
    if encode_key(key) == "/" + key:
        assert representable(key)
        check_representable(key, KeyEncoding.STRICT)
    else:
        assert not representable(key)
        with pytest.raises(S3Error) as caught:
            check_representable(key, KeyEncoding.STRICT)
        assert caught.value.status == 400


def is_in(path: str, directory: str) -> bool:
    return directory == "/" or path.startswith(directory + "/")


@given(KEYS, st.one_of(KEYS, st.just("")))
@settings(max_examples=2000)
def test_keys_of_a_prefix_are_where_the_prefix_says(prefix: str, rest: str) -> None:
    path = encode_key(prefix + rest)
    assert is_in(path, directory_of_prefix(prefix))
    directory, own = places_of_prefix(prefix)
    assert is_in(path, directory) or path == own
    if own is not None:
        assert prefix.endswith("/")
        assert own == encode_key(prefix)


def test_all_short_prefixes() -> None:
    texts = ["".join(t) for n in range(4) for t in itertools.product("a/.%2é", repeat=n)]
    for prefix in texts:
        directory, own = places_of_prefix(prefix)
        common = directory_of_prefix(prefix)
        for rest in texts:
            if prefix + rest:
                path = encode_key(prefix + rest)
                assert is_in(path, common)
                assert is_in(path, directory) or path == own


@pytest.mark.parametrize(
    ("prefix", "common", "places"),
    [
        ("", "/", ("/", None)),
        ("a", "/", ("/", None)),
        ("a/b", "/a", ("/a", None)),
        ("a/", "/", ("/a", "/a%2F")),
        ("a/b/", "/a", ("/a/b", "/a/b%2F")),
        ("a//", "/a", ("/a", None)),
        ("é/x", "/%C3%A9", ("/%C3%A9", None)),
        ("../x", "/%2E%2E", ("/%2E%2E", None)),
    ],
)
def test_prefix_example(prefix: str, common: str, places: tuple[str, str | None]) -> None:
    assert directory_of_prefix(prefix) == common
    assert places_of_prefix(prefix) == places


@given(PATHS)
def test_ancestors_are_the_directories_above(path: str) -> None:
    segments = path[1:].split("/")
    assert list(ancestors(path)) == ["/" + "/".join(segments[:n]) for n in range(1, len(segments))]
