"""A connection of grpclib's that ends in time, whatever its client does or leaves undone.

`hosting.grpc.http2_limits` bounds what the client sends, and for how long others wait while it is
received; `hosting.grpc.allowances` what is done for it. Here are bounded how long it may take
to begin, how long it may read nothing, say nothing and ask nothing, and how many
connections there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol, Stream
from grpclib.server import Stream as CallStream
from h2.config import H2Configuration
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from chat.config import ConnectionLimits
from hosting.addresses import client_key
from hosting.grpc.allowances import REFUSAL_WORK, Allowances, ConnectionAllowance
from hosting.grpc.call_log import address
from hosting.grpc.http2_limits import GuardedH2
from hosting.grpc.streams import DataStreams
from hosting.heartbeat import Pulse
from hosting.logs import get_logger
from hosting.places import Strangers

log = get_logger(__name__)

_PING: Final = b"are you?"
_LAST_WORDS_SECONDS: Final = 2.0
# More than is on its way to a server that reads, as a rule.
_MOST_THROWN_AWAY: Final = 1024 * 1024


class _Wire:
    """A transport whose end is heard, also by a client that does not stop sending.

    To close a socket while data waits in it makes the kernel throw away what the
    peer has not read yet. So the last words are followed by an end of the stream,
    and the socket is closed when the client has closed its own, or has had its time.

    Args:
        transport: the transport.
        last_words_seconds: how long the client has.
    """

    def __init__(self, transport: asyncio.Transport, last_words_seconds: float) -> None:
        self._transport = transport
        self._seconds = last_words_seconds
        self._closing = False
        self._thrown_away = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """See asyncio."""
        self._transport.write(data)

    def get_extra_info(self, name: str) -> Any:
        """See asyncio."""
        return self._transport.get_extra_info(name)

    def is_closing(self) -> bool:
        """Whether nothing more is to be written."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Ends the connection; what the client still sends is thrown away."""
        if not self.is_closing():
            self._closing = True
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:  # TLS has an end of its own, and waits for the client's
                self._transport.close()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._transport.abort)

    def throw_away(self, size: int) -> None:
        """So much has come behind the end; who goes on and on is not read any more."""
        self._thrown_away += size
        if self._thrown_away > _MOST_THROWN_AWAY and not self._transport.is_closing():
            self._transport.pause_reading()

    def forget(self) -> None:
        """The connection has ended: nothing is waited for."""
        if self._timer is not None:
            self._timer.cancel()


class _Stall:
    """Stops to read from a client that does not read, and ends it if it stays so.

    Every answer to a PING is kept until it is read: who reads none may ask no more.

    Args:
        transport: the transport.
        seconds: how long the client's socket may be full without taking anything.
        go_on: reads on.
    """

    def __init__(
        self, transport: asyncio.Transport, seconds: float, go_on: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._seconds = seconds
        self._go_on = go_on
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """Whether nothing is read from the client."""
        return self._timer is not None

    def begin(self) -> None:
        """Too much waits for the client."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._watch()

    def end(self) -> None:
        """The client has read, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._transport.is_closing():
            self._go_on()

    def _watch(self) -> None:
        waiting = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._check, waiting)

    def _check(self, before: int) -> None:
        # It may have grown: calls that were about to write have done so.
        if self._transport.get_write_buffer_size() != before:
            self._watch()
        else:
            self._transport.abort()


