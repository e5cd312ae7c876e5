"""A form that uploads a file: its fields, and the file as a body that is read while it arrives.

What the fields mean is in actions/forms.py, who may send them in auth/post.py, what a policy allows in
policy.py. Source: Amazon S3 API reference, "POST Object"; RFC 7578.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from pachgw.messages import RequestBody, RequestHead
from pachgw.s3.errors import S3Error
from pachgw.s3.payload.source import require_length

MAX_FIELDS_BYTES = 20 * 1024
"""Of everything that comes before the file, and of what comes behind it."""

FILE = "file"
FILENAME_VARIABLE = "${filename}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begin:
    """A field, or the file, begins."""

    name: str
    filename: str


class _End:
    """What follows the last boundary."""


_END = _End()

_Event = _Begin | bytes | None | _End
"""None: the end of a field or of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The fields before the file, by their names in lower case, and the file."""

    fields: Mapping[str, str]
    """`bucket` is that of the request, and `${filename}` in `key` is filled in."""
    file: FormFile


async def read_form(head: RequestHead, body: RequestBody, *, bucket: str) -> Form:
    """The form of a request to the bucket, read up to where its file begins.

    Raises PreconditionFailed for what is no form, MissingContentLength, MalformedPOSTRequest,
    MaxPostPreDataLengthExceeded, InvalidArgument for a field that comes twice, and where no file comes; and
    what the body raises.
    """
    parts = _Parts(body, _boundary(head))
    require_length(head)
    fields: dict[str, str] = {}
    size = 0
    while (event := await parts.next_field_event()) is not _END:
        if not isinstance(event, _Begin):
            continue
        name = event.name.lower()
        if name == FILE:
            fields["bucket"] = bucket
            if "key" in fields:
                fields["key"] = fields["key"].replace(FILENAME_VARIABLE, _basename(event.filename))
            return Form(fields=fields, file=FormFile(parts))
        if name in fields:
            raise S3Error(
                "InvalidArgument",
                "A field of a form can be given only once.",
                ArgumentName=name,
            )
        value = await parts.rest_of_field()
        size += len(name) + len(value)
        if size > MAX_FIELDS_BYTES:
            raise _too_long()
        try:
            fields[name] = value.decode("utf-8")
        except UnicodeDecodeError:
            raise malformed_form() from None
    raise S3Error(
        "InvalidArgument",
        "POST requires exactly one file upload per request.",
        ArgumentName=FILE,
        ArgumentValue="0",
    )


class FormFile:
    """The file of a form, as a RequestBody of unknown length.

    read() raises S3Error: EntityTooLarge and EntityTooSmall where the file is not within its bounds,
    MalformedPOSTRequest; b"" says that the form was whole to its last boundary.
    """

    content_length: int | None = None

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts
        self._least = 0
        self._most: int | None = None
        self._size = 0
        self._ended = False

    def bound(self, least: int, most: int) -> None:
        """Take no file of fewer or more bytes."""
        self._least, self._most = least, most

    async def read(self) -> bytes:
        while not self._ended:
            event = await self._parts.next_event()
            if isinstance(event, bytes):
                self._count(len(event))
                return event
            if event is None:
                if self._size < self._least:
                    raise S3Error(
                        "EntityTooSmall",
                        "Your proposed upload is smaller than the minimum allowed size",
                        ProposedSize=str(self._size),
                        MinSizeAllowed=str(self._least),
                    )
                await self._parts.drain()
                self._ended = True
        return b""

    async def aclose(self) -> None:
        await self._parts.aclose()

    def _count(self, size: int) -> None:
        self._size += size
        if self._most is not None and self._size > self._most:
            raise S3Error(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
                ProposedSize=str(self._size),
                MaxSizeAllowed=str(self._most),
            )


class _Parts:
    """The parser's events of a body, one after the other."""

    def __init__(self, body: RequestBody, boundary: str) -> None:
        self._body = body
        try:
            self._parser: Any = PushMultipartParser(boundary)
        except MultipartError:
            raise malformed_form() from None
        self._pending: deque[_Event] = deque()
        self._is_complete = False
        self._read = 0

    async def next_event(self) -> _Event:
        """Raises MalformedPOSTRequest where the form ends before its last boundary."""
        while not self._pending:
            if self._is_complete:
                return _END
            piece = await self._body.read()
            self._read += len(piece)
            try:
                self._pending.extend(map(_as_event, self._parser.parse(piece)))
            except ParserLimitReached:
                raise _too_long() from None
            except MultipartError:
                raise malformed_form() from None
            self._is_complete = not piece
        return self._pending.popleft()

    async def next_field_event(self) -> _Event:
        """As next_event, before the file: of what is read ahead there is a bound."""
        if not self._pending and self._read > MAX_FIELDS_BYTES:
            raise _too_long()
        return await self.next_event()

    async def rest_of_field(self) -> bytes:
        """The value of the field that has begun."""
        pieces = []
        while isinstance(event := await self.next_field_event(), bytes):
            pieces.append(event)
        return b"".join(pieces)

    async def drain(self) -> None:
        """Read to the end of the body, which shows that the form is whole."""
        begun, size = self._read, 0
        while (event := await self.next_event()) is not _END:
            size += len(event) if isinstance(event, bytes) else 0
            if max(size, self._read - begun) > MAX_FIELDS_BYTES:
                raise malformed_form()

    async def aclose(self) -> None:
        self._pending.clear()
        await self._body.aclose()


def _as_event(parsed: Any) -> _Event:
    """The parser's event as one of ours; it is not typed."""
    if isinstance(parsed, MultipartSegment):
        return _Begin(name=parsed.name or "", filename=parsed.filename or "")
    return None if parsed is None else bytes(parsed)


def malformed_form() -> S3Error:
    """The body is no form, or is not whole."""
    return S3Error(
        "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data."
    )


def _too_long() -> S3Error:
    return S3Error(
        "MaxPostPreDataLengthExceeded",
        "Your POST request fields preceding the upload file were too large.",
        MaxPostPreDataLengthAllowed=str(MAX_FIELDS_BYTES),
    )


def _boundary(head: RequestHead) -> str:
    media_type, options = parse_options_header(head.header("content-type") or "")
    if media_type != "multipart/form-data" or not options.get("boundary"):
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            Condition="Bucket POST must be of the enclosure-type multipart/form-data",
        )
    return str(options["boundary"])


def _basename(filename: str) -> str:
    """What stands behind the last slash of either kind, as S3 takes it."""
    return filename.replace("\\", "/").rpartition("/")[2]
