"""A multipart upload as PFS keeps it: its id, what its commit says of it, where its parts lie. Pure.

An upload is an open commit on a reserved branch of its own, in the repo that it is for. A part is two files
in a directory of its number: the bytes, and an empty file whose name tells what PFS has no field for, since a
checksum is known only behind the bytes. The two share a random name, so a path never gets other bytes than it
had. What uploads are made of is in actions/parts.py, what becomes of them in actions/completing.py.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pachgw.pfs.port import FileInfo
from pachgw.s3.metadata.records import (
    MAX_PARTS,
    Checksum,
    Description,
    description_json,
    parse_description_json,
)
from pachgw.s3.payload.checksums import ALGORITHMS, digest_size

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
"""Of base 32, in the order of their bytes."""
_TIME_DIGITS = 11
_RANDOM_DIGITS = 26
# The letter between is no hex digit: nothing in an id can be taken for that of a commit.
_UPLOAD_ID = re.compile(rf"([0-9a-v]{{{_TIME_DIGITS}}})z[0-9a-v]{{{_RANDOM_DIGITS}}}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_VERSION = 1

PARTS = "/parts"
"""The directory of all parts of an upload."""

_NAME_DIGITS = 16
_DATA = re.compile(rf"{PARTS}/([0-9]{{5}})/([0-9a-v]{{{_NAME_DIGITS}}})")
_NOTE = re.compile(
    rf"{PARTS}/([0-9]{{5}})/([0-9a-v]{{{_NAME_DIGITS}}})\.([0-9]{{1,17}})(?:\.([A-Z0-9]+)\.([A-Za-z0-9_-]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksumKind:
    """Which checksum an upload was begun with."""

    algorithm: str
    composite: bool
    """The object's is made from those of the parts; else it is that of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadInfo:
    """What was said when the upload was begun; never changes."""

    branch: str
    """Which branch the object is to come to."""
    key: str
    initiated: datetime
    kind: ChecksumKind | None
    description: Description


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload as it was found in PFS."""

    id: str
    repo: str
    commit: str
    info: UploadInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The object that an upload made."""

    etag: str
    """In quotes."""
    checksum: Checksum | None
    version_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChecksum:
    algorithm: str
    value: str
    """Base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that has come whole."""

    number: int
    path: str
    """Of its bytes, in the upload's commit."""
    size: int
    hash: bytes
    """FileInfo.hash."""
    uploaded: datetime
    checksum: PartChecksum | None


def make_upload_id(now: datetime) -> str:
    """An id that cannot be guessed; ids sort as the times at which they were made."""
    micros = (now - _EPOCH) // _MICROSECOND
    digits = "".join(_DIGITS[micros >> 5 * place & 31] for place in reversed(range(_TIME_DIGITS)))
    return f"{digits}z{_random_name(_RANDOM_DIGITS)}"


def upload_time(upload_id: str) -> datetime | None:
    """When the id was made, None where it is none."""
    match = _UPLOAD_ID.fullmatch(upload_id)
    return None if match is None else _EPOCH + _MICROSECOND * int(match[1], 32)


def make_part_name() -> str:
    """A name for the files of a part that no other part has."""
    return _random_name(_NAME_DIGITS)


def _random_name(digits: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(digits))


def upload_info_json(info: UploadInfo) -> str:
    """What is written into the commit's description; parse_upload_info reads it back."""
    said: dict[str, Any] = {
        "pachgw_upload": _VERSION,
        "branch": info.branch,
        "key": info.key,
        "initiated": info.initiated.astimezone(UTC).isoformat(),
        "object": json.loads(description_json(info.description)),
    }
    if info.kind is not None:
        said["checksum"] = [info.kind.algorithm, info.kind.composite]
    return json.dumps(said, separators=(",", ":"))


def parse_upload_info(text: str) -> UploadInfo:
    """Raises ValueError for what upload_info_json did not write."""
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("not an upload") from None
    if not isinstance(said, dict) or said.get("pachgw_upload") != _VERSION:
        raise ValueError("not an upload")
    branch, key, initiated = said.get("branch"), said.get("key"), said.get("initiated")
    if not (isinstance(branch, str) and isinstance(key, str) and key and isinstance(initiated, str)):
        raise ValueError("not an upload")
    moment = datetime.fromisoformat(initiated)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return UploadInfo(
        branch=branch,
        key=key,
        initiated=moment.astimezone(UTC),
        kind=_kind(said.get("checksum")),
        description=parse_description_json(json.dumps(said.get("object")).encode()),
    )


def _kind(value: Any) -> ChecksumKind | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("not a kind of checksum")
    algorithm, composite = value
    if algorithm not in ALGORITHMS or not isinstance(composite, bool):
        raise ValueError("not a kind of checksum")
    return ChecksumKind(algorithm=algorithm, composite=composite)


def part_directory(number: int) -> str:
    """Where the files of the part lie."""
    return f"{PARTS}/{number:05d}"


def part_data_path(number: int, name: str) -> str:
    """Where the bytes of the part lie; `name` is of make_part_name."""
    return f"{part_directory(number)}/{name}"


def part_note_path(number: int, name: str, uploaded: datetime, checksum: PartChecksum | None) -> str:
    """The path of the empty file that says that the part is whole, and what is known of it."""
    micros = (uploaded - _EPOCH) // _MICROSECOND
    path = f"{part_data_path(number, name)}.{micros}"
    if checksum is None:
        return path
    digest = base64.b64decode(checksum.value, validate=True)
    return f"{path}.{checksum.algorithm}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def joined_path(name: str) -> str:
    """Where the parts are joined; `name` is of make_part_name."""
    return f"/joined/{name}"


def group_path(name: str, group: int) -> str:
    """Where some of the parts are joined first, where there are many."""
    return f"/groups/{name}/{group:05d}"


def parts_among(files: Iterable[FileInfo]) -> dict[int, Part]:
    """The parts that have come whole, by number in ascending order, from the files below PARTS.

    Of two that came side by side under one number the later one counts.
    """
    data: dict[tuple[int, str], FileInfo] = {}
    notes: list[tuple[int, str, int, PartChecksum | None]] = []
    for file in files:
        if file.is_dir:
            continue
        if match := _DATA.fullmatch(file.path):
            data[int(match[1]), match[2]] = file
        elif match := _NOTE.fullmatch(file.path):
            try:
                checksum = None if match[4] is None else _part_checksum(match[4], match[5])
            except ValueError:
                continue
            notes.append((int(match[1]), match[2], int(match[3]), checksum))
    parts: dict[int, Part] = {}
    for number, name, micros, checksum in sorted(notes, key=lambda note: (note[0], note[2], note[1])):
        file_info = data.get((number, name))
        if file_info is not None and 1 <= number <= MAX_PARTS:
            parts[number] = Part(
                number=number,
                path=file_info.path,
                size=file_info.size,
                hash=file_info.hash,
                uploaded=_EPOCH + _MICROSECOND * micros,
                checksum=checksum,
            )
    return parts


def _part_checksum(algorithm: str, text: str) -> PartChecksum:
    if algorithm not in ALGORITHMS:
        raise ValueError("no such checksum")
    digest = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(digest) != digest_size(algorithm):
        raise ValueError("not a checksum")
    return PartChecksum(algorithm=algorithm, value=base64.b64encode(digest).decode())
