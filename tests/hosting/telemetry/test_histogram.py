"""Histograms, against plain numbers."""

import math
from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosting.telemetry.histogram import SECONDS, SIZES, Histogram, Tally, quantile

values = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50)


@given(values)
def test_buckets_count_up_to_their_bound(found: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in found:
        histogram.observe(value)
    for bound, count in histogram.buckets():
        assert count == sum(value <= float(bound) for value in found)
    assert histogram.sum == pytest.approx(sum(found))


@given(st.integers(1, 5000), st.integers(1, 100))
def test_repeated_value_is_counted(value: int, times: int) -> None:
    often, one_by_one = Histogram(SIZES), Histogram(SIZES)
    often.observe(value, times)
    for _ in range(times):
        one_by_one.observe(value)
    assert (often.counts, often.sum) == (one_by_one.counts, one_by_one.sum)


def clear_of_bounds(value: float) -> bool:
    """Whether a rounding error of a difference leaves it in its bucket."""
    return all(abs(value - bound) > 1e-9 for bound in SECONDS)


@given(st.lists(st.floats(0, 100).filter(clear_of_bounds), max_size=50))
def test_durations_since_starts(found: list[float]) -> None:
    since, one_by_one = Histogram(SECONDS), Histogram(SECONDS)
    since.observe_since(200.0, [200.0 - value for value in found])
    for value in found:
        one_by_one.observe(value)
    assert since.counts == one_by_one.counts
    assert since.sum == pytest.approx(one_by_one.sum, abs=1e-9)


@given(st.lists(st.floats(0.0002, 30), min_size=1, max_size=50))
def test_quantile_is_in_the_true_bucket(found: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in found:
        histogram.observe(value)
    true = median_low(found)
    upper = min(bound for bound in SECONDS if bound >= true)
    lower = max((bound for bound in SECONDS if bound < true), default=0.0)
    estimate = quantile(histogram.bounds, histogram.counts, 0.5)
    assert estimate is not None
    assert lower - 1e-12 <= estimate <= upper + 1e-12


def test_empty_histogram_has_no_quantile() -> None:
    empty = Histogram(SECONDS)
    assert quantile(empty.bounds, empty.counts, 0.99) is None


def test_quantile_is_at_most_the_last_bound() -> None:
    histogram = Histogram(SECONDS)
    histogram.observe(1000.0)
    assert quantile(histogram.bounds, histogram.counts, 0.99) == SECONDS[-1] == 30


def test_bounds_ascend_to_infinity() -> None:
    names = [name for name, _ in Histogram(SECONDS).buckets()]
    assert names[-1] == "+Inf"
    assert [float(name) for name in names] == sorted({*SECONDS, math.inf})


def test_tally_announces_the_first() -> None:
    tally = Tally(told=2)
    assert not str(tally)
    assert [tally.add(what) for what in "abaaab"] == [True, True, True, False, False, True]
    assert str(tally) == "a:4,b:2"
