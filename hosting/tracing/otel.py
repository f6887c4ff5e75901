"""Spans of OpenTelemetry; imported only where they are wanted, see `hosting.tracing.spans`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from hosting.tracing.spans import Attributes, Span

# How long a stop waits for a collector to take the last spans.
_LAST_SPANS_SECONDS: Final = 2.0
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADERS: Final = ("traceparent", "tracestate")


class OtelTracer:
    """Makes spans of OpenTelemetry.

    Args:
        provider: what they are recorded with.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("asyncio-grpc-chat")

    @classmethod
    def exporting(cls, service: str) -> OtelTracer:
        """Makes one that sends by OTLP over HTTP, as the environment says.

        Args:
            service: the name of the process, unless the environment has another.
        """
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        # It would wait at the end of the process for a collector that is away.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @contextmanager
    def span(
        self, name: str, kind: str, parent: Mapping[str, str] | None, attributes: Attributes
    ) -> Iterator[Span]:
        """See `hosting.tracing.spans.span`."""
        recorded = self._tracer.start_span(
            name, None if parent is None else _context(parent), SpanKind[kind.upper()], attributes
        )
        span, trace_id = _Recorded(recorded), f"{recorded.get_span_context().trace_id:032x}"
        # Not the exception itself, whose text and traceback may have what must not be here.
        with (
            trace.use_span(
                recorded, end_on_exit=True, record_exception=False, set_status_on_exception=False
            ),
            bound_contextvars(trace_id=trace_id),
        ):
            yield span

    def begin(self, name: str, traceparent: str, attributes: Attributes) -> Span:
        """See `hosting.tracing.spans.begin`."""
        context = _context({"traceparent": traceparent})
        return _Recorded(self._tracer.start_span(name, context, SpanKind.SERVER, attributes))

    def inject(self, metadata: dict[str, str]) -> None:
        """See `hosting.tracing.spans.inject`."""
        _PROPAGATOR.inject(metadata)

    def close(self) -> None:
        """Sends what is left, for as long as that may take."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SPANS_SECONDS)


class _Recorded(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._failed = False

    @property
    def traceparent(self) -> str | None:  # type: ignore[override]  # it is only read
        if not self._span.get_span_context().trace_flags.sampled:
            return None
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier.get("traceparent")

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        if not self._failed:
            self._failed = True
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


def _context(headers: Mapping[str, str]) -> Context:
    """The trace that headers name; an empty one if they name none."""
    found = {name: str(headers[name]) for name in _HEADERS if name in headers}
    return _PROPAGATOR.extract(found, Context())
