"""`pachgw doctor`: the checks in their order, and how findings are told. What is checked is in checks/."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pachgw.cli.checks.directories import check_directory, check_secret_file
from pachgw.cli.checks.finding import Finding, Outcome, skipped, within
from pachgw.cli.checks.listeners import Entry, check_listeners, check_monitor, check_pfs_listen
from pachgw.cli.checks.machine import Sighting, check_clock, check_files
from pachgw.cli.checks.settings import Found, check_settings, file_given
from pachgw.cli.configuration import add_settings, settings_given
from pachgw.cli.outcome import FINE, PROBLEMS, print_json
from pachgw.config import MAX_CONNECTIONS, Config, Embedded

_BACKEND_SECONDS: Final = 60.0
"""For all steps of the way to PFS; each has a deadline of a few seconds of its own."""


def add_command(commands: Any) -> None:
    """Add `doctor` to the commands."""
    command = commands.add_parser(
        "doctor",
        help="look at what the daemon needs, and say what to do",
        description="Looks at what the daemon needs, given the same options and the same environment: the"
        " configuration, the way to PFS, TLS, version, token, clock, directories, disk and ports. Changes"
        " nothing. Run it as the daemon's user. Exit status 1 where there is a problem, else 0.",
    )
    add_settings(command)
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Look at everything and print what was found."""
    findings: list[Finding] = []
    for finding in examine(os.environ, settings_given(given), given.config):
        findings.append(finding)
    if given.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    sys.stdout.flush()
    return PROBLEMS if any(finding.outcome is Outcome.PROBLEM for finding in findings) else FINE


def _print(findings: list[Finding]) -> None:
    names = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.outcome:<8} {finding.name:<{names}}  {finding.found}")
        if finding.advice:
            print(f"{'':<8} {'':<{names}}    -> {finding.advice}")
    counts = {outcome: sum(finding.outcome is outcome for finding in findings) for outcome in Outcome}
    problems, warnings = counts[Outcome.PROBLEM], counts[Outcome.WARNING]
    print(f"{_many(problems, 'problem')}, {_many(warnings, 'warning')}")


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def examine(
    environ: Mapping[str, str], options: Mapping[str, object], config_file: str | None
) -> list[Finding]:
    """All findings, in the order of what depends on what."""
    found: list[Found] = []

    def configure() -> tuple[Finding, ...]:
        found.append(check_settings(environ, options, config_file))
        return found[0].findings

    findings = within("configuration", configure)
    sightings: list[Sighting] = []
    if found and found[0].config is not None:
        findings += _examine_config(environ, found[0].config, found[0], sightings)
    else:
        findings.append(skipped("PFS", "not looked at, since the configuration is wrong"))
    config = found[0].config if found else None
    connections = MAX_CONNECTIONS if config is None else config.max_connections
    return [*findings, *check_clock(sightings), *check_files(connections)]


def _examine_config(
    environ: Mapping[str, str], config: Config, found: Found, sightings: list[Sighting]
) -> list[Finding]:
    findings: list[Finding] = []
    auth: bool | None = None
    if found.has_backend:
        said, auth = _examine_backend(environ, config, sightings)
        findings += said
        if (token_file := file_given(found.given, "pachd-token-file")) is not None:
            findings += within("token file", lambda: [check_secret_file("token file", token_file)])
        if (cache := config.cache_dir) is not None and not _is_inside_new(config):
            findings += within(
                "cache directory",
                lambda: check_directory("cache directory", cache, setting="--cache-dir", durable=False),
            )
    else:
        findings.append(skipped("PFS", "not looked at, since the configuration is wrong"))
    if (metrics := config.metrics) is not None:
        findings += within("metrics", lambda: check_monitor(metrics))
    if (access_keys := config.access_keys) is not None:
        findings += within("access keys", lambda: [check_secret_file("access keys", access_keys)])
    certificate, key = config.tls_certificate, config.tls_key
    if certificate is not None and key is not None:
        findings += within("certificate", lambda: _examine_certificate(certificate, key))
    if found.has_listeners:

        def listen() -> list[Finding]:
            said, seen = check_listeners(
                config.listen,
                Entry(auth=auth, keys_only=config.access_keys_only, open_to_all=config.serve_without_auth),
            )
            sightings.extend(seen)
            return said

        findings += within("listener", listen)
    return findings


def _examine_certificate(certificate: Path, key: Path) -> list[Finding]:
    # Imported late, as cryptography takes long to load too.
    from pachgw.cli.checks.certificates import check_own

    return [*check_own(certificate, key), check_secret_file("key file", key)]


def _is_inside_new(config: Config) -> bool:
    """Whether the cache is in a state directory, of which all has been said."""
    backend = config.backend
    return isinstance(backend, Embedded) and config.cache_dir == backend.state_dir / "gateway"


def _examine_backend(
    environ: Mapping[str, str], config: Config, sightings: list[Sighting]
) -> tuple[list[Finding], bool | None]:
    # Imported late: gRPC takes longer to load than anything else here.
    from pachgw.cli.checks.backend import check_cluster, check_store

    auth: list[bool | None] = []
    backend = config.backend

    def look() -> list[Finding]:
        if isinstance(backend, Embedded):
            said, asked = check_store(backend)
            if backend.pfs_listen is not None:
                said.append(check_pfs_listen(backend.pfs_listen, running=asked.answers))
        else:
            is_sidecar = bool(config.inputs) or config.output is not None
            said, asked = check_cluster(backend, environ, needs_token=is_sidecar)
        auth.append(asked.auth)
        sightings.extend(asked.sightings)
        return said

    findings = within("PFS", look, seconds=_BACKEND_SECONDS)
    return findings, auth[0] if auth else None
