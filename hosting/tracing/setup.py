"""Reads from the environment whether there are to be traces.

OpenTelemetry's own variables decide: an OTLP endpoint turns them on, ``OTEL_SDK_DISABLED`` off.
They need the extra ``tracing``.
"""

import os
from collections.abc import Mapping
from typing import Final

from hosting.logs import get_logger
from hosting.tracing.spans import Tracer

log = get_logger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracer_of_environment(service: str) -> Tracer | None:
    """Makes what the environment asks for, if it asks for anything.

    Args:
        service: what the process is called, unless the environment has another name.
    """
    if not _is_wanted(os.environ):
        return None
    try:
        from hosting.tracing.otel import OtelTracer
    except ImportError:
        log.warning("traces are asked for, but the extra 'tracing' is not installed")
        return None
    return OtelTracer.exporting(service)


def _is_wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    return exporter == "otlp" or (
        not exporter and any(environment.get(name, "").strip() for name in _ENDPOINTS)
    )
