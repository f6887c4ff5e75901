"""Opens a link: one connection to one server, and the stream on it.

Nothing is sent on the stream here. So a link may be opened beside another one, to see
whether it would be better.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final, Self

from grpclib.config import Configuration
from grpclib.const import Cardinality

import codec
from gen.chat import RelayRequest, RelayResponse
from hosting.grpc.channel import Channel
from hosting.metadata import ANSWERS, ANSWERS_SHARED, RELAY, TOKENS, TOKENS_REQUIRED
from hosting.tls import Tls
from proxy.access import bearer
from proxy.config import Config
from proxy.upstream.calls import authorization
from proxy.upstream.choice import Server
from proxy.upstream.health import Health
from proxy.upstream.writer import Relay

# The windows let the stream carry whole batches, and let no unread stream stall
# the others: a connection window is more than all its streams can fill.
_WINDOWS: Final = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=4 * 1024 * 1024
)


class OpenLink:
    """An open stream, with its connection.

    Attributes:
        server: the server at its end.
        channel: its connection.
        stream: the stream: the server has answered.
        health: asks the server how it is.
        tokens_required: whether the server asks for tokens.
        spoke: set once the stream has brought something.
    """

    def __init__(self, config: Config, tls: Tls | None, server: Server) -> None:
        self._config = config
        self.server = server
        self.channel = Channel(
            server.host,
            server.port,
            address=server.address,
            codec=codec.GrpcCodec(),
            config=_WINDOWS,
            ssl=tls.context if tls else None,
        )
        self.health = Health(self.channel, config.upstream_heartbeat_seconds)
        self.tokens_required = False
        self.spoke = asyncio.Event()
        self._exit = AsyncExitStack()

    @classmethod
    async def to(
        cls, server: Server, config: Config, tls: Tls | None, *, asks_health: bool
    ) -> Self:
        """Opens a link.

        Args:
            server: the server.
            config: the settings.
            tls: the encryption of the link, if it has any.
            asks_health: whether the server is asked at once whether it serves.

        Raises:
            Exception: one of `proxy.upstream.lost.LOST`: it could not be opened.
        """
        link = cls(config, tls, server)
        try:
            # The longest time for an answer that costs the server nothing.
            async with asyncio.timeout(config.upstream_heartbeat_seconds / 2):
                await link._open()
                if asks_health:
                    await link.health.ask()
        except BaseException:
            # What waits to be written may wait for ever: the server did not answer.
            link.channel.abort()
            await link.close()
            raise
        return link

    async def close(self) -> None:
        """Ends the stream; the connection ends with the calls that are under way on it."""
        self.channel.retire()
        await self.health.close()
        # Without an exception, grpclib waits for the server to end it.
        left = ConnectionAbortedError("the proxy has left")
        await self._exit.__aexit__(type(left), left, None)

    async def _open(self) -> None:
        stream: Relay = await self._exit.enter_async_context(
            self.channel.request(
                RELAY,
                Cardinality.STREAM_STREAM,
                RelayRequest,
                RelayResponse,
                metadata=self._metadata(),
            )
        )
        await stream.send_request()
        # The server sends its metadata at once: the stream is open.
        await stream.recv_initial_metadata()
        said = stream.initial_metadata
        self.tokens_required = said is not None and said.get(TOKENS) == TOKENS_REQUIRED
        self.stream = stream

    def _metadata(self) -> dict[str, str]:
        """Returns what the server is to know of the proxy.

        Its own token is read anew each time: it may have been replaced.

        Raises:
            OSError: the file cannot be read, or holds no token.
        """
        path = self._config.upstream_token_file
        said = {ANSWERS: ANSWERS_SHARED}
        return said | authorization(bearer.of_file(path)) if path else said
