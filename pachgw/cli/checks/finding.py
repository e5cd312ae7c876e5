"""What a check comes to, and the time that it may take. No check is here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

CHECK_SECONDS = 20.0
"""For one check as a whole; the steps it takes have shorter deadlines of their own."""


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, or may work; somebody should know."""
    PROBLEM = "problem"
    """The daemon will not start, not serve, or lose data."""
    SKIPPED = "skipped"
    """Could not be looked at, or there is nothing to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    name: str
    """What was looked at, in one or two words."""
    outcome: Outcome
    found: str
    """One line; never a secret."""
    advice: str = ""
    """One line: what to do about it. Empty where nothing is to be done."""


def ok(name: str, found: str, advice: str = "") -> Finding:
    return Finding(name=name, outcome=Outcome.OK, found=_line(found), advice=_line(advice))


def warning(name: str, found: str, advice: str) -> Finding:
    return Finding(name=name, outcome=Outcome.WARNING, found=_line(found), advice=_line(advice))


def problem(name: str, found: str, advice: str) -> Finding:
    return Finding(name=name, outcome=Outcome.PROBLEM, found=_line(found), advice=_line(advice))


def skipped(name: str, found: str, advice: str = "") -> Finding:
    return Finding(name=name, outcome=Outcome.SKIPPED, found=_line(found), advice=_line(advice))


def within(
    name: str, check: Callable[[], Sequence[Finding]], *, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """The findings of the check, or the finding that it took too long.

    A check that the kernel holds, as a dead file server does, is left behind in its thread.
    """
    done: list[Sequence[Finding]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(check())
        except BaseException as error:  # told by the thread that asked
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True, name=f"check {name}")
    worker.start()
    worker.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        return [
            problem(
                name,
                f"no answer within {seconds:g} s",
                "a name server, a file server or a network in between does not answer; look at those first",
            )
        ]
    return list(done[0])


def _line(text: str) -> str:
    """One line that a terminal shows as it is: what servers say is not trusted."""
    joined = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in joined)[:500]
