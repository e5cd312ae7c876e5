"""The PFS that is served: a cluster's, from its address to its repos, or the store on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pachgw.cli.checks.certificates import check_server
from pachgw.cli.checks.directories import check_directory, user
from pachgw.cli.checks.finding import CHECK_SECONDS, Finding, ok, problem, skipped, warning, within
from pachgw.cli.checks.pachd import Asked, Own, channel_to, check_calls
from pachgw.cli.checks.reach import check_name, check_proxy, check_speech, check_tcp, check_unix, place_of
from pachgw.config import Cluster, Embedded
from pachgw.localpfs import lock
from pachgw.localpfs.db import FILE_NAME, FORMAT
from pachgw.localpfs.tokensfile import TokensError, read_tokens

_MAGIC = b"SQLite format 3\0"
_VERSION_OFFSET = 60
"""Of user_version in an SQLite file (https://www.sqlite.org/fileformat.html, 1.3)."""


def check_cluster(
    cluster: Cluster, environ: Mapping[str, str], *, needs_token: bool = False
) -> tuple[list[Finding], Asked]:
    """Each step of the way, up to the first that does not succeed.

    `needs_token`: whether the gateway is to serve with a token of its own.
    """
    place = place_of(cluster.address)
    if place is None:
        findings, reached = check_unix(cluster.address)
    else:
        findings, addresses = check_name(place)
        findings += check_proxy(place, environ)
        connected = None
        if addresses:
            said, connected = check_tcp(place, addresses)
            findings += said
        reached = connected is not None
        if connected is not None:
            said = check_speech(place, connected)
            findings += said
            reached = not _has_problem(said)
            if reached and place.tls:
                said = check_server(place, connected, cluster.ca_certificates)
                findings += said
                reached = not _has_problem(said)
    if not reached:
        findings.append(skipped("version", "not asked, since there is no way to the server"))
        return findings, Asked()
    with channel_to(cluster.address, cluster.ca_certificates) as channel:
        said, asked = check_calls(
            channel, cluster.token, who=cluster.address, own=Own.NEEDED if needs_token else Own.USEFUL
        )
    return findings + said, asked


def _has_problem(findings: list[Finding]) -> bool:
    return any(finding.outcome == "problem" for finding in findings)


def check_store(embedded: Embedded) -> tuple[list[Finding], Asked]:
    """The state directory, what is in it, and the server that has it if there is one."""
    directory = embedded.state_dir
    findings = within(
        "state directory",
        lambda: check_directory("state directory", directory, setting="--state-dir", durable=True),
        seconds=CHECK_SECONDS / 2,
    )
    asked = Asked()
    if _is_directory(directory):
        findings += check_format(directory)
        said, asked = check_lock(directory)
        findings += said
    if embedded.tokens_file is not None:
        findings.append(_check_tokens(embedded.tokens_file))
    return findings, asked


def _is_directory(directory: Path) -> bool:
    try:
        return directory.is_dir()
    except OSError:
        return False


def check_format(directory: Path) -> list[Finding]:
    """Whether this release reads the database, by the head of its file: nothing is opened in SQLite."""
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            head = file.read(_VERSION_OFFSET + 4)
    except FileNotFoundError:
        return [ok("store", f"{directory} holds none yet; the daemon makes it")]
    except OSError as error:
        return [problem("store", f"{path}: {error.strerror}", "run this as the daemon's user, or as root")]
    found = int.from_bytes(head[_VERSION_OFFSET:], "big")
    if not head.startswith(_MAGIC) or not found:
        return [
            problem(
                "store", f"{path} is no database of pachgw", "name another --state-dir, or restore a backup"
            )
        ]
    if found > FORMAT:
        return [
            problem(
                "store",
                f"{path} has format {found}, and this release reads formats 1 to {FORMAT}",
                "a newer release made it: install that one",
            )
        ]
    if found < FORMAT:
        return [
            warning(
                "store",
                f"{path} has format {found}; the daemon upgrades it to {FORMAT} when it starts",
                "`pachgw backup` with the old release first; the old database is kept beside the new one",
            )
        ]
    return [ok("store", f"{path} has format {found}, this release's own")]


def check_lock(directory: Path) -> tuple[list[Finding], Asked]:
    """Whether a server has the store, and what it answers."""
    try:
        taken, said = lock.is_taken(directory), lock.said(directory)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        finding = skipped("server", f"{directory}: {reason}", "run this as the daemon's user, or as root")
        return [finding], Asked()
    if "backup_of" in said:
        if taken:
            advice = "wait for its end before a daemon is started there"
            return [warning("server", f"a backup is being written to {directory}", advice)], Asked()
        return [
            ok("server", f"{directory} is a backup; a daemon that starts on it makes it a store again")
        ], Asked()
    if not taken:
        return [ok("server", "no daemon has this store open")], Asked()
    if "socket" not in said:
        advice = "it is starting, or the disk is full; look again, and at its log"
        return [
            warning("server", f"a process has {directory}, and does not say where it listens", advice)
        ], Asked()
    address = f"unix:{said['socket']}"
    findings, reached = check_unix(address)
    if not reached:
        return findings, Asked()
    with channel_to(address, None) as channel:
        said_by, asked = check_calls(channel, None, who="the running daemon's PFS", own=Own.NONE)
    return [ok("server", f"a daemon has this store, and serves it on {said['socket']}"), *said_by], asked


def _check_tokens(path: Path) -> Finding:
    try:
        read_tokens(path)
        mode = path.stat().st_mode & 0o777
        owner = user(path.stat().st_uid)
    except TokensError as error:
        return problem("tokens file", str(error), "see docs/auth.md for what is allowed")
    except OSError as error:
        return problem(
            "tokens file", f"{path}: {error.strerror}", "run this as the daemon's user, or see --pfs-tokens"
        )
    if mode & 0o007:
        return warning("tokens file", f"{path}, mode {mode:04o}: everybody can read it", f"chmod 600 {path}")
    return ok("tokens file", f"{path}, owner {owner}, mode {mode:04o}")
