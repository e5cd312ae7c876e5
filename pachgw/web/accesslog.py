"""The access log: a line for each request, in the daemon's log or in a file of its own.

What happened to a request the site says, what it was about its handler (messages.Notes). No secrets: values
of query parameters that are, or are as good as, are left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.logger import Logger

if TYPE_CHECKING:
    from pachgw.web.request import Request

STYLES = ("combined", "json", "off")

LOOK_SECONDS = 1.0
"""So often it is looked whether the file was moved away."""
COMPLAIN_SECONDS = 60.0

_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")
_NOT_IN_QUOTES = re.compile(rb"[^\x20\x21\x23-\x5b\x5d-\x7e]")
# As strftime has them in English, whatever the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MODE = 0o640


def redact(raw_uri: bytes, secret: Iterable[bytes]) -> str:
    """The request target fit for a log: values of the query parameters named in `secret` (lower case) left
    out, bytes that do not print escaped."""
    path, mark, query = raw_uri.partition(b"?")
    fields = []
    for field in query.split(b"&"):
        name, equals, _ = field.partition(b"=")
        hide = equals and unquote_to_bytes(name.replace(b"+", b" ")).strip().lower() in secret
        fields.append(name + b"=..." if hide else field)
    shown = path + mark + b"&".join(fields)
    return _UNPRINTABLE.sub(_escaped, shown).decode("ascii")


class AccessLog:
    """Says what becomes of requests, in one of STYLES."""

    def __init__(
        self,
        style: str = STYLES[0],
        *,
        path: Path | None = None,
        secret_parameters: frozenset[bytes] = frozenset(),
    ) -> None:
        """`path` is a file to append to, None: the daemon's log. Opens nothing before open()."""
        self._line = {"combined": self._combined, "json": self._json}.get(style)
        self._file = None if path is None or self._line is None else _File(path)
        self._secret = secret_parameters
        self._second = (-1, "")
        self._log = Logger("pachgw.web.access")

    def open(self) -> None:
        """Open the file, if there is one. Raises OSError."""
        if self._file is not None:
            self._file.open()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def ended(self, request: Request, status: int, seconds: float, outcome: str) -> None:
        """Log a request that was answered, or not to its end; `outcome` tells the latter in words, or ""."""
        if self._line is None:
            return
        line = self._line(request, status, seconds, outcome)
        if self._file is not None:
            self._file.append(line)
        else:
            # One field: the logger takes 40 µs more for as many as a line has.
            self._log.info("{line}", line=line)

    def _combined(self, request: Request, status: int, seconds: float, outcome: str) -> str:
        """Apache's combined format; behind it the id, action, bytes received, seconds, those in the backend,
        and the code of the error."""
        head = request.head
        notes = head.notes
        version = request.clientproto.decode("ascii", "replace") if head.method else "-"
        behind = "-" if notes.behind is None else f"{notes.behind.seconds:.3f}"
        return (
            f"{head.peer} - {notes.who} [{self._time(request.site.reactor.seconds())}]"
            f' "{head.method or "-"} {redact(request.uri, self._secret)} {version}" {status}'
            f' {request.sentLength} "{self._referer(request)}" "{_quoted(_header(request, b"user-agent"))}"'
            f" {request.request_id} {notes.action} {request.received_bytes} {seconds:.3f} {behind}"
            f" {notes.error}{outcome and ' ' + outcome}"
        )

    def _json(self, request: Request, status: int, seconds: float, outcome: str) -> str:
        head = request.head
        notes = head.notes
        now = datetime.fromtimestamp(request.site.reactor.seconds(), UTC)
        said: dict[str, object] = {
            "time": now.isoformat(timespec="milliseconds"),
            "request_id": request.request_id,
            "client": head.peer,
            "method": head.method,
            "uri": redact(request.uri, self._secret),
            "action": notes.action,
            **notes.about,
            "access_key": notes.who,
            "status": status,
            "error": notes.error,
            "received": request.received_bytes,
            "sent": request.sentLength,
            "seconds": round(seconds, 6),
            "pfs_seconds": None if notes.behind is None else round(notes.behind.seconds, 6),
            "user_agent": _header(request, b"user-agent").decode("utf-8", "replace"),
            "outcome": outcome,
        }
        return json.dumps({name: value for name, value in said.items() if value not in ("-", "", None)})

    def _referer(self, request: Request) -> str:
        # The address of a page may have been presigned too.
        referer = redact(_header(request, b"referer"), self._secret)
        return referer.replace('"', "\\x22")

    def _time(self, seconds: float) -> str:
        second = int(seconds)
        if self._second[0] != second:
            now = time.gmtime(second)
            self._second = (
                second,
                f"{now.tm_mday:02}/{_MONTHS[now.tm_mon - 1]}/{now.tm_year}"
                f":{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} +0000",
            )
        return self._second[1]


class _File:
    """Appends lines to a file that several processes append to, and that may be moved away for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._identity = (0, 0)
        self._looked_seconds = 0.0
        self._complained_seconds = -COMPLAIN_SECONDS
        self._log = Logger("pachgw.web.access")

    def open(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        self.close()
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, line: str) -> None:
        now = time.monotonic()
        try:
            if self._descriptor < 0 or now - self._looked_seconds >= LOOK_SECONDS:
                self._looked_seconds = now
                self._open_anew()
            # In one piece: so lines of several processes do not mix.
            os.write(self._descriptor, line.encode("utf-8", "replace") + b"\n")
        except OSError as error:
            if now - self._complained_seconds >= COMPLAIN_SECONDS:
                self._complained_seconds = now
                self._log.error(
                    "{path}: {error}; lines of the access log are lost", path=str(self._path), error=error
                )

    def _open_anew(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            status = self._path.stat()
            if self._descriptor >= 0 and (status.st_dev, status.st_ino) == self._identity:
                return
        self.open()


def _header(request: Request, name: bytes) -> bytes:
    return b",".join(request.head.values(name)) or b"-"


def _quoted(value: bytes) -> str:
    return _NOT_IN_QUOTES.sub(_escaped, value).decode("ascii")


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % match[0][0]
