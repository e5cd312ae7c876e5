"""Medians, spreads, ratios and drift of rounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import drift, percentile, ratios, spread

FIGURES = st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=9)


@given(FIGURES)
def test_a_median_lies_in_its_spread(values: list[float]) -> None:
    of = spread(values)
    assert of.low == min(values) <= of.median <= max(values) == of.high
    assert sum(value <= of.median for value in values) * 2 >= len(values)


def test_a_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_are_of_rounds_and_not_of_medians() -> None:
    # The second round was slow for both, so the ratio is the same in each.
    of = ratios([10, 2, 30], [20, 4, 60])
    assert (of.low, of.median, of.high) == (0.5, 0.5, 0.5)
    assert of.relative == 0


@given(FIGURES)
def test_the_ratio_to_itself_is_one(values: list[float]) -> None:
    of = ratios(values, values)
    assert (of.low, of.median, of.high) == (1, 1, 1)


@pytest.mark.parametrize("theirs", [[1.0], [1.0, 0.0]])
def test_ratios_to_other_rounds_or_to_nothing_are_refused(theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"beside|against"):
        ratios([1.0, 2.0], theirs)


def test_drift_is_from_first_to_last() -> None:
    assert drift([]) == drift([5]) == drift([5, 9, 5]) == 0
    assert drift([8, 10, 12]) == pytest.approx(0.4)


def test_percentiles_of_an_ordered_list() -> None:
    values = list(range(100))
    assert (percentile(values, 0), percentile(values, 0.5), percentile(values, 0.99)) == (0, 50, 99)
    assert percentile([7], 1.0) == 7
