"""Spans of traces (OpenTelemetry); no-ops unless a tracer is in use.

While they are off (see `hosting.tracing.setup`), nothing of OpenTelemetry is imported, and a
span costs a look at a variable.

A trace goes from process to process by W3C Trace Context: ``traceparent`` and
``tracestate`` in the headers of a handshake and in the metadata of a call.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Protocol

Attributes = Mapping[str, str | int]

LONGEST_TRACEPARENT: Final = 128
"""In characters. This version of it has 55, a later one may have more."""


class Span:
    """A step of a trace; of this class itself, one that nobody records.

    Attributes:
        traceparent: its name for other processes, if it is sampled.
    """

    traceparent: str | None = None

    def note(self, attributes: Attributes) -> None:
        """Adds attributes; never contents or tokens."""

    def fail(self, kind: str) -> None:
        """Marks it as failed.

        Args:
            kind: of which kind the failure is, such as the name of a class.
        """

    def end(self) -> None:
        """Ends it; only for one from `begin`."""


class Tracer(Protocol):
    """A maker of spans."""

    def span(
        self, name: str, kind: str, parent: Mapping[str, str] | None, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """See the function `span`."""

    def begin(self, name: str, traceparent: str, attributes: Attributes) -> Span:
        """See the function `begin`."""

    def inject(self, metadata: dict[str, str]) -> None:
        """See the function `inject`."""

    def close(self) -> None:
        """Sends the last spans."""


NO_SPAN: Final = Span()
_NOTHING: Final = nullcontext(NO_SPAN)
_tracer: Tracer | None = None


def span(
    name: str,
    kind: str = "internal",
    parent: Mapping[str, str] | None = None,
    attributes: Attributes | None = None,
) -> AbstractContextManager[Span]:
    """A span that is open while the context is, and the parent of those within.

    Args:
        name: what it is of.
        kind: ``client``, ``server`` or ``internal``.
        parent: headers or metadata with the trace that it belongs to; without them,
            it belongs to the span around it.
        attributes: what is known of it, never contents or tokens.
    """
    if _tracer is None:
        return _NOTHING
    return _tracer.span(name, kind, parent, attributes or {})


def begin(name: str, traceparent: str, attributes: Attributes) -> Span:
    """Begins a span within that of another process; whoever begins it, ends it."""
    if _tracer is None or len(traceparent) > LONGEST_TRACEPARENT:
        return NO_SPAN
    return _tracer.begin(name, traceparent, attributes)


def inject(metadata: dict[str, str]) -> dict[str, str]:
    """Adds the span around it to metadata, and returns them."""
    if _tracer is not None:
        _tracer.inject(metadata)
    return metadata


@contextmanager
def using(tracer: Tracer | None) -> Iterator[None]:
    """Traces with this while the context is open."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before
        if tracer is not None:
            tracer.close()
