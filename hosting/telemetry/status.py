"""The figures of the status page: the last two minutes, second by second."""

import heapq
import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.registry import Collector

from hosting.telemetry.histogram import Histogram, quantile

PERIOD_SECONDS: Final = 1.0
_KEPT: Final = 120
# Rooms are compared by their messages in so many periods.
_ROOM_PERIODS: Final = 10
_SHOWN_ROOMS: Final = 10
# Rooms kept of one period; the comparison needs no more.
_KEPT_ROOMS: Final = 200

Read = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: its label.
        read: returns the next value, once a period; `None` for a gap.
    """

    name: str
    read: Read


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines that are drawn together.

    Attributes:
        title: its heading.
        unit: of all its lines: ``""`` for a number, ``"/s"``, ``"s"`` or ``"B"``.
        lines: at least one.
    """

    title: str
    unit: str
    lines: Sequence[Series]


class Source(Collector):
    """The figures of a process, for a scrape and for the status page.

    Attributes:
        title: the heading of the page.
        charts: the charts of the page.
    """

    title: str
    charts: Sequence[Chart]

    def note(self) -> str:
        """Returns what else the page says in its head; nothing, as a rule."""
        return ""

    @abstractmethod
    def take_rooms(self) -> Mapping[str, int]:
        """Returns how many messages each room had since the last call, and forgets it."""


class Status:
    """The figures of a process over time.

    Args:
        source: their origin.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._started = time.monotonic()
        self._values: list[list[deque[float | None]]] = [
            [deque(maxlen=_KEPT) for _ in chart.lines] for chart in source.charts
        ]
        self._rooms: deque[dict[str, int]] = deque(maxlen=_ROOM_PERIODS)

    def tick(self) -> None:
        """Records the figures of the period that ends now."""
        for chart, values in zip(self._source.charts, self._values, strict=True):
            for line, kept in zip(chart.lines, values, strict=True):
                kept.append(line.read())
        found = self._source.take_rooms().items()
        self._rooms.append(dict(heapq.nlargest(_KEPT_ROOMS, found, key=lambda item: item[1])))

    def report(self) -> dict[str, Any]:
        """The data of the page, ready for JSON."""
        charts = [
            {
                "title": chart.title,
                "unit": chart.unit,
                "lines": [
                    {"name": line.name, "values": list(kept)}
                    for line, kept in zip(chart.lines, values, strict=True)
                ],
            }
            for chart, values in zip(self._source.charts, self._values, strict=True)
        ]
        return {
            "title": self._source.title,
            "note": self._source.note(),
            "uptime_seconds": time.monotonic() - self._started,
            "period_seconds": PERIOD_SECONDS,
            "kept_periods": _KEPT,
            "charts": charts,
            "rooms": self._busiest(),
        }

    def _busiest(self) -> list[dict[str, Any]]:
        total: Counter[str] = Counter()
        for rooms in self._rooms:
            total.update(rooms)
        seconds = len(self._rooms) * PERIOD_SECONDS
        return [
            {"room_id": room_id, "rate": count / seconds}
            for room_id, count in total.most_common(_SHOWN_ROOMS)
        ]


def rate(read: Callable[[], float]) -> Read:
    """Turns a counter into its rise per second."""
    before, since = read(), time.monotonic()

    def risen() -> float:
        nonlocal before, since
        value, now = read(), time.monotonic()
        found = (value - before) / max(now - since, 1e-9)
        before, since = value, now
        return found

    return risen


def quantiles(histogram: Histogram) -> list[Series]:
    """The median and the 99th percentile of the values of each period."""
    return [Series("p50", _quantile(histogram, 0.5)), Series("p99", _quantile(histogram, 0.99))]


def mean_and_most(histogram: Histogram) -> list[Series]:
    """The mean and the 99th percentile of the values of each period."""
    return [Series("mean", _mean(histogram)), Series("p99", _quantile(histogram, 0.99))]


def _mean(histogram: Histogram) -> Read:
    before, total = sum(histogram.counts), histogram.sum

    def found() -> float | None:
        nonlocal before, total
        count, value = sum(histogram.counts), histogram.sum
        risen = (value - total) / (count - before) if count > before else None
        before, total = count, value
        return risen

    return found


def _quantile(histogram: Histogram, share: float) -> Read:
    before = list(histogram.counts)

    def found() -> float | None:
        nonlocal before
        counts = list(histogram.counts)
        risen = [now - then for now, then in zip(counts, before, strict=True)]
        before = counts
        return quantile(histogram.bounds, risen, share)

    return found