class _Calls(EventsProcessor):
    """The calls of a connection, and how long there has been none.

    A client's GOAWAY ends none of them (RFC 9113, section 6.8): when there is none any
    more, the connection is idle at once.

    Args:
        handler: begins and cancels calls.
        connection: the connection.
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
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._on_idle = on_idle
        self._idle_since = self._loop.time()
        self._timer = self._loop.call_later(idle_seconds, self._check)
        self._is_last = False

    def register(self, stream: Stream) -> Callable[[], None]:
        """See grpclib."""
        release = super().register(stream)

        def release_stream() -> None:
            self._idle_since = self._loop.time()
            release()
            if self._is_last:
                self._loop.call_soon(self._end_if_idle)

        return release_stream

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        """See grpclib, which ends all calls."""
        log.debug("client leaves", reason=event.error_code)
        self._is_last = True
        self._loop.call_soon(self._end_if_idle)

    def _end_if_idle(self) -> None:
        if not (self.streams or self.connection.is_closing()):
            self._on_idle()

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
        self._timer.cancel()
        super().close(reason)

    def _check(self) -> None:
        # There is one timer for a connection, and none for each of its calls.
        since = self._loop.time() if self.streams else self._idle_since
        left = since + self._idle_seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        else:
            self._on_idle()


class Connections:
    """The connections that are open, and room for the next one.

    A stranger is one whose client has not said that it speaks HTTP/2; or, where callers
    have to say who they are, one on which nobody was believed yet: who has no token
    keeps nobody out who has one.

    Args:
        limit: how many there may be.
        per_address: how many from one address; 0 for no limit.
        greeting_suffices: whether callers need not say who they are.
        calls_per_address: see `hosting.grpc.allowances`.

    Attributes:
        admitted: how many there have been.
        refused: for how many there was no room, or too little left for their address.
        calls_refused: how many calls were, likewise.
        allowances: what each may make the server do.
    """

    def __init__(
        self,
        limit: int,
        per_address: int = 0,
        *,
        greeting_suffices: bool = True,
        calls_per_address: float = 0.0,
    ) -> None:
        self.allowances = Allowances(calls_per_address)
        self._limit = limit
        self._per_address = per_address
        self._greeting_suffices = greeting_suffices
        self._addresses: Counter[str] = Counter()
        self.admitted = self.refused = self.calls_refused = 0
        self._open: dict[GuardedConnection, None] = {}
        self._strangers: Strangers[GuardedConnection] = Strangers()

    def __iter__(self) -> Iterator[GuardedConnection]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: GuardedConnection) -> bool:
        """Takes a connection in, if need be in the place of a stranger."""
        address = connection.address
        if not connection.allowance.take_connection():
            self.refused += 1
            return False
        if self._per_address and self._addresses[address] >= self._per_address:
            has_room = self._evict(self._strangers.oldest(address))
        else:
            has_room = len(self._open) < self._limit or self._evict(self._strangers.oldest())
        if not has_room:
            self.refused += 1
            return False
        self._open[connection] = None
        self._strangers.add(connection, address)
        self._addresses[address] += 1
        self.admitted += 1
        return True

    def _evict(self, stranger: GuardedConnection | None) -> bool:
        if stranger is None:
            return False
        self.forget(stranger)
        stranger.abort()
        return True

    def greeted(self, connection: GuardedConnection) -> None:
        """The client of a connection has said that it speaks HTTP/2."""
        if self._greeting_suffices:
            self.believed(connection)

    def believed(self, connection: GuardedConnection) -> None:
        """A caller on a connection has said who it is, and is believed."""
        self._strangers.discard(connection)

    def forget(self, connection: GuardedConnection) -> None:
        """A connection has ended."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._strangers.discard(connection)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]


class KnownConnection(DataStreams):
    """grpclib's connection, as calls have it: they may say what is known of its client.

    Attributes:
        take_call: takes a call out of what the client may make; returns 0, or after how
            many seconds to try again.
        believed: is called with each caller who is.
        exempt: is called when the client is a proxy.
        expel: ends the connection.
    """

    take_call: Callable[[], float]
    believed: Callable[[], None]
    exempt: Callable[[], None]
    expel: Callable[[], None]

    def close(self) -> None:
        """See grpclib."""
        super().close()
        cast(GuardedH2, self._connection).discard()


def believe(call: CallStream[Any, Any]) -> None:
    """Notes that who makes a call is believed."""
    if (connection := _known(call)) is not None:
        connection.believed()


def exempt(call: CallStream[Any, Any]) -> None:
    """Notes that a call is a proxy's: what comes on its connection is of many clients."""
    if (connection := _known(call)) is not None:
        connection.exempt()


def expel(call: CallStream[Any, Any]) -> None:
    """Ends the connection of a call whose client asks too much, once the call is answered."""
    if (connection := _known(call)) is not None:
        asyncio.get_running_loop().call_soon(connection.expel)


def _known(call: CallStream[Any, Any]) -> KnownConnection | None:
    connection = call._stream.connection  # noqa: SLF001 - grpclib tells no other name of it
    return connection if isinstance(connection, KnownConnection) else None


