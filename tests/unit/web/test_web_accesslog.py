"""The access log: what its lines say, what they never say, and where they go."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachgw.messages import Response, Spent
from pachgw.web import accesslog
from pachgw.web.accesslog import AccessLog, redact
from pachgw.web.app import SECRET_PARAMETERS

Wires = Callable[..., Any]


def get(target: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"GET " + target + b" HTTP/1.1", b"Host: h", *headers, b"", b""))


def log_to(path: Path | None = None, style: str = "combined") -> AccessLog:
    access_log = AccessLog(style, path=path, secret_parameters=SECRET_PARAMETERS)
    access_log.open()
    return access_log


@pytest.mark.parametrize(
    ("raw_uri", "shown"),
    [
        (b"/b/k", "/b/k"),
        (b"/b?acl&X-Amz-Signature=abc&x=y", "/b?acl&X-Amz-Signature=...&x=y"),
        (b"/b?x-amz%2Dsignature=abc", "/b?x-amz%2Dsignature=..."),
        (b"/b?Signature=a=b?c&AWSAccessKeyId=k", "/b?Signature=...&AWSAccessKeyId=..."),
        (
            b"/b?X-Amz-Security-Token=t&X-Amz-Credential=c/d",
            "/b?X-Amz-Security-Token=...&X-Amz-Credential=...",
        ),
        (b"/b\x1b[31m\xff?x", "/b\\x1b[31m\\xff?x"),
    ],
)
def test_redact(raw_uri: bytes, shown: str) -> None:
    assert redact(raw_uri, SECRET_PARAMETERS) == shown


def test_log_has_one_line_for_each_request_and_no_secrets(wire: Wires, log: Any) -> None:
    w = wire()
    w.send(get(b"/b?X-Amz-Signature=hush&acl", b"Authorization: AWS hush", b"Cookie: hush"))
    w.clock.advance(1.5)
    w.calls[0].answer.callback(Response(status=404, body=b"no"))
    request_id = w.calls[0].head.request_id
    assert log.lines() == [
        '192.0.2.1 - - [01/Jan/1970:00:00:01 +0000] "GET /b?X-Amz-Signature=...&acl HTTP/1.1" 404 2'
        f' "-" "-" {request_id} - 0 1.500 - -'
    ]
    assert not any("hush" in repr(event) for event in log.events)
    assert not any("hush" in str(value) for event in log.events for value in event.values())


def test_combined_has_what_the_handler_noted(wire: Wires, log: Any) -> None:
    w = wire()
    w.send(get(b"/b/k", b"User-Agent: curl/8", b"Referer: http://h/b?X-Amz-Signature=hush"))
    notes = w.calls[0].head.notes
    notes.action, notes.who, notes.error, notes.behind = "GetObject", "0123456789ab", "NoSuchKey", Spent(0.25)
    w.calls[0].answer.callback(Response(status=404))
    (line,) = log.lines()
    assert shlex.split(re.sub(r"\[.*\]", "TIME", line)) == [
        *("192.0.2.1", "-", "0123456789ab", "TIME", "GET /b/k HTTP/1.1", "404", "0"),
        *("http://h/b?X-Amz-Signature=...", "curl/8", w.calls[0].head.request_id),
        *("GetObject", "0", "0.000", "0.250", "NoSuchKey"),
    ]


@pytest.mark.parametrize("field", [b"User-Agent", b"Referer"])
def test_combined_is_one_line_that_no_client_can_forge(wire: Wires, log: Any, field: bytes) -> None:
    w = wire()
    w.send(get(b"/b/k", field + b': x" 200 0 "\\"\x1b[31m\xff\x85 y'))
    w.calls[0].answer.callback(Response(status=200))
    (line,) = log.lines()
    assert line.isascii() and line.isprintable()
    assert line.count('"') == 6
    assert "\\x22" in line


def test_json_has_a_name_for_everything_and_nothing_empty(wire: Wires, log: Any) -> None:
    w = wire(access_log=log_to(style="json"))
    w.send(
        get(b"/b/k%22?X-Amz-Credential=hush", 'User-Agent: é\x1b"x'.encode(), b"Content-Length: 3") + b"abc"
    )
    notes = w.calls[0].head.notes
    notes.action, notes.who, notes.behind = "PutObject", "name", Spent(0.125)
    notes.about = {"bucket": "b", "key": 'k"\udcff', "version": "v"}
    w.clock.advance(0.5)
    w.calls[0].answer.callback(Response(status=200, body=b"yes!"))
    assert [json.loads(line) for line in log.lines()] == [
        {
            "time": "1970-01-01T00:00:00.500+00:00",
            "request_id": w.calls[0].head.request_id,
            "client": "192.0.2.1",
            "method": "GET",
            "uri": "/b/k%22?X-Amz-Credential=...",
            "action": "PutObject",
            "bucket": "b",
            "key": 'k"\udcff',
            "version": "v",
            "access_key": "name",
            "status": 200,
            "received": 3,
            "sent": 4,
            "seconds": 0.5,
            "pfs_seconds": 0.125,
            "user_agent": 'é\x1b"x',
        }
    ]


@pytest.mark.parametrize("style", ["combined", "json"])
def test_what_is_no_request_has_a_line_too(wire: Wires, log: Any, style: str) -> None:
    w = wire(access_log=log_to(style=style))
    w.send(b"junk\r\n\r\n")
    (line,) = log.lines()
    assert "400" in line
    assert "InvalidRequest" in line


def test_a_client_that_has_gone(wire: Wires, log: Any) -> None:
    w = wire(access_log=log_to(style="json"))
    w.send(get(b"/b/k"))
    w.lose()
    (line,) = map(json.loads, log.lines())
    assert (line["status"], line["outcome"]) == (499, "client gone")


def test_off_says_nothing(wire: Wires, log: Any, tmp_path: Path) -> None:
    w = wire(access_log=log_to(tmp_path / "access.log", style="off"))
    w.send(get(b"/b/k"))
    w.calls[0].answer.callback(Response(status=200))
    assert log.lines() == []
    assert list(tmp_path.iterdir()) == []


def test_probes_are_neither_logged_nor_counted(wire: Wires, log: Any) -> None:
    w = wire(is_probe=lambda head: head.raw_uri == b"/~/ready")
    w.send(get(b"/~/ready"))
    w.calls[0].answer.callback(Response(status=503))
    assert w.take().startswith(b"HTTP/1.1 503")
    assert log.lines() == []
    assert next(iter(w.site.metrics.requests.collect())).samples == []


class Ticking:
    """Time in the place of the module's."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    gmtime = staticmethod(accesslog.time.gmtime)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    time = Ticking()
    monkeypatch.setattr(accesslog, "time", time)
    return time


