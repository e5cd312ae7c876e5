"""Where the gateway listens: whether the port is free, or who has it, and who can reach it."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pachgw.cli.checks.finding import Finding, ok, problem, skipped, warning
from pachgw.cli.checks.machine import Sighting
from pachgw.config.endpoints import MAX_PORT, is_behind_proxy, is_local, is_tls, place_of

ANSWER_SECONDS = 3.0
_ASK = b"HEAD /~/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_OF_NOBODY = b"PROXY UNKNOWN\r\n"
"""What a listener behind a proxy has to be told first: its client's address, or that there is none."""
_MOST_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a port said to a HEAD request for a gateway's health."""

    healthy: bool
    """It is a gateway's, and well."""
    server: str | None
    date: float | None
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who is let in."""

    auth: bool | None
    """Whether PFS asks for tokens; None where that is not known."""
    keys_only: bool = False
    """Only access keys of our own are taken."""
    open_to_all: bool = False
    """The operator wants others served without auth."""


def check_listeners(endpoints: Sequence[str], entry: Entry) -> tuple[list[Finding], list[Sighting]]:
    """Each endpoint, and the clocks that were seen there."""
    findings: list[Finding] = []
    sightings: list[Sighting] = []
    for endpoint in endpoints:
        place = place_of(endpoint)
        if place is None:
            findings.append(skipped("listener", f"{endpoint}: opened by somebody else"))
        elif isinstance(place, Path):
            findings.append(_check_path(endpoint, place))
        else:
            finding, answer = check_port(endpoint, *place, tls=is_tls(endpoint))
            findings.append(finding)
            if answer is not None and answer.date is not None:
                ahead = answer.date - time.time()
                sightings.append(Sighting(who=f"the gateway on {endpoint}", ahead_seconds=ahead))
        if not is_local(endpoint) and place is not None:
            findings.append(judge_entry(endpoint, entry))
    return findings, sightings


def judge_entry(endpoint: str, entry: Entry) -> Finding:
    """Who gets in at an endpoint that other machines reach."""
    name = "who gets in"
    served = f"{endpoint} is served to other machines"
    if entry.auth is False and not entry.keys_only:
        advice = (
            "turn auth on (`pachgw token activate`, or `pachctl auth activate`), take --access-keys-only, or"
            " listen on 127.0.0.1"
        )
        if entry.open_to_all:
            return warning(name, f"{served}, and auth is off: everybody may read and write", advice)
        found = f"{endpoint} is for other machines, and auth is off: the daemon does not serve them"
        return problem(name, found, f"{advice}; or say --serve-without-auth")
    if not is_tls(endpoint):
        clear = "data travels" if entry.keys_only else "access keys, which are tokens, and data travel"
        return warning(
            name,
            f"{served} without TLS: {clear} in clear",
            "listen on tls:PORT:interface=ADDRESS, or put a proxy with TLS in front",
        )
    if entry.auth is None and not entry.keys_only:
        return skipped(name, f"{served}; whether auth is on is not known")
    return ok(name, f"{served}, with TLS and {'access keys of our own' if entry.keys_only else 'tokens'}")


def check_port(endpoint: str, interface: str, port: int, *, tls: bool) -> tuple[Finding, Answer | None]:
    """Whether the port can be listened on, and whose it is where somebody has it."""
    if port == 0:
        return ok("listener", f"{endpoint}: any free port"), None
    if port > MAX_PORT:
        return problem("listener", f"{endpoint}: ports end at {MAX_PORT}", "see --listen"), None
    error = bind_error(interface, port)
    if error is None:
        return ok("listener", f"{endpoint}: the port is free; no gateway runs here"), None
    if error.errno == errno.EADDRINUSE:
        preface = _OF_NOBODY if is_behind_proxy(endpoint) else b""
        answer = ask(_reached(interface), port, tls=tls, preface=preface)
        return _taken(endpoint, answer), answer
    if error.errno == errno.EACCES:
        return problem(
            "listener",
            f"{endpoint}: ports below 1024 are root's",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a higher port",
        ), None
    if error.errno == errno.EADDRNOTAVAIL:
        advice = "name one of this machine's own addresses (ip address), or leave interface= out for all"
        return problem("listener", f"{endpoint}: {interface} is no address of this machine", advice), None
    return problem("listener", f"{endpoint}: {error.strerror or error}", "see --listen"), None


def _taken(endpoint: str, answer: Answer | None) -> Finding:
    advice = "end what has it (ss -ltnp tells), or choose another port with --listen"
    if answer is None:
        return problem("listener", f"{endpoint}: something has the port that does not answer HTTP", advice)
    if (answer.server or "").startswith("pachgw"):
        return ok("listener", f"{endpoint}: a gateway serves there already")
    return problem("listener", f"{endpoint}: {answer.server or 'a web server'} has the port", advice)


def bind_error(interface: str, port: int) -> OSError | None:
    """Why the port cannot be listened on; None where it can. Nothing ever listens on it here."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the gateway has it: what only waits for its last packets is no owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
    except OSError as error:
        return error
    return None


