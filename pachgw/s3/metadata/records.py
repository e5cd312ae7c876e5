"""Records: what S3 keeps of an object and PFS has no field for: values, bytes, places, which counts. Pure.

A record is of one version: the commit that follows `parent` on its branch and gives the key the bytes of
`file_hash`. So it can be written before that commit, whose id nobody knows yet, and means nothing until the
commit is there. Reading and writing them in PFS is in actions/metadata.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from pachgw.s3.payload.checksums import ALGORITHMS, digest_size

NO_PARENT = "0" * 32
"""Stands for the parent of a branch's first commit."""

KEPT_HEADERS = (
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "Content-Language",
    "Cache-Control",
    "Expires",
)
"""Headers of an object that S3 gives back as they came."""

RECORDS_DIRECTORY = "/keys"
"""Where all records lie, in the metadata branch."""

MAX_PARTS = 10_000

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """An `x-amz-checksum-*` of an object."""

    algorithm: str
    """As S3 names it: CRC32, CRC32C, CRC64NVME, SHA1 or SHA256."""
    value: str
    """Base64; of a COMPOSITE one with `-` and the number of parts."""
    composite: bool = False
    """Made from the checksums of the parts, not from the bytes as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a client said of an object beside its bytes."""

    headers: Pairs = ()
    """Those of KEPT_HEADERS that were sent."""
    metadata: Pairs = ()
    """`x-amz-meta-*` by what follows that prefix, in lower case, in the order sent."""
    tags: Pairs = ()
    checksum: Checksum | None = None
    part_sizes: tuple[int, ...] = ()
    """Bytes of the parts of a multipart upload, in order; empty for an object put at once."""
    part_checksums: tuple[str, ...] = ()
    """Of the parts, of the kind of `checksum`; empty where none were sent."""
    upload_id: str | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether every answer would be the same without it."""
        return self == NOTHING


NOTHING = Description()
"""What is said of an object without a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was said of one version of a key."""

    key: str
    file_hash: bytes
    """FileInfo.hash, 32 bytes."""
    parent: str | None
    """The parent of the version's commit; None for a branch's first commit."""
    commit: str | None = None
    """The version's own commit, where that has no parent, as on each branch one; None until it is there."""
    written: datetime
    description: Description

    @property
    def path(self) -> str:
        """Where it lies in the metadata branch."""
        return record_path(self.key, self.file_hash, self.parent, self.commit)


def key_directory(key: str) -> str:
    """The path, in the metadata branch, of the directory of all records of a key."""
    name = hashlib.sha256(key.encode()).hexdigest()
    return f"{RECORDS_DIRECTORY}/{name[:2]}/{name}"


def record_path(key: str, file_hash: bytes, parent: str | None, commit: str | None = None) -> str:
    """The path of one record in the metadata branch; `commit` as Record.commit."""
    version = parent or (NO_PARENT if commit is None else f"{NO_PARENT}-{commit}")
    return f"{key_directory(key)}/{file_hash.hex()}-{version}"


def records_pattern(key: str, file_hash: bytes) -> str:
    """A glob pattern for the records of all versions in which the key has these bytes."""
    return f"{key_directory(key)}/{file_hash.hex()}-*"


def again_path(commit: str, key: str) -> str:
    """The path of a note that the commit put the key anew with the bytes that it had before.

    No difference between trees shows such a version.
    """
    return f"/again/{commit}/{hashlib.sha256(key.encode()).hexdigest()}"


def again_note(key: str) -> bytes:
    """What such a note says: the key, as one line of JSON."""
    return json.dumps({"key": key}).encode() + b"\n"


def record_line(record: Record) -> bytes:
    """The record as one line of JSON, in ASCII; parse_records reads it back."""
    said = {
        "key": record.key,
        "hash": record.file_hash.hex(),
        "parent": record.parent,
        "commit": record.commit,
        "written": record.written.astimezone(UTC).isoformat(),
    }
    return json.dumps(said | _said(record.description), separators=(",", ":")).encode("ascii") + b"\n"


