"""h2's events of a server's connection, where grpclib would do too much or too little."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, Stream
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from hosting.grpc.timeouts import IdleTimer
from hosting.logs import get_logger

log = get_logger(__name__)


class ServerEvents(EventsProcessor):
    """Begins and ends the calls of a connection, as frames tell.

    A client's GOAWAY ends none of them (RFC 9113, section 6.8): after the last one, the
    connection is idle at once.

    Args:
        handler: begins and cancels calls.
        idle_seconds: after how long without a call it is idle.
        on_idle: is called when it is.
    """

    def __init__(
        self,
        handler: AbstractHandler,
        connection: Connection,
        idle_seconds: float,
        on_idle: Callable[[], None],
    ) -> None:
        super().__init__(handler, connection)
        self._on_idle = on_idle
        self._idle = IdleTimer(idle_seconds, lambda: self.streams, on_idle)
        self._client_leaves = False

    def register(self, stream: Stream) -> Callable[[], None]:
        """See grpclib."""
        release = super().register(stream)

        def release_stream() -> None:
            self._idle.call_ended()
            release()
            if self._client_leaves:
                asyncio.get_running_loop().call_soon(self._end_if_idle)

        return release_stream

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        """See grpclib, which ends all calls."""
        log.debug("client leaves", reason=event.error_code)
        self._client_leaves = True
        asyncio.get_running_loop().call_soon(self._end_if_idle)

    def process_trailers_received(self, event: TrailersReceived) -> None:
        """See grpclib; those of a request have no pseudo-headers (RFC 9113, section 8.1)."""
        stream = self.streams.get(event.stream_id)
        if stream is not None and any(str(name).startswith(":") for name, _ in event.headers or ()):
            malformed = ErrorCodes.PROTOCOL_ERROR
            with suppress(ProtocolError):  # the server may have answered already
                stream.reset_nowait(malformed)
            self.process_stream_reset(
                StreamReset(stream_id=event.stream_id, error_code=malformed, remote_reset=False)
            )

    def close(self, reason: str = "Connection closed") -> None:
        """See grpclib."""
        self._idle.stop()
        super().close(reason)

    def _end_if_idle(self) -> None:
        if not (self.streams or self.connection.is_closing()):
            self._on_idle()
