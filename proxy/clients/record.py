"""One connection in logs and traces, which never hold its messages."""

import secrets
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Final

from aiohttp import web
from structlog.contextvars import bind_contextvars

from hosting.logs import get_logger
from hosting.telemetry.histogram import Tally
from hosting.tracing import spans

log = get_logger(__name__)

# Unlike that of other proxies, and of this one after a restart.
_PREFIX: Final = secrets.token_hex(3)
_numbers = count(1)


def _next_id() -> str:
    return f"{_PREFIX}-{next(_numbers)}"


@dataclass(slots=True)
class ConnectionRecord:
    """The figures of a connection that are logged at its end.

    Attributes:
        connection_id: its unique id, in log lines too.
        traceparent: its span, if that is sampled.
        frames: the number of frames that came.
        refusals: the number of refusals, by the name of the error's code.
        code: the close code that the proxy closed it with, if it did.
    """

    connection_id: str = field(default_factory=_next_id)
    traceparent: str | None = None
    frames: int = 0
    refusals: Tally = field(default_factory=Tally)
    code: int | None = None


class Recording:
    """A context that names a connection in log lines, traces it, and logs both its ends.

    Thousands of connections have one each for as long as they live: it is no generator.

    Args:
        request: the handshake, whose headers may name a trace.
        socket: the WebSocket.
        record: filled in meanwhile.
        peer: the address of the client.
    """

    __slots__ = ("_began", "_peer", "_record", "_socket", "_span", "_tracing")

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: ConnectionRecord,
        peer: str,
    ) -> None:
        attributes = {"chat.connection": record.connection_id}
        self._began = monotonic()
        self._peer = peer
        self._socket = socket
        self._record = record
        self._tracing = spans.span("connection", "server", request.headers, attributes)

    def __enter__(self) -> spans.Span:
        # Never unbound: aiohttp's task for the connection ends with it.
        bind_contextvars(connection=self._record.connection_id)
        self._span = self._tracing.__enter__()
        self._record.traceparent = self._span.traceparent
        log.debug("connection opened", peer=self._peer)
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        record = self._record
        code = record.code or self._socket.close_code or 0
        self._span.note({"chat.close_code": code, "chat.frames": record.frames})
        seconds = round(monotonic() - self._began, 3)
        refused = {"refused": told} if (told := str(record.refusals)) else {}
        log.debug("connection closed", code=code, frames=record.frames, **refused, seconds=seconds)
        self._tracing.__exit__(kind, error, traceback)
