"""Shorthands for what a process tells Prometheus.

Names follow its conventions: what is counted ends in ``_total``, and the unit, where there
is one, stands in the name: ``_seconds``, ``_bytes``.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from hosting.telemetry.histogram import Histogram


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """What only rises."""
    return CounterMetricFamily(name, text, value)


def counters(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily:
    """What only rises, by labels. The values of a label must be few."""
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in sorted(values):
        family.add_metric(label_values, value)
    return family


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """What rises and falls."""
    return GaugeMetricFamily(name, text, value)


def histogram(name: str, text: str, values: Histogram) -> HistogramMetricFamily:
    """How values are spread."""
    return HistogramMetricFamily(name, text, values.buckets(), values.sum)
