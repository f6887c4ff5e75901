"""grpclib's server with what it lacks for an open port.

- A bound on the size of a message, before it is buffered; and a message that is
  cut short is the client's mistake, not a defect.
- A stream that is reset before its handler has begun is released.
- What a handler raises becomes a gRPC status: `chat.errors` as they say, a
  malformed message as INVALID_ARGUMENT, anything else as INTERNAL with a fixed
  text, and the whole story in the log.
- A stop that says GOAWAY (RFC 9113, section 6.8) and closes the connections.
- Connections within bounds, whatever a client sends: see `hosting.grpc.connection`.
- Windows (RFC 9113, section 5.2) in which one unread stream stalls no other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.events import RecvRequest, SendTrailingMetadata, listen
from grpclib.exceptions import StreamTerminatedError
from grpclib.metadata import encode_grpc_message
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server, Stream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

import codec
from chat.api.quotas import CALLS
from chat.config import ConnectionLimits
from chat.errors import INTERNAL_TEXT, ChatError, InvalidArgument, RateLimited
from hosting.grpc.call_log import observed
from hosting.grpc.connection import Connections, GuardedConnection, KnownConnection
from hosting.grpc.messages import MessageBuffer, checked_timeout, is_malformed, too_late
from hosting.logs import get_logger

if TYPE_CHECKING:
    from grpclib._typing import IServable
    from grpclib.protocol import Stream as ProtocolStream

log = get_logger(__name__)

WINDOWS: Final = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=256 * 1024
)

# Health and reflection: a client may watch them for as long as it likes.
_ENDLESS: Final = "/grpc."

Limit = Callable[[str], int]
_Method = Callable[[Stream[Any, Any]], Any]


class GrpcServer(Server):
    """A grpclib server.

    Args:
        services: the handlers.
        message_limit: gives the largest message in bytes for a method's path.
        limits: what connections may do.
        calls: counts the calls that have ended, by method and status.
        asks_who: whether callers have to say who they are; see `Connections`.
    """

    def __init__(
        self,
        services: Collection[IServable],
        message_limit: Limit,
        limits: ConnectionLimits | None = None,
        calls: Counter[tuple[str, str]] | None = None,
        *,
        asks_who: bool = False,
    ) -> None:
        super().__init__(services, codec=codec.GrpcCodec(), config=WINDOWS)
        self._message_limit = message_limit
        self._limits = limits or ConnectionLimits()
        self._connections = Connections(
            self._limits.connections,
            self._limits.connections_per_address,
            greeting_suffices=not asks_who,
            calls_per_address=self._limits.calls_per_address,
        )
        # A header that is not ASCII is a mistake to be told, not an end to the connection.
        self._h2_config.header_encoding = "latin-1"
        self._handlers: set[_Handler] = set()  # type: ignore[assignment]  # narrower; with calls
        listen(self, RecvRequest, partial(_guard, Counter() if calls is None else calls))
        listen(self, SendTrailingMetadata, _add_details)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Starts to accept connections.

        Args:
            host: the address.
            port: the TCP port; 0 takes a free one.
            tls: how they are encrypted, if they are.

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
        """Those that are open."""
        return self._connections

    def stop_listening(self) -> None:
        """Accepts no more connections; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def wait_idle(self, timeout: float) -> bool:
        """Waits until no call is open, but for those that have no end of their own.

        Args:
            timeout: how long at most, in seconds.

        Returns:
            Whether that was long enough.
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
        handler = _Handler(
            self._mapping,
            self._codec,
            self._status_details_codec,
            self.__dispatch__,
            message_limit=self._message_limit,
            busy=self._handlers,
        )
        return GuardedConnection(
            handler, self._config, self._h2_config, self._limits, self._connections
        )


class _Handler(Handler):
    """Begins and cancels the calls of a connection.

    Args:
        args: see grpclib.
        message_limit: see `GrpcServer`.
        busy: where it is listed while it has calls. grpclib lists each from before its
            connection is made, which a TLS handshake may never let come to pass, until
            some connections after its end.
    """

    def __init__(self, *args: Any, message_limit: Limit, busy: set[_Handler]) -> None:
        super().__init__(*args)
        self._message_limit = message_limit
        self._busy = busy
        self._endless: set[asyncio.Task[None]] = set()

    def accept(
        self,
        stream: ProtocolStream,
        headers: list[tuple[str, str]],
        release_stream: Callable[[], Any],
    ) -> None:
        release = _Once(release_stream)
        # Before anything else is done: nobody has said yet who calls.
        wait = _take_call(stream)
        if is_malformed(headers):
            _reset(stream, ErrorCodes.PROTOCOL_ERROR)
            release()
            return
        if wait:
            # What is still being sent is not reset: then some clients do not see when to
            # come back.
            _answer(stream, RateLimited(CALLS, wait).to_grpc())
            release()
            return
        try:
            seconds = checked_timeout(headers)
            if seconds == 0:
                raise too_late()
        except GRPCError as error:
            _refuse(stream, error)
            release()
            return
        self._begin(stream, headers, release, seconds)

    def _begin(
        self,
        stream: ProtocolStream,
        headers: list[tuple[str, str]],
        release: _Once,
        seconds: float | None,
    ) -> None:
        said = dict(headers)
        path = said[":path"]
        method = self.mapping.get(path)
        if method is None and _is_grpc(said):
            # As grpclib does, but with a type, without which its clients take it for UNKNOWN.
            _refuse(stream, GRPCError(Status.UNIMPLEMENTED, "Method not found"))
            release()
            return
        stream.buffer = MessageBuffer(
            partial(stream.connection.ack, stream.id),  # type: ignore[arg-type]  # an accepted stream has an id
            self._message_limit(path),
            may_be_empty=method is None or method.cardinality.client_streaming,
        )
        # A deadline that passes before grpclib has begun to watch it, it takes for a defect.
        rest = [header for header in headers if header[0] != "grpc-timeout"]
        super().accept(stream, rest, release)
        self._busy.add(self)
        # A task that is cancelled before its first step never runs its `finally`.
        task = self._tasks[stream]
        task.add_done_callback(lambda _: release())
        task.add_done_callback(partial(self._forget, stream))
        if path.startswith(_ENDLESS):
            self._endless.add(task)
            task.add_done_callback(self._endless.discard)
        if seconds is not None:
            timer = self.loop.call_later(seconds, _expire, stream, task)
            task.add_done_callback(lambda _: timer.cancel())

    def _forget(self, stream: ProtocolStream, task: asyncio.Task[None]) -> None:
        """Lets a call go at its end, which grpclib does some calls later.

        With a call that failed go the frames of its traceback, and what is in them.
        """
        self._tasks.pop(stream, None)
        self._cancelled.discard(task)
        if not self._tasks and not self._cancelled:
            self._busy.discard(self)

    def calls(self) -> set[asyncio.Task[None]]:
        """The calls of this connection that have not ended."""
        return {task for task in (*self._tasks.values(), *self._cancelled) if not task.done()}

    def ending_calls(self) -> set[asyncio.Task[None]]:
        """The calls that have not ended and will, when the server drains."""
        return self.calls() - self._endless

    def cancel(self, stream: ProtocolStream) -> None:
        # A task that ended by itself may have been collected already.
        if stream in self._tasks:
            super().cancel(stream)


def _expire(stream: ProtocolStream, task: asyncio.Task[None]) -> None:
    if stream.wrapper is not None:
        stream.wrapper.cancel(TimeoutError("the deadline has passed"))
    else:  # it has not begun
        task.cancel()
        _reset(stream, ErrorCodes.CANCEL)


class _Once:
    """Calls a function the first time only."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


