"""The codec between S3 keys, any UTF-8, and PFS paths, printable ASCII without glob characters.

Pure and reversible; who may use which key, and how long one may be, is not decided here.

A path's segments are what stands between its slashes. A key's slash separates segments, except where the
segment before it would be empty, and at the key's end: there PFS would clean it away, so it is escaped and
becomes a part of its segment (`a//b` is `/a/%2Fb`, `/a` is `/%2Fa`, the marker `a/` is `/a%2F`). A segment
that is `.` or `..` as a whole is escaped for the same reason. Everywhere each byte is escaped that PFS
refuses.

An escape is read as one only where it would have been written: a refused byte, a whole well-formed UTF-8
character, `%2F` as first of its segment or last of the path, `%2E` and `%2E%2E` as a whole segment. A `%`
that would be read as the beginning of such an escape is written `%25`; a path's `%25` is read as `%` only
there. Any other `%` stands for itself. So decode_path(encode_key(key)) == key for every key, and
encode_key(decode_path(path)) == path for every clean path.
"""

from __future__ import annotations

import re
from enum import Enum

from pachgw.s3.errors import S3Error


class KeyEncoding(Enum):
    """What becomes of keys that PFS cannot hold as they are."""

    PERCENT = "percent"
    STRICT = "strict"


# Of ASCII: control characters and the glob characters * ? [ ] { } ! ( ) @ + ^
_REFUSED_ASCII = r"[01][0-9A-F]|7F|21|28|29|2A|2B|3F|40|5B|5D|5E|7B|7D"
_TAIL = r"%[89AB][0-9A-F]"
# Well-formed UTF-8 beyond ASCII (RFC 3629 §4): nothing overlong, no surrogates, nothing above U+10FFFF.
_BEYOND_ASCII = (
    rf"(?:C[2-9A-F]|D[0-9A-F]){_TAIL}"
    rf"|E0%[AB][0-9A-F]{_TAIL}|(?:E[1-9A-CEF])(?:{_TAIL}){{2}}|ED%[89][0-9A-F]{_TAIL}"
    rf"|F0%[9AB][0-9A-F](?:{_TAIL}){{2}}|F[1-3](?:{_TAIL}){{3}}|F4%8[0-9A-F](?:{_TAIL}){{2}}"
)
_ANYWHERE = rf"%(?:25)*(?:{_REFUSED_ASCII}|{_BEYOND_ASCII})"
_FIRST = r"\A%(?:25)*2F"
_LAST = r"%(?:25)*2F\Z"
_WHOLE = r"\A%(?:25)*2E(?:%2E)?\Z"

# An escape as it is read: in a segment that is not the path's last, and in the last.
_ESCAPE_INNER = f"{_WHOLE}|{_FIRST}|{_ANYWHERE}"
_ESCAPE_LAST = f"{_ESCAPE_INNER}|{_LAST}"
_READ_INNER = re.compile(_ESCAPE_INNER)
_READ_LAST = re.compile(_ESCAPE_LAST)

# What must be escaped in the piece of a key that becomes a segment: what would be read as an escape, and what
# PFS does not take. A slash in a piece is always one to escape.
_REFUSED = r"[^ -~]|[/*?\[\]{}!()@+^]"
_WRITE_INNER = re.compile(f"{_ESCAPE_INNER}|{_REFUSED}")
_WRITE_LAST = re.compile(f"{_ESCAPE_LAST}|{_REFUSED}")

_DOTS = {".": "%2E", "..": "%2E%2E"}


def encode_key(key: str) -> str:
    """The clean absolute PFS path of the key, which has at least one character.

    Raises S3Error InvalidRequest for the empty key, which would be the root, and InvalidURI for a key that
    is not Unicode text (a lone surrogate).
    """
    if not key:
        raise S3Error("InvalidRequest", "A key has at least one character.")
    segments = []
    start = 0
    # A slash that begins a piece is a part of it, and so is one that ends the key.
    while (slash := key.find("/", start + 1, len(key) - 1)) >= 0:
        segments.append(_encode_segment(key[start:slash], _WRITE_INNER))
        start = slash + 1
    segments.append(_encode_segment(key[start:], _WRITE_LAST))
    return "/" + "/".join(segments)


def _encode_segment(piece: str, pattern: re.Pattern[str]) -> str:
    return _DOTS.get(piece) or pattern.sub(_write, piece)


def _write(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] == "%":
        return "%25" + text[1:]
    try:
        return "".join(f"%{byte:02X}" for byte in text.encode())
    except UnicodeEncodeError:
        raise S3Error("InvalidURI", "The key is not Unicode text.") from None


def decode_path(path: str) -> str:
    """The key of a clean absolute PFS path that is not the root; "" for the root, which is no key."""
    *inner, last = path[1:].split("/")
    if not inner:
        return decode_file_name(last)
    return "/".join((*map(decode_directory_name, inner), decode_file_name(last)))


def decode_file_name(name: str) -> str:
    """What the last segment of a file's path is in its key: decode_path, segment by segment."""
    return _READ_LAST.sub(_read, name) if "%" in name else name


def decode_directory_name(name: str) -> str:
    """What a directory's name is in the keys below it, without the slash behind it."""
    return _READ_INNER.sub(_read, name) if "%" in name else name


def _read(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith("%25"):
        return "%" + text[3:]
    return bytes.fromhex(text.replace("%", "")).decode()


def representable(key: str) -> bool:
    """Whether PFS holds the key as it is."""
    return bool(key) and encode_key(key) == "/" + key


def check_representable(key: str, encoding: KeyEncoding) -> None:
    """Refuse, where the encoding is strict, a key that PFS does not hold as it is.

    Raises InvalidFilePath, the code of Pachyderm's own gateway.
    """
    if encoding is KeyEncoding.STRICT and not representable(key):
        raise S3Error(
            "InvalidFilePath",
            "The key has characters or segments that the file system cannot hold as they are.",
            Key=key,
        )


def ancestors(path: str) -> tuple[str, ...]:
    """The directories above a clean path from the top down, without the root: /a/b/c has /a and /a/b."""
    slashes = [index for index, character in enumerate(path) if character == "/"]
    return tuple(path[:index] for index in slashes[1:])


def directory_of_prefix(prefix: str) -> str:
    """The deepest directory that holds every path whose key starts with `prefix`.

    A prefix `a/` is itself a possible key, the marker, whose path `/a%2F` is beside the directory `/a` and
    not in it, so that the answer is the root; places_of_prefix tells the two places apart.
    """
    return _parent(encode_key(prefix)) if prefix else "/"


def places_of_prefix(prefix: str) -> tuple[str, str | None]:
    """Where the keys that start with `prefix` are: a directory, and the path of one more file or None.

    Every such key lies somewhere below the directory, but for the key that equals the prefix when that ends
    in a slash: it is the file. The directory, where it exists, also has keys that do not start so.
    """
    if not prefix:
        return "/", None
    # The path of any longer key: up to the last separating slash of the prefix they are all alike.
    directory = _parent(encode_key(prefix + "x"))
    own = encode_key(prefix)
    return directory, (own if _parent(own) != directory else None)


def _parent(path: str) -> str:
    return path[: path.rfind("/")] or "/"
