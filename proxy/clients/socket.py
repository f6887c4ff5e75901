"""One client's line: what is written to its socket, and every way in which it ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

import codec
from gen.chat import Error, ServerFrame
from hosting.logs import get_logger
from proxy.clients.intake import Intake
from proxy.clients.record import Story
from proxy.config import Config
from proxy.core import frames
from proxy.core.client import Client
from proxy.core.switchboard import Switchboard
from proxy.errors import CloseCode
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

# How long a client that does not read is given to read why it was closed.
_LINGER_SECONDS: Final = 5.0
_LONGEST_TIMER_SECONDS: Final = 3600.0
# After so many halves of a heartbeat without a frame.
_PING_AT: Final = 2
_DEAD_AT: Final = 3


class Line(Client):
    """The socket of one client.

    Args:
        socket: the WebSocket.
        request: its handshake.
        config: the settings.
        switchboard: forgets the client when it is cut off.
        metrics: counts what happens.
        intake: what its bytes come by, if that is known.

    Attributes:
        story: what is told of it in the end.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        config: Config,
        switchboard: Switchboard,
        metrics: ProxyMetrics,
        intake: Intake | None = None,
    ) -> None:
        if request.transport is None:
            raise ClientConnectionResetError("the client is gone")
        self.story = Story()
        self.connection = self.story.connection
        self._socket = socket
        self._transport = request.transport
        self._config = config
        self._switchboard = switchboard
        self._metrics = metrics
        self._intake = intake
        self._cut_off = False
        self._reading = True
        # Whether a frame is being handled.
        self._busy = False
        self._silent = 0
        # The proxy stops, and has said so.
        self._leaving = False
        self._over = False
        # There while somebody waits until it is over.
        self._ended: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._end_of_token: asyncio.TimerHandle | None = None

    @property
    def close_code(self) -> int:
        """Why the connection has ended; 1006 if nobody said so (RFC 6455, section 7.1.5)."""
        return self.story.code or self._socket.close_code or WSCloseCode.ABNORMAL_CLOSURE

    @property
    def waiting_bytes(self) -> int:
        """How much waits in the socket."""
        return self._transport.get_write_buffer_size()

    def write(self, frame: bytes) -> None:
        """Queues a frame on the socket; cuts the client off if too much waits.

        It goes past aiohttp's writer, which would frame the same message anew
        for each receiver: there is no compression and no fragment that a frame
        could fall into the middle of.
        """
        if self._cut_off or self._socket.closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._config.mailbox_bytes:
            self._overflow()
            return
        try:
            self._transport.write(frame)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._switchboard.faults.log("socket not written to", error)
            self._transport.abort()

    async def write_out(self, frame: ServerFrame) -> None:
        """Writes what a client asked for, and waits while the socket is full.

        Raises:
            ClientConnectionResetError: the client is gone, or does not read.
        """
        try:
            async with asyncio.timeout(self._config.heartbeat_seconds):
                await self._socket.send_frame(codec.to_json(frame), WSMsgType.TEXT)
        except ConnectionError as error:
            # aiohttp says it so when the connection is lost while one waits.
            raise ClientConnectionResetError("the client is gone") from error
        except TimeoutError:
            self._overflow()
            raise ClientConnectionResetError("the client does not read") from None

    def may_tell(self, error: Error) -> bool:
        """See `Client`: each kind of error is told of once, and counted."""
        return self.story.refused.add(error.code.name or str(int(error.code)))

    def _answer(self, frame: ServerFrame) -> None:
        self.write(frames.encode(frame))

    @property
    def gone(self) -> bool:
        """Whether the client is, for all that is known."""
        return self._cut_off or self._socket.closed or self._transport.is_closing()

    # How it ends.

    def check_pulse(self) -> None:
        """Notes that half a heartbeat has passed."""
        # While a frame is handled the next one is not read, be it an answer to a ping.
        intake = self._intake
        heard = self._busy or (intake is not None and intake.heard())
        self._silent = 0 if heard else self._silent + 1
        if self._silent == _PING_AT:
            self.write(frames.PING)
        if self._silent >= _DEAD_AT or (intake is not None and intake.endless()):
            self._metrics.dead_clients += 1
            log.info("dead client dropped", connection=self.story.connection)
            self._transport.abort()

    def stop_reading(self) -> None:
        """Handles no further frame."""
        self._reading = False

    def dismiss(self, error: Error) -> None:
        """Closes the connection: who it is, is not believed."""
        code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.BAD_TOKEN
        self._cut(code, error.message)

    async def go_away(self, seconds: float) -> None:
        """Closes the connection because the proxy is about to stop.

        Args:
            seconds: how long the client may take to read and answer that.
        """
        if self.story.code is None:
            self.story.code = CloseCode.GOING_AWAY
        self.write(frames.close_frame(CloseCode.GOING_AWAY, "going away"))
        # Not the end of the socket: while the client still sends, that would be a
        # reset, by which it loses what it has not read yet. TLS has no other end.
        can_end = not (self._cut_off or self._transport.is_closing())
        if can_end and self._transport.can_write_eof():
            self._transport.write_eof()
        self._cut_off = self._leaving = True
        if self._busy and self._task is not None:
            # It may wait for the server, longer than a stop may take.
            self._task.cancel()
        try:
            async with asyncio.timeout(seconds):
                await self._wait_until_over()
        except TimeoutError:
            self._transport.abort()

    def _note_end(self) -> None:
        self._over = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _wait_until_over(self) -> None:
        if not self._over:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended

    def end(self) -> None:
        """Gives up what a client does not read; it would wait for ever to be flushed.

        No frame is handled any more.
        """
        self._note_end()
        if self._end_of_token is not None:
            self._end_of_token.cancel()
        if self._cut_off:
            # It was told why. aiohttp would say goodbye once more, which browsers take for
            # a lost connection, without a code.
            self._transport.close()
        if self._transport.get_write_buffer_size():
            self._abort_later()

    def _expire_at(self, end: datetime) -> None:
        if self._end_of_token is not None:
            self._end_of_token.cancel()
        loop = asyncio.get_running_loop()
        rest = min((end - datetime.now(UTC)).total_seconds(), _LONGEST_TIMER_SECONDS)
        self._end_of_token = loop.call_later(max(rest, 0), self._expire, end)

    def _expire(self, end: datetime) -> None:
        if datetime.now(UTC) < end:
            self._expire_at(end)
        else:
            self._cut(CloseCode.TOKEN_EXPIRED, "the token has expired")

    def _expel(self) -> None:
        if not self.gone:
            name = self.story.connection
            log.info("client closed that goes on although it was told to wait", connection=name)
        self._cut(CloseCode.TOO_MANY_REQUESTS, "too many requests")

    def _overflow(self) -> None:
        """Cuts off a client that does not read."""
        if not self.gone:
            self._metrics.slow_consumers += 1
            waiting = self._transport.get_write_buffer_size()
            log.info("slow consumer closed", connection=self.story.connection, waiting=waiting)
        self._cut(CloseCode.SLOW_CONSUMER, "slow consumer")

    def _cut(self, code: CloseCode, reason: str) -> None:
        """Closes the connection at once, behind what waits for it."""
        self.stop_reading()
        if self.gone:
            return
        self._cut_off = True
        self.story.code = code
        if self._intake is not None:
            self._intake.slow_down()
        self._transport.write(frames.close_frame(code, reason))
        self._abort_later()
        # Later, because whoever writes may be going through the rooms.
        asyncio.get_running_loop().call_soon(self._switchboard.close, self)

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)