def parse_records(lines: bytes, *, key: str, file_hash: bytes) -> list[Record]:
    """The records of the key with this hash among the lines, in their order.

    A line that is damaged, of another key, or by somebody else is left out: what is said in it goes into
    headers of answers.
    """
    found = map(parse_record, lines.split(b"\n"))
    return [record for record in found if record and (record.key, record.file_hash) == (key, file_hash)]


def parse_record(line: bytes) -> Record | None:
    """The record that the line is, whatever its key; None for anything else."""
    try:
        return _record(json.loads(line)) if line else None
    except (ValueError, OverflowError, RecursionError):
        return None


def record_of_upload(lines: bytes, *, key: str, upload_id: str) -> Record | None:
    """The record among the lines that speaks of the object that the upload made, None where there is none."""
    found = None
    for line in lines.split(b"\n"):
        if upload_id.encode() not in line:
            continue
        try:
            record = _record(json.loads(line))
        except (ValueError, OverflowError, RecursionError):
            continue
        if (record.key, record.description.upload_id) == (key, upload_id):
            found = record
    return found


def all_records_pattern(key: str) -> str:
    """A glob pattern for the records of all versions of the key."""
    return f"{key_directory(key)}/*"


def description_json(description: Description) -> bytes:
    """The description as one line of JSON without line break, in ASCII."""
    return json.dumps(_said(description), separators=(",", ":")).encode("ascii")


def parse_description_json(text: bytes) -> Description:
    """What description_json wrote; raises ValueError for anything else."""
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("not a description") from None
    if not isinstance(said, dict):
        raise ValueError("not a description")
    return _description(said)


def choose_record(
    records: Iterable[Record], *, commit: str, parent: str | None, positions: Mapping[str, int]
) -> Record | None:
    """The record that speaks of the version that is read, None where nothing was said of it.

    The key was put by `commit`, whose parent is `parent`; `positions` are those of commits on the way to the
    one that is read, which is at 0: greater is later. A record counts if it is of that commit, or if its
    parent lies between that commit and the one that is read: then the same bytes were put again. Of several
    the latest counts.
    """
    since = positions.get(commit, 0)
    best: tuple[float, Record] | None = None
    for record in records:
        position: float
        if record.parent is None:
            if parent is not None or record.commit not in (None, commit):
                continue
            position = -math.inf if record.commit is None else -sys.float_info.max
        elif record.parent == parent:
            position = -math.inf
        else:
            position = positions.get(record.parent, 0)
            if not since <= position < 0:
                continue
        if best is None or position > best[0]:
            best = (position, record)
    return best and best[1]


def last_record(records: Iterable[Record], *, commit: str, positions: Mapping[str, int]) -> Record | None:
    """The record that most likely speaks of the version, where it is not known which commit put the key.

    The one written last of those that can be of it; `commit` is the one that is read. `positions` as those of
    choose_record, empty where nothing is known of them.
    """
    possible = [record for record in records if not positions or _is_before(record, commit, positions)]
    return max(possible, key=lambda record: record.written, default=None)


def _is_before(record: Record, commit: str, positions: Mapping[str, int]) -> bool:
    if record.parent is not None:
        return positions.get(record.parent, 0) < 0
    return record.commit in (None, commit) or record.commit in positions


