"""Metrics, each declared once: a name, a kind, labels, and a text.

A counted one is a field of a dataclass, a plain attribute that is added to::

    @dataclass(slots=True)
    class Metrics:
        received: int = counter("chat_messages_received_total", "Messages that were accepted.")

One that is only read at a scrape is a `Family` with a function beside it. Scrapes and the
tables in ``docs/metrics.md`` come from the declarations.

Names follow the conventions of Prometheus: counters end in ``_total``, and a unit is part of the
name: ``_seconds``, ``_bytes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from hosting.telemetry.histogram import Histogram
from hosting.text import brief

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = Literal["counter", "gauge", "histogram"]
Key = TypeVar("Key")
Part = TypeVar("Part", bound="DataclassInstance")

_FAMILY: Final = "family"
_PART: Final = "part"


@dataclass(frozen=True, slots=True)
class Family:
    """The declaration of a metric.

    Attributes:
        kind: "counter", "gauge" or "histogram".
        text: its documentation in Markdown; a scrape has it up to the first colon,
            semicolon or full stop, so that must mean something alone.
        labels: the names of its labels; the values of each must be few.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()

    def metric(self, value: float | Counter[Any] | Histogram) -> Metric:
        """The metric with its value, for Prometheus.

        Args:
            value: a number, numbers by the values of the labels, or a distribution.
        """
        text = brief(self.text, ": ", "; ", ". ")
        if isinstance(value, Histogram):
            return HistogramMetricFamily(self.name, text, value.buckets(), value.sum)
        if not isinstance(value, Counter):
            make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
            return make(self.name, text, value)
        make_labelled = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make_labelled(self.name, text, labels=self.labels)
        for key, count in sorted(value.items()):
            family.add_metric(key if isinstance(key, tuple) else (key,), count)
        return family


def counter(name: str, text: str) -> int:
    """Declares a counter."""
    return field(default=0, metadata={_FAMILY: Family(name, "counter", text)})


def counters(
    name: str, text: str, labels: tuple[str, ...], start: Iterable[Key] = ()
) -> Counter[Key]:
    """Declares a counter with labels.

    Args:
        name: of the metric.
        text: its documentation.
        labels: the names of the labels.
        start: values of them that are there from the start: Prometheus sees the first one
            only as a rise.
    """
    known = tuple(start)
    return field(
        default_factory=lambda: Counter(dict.fromkeys(known, 0)),
        metadata={_FAMILY: Family(name, "counter", text, labels)},
    )


def gauge(name: str, text: str, default: float) -> float:
    """Declares a gauge."""
    return field(default=default, metadata={_FAMILY: Family(name, "gauge", text)})


def histogram(name: str, text: str, bounds: Sequence[float]) -> Histogram:
    """Declares a histogram."""
    return field(
        default_factory=lambda: Histogram(bounds),
        metadata={_FAMILY: Family(name, "histogram", text)},
    )


def part(metrics: type[Part]) -> Part:
    """Declares a field that is an object with metrics of its own."""
    return field(default_factory=metrics, metadata={_PART: metrics})


def collect(metrics: DataclassInstance) -> Iterator[Metric]:
    """The metrics of an object and of its parts, with their values."""
    for each in fields(metrics):
        if family := each.metadata.get(_FAMILY):
            yield family.metric(getattr(metrics, each.name))
        elif _PART in each.metadata:
            yield from collect(getattr(metrics, each.name))


def families(metrics: type[DataclassInstance]) -> Iterator[Family]:
    """The metrics declared by a class and by its parts."""
    for each in fields(metrics):
        if family := each.metadata.get(_FAMILY):
            yield family
        elif _PART in each.metadata:
            yield from families(each.metadata[_PART])