def test_a_file_gets_the_lines_alone(wire: Wires, log: Any, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    access_log = log_to(path, style="json")
    w = wire(access_log=access_log)
    for target in (b"/1", b"/2"):
        w.send(get(target))
        w.calls[-1].answer.callback(Response(status=200))
    before, *lines = path.read_text().splitlines()
    assert before == "before"
    assert [json.loads(line)["uri"] for line in lines] == ["/1", "/2"]
    assert log.lines() == []
    access_log.close()


def test_a_file_that_is_moved_away_is_made_anew(wire: Wires, tmp_path: Path, ticking: Ticking) -> None:
    path = tmp_path / "access.log"
    access_log = log_to(path, style="json")
    w = wire(access_log=access_log)

    def ask(target: bytes) -> None:
        w.send(get(target))
        w.calls[-1].answer.callback(Response(status=200))

    ask(b"/1")
    path.rename(tmp_path / "access.log.1")
    ask(b"/2")
    ticking.seconds += accesslog.LOOK_SECONDS
    ask(b"/3")
    path.unlink()
    ticking.seconds += accesslog.LOOK_SECONDS
    ask(b"/4")
    old = (tmp_path / "access.log.1").read_text().splitlines()
    assert [json.loads(line)["uri"] for line in old] == ["/1", "/2"]
    assert [json.loads(line)["uri"] for line in path.read_text().splitlines()] == ["/4"]
    assert path.stat().st_mode & 0o007 == 0
    access_log.close()


def test_a_file_that_cannot_be_written_to_is_told_once_in_a_while(
    wire: Wires, log: Any, tmp_path: Path, ticking: Ticking
) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    access_log = log_to(directory / "access.log")
    w = wire(access_log=access_log)

    def ask() -> None:
        ticking.seconds += accesslog.LOOK_SECONDS
        w.send(get(b"/b"))
        w.calls[-1].answer.callback(Response(status=200))
        assert w.take().startswith(b"HTTP/1.1 200")

    (directory / "access.log").unlink()
    directory.rmdir()
    for _ in range(3):
        ask()
    (complaint,) = log.lines()
    assert str(directory) in complaint
    directory.mkdir()
    ask()
    assert len((directory / "access.log").read_text().splitlines()) == 1
    access_log.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        log_to(tmp_path / "nowhere" / "access.log")


def test_descriptors_are_closed(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    access_log = log_to(tmp_path / "access.log")
    access_log.open()
    access_log.close()
    assert count() == before
