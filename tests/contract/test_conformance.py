"""The report of conformance counts what ran, and nothing else."""

from __future__ import annotations

from conformance import Conformance
from recorded import load


def test_nothing_is_said_of_what_did_not_run() -> None:
    assert list(Conformance().lines()) == []


def test_each_scenario_counts_once_by_what_came_of_its_tests() -> None:
    names = [scenario["id"] for scenario in load("recorded-auth.jsonl")]
    report = Conformance()
    for name in names[:5]:
        report.note("recorded-auth.jsonl", name, "passed", None)
    report.note("recorded-auth.jsonl", names[0], "passed", None)
    report.note("recorded-auth.jsonl", names[1], "failed", None)
    report.note("recorded-auth.jsonl", names[5], "skipped", "why not")
    # An expected failure that passes is a failure: pytest says so where it is strict.
    report.note("recorded-auth.jsonl", names[6], "failed", None)
    # One that was skipped did not run.
    report.note("recorded-auth.jsonl", names[7], "skipped", None)
    assert list(report.lines()) == [
        f"recorded-auth.jsonl: 4 of {len(names)} scenarios hold, 1 exceptions, 2 FAILED,"
        f" {len(names) - 7} did not run",
        f"  exception {names[5]}: why not",
        *(f"  FAILED {name}" for name in sorted((names[1], names[6]))),
    ]


def test_a_scenario_that_no_recording_has_is_told() -> None:
    report = Conformance()
    report.note("recorded.jsonl", "no such scenario", "passed", None)
    assert list(report.lines())[1:] == ["  unknown scenario no such scenario"]
