"""The link to the chat server: one channel, one multiplexed stream, kept up.

When the stream is lost it is opened again, after a wait that grows with each
failure and is drawn at random (exponential backoff with full jitter), so that
many proxies do not come back at the same moment. A link that has lived for some
seconds, or that the server ended in order, is followed by the next one at once.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from grpclib import GRPCError, Status
from grpclib.client import Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from h2.exceptions import ProtocolError as H2Error
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

import codec
from gen.chat import RelayRequest, RelayResponse
from hosting.addresses import is_loopback
from hosting.logs import get_logger
from hosting.tls import Tls
from proxy import errors
from proxy.access import bearer
from proxy.channel import Channel, ended, status_of
from proxy.config import Config, split_address
from proxy.core.outbox import Item, Outbox, as_request
from proxy.core.rooms import GapError
from proxy.core.suspects import LINKS, Suspects, key_of
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics
from proxy.upstream.calls import UnaryCalls, authorization
from proxy.upstream.recent import Recent
from proxy.wire import Wire

log = get_logger(__name__)

_RELAY: Final = "/chat.RelayService/Relay"
# What the server says in its initial metadata.
_TOKENS: Final = "chat-tokens"
_HEALTH_SECONDS: Final = 2.0
# How long an answer to that serves all who ask.
_HEALTH_RECENT_SECONDS: Final = 0.5
# A link that is lost before it has lived so long counts as a failure.
_PROVEN_SECONDS: Final = 3.0
# The same for one that the server ends in order.
_ORDERLY_SECONDS: Final = 1.0
# With what the server ends a stream in order: as it stops, or as a token or a key ends.
_IN_ORDER: Final = (Status.UNAVAILABLE, Status.UNAUTHENTICATED)
# The windows let the stream carry whole batches, and let no unread stream stall
# the others: a connection window is more than all its streams can fill.
_WINDOWS: Final = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=4 * 1024 * 1024
)
# How a link is lost, or cannot be had.
_LOST: Final = (
    OSError,
    TimeoutError,
    GRPCError,
    StreamTerminatedError,
    ProtocolError,
    H2Error,
    codec.DecodeError,
    GapError,
)

_Relay = Stream[RelayRequest, RelayResponse]


class Upstream:
    """The link.

    Args:
        config: the settings.
        tls: how the link is encrypted, if it is.
        metrics: counts what happens.
    """

    def __init__(
        self, config: Config, tls: Tls | None = None, metrics: ProxyMetrics | None = None
    ) -> None:
        self._metrics = metrics or ProxyMetrics()
        host, port = split_address(config.upstream)
        self._config = config
        self._channel = Channel(
            host, port, codec=codec.GrpcCodec(), config=_WINDOWS, ssl=tls.context if tls else None
        )
        # How long an answer that costs the server nothing may take.
        self._silence = config.upstream_heartbeat_seconds / 2
        self._health = Recent(self._is_serving, _HEALTH_RECENT_SECONDS)
        self._outbox = Outbox()
        # There while nobody is in the middle of writing a batch.
        self._wire: Wire | None = None
        # A batch that left the outbox, but could not be written at once.
        self._unsent = b""
        self._queued = asyncio.Event()
        self._linked = False
        self._warned = False
        # Whether the stream has brought anything, and whether it was a good one.
        self._spoke = self._good = False
        # What was there when links died; and of what it makes slow, how much is left to
        # be put on the stream, what is on it, and what tells of answers.
        self._suspects = Suspects()
        self._careful = 0
        self._group: list[Item] = []
        self._answers = asyncio.Event()
        self.switchboard = Switchboard(config, self._put, self._metrics)
        self.calls = UnaryCalls(config, self._channel, self._metrics)

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
            # Also of what nobody thought of: a proxy without a link is of no use.
            retry=retry_if_exception_type(Exception),
            before_sleep=self._log_attempt,
        )
        while True:
            await retrying(self._link)

    @property
    def linked(self) -> bool:
        """Whether there is a stream to the server."""
        return self._linked

    @property
    def queued_bytes(self) -> int:
        """How much waits to be put on the stream."""
        return self._outbox.size

    async def healthy(self) -> bool:
        """Whether the server answers the standard health check, or did so a moment ago."""
        return self._linked and await self._health.get()

    async def _is_serving(self) -> bool:
        try:
            response: HealthCheckResponse = await HealthStub(self._channel).Check(
                HealthCheckRequest(), timeout=_HEALTH_SECONDS
            )
        except _LOST:
            return False
        return response.status == HealthCheckResponse.SERVING

    def _put(self, item: Item, size: int) -> None:
        if self._linked:
            self._outbox.put(item, size)
            self._queued.set()
            if self._outbox.is_full and self._wire is not None and not self._careful:
                self._write_now(self._wire)

    async def _link(self) -> None:
        """Opens the stream and keeps it until it is lost.

        Raises:
            Exception: one of `_LOST`. It could not be opened, or was lost too soon: the
                next attempt has to wait.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._converse(await self._open(stack))
        except _LOST:
            self._metrics.link_failures += 1
            # A stream that the server ended fails once more as it is closed.
            if not self._good:
                raise
        if not self._good:
            raise ConnectionError("the link was lost soon after it was made")

    async def _open(self, stack: AsyncExitStack) -> _Relay:
        self._spoke = self._good = False
        async with AsyncExitStack() as attempt, asyncio.timeout(self._silence):
            stream: _Relay = await attempt.enter_async_context(
                self._channel.request(
                    _RELAY,
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

    async def _converse(self, stream: _Relay) -> None:
        log.info("upstream connected", upstream=self._config.upstream)
        self._metrics.links += 1
        self._outbox.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._linked = True
        said = stream.initial_metadata
        required = said is not None and said.get(_TOKENS) == "required"
        tasks: set[asyncio.Task[None]] = set()
        connection = self._channel.watch()
        try:
            self.calls.connected(tokens_required=required)
            self.switchboard.connected(
                tokens_required=required, presence=self._suspects.links < LINKS - 1
            )
            self._careful = len(self._outbox) if self._suspects else 0
            self._group = []
            if not required:
                self._warn_of_guests()
            # Not a task group: of a stop and a lost link in the same turn of the loop,
            # a group tells of the link alone.
            for work in (
                self._write(stream, Wire(stream)),
                self._read(stream),
                self._watch(),
                self._channel.goodbye(),
            ):
                tasks.add(asyncio.create_task(work))
            lost = asyncio.wait(tasks, timeout=_PROVEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not (await lost)[0]:
                self._prove()
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            left = Status.UNAVAILABLE if connection.left_in_order else status_of(stream)
            self._judge(left, loop.time() - began)
        finally:
            self._linked = False
            self._wire, self._unsent = None, b""
            self.calls.disconnected()
            self.switchboard.disconnected()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            _report(tasks)

    def _prove(self) -> None:
        """The link has lived long enough: what happened to those before it is forgotten."""
        self._good = True
        self._careful = 0
        self._answers.set()
        self._suspects.clear()
        self.switchboard.proven()

    def _judge(self, status: Status | None, seconds: float) -> None:
        """Decides, as a link is lost, whose fault that is.

        Args:
            status: what the server said of the end.
            seconds: how long the link lived.
        """
        if self._good:
            return
        if status in _IN_ORDER:
            if self._spoke and seconds >= _ORDERLY_SECONDS:
                self._prove()
            return
        unanswered = dict(self.switchboard.unanswered())
        waiting = {key for item in self._outbox if (key := key_of(item)) is not None}
        carried = unanswered.keys() - waiting
        for key in self._suspects.died(carried, waiting):
            log.error("command given up that was there when links died", kind=key[0])
            self.switchboard.refuse(unanswered[key], errors.internal())

    def _warn_of_guests(self) -> None:
        """Tells an operator, once: the server may listen where nobody else reaches it."""
        config = self._config
        if not self._warned and (not is_loopback(config.host) or config.admittance.trusted_proxies):
            self._warned = True
            log.warning("anyone who reaches this proxy may be anyone: the server has no token-keys")

    async def _watch(self) -> None:
        """Gives up a link on which nothing is answered: nobody tells that it is dead."""
        health = HealthStub(self._channel)
        while True:
            await asyncio.sleep(self._config.upstream_heartbeat_seconds)
            try:
                await health.Check(HealthCheckRequest(), timeout=self._silence)
            except GRPCError:
                continue  # which is an answer too
            except TimeoutError:
                # Another connection is made; what waits on this one may wait for ever.
                self._channel.abort()
                raise

    async def _read(self, stream: _Relay) -> None:
        while (batch := await stream.recv_message()) is not None:
            self._spoke = True
            self.switchboard.receive(batch)
            self._answers.set()
            # recv_message does not yield while there is something to read, and
            # the sockets are written to when the loop turns.
            await asyncio.sleep(0)
        raise ConnectionError("the server ended the stream")

    async def _write(self, stream: _Relay, wire: Wire) -> None:
        while True:
            self._wire = wire
            await self._queued.wait()
            # One more turn of the loop brings what arrived together with the first.
            await asyncio.sleep(0)
            self._queued.clear()
            self._wire = None
            while batch := self._unsent or self._take_batch():
                self._unsent = b""
                if not wire.write_now(batch):
                    # grpclib's codec is ours: it takes what is encoded already.
                    await stream.send_message(batch)  # type: ignore[arg-type]
                if self._group:
                    await self._group_answered()

    async def _group_answered(self) -> None:
        """Waits until what is on the stream is answered, if there is something to be feared."""
        while self._careful and any(map(self.switchboard.awaits, self._group)):
            self._answers.clear()
            await self._answers.wait()
        self._careful = max(self._careful - len(self._group), 0)
        self._group = []

    def _write_now(self, wire: Wire) -> None:
        """Writes a batch that is full, unless it has to wait."""
        batch = self._take_batch()
        try:
            written = wire.write_now(batch)
        except Exception:  # noqa: BLE001 - it is no fault of who has just sent something
            # The writer meets it again, and the link ends.
            written = False
        if not written:
            self._unsent, self._wire = batch, None

    def _take_batch(self) -> bytes:
        """Takes what is ready, encoded; nothing if there is nothing."""
        batch = b""
        while self._outbox and not batch:
            if self._careful:
                items = self._outbox.take_apart(self._suspects.strongly)
                self._group += items
            else:
                items = self._outbox.take()
            try:
                batch = codec.encode(as_request(items))
            except Exception:  # noqa: BLE001 - which of them it is, is seen one by one
                batch = b"".join(map(self._encode_alone, items))
            self._metrics.sent_batches.observe(len(items))
        return batch

    def _encode_alone(self, item: Item) -> bytes:
        try:
            return codec.encode(as_request([item]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.switchboard.faults.log("command not encoded", error)
            # Later: whoever is told may have something to be put on the stream.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.switchboard.refuse, item.ref, errors.internal())
            return b""

    def _credential(self) -> dict[str, str] | None:
        """The proxy's own token, read anew each time: it may have been replaced.

        Raises:
            OSError: the file cannot be read, or holds no token.
        """
        path = self._config.upstream_token_file
        return authorization(bearer.of_file(path)) if path else None

    def _log_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, _LOST):
            log.error("upstream failed", exc_info=error)
            return
        # The first failure is news, the rest of them are not.
        level = log.warning if state.attempt_number == 1 else log.debug
        level("upstream unreachable", upstream=self._config.upstream, reason=repr(error))


def _report(tasks: set[asyncio.Task[None]]) -> None:
    """Logs why a link ended."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, _LOST):
            log.warning("upstream lost", reason=repr(error))
        elif error is not None:
            log.error("upstream failed", exc_info=error)
