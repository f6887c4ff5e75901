"""The bounds of a connection before it is a WebSocket.

aiohttp bounds the lines of a request. This module bounds the rest: the number of
connections, the time that each may take to send a request and to take the answer, and the
bytes of a request. A client that breaks a bound gets a short answer, or is cut off, and
nothing is logged: an operator can do nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http import WebSocketReader

from hosting.logs import get_logger
from hosting.places import Places
from proxy.clients.intake import Intake, Reader
from proxy.config import Config
from proxy.http import security_headers
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

# The most bytes of a request, its body included: none that is served has one.
REQUEST_BYTES: Final = 64 * 1024
# The most lines of a request's head, for aiohttp. A browser sends about 20.
HEADERS: Final = 64
# For so long a body is read and thrown away, so that the answer arrives.
_LINGER_SECONDS: Final = 2.0
# Files that a process opens beside its connections.
_OTHER_FILES: Final = 64
_FULL_HEADERS: Final = {
    **security_headers.ALWAYS,
    "Retry-After": "10",
    "Connection": "close",
    "Content-Length": "0",
}
_FULL_HEAD: Final = "".join(f"{name}: {value}\r\n" for name, value in _FULL_HEADERS.items())
_FULL: Final = f"HTTP/1.1 503 Service Unavailable\r\n{_FULL_HEAD}\r\n".encode()


class Listener:
    """Lets connections in, as many as there may be: a protocol factory.

    Args:
        server: aiohttp's server, which answers their requests.
        metrics: counts connections that are turned away.
    """

    def __init__(self, server: web.Server, config: Config, metrics: ProxyMetrics) -> None:
        self.config = config
        self._server = server
        self._metrics = metrics
        metrics.connections_limit = limit = _affordable(config.connections)
        self._places: Places[HttpConnection] = Places(limit)

    def __call__(self) -> HttpConnection:
        """Makes the protocol of a connection."""
        return HttpConnection(self, self._server)

    def try_add(self, connection: HttpConnection) -> bool:
        """Lets a connection in, if need be in the place of one that is no WebSocket."""
        has_place = self._places.try_add(connection)
        if not has_place:
            self._metrics.turned_away["full"] += 1
        return has_place

    def prove(self, connection: HttpConnection) -> None:
        """Lets a connection that has become a WebSocket keep its place."""
        self._places.prove(connection)

    def discard(self, connection: HttpConnection) -> None:
        """Forgets a connection that has ended."""
        self._places.discard(connection)


class HttpConnection(web.RequestHandler):
    """One connection.

    It is dropped unless a whole request comes within `handshake_seconds` of its opening, or
    of the answer before, and the answer is taken within as long again.

    Args:
        listener: the listener that accepted it.
        server: aiohttp's server.
    """

    __slots__ = (
        "_full",
        "_held",
        "_intake",
        "_listener",
        "_received",
        "_timer",
        "_waiting",
        "_wire",
    )

    def __init__(self, listener: Listener, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            # aiohttp counts it from the start on, until the head of a request is whole.
            keepalive_timeout=listener.config.handshake_seconds,
            lingering_time=_LINGER_SECONDS,
            max_headers=HEADERS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to have none
            # A body is not read, so it need not be inflated either.
            auto_decompress=False,
        )
        self._listener = listener
        self._received = 0
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        # aiohttp, or the intake, wants nothing to be read for now.
        self._full = self._held = False
        self._intake: Intake | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # aiohttp's own reference ends before the connection does.
        self._wire = cast(asyncio.Transport, transport)
        if self._listener.try_add(self):
            self._watch()
            super().connection_made(transport)
        else:
            self._wire.write(_FULL)
            self._wire.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._timer is not None:
            self._received += len(data)
            if self._received > REQUEST_BYTES:
                self.abort()
                return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio."""
        self._stop_watching()
        self._listener.discard(self)
        super().connection_lost(exc)

    def pause_reading(self) -> None:
        """See aiohttp."""
        self._full = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See aiohttp."""
        self._full = False
        super().resume_reading(resume_parser)
        if self._held:
            self._wire.pause_reading()

    def hold(self, held: bool) -> None:
        """Stops reading from the socket, even if aiohttp would; or leaves it to aiohttp again."""
        self._held = held
        if self._wire.is_closing():
            return
        if held:
            self._wire.pause_reading()
        elif not self._full:
            self._wire.resume_reading()

    def receive_by(self, intake: Intake) -> None:
        """Lets the bytes pass through an intake, once the connection is a WebSocket."""
        self._intake = intake

    def set_parser(
        self, parser: Reader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Takes aiohttp's reader of a WebSocket; see there."""
        reader = parser if self._intake is None else self._intake.read_by(parser)
        super().set_parser(cast(WebSocketReader, reader), data_received_cb)

    def answered(self) -> None:
        """Notes that a request is about to be answered: the next one may come."""
        self._received = 0

    def upgraded(self) -> None:
        """Notes that the connection is a WebSocket, which has bounds of its own."""
        self._stop_watching()
        self._listener.prove(self)

    def close(self) -> None:
        """Ends the connection behind the request under way: aiohttp asks for it at a stop.

        It would drop all bytes from then on. A WebSocket is read until it has ended: its
        client answers the close frame, and waits for the end, which TLS has only one of.
        """
        if self._intake is None:
            super().close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers a malformed request; for other errors see aiohttp."""
        if isinstance(exc, ConnectionError):
            # The client is gone, which is no failure.
            raise exc
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        response = web.Response(status=status, text="the request is malformed\n")
        # The application, which adds them to all others, never sees this one.
        security_headers.add(response.headers, encrypted=False)
        response.force_close()
        return response

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._listener.config.handshake_seconds, self._check)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        """Drops a client that does not take its answer, closed already or not."""
        before, self._waiting = self._waiting, self._wire.get_write_buffer_size()
        if self._wire.is_closing() or (before and self._waiting):
            self.abort()
        else:
            self._watch()


def _affordable(connections: int) -> int:
    """Returns the limit of connections that leaves some files to be opened."""
    try:
        import resource
    except ModuleNotFoundError:
        return connections  # Windows has no such bound
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files - _OTHER_FILES >= connections:
        return connections
    fewer = max(files - _OTHER_FILES, 1)
    log.info("fewer connections than set, for want of open files", connections=fewer)
    return fewer