def _is_grpc(headers: dict[str, str]) -> bool:
    is_post = headers[":method"] == "POST"
    return is_post and headers.get("content-type", "").startswith("application/grpc")


def _take_call(stream: ProtocolStream) -> float:
    connection = stream.connection
    return connection.take_call() if isinstance(connection, KnownConnection) else 0.0


def _refuse(stream: ProtocolStream, error: GRPCError) -> None:
    """Answers a call for which no handler is begun, and takes nothing more of it."""
    _answer(stream, error)
    # The client may have reset the stream in the same breath.
    with suppress(ProtocolError):
        if stream.closable:
            stream.reset_nowait()


def _answer(stream: ProtocolStream, error: GRPCError) -> None:
    """Answers a call for which no handler is begun."""
    h2 = stream.connection._connection  # noqa: SLF001 - grpclib offers no other way
    headers = [(":status", "200"), ("content-type", "application/grpc")]
    headers.append(("grpc-status", str(error.status.value)))
    headers.append(("grpc-message", encode_grpc_message(error.message or "")))
    if isinstance(error.details, dict):
        headers += error.details.items()
    with suppress(ProtocolError):  # as above
        h2.send_headers(stream.id or 0, headers, end_stream=True)


def _reset(stream: ProtocolStream, code: ErrorCodes) -> None:
    with suppress(ProtocolError):
        stream.reset_nowait(code)


async def _guard(calls: Counter[tuple[str, str]], event: RecvRequest) -> None:
    event.method_func = partial(_count, calls, event.method_func, event.method_name)


async def _count(
    calls: Counter[tuple[str, str]], method: _Method, name: str, stream: Stream[Any, Any]
) -> None:
    status = "CANCELLED"  # by the client, or because it is gone
    try:
        with observed(name, stream):
            await _call(method, name, stream)
        status = "OK"
    except GRPCError as error:
        status = error.status.name
        raise
    except TimeoutError:
        status = "DEADLINE_EXCEEDED"
        raise
    finally:
        calls[name, status] += 1


async def _add_details(event: SendTrailingMetadata) -> None:
    """Sends what an error says beside its text: see `chat.errors.RateLimited`."""
    if isinstance(event.status_details, dict):
        event.metadata.update(event.status_details)


async def _call(method: _Method, name: str, stream: Stream[Any, Any]) -> None:
    try:
        await method(stream)
    except ChatError as error:
        raise error.to_grpc() from error
    except codec.DecodeError as error:
        raise InvalidArgument("message", str(error)).to_grpc() from error
    except NotImplementedError as error:  # how grpclib says it: a compressed message
        raise GRPCError(Status.UNIMPLEMENTED, "compression is not supported") from error
    except (GRPCError, StreamTerminatedError, TimeoutError):
        raise
    except Exception as error:
        # The client gets a fixed text whatever this is.
        log.exception("call failed", method=name)
        raise GRPCError(Status.INTERNAL, INTERNAL_TEXT) from error
