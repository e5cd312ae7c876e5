"""How much of a recording holds: counted from the tests that really ran, and told at the end of their run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from recorded import load

RECORDINGS = ("recorded.jsonl", "recorded-auth.jsonl")


@dataclass(slots=True)
class Outcome:
    """What came of the tests of one recording; each value is the ids of scenarios."""

    held: set[str] = field(default_factory=set)
    excepted: dict[str, str] = field(default_factory=dict)
    """With the reason."""
    failed: set[str] = field(default_factory=set)


class Conformance:
    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def note(self, recording: str, scenario: str, outcome: str, reason: str | None) -> None:
        """A test ended: `outcome` is pytest's, `reason` that of an expected failure."""
        known = self._outcomes.setdefault(recording, Outcome())
        if outcome == "failed":
            known.failed.add(scenario)
        elif reason is not None:
            known.excepted[scenario] = reason
        elif outcome == "passed":
            known.held.add(scenario)

    def lines(self) -> Iterator[str]:
        """The report; nothing where no scenario ran."""
        for recording in RECORDINGS:
            outcome = self._outcomes.get(recording)
            if outcome is None:
                continue
            every = {scenario["id"] for scenario in load(recording)}
            # A scenario of two tests holds if both passed.
            held = outcome.held - outcome.failed - outcome.excepted.keys()
            counts = [f"{len(held & every)} of {len(every)} scenarios hold"]
            counts += [f"{len(outcome.excepted)} exceptions"] if outcome.excepted else []
            counts += [f"{len(outcome.failed)} FAILED"] if outcome.failed else []
            absent = every - held - outcome.excepted.keys() - outcome.failed
            counts += [f"{len(absent)} did not run"] if absent else []
            yield f"{recording}: {', '.join(counts)}"
            yield from (f"  exception {name}: {reason}" for name, reason in outcome.excepted.items())
            yield from (f"  FAILED {name}" for name in sorted(outcome.failed))
            yield from (f"  unknown scenario {name}" for name in sorted((held | outcome.failed) - every))
