"""A client's socket: writing to it, and every way in which it ends.

=========  ====================  =======================  ==============================
state      frames of the client  frames for the client    left by
=========  ====================  =======================  ==============================
OPEN       are handled           are written              `drain`, `close`, `go_away`,
                                                          `end`
DRAINING   are dropped           are written, such as     `close`, `go_away`, `end`
                                 confirmations
CLOSING    are dropped           are dropped: the close   `end`
                                 frame was the last
CLOSED     do not come           are dropped
=========  ====================  =======================  ==============================

A state is never gone back to. Besides, the client may be gone in each of them: aiohttp has
read its close frame, or asyncio knows that the connection is lost. `is_gone` is all of that.

A connection ends in one of these ways:

* The client closes it, or vanishes. aiohttp answers; reading ends; `end`.
* `break_off`: it sent what RFC 6455 forbids (1002, 1007, 1009).
* `close`: it does not read (4008), was told to wait and did not (4029), its token is not
  believed (4501) or has expired (4010). The close frame goes behind all that waits; a client
  that has not read that after `_LINGER_SECONDS` is aborted. The switchboard forgets it at once.
* `go_away`: the proxy stops (1001). It has as long as the stop takes to read and to answer.
* `beat`: it does not answer a ping, or sends a message that comes to no end: it is aborted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMessage, WSMsgType, web

from gen.chat import ServerFrame
from hosting.faults import Faults
from hosting.heartbeat import Beat, Heartbeat
from hosting.logs import get_logger
from proxy.clients.intake import Intake
from proxy.clients.record import ConnectionRecord
from proxy.config import Config
from proxy.core import frames
from proxy.errors import CloseCode
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

# A client that does not read gets so long to read the close frame.
_LINGER_SECONDS: Final = 5.0
# A client that has broken a rule is thought to know it when it has sent nothing for so long.
_QUIET_SECONDS: Final = 1.0
# An answer of so many bytes is not waited for while the socket has room: most are.
_SHORT: Final = 64 * 1024


class State(Enum):
    """Stages of the end of a socket; see above."""

    OPEN = auto()
    DRAINING = auto()
    CLOSING = auto()
    CLOSED = auto()


# Members of an enum are slow to look up.
_OPEN: Final = State.OPEN
_DRAINING: Final = State.DRAINING


class ClientSocket:
    """The socket of one client.

    Args:
        socket: aiohttp's WebSocket.
        request: its handshake.
        metrics: counts clients that are slow or dead.
        faults: logs defects.
        intake: the way of its bytes, if there is one.
        on_close: called soon after `close`: the client is to be forgotten.

    Attributes:
        state: the stage of its end.
        record: the figures that are logged at its end.
        receive: waits for the next frame; see aiohttp.

    Raises:
        ClientConnectionResetError: the client is gone already.
    """

    __slots__ = (
        "_closed",
        "_config",
        "_faults",
        "_frames_before",
        "_heartbeat",
        "_intake",
        "_metrics",
        "_most_bytes",
        "_on_close",
        "_protocol",
        "_socket",
        "_transport",
        "receive",
        "record",
        "state",
    )

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        config: Config,
        metrics: ProxyMetrics,
        faults: Faults,
        intake: Intake | None,
        on_close: Callable[[], None],
    ) -> None:
        if request.transport is None:
            raise ClientConnectionResetError("the client is gone")
        self._protocol = request.protocol
        self.state = State.OPEN
        self.record = ConnectionRecord()
        self.receive: Callable[[], Awaitable[WSMessage]] = socket.receive
        self._socket = socket
        self._transport = request.transport
        self._config = config
        self._most_bytes = config.mailbox_bytes
        self._metrics = metrics
        self._faults = faults
        self._intake = intake
        self._on_close: Callable[[], None] | None = on_close
        self._heartbeat = Heartbeat()
        self._frames_before = 0
        # Exists while somebody waits for the end.
        self._closed: asyncio.Future[None] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written any more: it was closed, or the client is gone."""
        return (
            (self.state is not _OPEN and self.state is not _DRAINING)
            or self._socket.closed
            or self._transport.is_closing()
        )

    @property
    def close_code(self) -> int:
        """The code that it was closed with; 1006 if there was none (RFC 6455, section 7.1.5)."""
        return self.record.code or self._socket.close_code or WSCloseCode.ABNORMAL_CLOSURE

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait to be sent."""
        # asyncio's transport of TLS fails once it is lost and aiohttp has closed it.
        if self._intake is not None and self._intake.lost:
            return 0
        return self._transport.get_write_buffer_size()

    # Writing.

    def write(self, frame: bytes) -> None:
        """Queues a frame; closes the socket if too much waits. Never fails.

        It goes past aiohttp's writer, which would frame the same message anew for each
        receiver: there is no compression and no fragment that a frame could fall into the
        middle of.
        """
        transport = self._transport
        # `is_gone`, without the call: this is done for each delivery.
        if (
            (self.state is not _OPEN and self.state is not _DRAINING)
            or self._socket.closed
            or transport.is_closing()
        ):
            return
        if transport.get_write_buffer_size() > self._most_bytes:
            self._overflow()
            return
        try:
            transport.write(frame)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("socket not written to", error)
            transport.abort()

    def write_news(self, frame: bytes) -> bool:
        """Queues a frame that may be left out, unless much waits; returns whether it did."""
        if self.waiting_bytes > self._most_bytes // 2:
            return False
        self.write(frame)
        return True

    def write_frame(self, frame: ServerFrame) -> None:
        """Encodes and queues a frame, as `write` does."""
        self.write(frames.encode(frame))

    async def send_and_wait(self, payload: bytes) -> None:
        """Writes the JSON of an answer, and waits while the socket is full.

        Raises:
            ClientConnectionResetError: the client is gone, or does not read.
        """
        # A page may be on its way here while the proxy stops: behind the end nothing is written.
        if self.is_gone:
            raise ClientConnectionResetError("the client is gone")
        if len(payload) <= _SHORT and not self.waiting_bytes:
            self.write(frames.text_frame(payload))
            return
        try:
            async with asyncio.timeout(self._config.heartbeat_seconds):
                await self._socket.send_frame(payload, WSMsgType.TEXT)
        except ConnectionError as error:
            # aiohttp raises it when the connection is lost while one waits.
            raise ClientConnectionResetError("the client is gone") from error
        except TimeoutError:
            self._overflow()
            raise ClientConnectionResetError("the client does not read") from None

    # Ending.

    def beat(self, *, busy: bool) -> None:
        """Notes that half a heartbeat has passed: pings a silent client, drops a dead one.

        Args:
            busy: whether a frame is being handled. The next one is not read meanwhile, be
                it the answer to a ping.
        """
        record, intake = self.record, self._intake
        heard = busy or record.frames != self._frames_before
        heard |= intake is not None and intake.heard()
        self._frames_before = record.frames
        if heard:
            self._heartbeat.heard()
        verdict = Beat.ALIVE if heard else self._heartbeat.beat()
        if verdict is Beat.ASK:
            self.write(frames.PING)
        if verdict is Beat.DEAD or (intake is not None and intake.endless()):
            self._metrics.dead_clients += 1
            log.info("dead client dropped", connection=record.connection_id)
            self._transport.abort()

    def drain(self) -> None:
        """Lets no further frame be handled: the proxy is about to stop."""
        if self.state is State.OPEN:
            self.state = State.DRAINING

    async def break_off(self) -> None:
        """Closes the socket if the client has broken a rule, and throws away what it still sends.

        Otherwise what is on the way would be answered by a reset; see `frame_rules`.
        """
        intake = self._intake
        if intake is None or intake.violation is None:
            return
        # It may have been closed for another reason, and have yet to read that.
        if not self.is_gone:
            self.close(intake.violation.code, intake.violation.rule)
            if self._transport.can_write_eof():
                # Its answer would not be understood: this is how it learns that it may go.
                self._transport.write_eof()
        # The frame itself is not what it still sends.
        intake.heard()
        while not await intake.is_lost(_QUIET_SECONDS) and intake.heard():
            pass

    def close(self, code: int, reason: str) -> None:
        """Closes the socket, behind all that waits. Calls nobody back at once."""
        if self.is_gone:
            self.drain()
            return
        self.state = State.CLOSING
        self.record.code = code
        if self._intake is not None:
            self._intake.slow_down()
        self._transport.write(frames.close_frame(code, reason))
        self._abort_later()
        if self._on_close is not None:
            # Later: the writer may be in the middle of the rooms.
            asyncio.get_running_loop().call_soon(self._on_close)

    def go_away(self) -> None:
        """Closes the socket because the proxy stops."""
        if self.record.code is None:
            self.record.code = CloseCode.GOING_AWAY
        self.write(frames.close_frame(CloseCode.GOING_AWAY, "going away"))
        # Not the end of the socket: while the client still sends, that would be a
        # reset, by which it loses what it has not read yet. TLS has no other end.
        if not self.is_gone and self._transport.can_write_eof():
            self._transport.write_eof()
        if self.state is not State.CLOSED:
            self.state = State.CLOSING

    async def wait_closed(self, seconds: float) -> None:
        """Waits until nothing is read any more; aborts the connection if that takes longer."""
        if self.state is State.CLOSED:
            return
        self._closed = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._closed
        except TimeoutError:
            self._transport.abort()

    def end(self) -> None:
        """Notes that no frame will be read any more, and gives up what is not taken soon."""
        if self.state is State.CLOSING:
            # The close frame is written. aiohttp would write another one, which browsers take
            # for a lost connection, without a code.
            self._transport.close()
            # And it would close it again, after which asyncio's transport of TLS has no abort.
            self._protocol.transport = None
        self.state = State.CLOSED
        # It refers to the connection, which refers to this: no cycle is left.
        self._on_close = None
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self.waiting_bytes:
            # It would wait for ever to be flushed.
            self._abort_later()

    def _overflow(self) -> None:
        """Closes a client that does not read."""
        if not self.is_gone:
            self._metrics.slow_consumers += 1
            waiting = self.waiting_bytes
            log.info("slow consumer closed", connection=self.record.connection_id, waiting=waiting)
        self.close(CloseCode.SLOW_CONSUMER, "slow consumer")

    def _abort_later(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(_LINGER_SECONDS, _abort_unless_lost, self._transport, self._intake)


def _abort_unless_lost(transport: asyncio.Transport, intake: Intake | None) -> None:
    # See `ClientSocket.waiting_bytes`.
    if intake is None or not intake.lost:
        transport.abort()
