"""Figures of several rounds as a median with its spread. Pure: nothing is measured or printed here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median, and the least and greatest of the values that it is of."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """How far apart least and greatest are, as a share of the median; 0 where that is 0."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where there are none."""
    if not values:
        raise ValueError("no values")
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what slows a round down slows both.

    Raises ValueError where the rounds are not as many, or one of theirs is 0.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds beside {len(theirs)}")
    if not all(theirs):
        raise ValueError("nothing to hold against")
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


def drift(values: Sequence[float]) -> float:
    """How far the last value is from the first, as a share of the median; 0 for fewer than two."""
    middle = statistics.median(values) if values else 0.0
    return abs(values[-1] - values[0]) / middle if len(values) > 1 and middle else 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of the ordered values lies. Raises IndexError where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
