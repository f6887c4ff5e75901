"""All open WebSockets: their opening, their heartbeat, and their end when the proxy stops."""

import asyncio
from typing import Final, Protocol, runtime_checkable

from aiohttp import web

from hosting.heartbeat import beats
from hosting.logs import get_logger
from hosting.rate_limits import AnyAllowance
from proxy.access import bearer
from proxy.access.admission import Admission, NotAdmitted
from proxy.clients.connection import Connection
from proxy.clients.context import Context
from proxy.clients.intake import Intake
from proxy.clients.record import Recording
from proxy.errors import CloseCode, close_label
from proxy.http import handshake

log = get_logger(__name__)

# A frame up to this many times the limit is read and refused by an error; only a
# larger one closes the connection.
_READ_FACTOR: Final = 4
# When the time of a stop is up, clients still have so long to close.
_LAST_WORDS_SECONDS: Final = 2.0


@runtime_checkable
class Upgradable(Protocol):
    """The connection of a handshake, as `proxy.http.listener` makes it."""

    def hold(self, held: bool) -> None:
        """Stops reading from the socket, or goes on."""

    def receive_by(self, intake: Intake) -> None:
        """Lets the bytes of the WebSocket to come pass through an intake."""

    def upgraded(self) -> None:
        """Ends the bounds of requests: the connection is a WebSocket now."""


class WebSockets:
    """All open connections of a proxy.

    Args:
        context: the parts that all connections share.

    Attributes:
        admission: decides which handshakes are let in.
    """

    def __init__(self, context: Context) -> None:
        config = context.config
        self.admission = Admission(config.admission, context.metrics, config.rates)
        self._context = context
        self._config = config
        self._most_bytes = config.frame_bytes * _READ_FACTOR
        self._switchboard = context.switchboard
        self._metrics = context.metrics
        self._open: set[Connection] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait in the sockets of all clients."""
        return sum(connection.socket.waiting_bytes for connection in self._open)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serves one WebSocket until it is closed.

        Raises:
            aiohttp.web.HTTPException: it is not opened; see `proxy.http.handshake`.
        """
        request = handshake.checked(request)
        peer, headers = request.remote or "", request.headers
        try:
            admitted = self.admission.check_in(peer, headers)
        except NotAdmitted as refused:
            raise handshake.answer_to(refused) from None
        # This frame lives as long as the connection: it is kept small.
        with admitted as charges:
            intake = self._intake(request, charges)
            socket, token = await self._open_socket(request)
            if self._draining:
                await socket.close(code=CloseCode.GOING_AWAY)
                return socket
            connection = Connection(self._context, socket, request, charges, intake)
            self._open.add(connection)
            self._metrics.opened += 1
            record = connection.socket.record
            client = self.admission.proxies.client(peer, headers)
            with Recording(request, socket, record, client):
                connection.traceparent = record.traceparent
                try:
                    await connection.authenticate(token)
                    await connection.serve()
                finally:
                    self._open.discard(connection)
                    self._metrics.closed[close_label(connection.socket.close_code)] += 1
                    self._switchboard.close(connection)
                    connection.end()
            return socket

    def _intake(self, request: web.Request, charges: AnyAllowance) -> Intake | None:
        """Makes the way of a WebSocket's bytes; there is none behind aiohttp's test server."""
        protocol = request.protocol
        if not isinstance(protocol, Upgradable):
            return None
        intake = Intake(charges.calls, self._context.turns, protocol.hold, self._most_bytes)
        protocol.receive_by(intake)
        return intake

    async def _open_socket(self, request: web.Request) -> tuple[web.WebSocketResponse, str | None]:
        """Opens a WebSocket; returns it, and the client's token."""
        socket = web.WebSocketResponse(
            # Compressed, a small frame could be a very large one.
            compress=False,
            decode_text=False,
            # See `keep_alive`: a timer for each frame of each client is a lot.
            autoping=False,
            # See `Connection.end`.
            autoclose=False,
            # aiohttp refuses messages of so many bytes as well.
            max_msg_size=self._most_bytes + 1,
            protocols=(bearer.PROTOCOL,),
        )
        token = handshake.token_of(request, required=self._switchboard.tokens_required)
        await handshake.shake_hands(socket, request)
        if isinstance(request.protocol, Upgradable):
            request.protocol.upgraded()
        # They are sent, and would be kept for as long as the connection lasts.
        socket.headers.clear()
        return socket, token

    async def keep_alive(self) -> None:
        """Pings clients that are silent, and drops those that are dead, until cancelled.

        A client is silent when nothing has come from it for a heartbeat, and dead
        when nothing has come for another half.
        """
        async for _ in beats(self._config.heartbeat_seconds):
            self._beat_all()

    def _beat_all(self) -> None:
        # Not above: there the last one would be kept until the next beat.
        for connection in tuple(self._open):
            connection.beat()

    async def drain(self) -> None:
        """Waits until all messages are confirmed, then closes each connection with 1001.

        It takes `Config.drain_seconds` at most, and `_LAST_WORDS_SECONDS` for clients that do
        not read.
        """
        self._draining = True
        for connection in self._open:
            connection.socket.drain()
        patience = self._config.drain_seconds
        deadline = asyncio.get_running_loop().time() + patience
        if not await self._switchboard.sends.wait_all_confirmed(patience):
            log.warning("unconfirmed sends given up", after_seconds=patience)
        rest = deadline - asyncio.get_running_loop().time()
        closing = max(rest, min(patience, _LAST_WORDS_SECONDS))
        await asyncio.gather(*(connection.go_away(closing) for connection in tuple(self._open)))