_COMMIT_ID = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_UPLOAD_ID = re.compile(r"[0-9a-z]{1,64}")
METADATA_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""What follows `x-amz-meta-`, in lower case."""
# Bytes that are not UTF-8 are kept as lone surrogates, as the codecs' "surrogateescape" has it.
HEADER_VALUE = re.compile("[\t -~\x80-\ud7ff\udc80-\udcff\ue000-\U0010ffff]*")
"""What an answer can say in a header."""
_MAX_SIZE = 1 << 62


def _said(description: Description) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name in ("headers", "metadata", "tags"):
        if pairs := getattr(description, name):
            said[name] = [list(pair) for pair in pairs]
    if description.checksum is not None:
        checksum = description.checksum
        said["checksum"] = [checksum.algorithm, checksum.value, checksum.composite]
    if description.part_sizes:
        # Most parts are of one size: [bytes, how many] in a row.
        said["parts"] = [[size, len(list(row))] for size, row in groupby(description.part_sizes)]
    if description.part_checksums:
        said["part_checksums"] = list(description.part_checksums)
    if description.upload_id is not None:
        said["upload_id"] = description.upload_id
    return said


def _record(said: Any) -> Record:
    """The record that the JSON stands for; raises ValueError for anything else."""
    if not isinstance(said, dict):
        raise ValueError("not an object")
    parent, commit = said.get("parent"), said.get("commit")
    if parent is not None and commit is not None:
        raise ValueError("not of a commit without parent")
    return Record(
        key=_text(said.get("key")),
        file_hash=bytes.fromhex(_match(_HASH, said.get("hash"))),
        parent=None if parent is None else _match(_COMMIT_ID, parent),
        commit=None if commit is None else _match(_COMMIT_ID, commit),
        written=_moment(said.get("written")),
        description=_description(said),
    )


def _description(said: dict[str, Any]) -> Description:
    headers, metadata = _pairs(said.get("headers", [])), _pairs(said.get("metadata", []))
    if any(name not in KEPT_HEADERS or not HEADER_VALUE.fullmatch(value) for name, value in headers):
        raise ValueError("not headers of an object")
    if any(not METADATA_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(text) for name, text in metadata):
        raise ValueError("not metadata")
    tags = _pairs(said.get("tags", []))
    if not all(_is_unicode(text) for pair in tags for text in pair):
        raise ValueError("not tags")
    checksum = None if said.get("checksum") is None else _checksum(said["checksum"])
    sizes = _part_sizes(said.get("parts", []))
    part_checksums = tuple(_text(value) for value in _list(said.get("part_checksums", [])))
    if part_checksums:
        if checksum is None or len(part_checksums) != len(sizes):
            raise ValueError("not one checksum for each part")
        for value in part_checksums:
            _check_base64(checksum.algorithm, value)
    upload_id = said.get("upload_id")
    return Description(
        headers=headers,
        metadata=metadata,
        tags=tags,
        checksum=checksum,
        part_sizes=sizes,
        part_checksums=part_checksums,
        upload_id=None if upload_id is None else _match(_UPLOAD_ID, upload_id),
    )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _match(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError("not of its form")
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _pairs(value: Any) -> Pairs:
    pairs = []
    for pair in _list(value):
        if len(_list(pair)) != 2:
            raise ValueError("not a pair")
        pairs.append((_text(pair[0]), _text(pair[1])))
    return tuple(pairs)


def _checksum(value: Any) -> Checksum:
    if len(_list(value)) != 3 or not isinstance(value[2], bool) or _text(value[0]) not in ALGORITHMS:
        raise ValueError("not a checksum")
    algorithm, text, composite = value
    digest, dash, count = _text(text).partition("-")
    if composite and not (dash and count.isascii() and count.isdigit() and len(count) <= 5):
        raise ValueError("a composite checksum without the number of parts")
    _check_base64(algorithm, digest if composite else text)
    return Checksum(algorithm=algorithm, value=text, composite=composite)


def _check_base64(algorithm: str, text: str) -> None:
    if not text.isascii() or len(base64.b64decode(text, validate=True)) != digest_size(algorithm):
        raise ValueError("not a checksum")


def _part_sizes(value: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    for row in _list(value):
        if len(_list(row)) != 2 or any(type(number) is not int for number in row):
            raise ValueError("not sizes")
        size, count = row
        if not 0 <= size < _MAX_SIZE or not 1 <= count <= MAX_PARTS - len(sizes):
            raise ValueError("not sizes")
        sizes.extend([size] * count)
    return tuple(sizes)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.astimezone(UTC)
