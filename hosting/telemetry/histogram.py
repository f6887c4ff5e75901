"""Counters and histograms for the hot path: plain numbers, read at a scrape.

A counter is an attribute that is added to. A histogram has fixed bounds and is given a
value, or one value for all messages of a batch. Nothing here takes a lock: each object has one
writing thread, and a reader sees a value of a moment earlier or later.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from math import inf
from typing import Final

# 0.2 ms to 30 s.
SECONDS: Final = tuple(
    bound
    for power in range(-4, 2)
    for digit in ("1", "1.5", "2", "3", "5", "7")
    if 0.0002 <= (bound := float(f"{digit}e{power}")) <= 30
)
# From this number of values on, sorting is quicker than a look-up of each.
_MANY: Final = 5
# Sizes of batches.
SIZES: Final = tuple(float(2**power) for power in range(12))


class Tally:
    """Counts of events by name.

    Args:
        told: the number of each that are worth a line of their own in the log.
    """

    __slots__ = ("_counts", "_told")

    def __init__(self, told: int = 1) -> None:
        self._counts: Counter[str] = Counter()
        self._told = told

    def add(self, what: str) -> bool:
        """Counts one; returns whether it is worth a line."""
        self._counts[what] += 1
        return self._counts[what] <= self._told

    def __str__(self) -> str:
        """The counts, such as ``NOT_FOUND:1,INTERNAL:2``; empty if there are none."""
        return ",".join(f"{what}:{count}" for what, count in self._counts.items())


class Histogram:
    """Counts of values between bounds.

    Args:
        bounds: the upper bounds, each included, ascending; one for infinity is added.

    Attributes:
        counts: how often a value fell under each bound and over the one before.
        sum: all values together.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = (*bounds, inf)
        self.counts = [0] * len(self.bounds)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Adds a value, as often as it was met."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_since(self, now: float, starts: Sequence[float]) -> None:
        """Adds the time that has passed since each start."""
        if len(starts) < _MANY:
            for start in starts:
                self.observe(now - start)
            return
        # They lie close together: few buckets are looked at, however many there are.
        ordered = sorted(starts)
        rest = len(ordered)
        self.sum += rest * now - sum(ordered)
        bucket = bisect_left(self.bounds, now - ordered[-1])
        while rest:
            older = bisect_left(ordered, now - self.bounds[bucket], 0, rest)
            self.counts[bucket] += rest - older
            rest = older
            bucket += 1

    def buckets(self) -> list[tuple[str, float]]:
        """The number of values up to each bound, in the form of Prometheus."""
        names = ("+Inf" if bound == inf else repr(bound) for bound in self.bounds)
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Estimates a quantile, evenly spread between two bounds.

    Args:
        bounds: of a histogram.
        counts: how often values fell under each bound.
        share: such as 0.99.

    Returns:
        `None` if there are no values; the last finite bound, if it lies beyond that.
    """
    rank = share * sum(counts)
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count and rank <= count:
            return lower if bound == inf else lower + (bound - lower) * rank / count
        rank -= count
        lower = bound
    return None