class GuardedConnection(H2Protocol):
    """One client's connection.

    Args:
        handler: begins and cancels its calls.
        config: grpclib's settings.
        h2_config: h2's settings.
        limits: what it may do.
        connections: where it is listed while it is open.

    Attributes:
        address: what its client is counted by.
        allowance: what it may make the server do.
    """

    allowance: ConnectionAllowance

    address = ""
    _next_turn: asyncio.Handle | None = None

    def __init__(
        self,
        handler: AbstractHandler,
        config: Configuration,
        h2_config: H2Configuration,
        limits: ConnectionLimits,
        connections: Connections,
    ) -> None:
        super().__init__(handler, config, h2_config)
        self._limits = limits
        self._connections = connections
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In place of grpclib's, which has no bounds to give."""
        self._transport = cast(asyncio.Transport, transport)
        peer = self._transport.get_extra_info("peername")
        self.address = client_key(peer[0]) if isinstance(peer, tuple) else ""
        self.allowance = self._connections.allowances.of(self.address)
        self._h2 = GuardedH2(
            self.h2_config, self._limits.streams_per_connection, self.allowance.take_work
        )
        self._stall = _Stall(self._transport, self._limits.stall_seconds, self._read_on)
        self._wire = _Wire(self._transport, _LAST_WORDS_SECONDS)
        self.connection = KnownConnection(
            self._h2, cast(asyncio.Transport, self._wire), config=self.config
        )
        self.connection.take_call = self._take_call
        self.connection.believed = self._believe
        self.connection.exempt = self.allowance.exempt
        self.connection.expel = self._expel
        self.processor = _Calls(
            self.handler, self.connection, self._limits.idle_seconds, self._end_idle
        )
        loop = asyncio.get_running_loop()
        self._handshake = loop.call_later(self._limits.handshake_seconds, self.abort)
        self._pulse = Pulse(
            self._limits.heartbeat_seconds,
            ask=self._ping,
            end=self._give_up,
            deaf=lambda: self._stall.is_on,
        )
        self._h2.greet(self.config)
        self.connection.flush()
        if self._connections.admit(self):
            self.connection.initialize()
        else:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.connection.flush()
            self._transport.close()

    @property
    def has_more(self) -> bool:
        """Whether something has come that had no turn yet."""
        return self._h2.has_more

    def data_received(self, data: bytes) -> None:
        """In place of grpclib's, which keeps the reason of an end to itself."""
        self._pulse.heard()
        if self.connection.is_closing():
            self._wire.throw_away(len(data))
        else:
            self._receive(data)

    def _receive(self, data: bytes = b"") -> None:
        """Receives frames for one turn; what is left over has the next one."""
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            log.debug("connection ended", peer=self._peer(), reason=str(error))
            self.connection.flush()
            self.processor.close("Protocol error")
            return
        if self._h2.greeted:
            self._handshake.cancel()
            self._connections.greeted(self)
        self.connection.flush()
        for event in events:
            self.processor.process(event)
        if self.connection.is_closing():
            return
        self.connection.flush()
        if self._h2.has_more:
            self._transport.pause_reading()
            self._read_on()

    def _read_on(self) -> None:
        """Receives what has come already, in turns, and then reads."""
        if not self._h2.has_more:
            self._transport.resume_reading()
        elif self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn = None
        # Every answer is kept until it is read: who reads none has no turn.
        if self.connection.is_closing() or self._stall.is_on:
            return
        self._pulse.heard()
        try:
            self._receive()
        except BaseException:
            self.abort()  # as the event loop does if it fails where data comes in
            raise
        if not (self.connection.is_closing() or self._stall.is_on):
            self._read_on()

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self._stall.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio."""
        self._handshake.cancel()
        self._pulse.stop()
        self._stall.end()
        self._connections.forget(self)
        super().connection_lost(exc)
        self._wire.forget()  # which may have been closed just now
        self._closed.set()

    def _ping(self) -> None:
        if not self.connection.is_closing() and self._h2.greeted:
            self._h2.ping(_PING)
            self.connection.flush()

    def _give_up(self) -> None:
        log.info("dead client dropped", peer=self._peer())
        self.abort()

    def _peer(self) -> str:
        return address(self._transport.get_extra_info("peername"))

    def abort(self) -> None:
        """Ends the connection without a word."""
        self._transport.abort()

    def _take_call(self) -> float:
        wait = self.allowance.take_call()
        if wait:
            self._connections.calls_refused += 1
            if not self.allowance.take_work(REFUSAL_WORK):
                asyncio.get_running_loop().call_soon(self._expel)
        return wait

    def _believe(self) -> None:
        self.allowance.believe()
        self._connections.believed(self)

    def _end_idle(self) -> None:
        self._say_goodbye()
        self.processor.close("no call for a while")

    def _expel(self) -> None:
        self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
        self.processor.close("too many requests")

    def _say_goodbye(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        h2 = self._h2
        if not self.connection.is_closing() and h2.state_machine.state != ConnectionState.CLOSED:
            h2.close_connection(code)
            self.connection.flush()

    async def go_away(self) -> None:
        """Says GOAWAY and closes; a client that does not read that is cut off."""
        self._say_goodbye()
        # At once: who is told in time does not send any more.
        self._transport.close()
        self.processor.close("the server is shutting down")
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()
            await self._closed.wait()
