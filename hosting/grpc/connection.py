"""One client's connection: grpclib's, that ends in time and takes turns with others.

The dangers of an open port, and their bounds:

- the client does not begin: here, by `handshake_seconds`;
- it sends more than others should wait for: `hosting.grpc.http2_limits` gives each connection
  turns of the event loop, in between others have theirs; while frames wait for a turn, nothing
  is read from the socket;
- it makes the server work for nothing: `hosting.grpc.allowances`, in which each frame and
  call has a price;
- it does not read, makes no call, or does not stop sending: `hosting.grpc.timeouts`;
- it is silent: `hosting.heartbeat`;
- it is one of too many: `hosting.grpc.connections`.

A connection is closed with a GOAWAY that says why, then the end of the stream, then a
linger in which the client may read both.
"""

import asyncio
from typing import Final, cast

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, H2Protocol
from h2.config import H2Configuration
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from hosting.addresses import client_key
from hosting.grpc.allowances import REFUSAL_WORK, ConnectionAllowance
from hosting.grpc.call_log import address
from hosting.grpc.connections import Connections, ServerConnection
from hosting.grpc.events import ServerEvents
from hosting.grpc.http2_limits import GuardedH2
from hosting.grpc.timeouts import HalfClosingTransport, StallTimer
from hosting.heartbeat import HeartbeatTimer
from hosting.logs import get_logger

log = get_logger(__name__)

_PING: Final = b"are you?"
_LINGER_SECONDS: Final = 2.0


class GuardedConnection(H2Protocol):
    """One client's connection.

    Args:
        handler: begins and cancels its calls.
        config: grpclib's settings.
        h2_config: h2's settings.
        connections: lists it while it is open.

    Attributes:
        address: the key under which its client's connections are counted.
        allowance: limits the work it may cause.
    """

    allowance: ConnectionAllowance

    address = ""
    _next_turn: asyncio.Handle | None = None

    def __init__(
        self,
        handler: AbstractHandler,
        config: Configuration,
        h2_config: H2Configuration,
        connections: Connections,
    ) -> None:
        super().__init__(handler, config, h2_config)
        self._limits = connections.limits
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
        self._stall = StallTimer(self._transport, self._limits.stall_seconds, self._read_on)
        self._wire = HalfClosingTransport(self._transport, _LINGER_SECONDS)
        self.connection = ServerConnection(
            self._h2, cast(asyncio.Transport, self._wire), config=self.config
        )
        self.connection.take_call = self._take_call
        self.connection.authenticated = self._authenticated
        self.connection.exempt = self.allowance.exempt
        self.connection.expel = self._expel
        self.processor = ServerEvents(
            self.handler, self.connection, self._limits.idle_seconds, self._end_idle
        )
        loop = asyncio.get_running_loop()
        self._handshake = loop.call_later(self._limits.handshake_seconds, self.abort)
        self._heartbeat = HeartbeatTimer(
            self._limits.heartbeat_seconds,
            ask=self._ping,
            end=self._drop_dead,
            is_deaf=lambda: self._stall.is_on,
        )
        self._h2.greet(self.config)
        self.connection.flush()
        if self._connections.try_add(self):
            self.connection.initialize()
        else:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.connection.flush()
            self._transport.close()

    @property
    def has_more(self) -> bool:
        """Whether frames have come that had no turn yet."""
        return self._h2.has_more

    def data_received(self, data: bytes) -> None:
        """In place of grpclib's, which does not log the reason of an end."""
        self._heartbeat.heard()
        if self.connection.is_closing():
            self._wire.throw_away(len(data))
        else:
            self._receive(data)

    def _receive(self, data: bytes = b"") -> None:
        """Receives frames for one turn; the rest has the next one."""
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
        """Receives the frames that have come already, in turns, and then reads on."""
        if not self._h2.has_more:
            self._transport.resume_reading()
        elif self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn = None
        # Every answer is kept until it is read: a client that reads none has no turn.
        if self.connection.is_closing() or self._stall.is_on:
            return
        self._heartbeat.heard()
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
        self._heartbeat.stop()
        self._stall.end()
        self._connections.discard(self)
        super().connection_lost(exc)
        self._wire.stop()  # which may have been closed just now
        self._closed.set()

    def _ping(self) -> None:
        if not self.connection.is_closing() and self._h2.greeted:
            self._h2.ping(_PING)
            self.connection.flush()

    def _drop_dead(self) -> None:
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

    def _authenticated(self) -> None:
        self.allowance.authenticated()
        self._connections.authenticated(self)

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
        # At once: a client that is told in time does not send any more.
        self._transport.close()
        self.processor.close("the server is shutting down")
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()
            await self._closed.wait()
