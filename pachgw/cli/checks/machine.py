"""The machine: its clock, and what the kernel lets a process have."""

from __future__ import annotations

import ctypes
import resource
from dataclasses import dataclass
from pathlib import Path

from pachgw.cli.checks.finding import Finding, ok, problem, skipped, warning

SIGNATURE_SECONDS = 15 * 60
"""How far apart the clocks of a client and the gateway may be (S3: RequestTimeTooSkewed)."""
NOTICE_SECONDS = 60
OTHER_FILES = 512
"""Beside those of clients, in each process: PFS, logs, libraries, the store's objects."""

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than struct timex has anywhere."""
_TIMESYNC = Path("/run/systemd/timesync/synchronized")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What another clock showed."""

    who: str
    ahead_seconds: float
    """Of this machine's clock; negative: behind it."""


def check_clock(sightings: list[Sighting]) -> list[Finding]:
    """Whether the clock is right: by those of others that were seen, else by who keeps it."""
    findings = [judge_sighting(sighting) for sighting in sightings]
    return [*findings, _kept()]


def judge_sighting(sighting: Sighting) -> Finding:
    """What a clock that differs does to signatures."""
    apart = abs(sighting.ahead_seconds)
    way = "ahead of" if sighting.ahead_seconds > 0 else "behind"
    found = f"the clock of {sighting.who} is {apart:.0f} s {way} this one"
    if apart >= SIGNATURE_SECONDS:
        advice = "set the wrong one of the two by NTP: signatures of S3 hold for 15 minutes only"
        return problem("clock", found, advice)
    if apart >= NOTICE_SECONDS:
        return warning("clock", found, "set the wrong one of the two by NTP before they are 15 minutes apart")
    return ok("clock", f"the clock of {sighting.who} agrees with this one")


def _kept() -> Finding:
    state = _kernel_state()
    if state is None and not _TIMESYNC.exists():
        return skipped(
            "clock", "who keeps the clock is not known", "compare `date -u` with another machine's"
        )
    if state == _TIME_ERROR and not _TIMESYNC.exists():
        return warning(
            "clock",
            "the kernel's clock is not synchronised",
            "run chrony or systemd-timesyncd: signatures fail when clocks are 15 minutes apart",
        )
    return ok("clock", "the clock is kept by a time service")


def _kernel_state() -> int | None:
    """What adjtimex(2) answers when it is asked to change nothing; None where it may not be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state


def check_files(connections: int) -> list[Finding]:
    """Whether a process may have so many connections; the daemon takes all files that it is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [judge_files(hard, connections + OTHER_FILES)]


def judge_files(allowed: int, needed: int) -> Finding:
    """`allowed` as getrlimit(2) has it."""
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return ok(
            "open files", f"{'any number' if allowed == resource.RLIM_INFINITY else allowed} are allowed"
        )
    return warning(
        "open files",
        f"only {allowed} are allowed here, and --max-connections may come to need {needed}",
        f"LimitNOFILE={needed} in the unit, or a higher `ulimit -Hn`; or fewer --max-connections",
    )
