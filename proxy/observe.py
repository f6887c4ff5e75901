"""What is told of a connection, in logs and in traces; never what is said on it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Final

import structlog
from aiohttp import web
from structlog.contextvars import bound_contextvars

from daemon import tracing

log = structlog.get_logger(__name__)

# Other proxies, and this one after a restart, call theirs otherwise.
_PREFIX: Final = secrets.token_hex(3)
_numbers = count(1)


def _next_id() -> str:
    return f"{_PREFIX}-{next(_numbers)}"


@dataclass(slots=True)
class Story:
    """What is told of a connection when it has ended.

    Attributes:
        connection: its name, unlike that of any other.
        traceparent: its span, if that is sampled.
        frames: how many frames came.
        code: the close code that it was closed with from here, if it was.
    """

    connection: str = field(default_factory=_next_id)
    traceparent: str | None = None
    frames: int = 0
    code: int | None = None


@contextmanager
def observed(
    request: web.Request, socket: web.WebSocketResponse, story: Story, peer: str
) -> Iterator[tracing.Span]:
    """Binds the name of a connection to its task, traces it, and tells of its two ends.

    Args:
        request: its handshake, in whose headers a trace may be named.
        socket: the connection.
        story: is completed meanwhile.
        peer: the address of the client.
    """
    began = monotonic()
    attributes = {"chat.connection": story.connection}
    with (
        bound_contextvars(connection=story.connection),
        tracing.span("connection", "server", request.headers, attributes) as span,
    ):
        story.traceparent = span.traceparent
        log.debug("connection opened", peer=peer)
        try:
            yield span
        finally:
            code = story.code or socket.close_code or 0
            span.note({"chat.close_code": code, "chat.frames": story.frames})
            seconds = round(monotonic() - began, 3)
            log.debug("connection closed", code=code, frames=story.frames, seconds=seconds)