def _reached(interface: str) -> str:
    """An address that leads to the interface."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(interface, interface)


def ask(host: str, port: int, *, tls: bool, preface: bytes = b"") -> Answer | None:
    """What is answered to a HEAD request; None where it is no HTTP."""
    deadline = time.monotonic() + ANSWER_SECONDS
    data = b""
    with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.create_connection((host, port), ANSWER_SECONDS))
        connection.sendall(preface)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Only who it is matters: nothing secret is sent.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = opened.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(_ASK)
        while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            connection.settimeout(left)
            more = connection.recv(4096)
            if not more:
                break
            data += more
    if not data.startswith(b"HTTP/"):
        return None
    healthy = re.match(rb"HTTP/1\.[01] 200 ", data) is not None
    return Answer(healthy=healthy, server=_header(data, b"server"), date=_date(_header(data, b"date")))


def _header(data: bytes, name: bytes) -> str | None:
    found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", data, re.IGNORECASE)
    return found[1].decode("latin-1").strip() if found else None


def _date(value: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value or "").timestamp()
    except (ValueError, TypeError, IndexError):
        return None


def _check_path(endpoint: str, path: Path) -> Finding:
    if not os.path.lexists(path):
        if os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
            return ok("listener", f"{endpoint}: nobody has the socket; no gateway runs here")
        advice = "make the directory and chown it to the daemon's user (RuntimeDirectory= in the unit)"
        return problem("listener", f"{endpoint}: {path.parent} is not there, or not writable here", advice)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(str(path))
    except ConnectionRefusedError:
        return ok("listener", f"{endpoint}: left over by a process that has ended")
    except OSError as error:
        return problem(
            "listener", f"{endpoint}: {error.strerror or error}", "remove what is there, or name another path"
        )
    return ok("listener", f"{endpoint}: somebody serves there already")


def check_monitor(endpoint: str) -> list[Finding]:
    """The endpoint of metrics, which nobody is asked for a token on."""
    place = place_of(endpoint)
    if place is None or isinstance(place, Path):
        return [skipped("metrics", f"{endpoint}: not a TCP port")]
    finding, answer = check_port(endpoint, *place, tls=False)
    if answer is not None and answer.healthy:
        finding = ok("metrics", f"{endpoint}: a gateway's metrics are served there already")
    return [replace(finding, name="metrics", advice=finding.advice.replace("--listen", "--metrics"))]


def check_pfs_listen(address: str, *, running: bool) -> Finding:
    """Where the embedded PFS is to be served besides; `running`: whether a daemon has the store."""
    host, _, port = address.rpartition(":")
    if int(port) == 0:
        return ok("PFS listener", f"{address}: any free port")
    error = bind_error(host.strip("[]") if host != "localhost" else "127.0.0.1", int(port))
    if error is None:
        return ok("PFS listener", f"{address}: the port is free")
    if error.errno == errno.EADDRINUSE and running:
        return ok("PFS listener", f"{address}: taken, as it is while the daemon runs")
    advice = "end what has it (ss -ltnp tells), or choose another one with --pfs-listen"
    return problem("PFS listener", f"{address}: {error.strerror or error}", advice)
