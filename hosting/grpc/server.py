"""grpclib's server with what it lacks for an open port.

- A bound on the size of a message, before it is buffered; and a message that is
  cut short is the client's mistake, not a defect.
- A stream that is reset before its handler has begun is released.
- An exception of a handler becomes a gRPC status: as the application maps it, or INTERNAL
  with a fixed text, and the whole story in the log.
- A stop that says GOAWAY (RFC 9113, section 6.8) and closes the connections.
- Connections within bounds, whatever a client sends: see `hosting.grpc.connection`.
- Windows (RFC 9113, section 5.2) in which one unread stream stalls no other.

To stop in order: `stop_listening`, `wait_idle`, `go_away`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.events import RecvRequest, SendTrailingMetadata, listen
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from hosting.grpc.connection import GuardedConnection
from hosting.grpc.connections import Connections
from hosting.grpc.errors import StatusOf, no_status
from hosting.grpc.handler import CallGuard, CallHandler, MessageLimit, Tasks, add_details
from hosting.grpc.limits import ConnectionLimits

if TYPE_CHECKING:
    from grpclib._typing import IServable

WINDOWS: Final = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=256 * 1024
)


class GrpcServer(Server):
    """A grpclib server.

    Args:
        services: the handlers.
        codec: encodes and decodes their messages.
        message_limit: gives the largest message in bytes for a method's path.
        limits: the bounds of connections.
        status_of: maps exceptions of handlers to errors; see `hosting.grpc.errors`.
        calls: counts the calls that have ended, by method and status.
        authenticates: whether a connection is proven by an authenticated caller only,
            see `Connections`.
        traced: the prefixes of the paths of methods whose calls are traced.
    """

    def __init__(
        self,
        services: Collection[IServable],
        codec: CodecBase,
        message_limit: MessageLimit,
        limits: ConnectionLimits | None = None,
        *,
        status_of: StatusOf = no_status,
        calls: Counter[tuple[str, str]] | None = None,
        authenticates: bool = False,
        traced: tuple[str, ...] = (),
    ) -> None:
        super().__init__(services, codec=codec, config=WINDOWS)
        self._message_limit = message_limit
        self._limits = limits or ConnectionLimits()
        self._connections = Connections(self._limits, authenticates=authenticates)
        # A header that is not ASCII is a mistake to be told, not an end to the connection.
        self._h2_config.header_encoding = "latin-1"
        self._handlers: set[CallHandler] = set()  # type: ignore[assignment]  # narrower; with calls
        self._late: Tasks = WeakSet()
        guard = CallGuard(status_of, Counter() if calls is None else calls, traced, self._late)
        listen(self, RecvRequest, guard.on_request)
        listen(self, SendTrailingMetadata, add_details)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Starts to accept connections.

        Args:
            host: the address.
            port: the TCP port; 0 takes a free one.
            tls: encrypts them; `None` for plain text.

        Returns:
            The port.

        Raises:
            OSError: the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        # grpclib's `start` has no time for a handshake to give, and asyncio's own is a minute.
        create = partial(loop.create_server, self._protocol_factory, host, port, backlog=1024)
        if tls is not None:
            patience = self._limits.handshake_seconds
            create = partial(create, ssl=tls, ssl_handshake_timeout=patience)
        self._server = await create()
        self._server_closed_fut = loop.create_future()
        # uvloop's server is not an asyncio.Server, but has its sockets.
        sockets: Sequence[socket.socket] = self._server.sockets
        return int(sockets[0].getsockname()[1])

    @property
    def connections(self) -> Connections:
        """The open connections."""
        return self._connections

    def stop_listening(self) -> None:
        """Accepts no more connections; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def wait_idle(self, timeout: float) -> bool:
        """Waits until no call is open, but for those that have no end of their own.

        Args:
            timeout: the longest wait, in seconds.

        Returns:
            False if calls are still open.
        """
        tasks = {task for handler in self._handlers for task in handler.ending_calls()}
        if not tasks:
            return True
        _, open_calls = await asyncio.wait(tasks, timeout=timeout)
        return not open_calls

    async def go_away(self) -> None:
        """Says GOAWAY on each connection, closes it, and waits until it is closed.

        Calls that are still open are cancelled.
        """
        connections = tuple(self._connections)
        tasks = {task for handler in self._handlers for task in handler.calls()}
        await asyncio.gather(*(connection.go_away() for connection in connections))
        if tasks:
            await asyncio.wait(tasks)

    def _protocol_factory(self) -> H2Protocol:
        handler = CallHandler(
            self._mapping,
            self._codec,
            self._status_details_codec,
            self.__dispatch__,
            message_limit=self._message_limit,
            busy=self._handlers,
            late=self._late,
        )
        return GuardedConnection(handler, self._config, self._h2_config, self._connections)
