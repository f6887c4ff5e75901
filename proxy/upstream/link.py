"""The link to the chat server: one channel, one multiplexed stream, kept up.

::

              stream opened              alive for 3 s
    away ----------------------> new ------------------> proven
      ^                           |                        |
      |   lost: wait, then again  |                        |
      +---------------------------+                        |
      |   lost: again at once                              |
      +----------------------------------------------------+

*away*: the switchboard holds what clients send; the outbox is closed.
*new*: the outbox is open. The switchboard has put all into it that the server must know, and
what was not confirmed. A link that dies now may have died of one of these commands: they
become suspects (`proxy.core.suspects`), and the next attempt waits. The wait grows with each
failure and is drawn at random (exponential backoff with full jitter), so that many proxies
do not come back at the same moment.
*proven*: nothing on it is deadly; the suspects are cleared.
A server that ends a link in order (it stops, or a token has expired) proves it after 1 s.

A link is lost when the stream ends, when the server says GOAWAY, when a health check is not
answered (`proxy.upstream.health`), or when the server leaves out a position of a room.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from grpclib import Status
from grpclib.config import Configuration
from grpclib.const import Cardinality
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

import codec
from gen.chat import RelayRequest, RelayResponse
from hosting.addresses import is_loopback, split_address
from hosting.grpc.channel import Channel, ended, status_of
from hosting.logs import get_logger
from hosting.metadata import RELAY, TOKENS, TOKENS_REQUIRED
from hosting.tls import Tls
from proxy import errors
from proxy.access import bearer
from proxy.config import Config
from proxy.core.suspects import LINKS, Suspects, key_of
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics
from proxy.upstream.calls import Calls, authorization
from proxy.upstream.health import Health
from proxy.upstream.lost import LOST
from proxy.upstream.writer import Relay, Writer

log = get_logger(__name__)

# A link that is lost before it has lived so long counts as a failure.
_PROVEN_SECONDS: Final = 3.0
# The same for one that the server ends in order.
_ORDERLY_SECONDS: Final = 1.0
# The statuses of an end in order: the server stops, or a token or a key has expired.
_ORDERLY: Final = (Status.UNAVAILABLE, Status.UNAUTHENTICATED)
# The windows let the stream carry whole batches, and let no unread stream stall
# the others: a connection window is more than all its streams can fill.
_WINDOWS: Final = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=4 * 1024 * 1024
)


class Link:
    """Keeps up the link, and makes unary calls beside it.

    Args:
        switchboard: the other end: its outbox is drained, and it takes the server's batches.
        tls: the encryption of the link, if it has any.
        metrics: counts links and batches.

    Attributes:
        calls: makes unary calls on the same channel.
    """

    def __init__(
        self,
        config: Config,
        switchboard: Switchboard,
        tls: Tls | None = None,
        metrics: ProxyMetrics | None = None,
    ) -> None:
        self._metrics = metrics or ProxyMetrics()
        host, port = split_address(config.upstream)
        self._config = config
        self._switchboard = switchboard
        self._outbox = switchboard.outbox
        self._channel = Channel(
            host, port, codec=codec.GrpcCodec(), config=_WINDOWS, ssl=tls.context if tls else None
        )
        self._health = Health(self._channel, config.upstream_heartbeat_seconds)
        self._warned = False
        # The stream has brought something; it is proven.
        self._spoke = self._proven = False
        self._suspects = Suspects()
        self.calls = Calls(config, self._channel, self._metrics)

    async def run(self) -> None:
        """Keeps the stream up until it is cancelled."""
        keeping = asyncio.create_task(self._keep_up(), name="link")
        try:
            await asyncio.wait({keeping})
            keeping.result()
        finally:
            await ended(keeping)
            self._channel.close()
            await self._health.close()

    async def _keep_up(self) -> None:
        retrying = AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            # Also after unforeseen errors: a proxy without a link is of no use.
            retry=retry_if_exception_type(Exception),
            before_sleep=self._log_attempt,
        )
        while True:
            await retrying(self._link)

    @property
    def linked(self) -> bool:
        """Whether there is a stream to the server."""
        return self._outbox.is_open

    async def is_ready(self) -> bool:
        """Returns whether there is a stream, and the server answers that it serves."""
        return self.linked and await self._health.is_serving()

    async def _link(self) -> None:
        """Opens the stream and keeps it until it is lost.

        Raises:
            Exception: one of `LOST`. It could not be opened, or was lost too soon: the
                next attempt has to wait.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._converse(await self._open(stack))
        except LOST:
            self._metrics.link_failures += 1
            # A stream that the server ended fails once more as it is closed.
            if not self._proven:
                raise
        if not self._proven:
            raise ConnectionError("the link was lost soon after it was made")

    async def _open(self, stack: AsyncExitStack) -> Relay:
        self._spoke = self._proven = False
        # The longest time for an answer that costs the server nothing.
        silence = self._config.upstream_heartbeat_seconds / 2
        async with AsyncExitStack() as attempt, asyncio.timeout(silence):
            stream: Relay = await attempt.enter_async_context(
                self._channel.request(
                    RELAY,
                    Cardinality.STREAM_STREAM,
                    RelayRequest,
                    RelayResponse,
                    metadata=self._credential(),
                )
            )
            try:
                await stream.send_request()
                # The server sends its metadata at once: the stream is open.
                await stream.recv_initial_metadata()
            except asyncio.CancelledError:
                # Time is up: the next attempt is made on another connection.
                self._channel.abort()
                raise
            stack.push_async_exit(attempt.pop_all())
        return stream

    async def _converse(self, stream: Relay) -> None:
        log.info("upstream connected", upstream=self._config.upstream)
        self._metrics.links += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._outbox.open()
        said = stream.initial_metadata
        required = said is not None and said.get(TOKENS) == TOKENS_REQUIRED
        tasks: set[asyncio.Task[None]] = set()
        connection = self._channel.watch()
        try:
            self.calls.connected(tokens_required=required)
            self._switchboard.connected(
                tokens_required=required, presence=self._suspects.links < LINKS - 1
            )
            writer = Writer(stream, self._switchboard, self._suspects, self._metrics)
            if not required:
                self._warn_of_guests()
            # Not a task group: of a stop and a lost link in the same turn of the loop,
            # a group tells of the link alone.
            for work in (
                writer.run(),
                self._read(stream, writer),
                self._health.watch(),
                self._channel.goodbye(),
            ):
                tasks.add(asyncio.create_task(work))
            lost = asyncio.wait(tasks, timeout=_PROVEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not (await lost)[0]:
                self._prove()
                writer.stop_grouping()
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            left = Status.UNAVAILABLE if connection.left_in_order else status_of(stream)
            self._judge(left, loop.time() - began)
        finally:
            self._outbox.close()
            self.calls.disconnected()
            self._switchboard.disconnected()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            _report(tasks)

    async def _read(self, stream: Relay, writer: Writer) -> None:
        while (batch := await stream.recv_message()) is not None:
            self._spoke = True
            self._switchboard.receive(batch)
            writer.note_answers()
            # recv_message does not yield while there is something to read, and
            # the sockets are written to when the loop turns.
            await asyncio.sleep(0)
        raise ConnectionError("the server ended the stream")

    def _prove(self) -> None:
        """Forgets the suspects: the link has lived long enough."""
        self._proven = True
        self._suspects.clear()
        self._switchboard.proven()

    def _judge(self, status: Status | None, seconds: float) -> None:
        """Decides, as a link is lost, whether one of its commands is to blame.

        Args:
            status: the status that the server ended the stream with, if it did.
            seconds: the lifetime of the link.
        """
        if self._proven:
            return
        if status in _ORDERLY:
            if self._spoke and seconds >= _ORDERLY_SECONDS:
                self._prove()
            return
        unanswered = dict(self._switchboard.unanswered())
        waiting = {key for item in self._outbox if (key := key_of(item)) is not None}
        carried = unanswered.keys() - waiting
        for key in self._suspects.died(carried, waiting):
            log.error("command given up that was there when links died", kind=key[0])
            self._switchboard.refuse(unanswered[key], errors.internal())

    def _warn_of_guests(self) -> None:
        """Warns an operator, once; it may be meant: nobody else may reach the server."""
        config = self._config
        if not self._warned and (not is_loopback(config.host) or config.admission.trusted_proxies):
            self._warned = True
            log.warning("anyone who reaches this proxy may be anyone: the server has no token-keys")

    def _credential(self) -> dict[str, str] | None:
        """Returns the proxy's own token, read anew each time: it may have been replaced.

        Raises:
            OSError: the file cannot be read, or holds no token.
        """
        path = self._config.upstream_token_file
        return authorization(bearer.of_file(path)) if path else None

    def _log_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, LOST):
            log.error("upstream failed", exc_info=error)
            return
        # The first failure is news, the rest of them are not.
        level = log.warning if state.attempt_number == 1 else log.debug
        level("upstream unreachable", upstream=self._config.upstream, reason=repr(error))


def _report(tasks: set[asyncio.Task[None]]) -> None:
    """Logs why a link ended."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LOST):
            log.warning("upstream lost", reason=repr(error))
        elif error is not None:
            log.error("upstream failed", exc_info=error)
