"""A connection of grpclib's that ends in time, whatever its client does or leaves undone.

`chat.http2` bounds what the client sends. Here are bounded how long it may take
to begin, how long it may read nothing, say nothing and ask nothing, and how many
connections there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol, Stream
from grpclib.server import Stream as CallStream
from h2.config import H2Configuration
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from chat.calls import address
from chat.config import ConnectionLimits
from chat.http2 import GuardedH2
from chat.pulse import Pulse
from daemon.hosts import client_key
from daemon.logs import get_logger
from daemon.strangers import Strangers
from daemon.streams import DataStreams

log = get_logger(__name__)

_PING: Final = b"are you?"
_LAST_WORDS_SECONDS: Final = 2.0


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
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
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
            self._transport.resume_reading()

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

    def register(self, stream: Stream) -> Callable[[], None]:
        """See grpclib."""
        release = super().register(stream)

        def release_stream() -> None:
            self._idle_since = self._loop.time()
            release()

        return release_stream

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

    Attributes:
        admitted: how many there have been.
        refused: for how many there was no room.
    """

    def __init__(self, limit: int, per_address: int = 0, *, greeting_suffices: bool = True) -> None:
        self._limit = limit
        self._per_address = per_address
        self._greeting_suffices = greeting_suffices
        self._addresses: Counter[str] = Counter()
        self.admitted = self.refused = 0
        self._open: dict[GuardedConnection, None] = {}
        self._strangers: Strangers[GuardedConnection] = Strangers()

    def __iter__(self) -> Iterator[GuardedConnection]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: GuardedConnection) -> bool:
        """Takes a connection in, if need be in the place of a stranger."""
        address = connection.address
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


class _Known(DataStreams):
    """grpclib's connection, as calls have it: they may say that its client is believed.

    Attributes:
        believed: is called with each caller who is.
        expel: ends the connection.
    """

    believed: Callable[[], None]
    expel: Callable[[], None]


def believe(call: CallStream[Any, Any]) -> None:
    """Notes that who makes a call is believed."""
    connection = call._stream.connection  # noqa: SLF001 - grpclib tells no other name of it
    if isinstance(connection, _Known):
        connection.believed()


def expel(call: CallStream[Any, Any]) -> None:
    """Ends the connection of a call whose client asks too much, once the call is answered."""
    connection = call._stream.connection  # noqa: SLF001 - as above
    if isinstance(connection, _Known):
        asyncio.get_running_loop().call_soon(connection.expel)


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
    """

    address = ""

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
        self._h2 = GuardedH2(h2_config, limits.streams_per_connection)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In place of grpclib's, which has no bounds to give."""
        self._transport = cast(asyncio.Transport, transport)
        self._stall = _Stall(self._transport, self._limits.stall_seconds)
        self._wire = _Wire(self._transport, _LAST_WORDS_SECONDS)
        self.connection = _Known(self._h2, cast(asyncio.Transport, self._wire), config=self.config)
        self.connection.believed = partial(self._connections.believed, self)
        self.connection.expel = self._expel
        peer = self._transport.get_extra_info("peername")
        self.address = client_key(peer[0]) if isinstance(peer, tuple) else ""
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

    def data_received(self, data: bytes) -> None:
        """In place of grpclib's, which keeps the reason of an end to itself."""
        self._pulse.heard()
        if self.connection.is_closing():
            return
        try:
            events = self.connection.feed(data)
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
        if not self.connection.is_closing():
            self.connection.flush()

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
