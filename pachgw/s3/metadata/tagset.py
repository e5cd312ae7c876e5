"""Tags of an object: the header and the XML that bring them, their limits, the XML that lists them. Pure.

Source: Amazon S3 API reference, "PutObjectTagging"; user guide, "Categorizing your objects using tags".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from pachgw.s3.errors import S3Error
from pachgw.s3.metadata.records import Pairs
from pachgw.s3.request.target import parse_query
from pachgw.s3.xml.body import malformed_xml, parse_root, parse_text, tag_name
from pachgw.s3.xml.render import document, element

MAX_TAGS = 10
MAX_KEY_CHARACTERS = 128
MAX_VALUE_CHARACTERS = 256

_PUNCTUATION = frozenset("+-=._:/@")


def parse_tagging_header(text: str) -> Pairs:
    """The tags of an `x-amz-tagging` header, a URL query. Raises InvalidArgument, InvalidTag."""
    try:
        pairs = parse_query(text.encode()).pairs
    except (S3Error, UnicodeEncodeError):
        raise _bad_header(text) from None
    if len({key for key, _ in pairs}) != len(pairs):
        raise _bad_header(text)
    check_tags(pairs)
    return pairs


def parse_tagging(body: bytes) -> Pairs:
    """The tags of a PutObjectTagging. Raises MalformedXML, InvalidTag."""
    root = parse_root(body, "Tagging")
    if len(root) != 1 or tag_name(root[0]) != "TagSet":
        raise malformed_xml()
    tags = []
    for tag in root[0]:
        if tag_name(tag) != "Tag" or sorted(map(tag_name, tag)) != ["Key", "Value"]:
            raise malformed_xml()
        said = {tag_name(child): parse_text(child) for child in tag}
        tags.append((said["Key"], said["Value"]))
    check_tags(tags)
    return tuple(tags)


def check_tags(tags: Iterable[tuple[str, str]]) -> None:
    """Raise InvalidTag where S3 would not keep the tags."""
    seen: set[str] = set()
    for key, value in tags:
        if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > MAX_VALUE_CHARACTERS:
            raise S3Error(
                "InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value
            )
        if not _allowed(key) or key.lower().startswith("aws:"):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if not _allowed(value):
            raise S3Error(
                "InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value
            )
        if key in seen:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        seen.add(key)
    if len(seen) > MAX_TAGS:
        raise S3Error("InvalidTag", f"Object tags cannot be greater than {MAX_TAGS}")


def render_tagging(tags: Pairs) -> bytes:
    """The answer of GetObjectTagging."""
    content = "".join(f"<Tag>{element('Key', key)}{element('Value', value)}</Tag>" for key, value in tags)
    return document("Tagging", f"<TagSet>{content}</TagSet>")


def _allowed(text: str) -> bool:
    """Letters, numbers and spaces of any script, and some punctuation."""
    return all(character in _PUNCTUATION or unicodedata.category(character)[0] in "LNZ" for character in text)


def _bad_header(text: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without "
        "tag name duplicates.",
        ArgumentName="x-amz-tagging",
        ArgumentValue=text,
    )
