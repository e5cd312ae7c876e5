"""What a run has measured: series of figures of named subjects, as they are printed, written and read again.

Measuring is the parts' own; what is made of a book for readers is bench.report's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.stats import drift, ratios, spread
from bench.subjects import BARE

FORMAT = 1
BUSY_LOAD = 0.5
"""A load average at the start above which the machine is doing other work."""
BUSY_SHARE = 0.05
"""Of the processors, taken by others while something was measured."""
DRIFT_SHARE = 0.15
MORE_IS_BETTER = frozenset({"/s", "MiB/s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One figure of one subject, round by round."""

    part: str
    case: str
    subject: str
    unit: str
    """`/s`, `MiB/s`, `ms`, `s`, `MiB`, `KiB`, `bytes`, or empty for a bare number."""
    values: tuple[float, ...]
    costs: Mapping[str, float] = field(default_factory=dict)
    """Medians of what else was seen: processor time of a request, `gateway_ms`, `pfs_ms`, `client_ms`; shares
    of all processors, `gateway`, `pfs`, `loader`, `others`; `p50`, `p99` in ms; `requests`, and `refused`."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.part, self.case, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A figure of one round and what it cost (Series.costs)."""

    value: float
    costs: Mapping[str, float] = field(default_factory=dict)


def text(value: float, unit: str) -> str:
    """A figure as tables show it."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    number = f"{value:,.{digits}f}"
    return f"{number}{unit}" if unit in {"/s", ""} else f"{number} {unit}"


class Book:
    """The series of a run in the order in which they came, and what the machine was like."""

    def __init__(self, *, rounds: int, options: Mapping[str, Any], machine_said: Mapping[str, str]) -> None:
        self.rounds = rounds
        self.options = dict(options)
        self.machine = dict(machine_said)
        self.series: dict[tuple[str, str, str], Series] = {}
        self.notes: list[str] = []
        self.load: dict[str, list[float]] = {}
        self.calibration: list[float] = []
        self.begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        self.seconds = 0.0

    def note(self, said: str) -> None:
        """Something that whoever reads the figures should know; once."""
        if said not in self.notes:
            self.notes.append(said)
            print(f"! {said}", flush=True)

    def calibrate(self) -> None:
        """See how fast the machine is now."""
        self.calibration.append(machine.calibrate())

    def doubts(self) -> list[str]:
        """What speaks against all of the figures: other work on the machine, and a machine that changed."""
        found = []
        load = self.load.get("start", [0.0])[0]
        if load > BUSY_LOAD:
            found.append(f"the machine was busy before the run began: load average {load:.2f}")
        others = [one.costs["others"] for one in self.series.values() if "others" in one.costs]
        busy = [share for share in others if share > BUSY_SHARE]
        if busy:
            found.append(
                f"other work took more than {BUSY_SHARE:.0%} of the processors in {len(busy)} of"
                f" {len(others)} figures, up to {max(busy):.0%}"
            )
        if self.calibration and spread(self.calibration).relative > DRIFT_SHARE:
            of = spread(self.calibration)
            found.append(f"the same work took {of.high / of.low:.2f} times as long at one time as at another")
        drifts = [drift(one.values) for one in self.series.values() if one.subject == BARE]
        if adrift := [share for share in drifts if share > 2 * DRIFT_SHARE]:
            found.append(
                f"from first to last round the bare client drifted by more than {2 * DRIFT_SHARE:.0%} in"
                f" {len(adrift)} of {len(drifts)} figures, up to {max(adrift):.0%}"
            )
        return found

    def add(self, *series: Series) -> None:
        for one in series:
            self.series[one.key] = one

    def one(self, part: str, case: str, subject: str, unit: str, *values: float, **costs: float) -> None:
        """Add a figure that is held against nothing, and print it."""
        made = Series(part=part, case=case, subject=subject, unit=unit, values=values, costs=costs)
        self.add(made)
        print(line(made, None), flush=True)

    def turns(
        self,
        part: str,
        unit: str,
        takers: Mapping[tuple[str, str], Callable[[], Sample]],
        *,
        base: tuple[str, str] | None = None,
    ) -> None:
        """Have each (case, subject) measured in turns, round after round, and print the rows.

        Ratios are to `base`, or to the bare client of the same case.
        """
        found: dict[tuple[str, str], list[Sample]] = {key: [] for key in takers}
        for _ in range(self.rounds):
            for key, take in takers.items():
                found[key].append(take())
        self.rows(part, unit, found, base=base)

    def rows(
        self,
        part: str,
        unit: str,
        found: Mapping[tuple[str, str], Sequence[Sample]],
        *,
        base: tuple[str, str] | None = None,
    ) -> None:
        """Add what was found of each (case, subject), round by round, and print the rows."""
        made = {
            (case, subject): Series(
                part=part,
                case=case,
                subject=subject,
                unit=unit,
                values=tuple(sample.value for sample in samples),
                costs=_medians(sample.costs for sample in samples),
            )
            for (case, subject), samples in found.items()
        }
        self.add(*made.values())
        for (case, subject), one in made.items():
            other = made.get(base or (case, BARE))
            print(line(one, None if other is one else other), flush=True)
            if one.costs.get("refused"):
                self.note(
                    f"{part}, {case}, {subject}: {one.costs['refused']:.0f} requests refused in a round"
                )

    def get(self, part: str, case: str, subject: str) -> Series | None:
        return self.series.get((part, case, subject))

    def of_part(self, part: str) -> list[Series]:
        return [one for one in self.series.values() if one.part == part]

    def dump(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "begun": self.begun,
            "seconds": round(self.seconds),
            "rounds": self.rounds,
            "options": self.options,
            "machine": self.machine,
            "load": self.load,
            "calibration": [round(value, 4) for value in self.calibration],
            "notes": self.notes,
            "series": [
                {**asdict(one), "values": [_rounded(value) for value in one.values]}
                | {"costs": {name: _rounded(value) for name, value in one.costs.items()}}
                for one in self.series.values()
            ],
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.dump(), indent=1) + "\n", encoding="utf-8")


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _medians(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    every = list(costs)
    return {
        name: spread([one[name] for one in every if name in one]).median
        for name in dict.fromkeys(name for one in every for name in one)
    }


def line(one: Series, base: Series | None) -> str:
    """A row of the printed table."""
    of = spread(one.values)
    said = f"{one.case:<38} {one.subject:<14} {text(of.median, one.unit):>12}"
    if len(one.values) > 1:
        said += f"  {text(of.low, '')}–{text(of.high, ''):<14}"
    if base is not None and len(base.values) == len(one.values) and all(base.values):
        beside = ratios(one.values, base.values)
        said += f"  x{beside.median:.2f} ({beside.low:.2f}–{beside.high:.2f})"
    names = {"gateway_ms": "gw ms", "pfs_ms": "pfs ms", "p99": "p99 ms", "loader": "load", "others": "others"}
    shown = [
        f"{name} {one.costs[key]:.0%}" if key in {"loader", "others"} else f"{name} {one.costs[key]:.2f}"
        for key, name in names.items()
        if key in one.costs
    ]
    return f"{said}  {', '.join(shown)}".rstrip()


def read(path: Path) -> Book:
    """A book as `write` left it. Raises ValueError where it is of another format."""
    told = json.loads(path.read_text(encoding="utf-8"))
    if told.get("format") != FORMAT:
        raise ValueError(f"{path}: not of format {FORMAT}")
    book = Book(rounds=told["rounds"], options=told["options"], machine_said=told["machine"])
    book.begun, book.seconds = told["begun"], told["seconds"]
    book.load, book.calibration, book.notes = told["load"], told["calibration"], told["notes"]
    for one in told["series"]:
        book.add(Series(**{**one, "values": tuple(one["values"])}))
    return book


def merged(books: Iterable[Book]) -> Book:
    """The first, with what the others have measured again or beside it; raises ValueError for none.

    What is said of the machine is the last one's; notes are of all.
    """
    every = list(books)
    if not every:
        raise ValueError("no results")
    first = every[0]
    for other in every[1:]:
        parts = {one.part for one in other.series.values()}
        # A part that was measured again is of one run, whole.
        first.series = {key: one for key, one in first.series.items() if one.part not in parts}
        first.add(*other.series.values())
        first.notes += [one for one in other.notes if one not in first.notes]
        first.seconds += other.seconds
        first.machine, first.begun = other.machine, other.begun
    return first
