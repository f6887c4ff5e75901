"""The link to the chat server: one channel, one multiplexed stream, kept up.

When the stream is lost it is opened again, after a wait that grows with each
failure and is drawn at random (exponential backoff with full jitter), so that
many proxies do not come back at the same moment.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog
from grpclib import GRPCError
from grpclib.client import Stream, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from h2.exceptions import ProtocolError as H2Error
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

import codec
from daemon import tracing
from daemon.correlation import to_metadata
from daemon.hosts import is_loopback
from daemon.tls import Tls
from gen.chat import RelayRequest, RelayResponse
from proxy import errors
from proxy.callers import Caller
from proxy.calls import Call
from proxy.channel import Channel
from proxy.config import Config, split_address
from proxy.errors import Refused
from proxy.metrics import ProxyMetrics
from proxy.outbox import Item, Outbox
from proxy.switchboard import GapError, Switchboard
from proxy.wire import Wire

log = structlog.get_logger(__name__)

_RELAY: Final = "/chat.RelayService/Relay"
# What the server says in its initial metadata.
_TOKENS: Final = "chat-tokens"
_HEALTH_SECONDS: Final = 2.0
_CANCEL_AGAIN_SECONDS: Final = 0.1
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

# How a call ends that the server did not end.
_CUT_OFF: Final = (OSError, StreamTerminatedError, ProtocolError, H2Error)

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
        self._outbox = Outbox()
        # There while nobody is in the middle of writing a batch.
        self._wire: Wire | None = None
        # A batch that left the outbox, but could not be written at once.
        self._unsent = b""
        self._queued = asyncio.Event()
        self._linked = asyncio.Event()
        # Of each link its own, which is set when it is lost.
        self._parted = asyncio.Event()
        self._warned = False
        # Whether the stream has brought anything.
        self._proven = False
        self.switchboard = Switchboard(config, self._put, self._metrics)

    async def run(self) -> None:
        """Keeps the stream up until it is cancelled."""
        keeping = asyncio.create_task(self._keep_up(), name="link")
        try:
            await asyncio.wait({keeping})
            keeping.result()
        finally:
            # grpclib may raise what the server said in the place of a cancellation:
            # one more attempt has failed then, and the next cancellation ends it.
            while not keeping.done():
                keeping.cancel()
                await asyncio.wait({keeping}, timeout=_CANCEL_AGAIN_SECONDS)
            self._channel.close()

    async def _keep_up(self) -> None:
        retrying = AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            # Also of what nobody thought of: a proxy without a link is of no use.
            retry=retry_if_exception_type(Exception),
            before_sleep=self._log_attempt,
        )
        while True:
            await retrying(self._link)

    async def call(self, call: Call, request: Any, caller: Caller | None = None) -> Any:
        """Makes a unary call.

        Args:
            call: which.
            request: its request message.
            caller: on whose behalf, if it has a token.

        Returns:
            The response message.

        Raises:
            Refused: the server refused, or did not answer before the deadline.
        """
        with tracing.span(call.path.strip("/"), "client") as span:
            try:
                return await self._call(call, request, caller)
            except Refused as refused:
                span.fail(refused.error.code.name or "")
                raise

    async def _call(self, call: Call, request: Any, caller: Caller | None) -> Any:
        deadline = asyncio.get_running_loop().time() + self._config.call_seconds
        parted: asyncio.Event | None = None
        try:
            while True:
                connection_is_gone = self._channel.watch()
                try:
                    # Each attempt has its own: where a connection is lost grpclib cancels who
                    # waits, and does not take that back, by which the first would be of no use.
                    async with asyncio.timeout_at(deadline):
                        if parted is not None:
                            await parted.wait()
                        # During a restart of the server a call waits, as sends do.
                        await self._linked.wait()
                        parted, connection_is_gone = self._parted, self._channel.watch()
                        return await self._ask_for(call, request, caller)
                except TimeoutError:
                    raise
                except _CUT_OFF:
                    # All calls may be repeated, whether they were carried out or not.
                    if not connection_is_gone():
                        raise
        except _LOST as error:
            self._metrics.calls[call.field, "UNAVAILABLE"] += 1
            raise Refused(errors.unavailable()) from error

    async def _ask_for(self, call: Call, request: Any, caller: Caller | None) -> Any:
        if caller is None and self.switchboard.tokens_required:
            # Without a token it would be the proxy's own.
            raise Refused(errors.unauthenticated())
        metadata = tracing.inject(to_metadata())
        if caller is not None:
            metadata |= _bearer(caller.token)
        answer = await self._ask(call, request, metadata)
        self._metrics.calls[call.field, "OK"] += 1
        return answer

    @property
    def linked(self) -> bool:
        """Whether there is a stream to the server."""
        return self._linked.is_set()

    @property
    def queued_bytes(self) -> int:
        """How much waits to be put on the stream."""
        return self._outbox.size

    async def _ask(self, call: Call, request: Any, metadata: dict[str, str]) -> Any:
        method = UnaryUnaryMethod(self._channel, call.path, call.request_type, call.response_type)
        stream = method.open(timeout=self._config.call_seconds, metadata=metadata)
        try:
            async with stream:
                await stream.send_message(request, end=True)
                answer = await stream.recv_message()
        except GRPCError as error:
            self._metrics.calls[call.field, error.status.name] += 1
            said = stream.trailing_metadata
            after = None if said is None else said.get(errors.RETRY_AFTER)
            retry_after = None if after is None else str(after)
            raise Refused(errors.from_grpc(error, call.field, retry_after)) from error
        if answer is None:
            raise ConnectionError("the server ended the call without an answer")
        return answer

    async def healthy(self) -> bool:
        """Whether the server answers the standard health check."""
        try:
            response: HealthCheckResponse = await HealthStub(self._channel).Check(
                HealthCheckRequest(), timeout=_HEALTH_SECONDS
            )
        except _LOST:
            return False
        return response.status == HealthCheckResponse.SERVING and self._linked.is_set()

    def _put(self, item: Item, size: int) -> None:
        if self._linked.is_set():
            self._outbox.put(item, size)
            self._queued.set()
            if self._outbox.is_full and self._wire is not None:
                self._write_now(self._wire)

    async def _link(self) -> None:
        """Opens the stream and keeps it until it is lost.

        Raises:
            Exception: one of `_LOST`. It could not be opened or brought nothing, as
                from a server that is about to stop: the next attempt has to wait.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._converse(await self._open(stack))
        except _LOST:
            self._metrics.link_failures += 1
            # A stream that the server ended fails once more as it is closed.
            if not self._proven:
                raise
        if not self._proven:
            raise ConnectionError("the server ended the stream at once")

    async def _open(self, stack: AsyncExitStack) -> _Relay:
        self._proven = False
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
        self._parted = asyncio.Event()
        self._linked.set()
        said = stream.initial_metadata
        required = said is not None and said.get(_TOKENS) == "required"
        self.switchboard.connected(tokens_required=required)
        if not required:
            self._warn_of_guests()
        # Not a task group: of a stop and a lost link in the same turn of the loop,
        # a group tells of the link alone.
        tasks = {
            asyncio.create_task(self._write(stream, Wire(stream))),
            asyncio.create_task(self._read(stream)),
            asyncio.create_task(self._watch()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._linked.clear()
            self._parted.set()
            self._wire, self._unsent = None, b""
            self.switchboard.disconnected()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            _report(tasks)

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
            self._proven = True
            self.switchboard.receive(batch)
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

    def _write_now(self, wire: Wire) -> None:
        """Writes a batch that is full, unless it has to wait."""
        batch = self._take_batch()
        if not wire.write_now(batch):
            self._unsent, self._wire = batch, None

    def _take_batch(self) -> bytes:
        """Takes what is ready, encoded; nothing if there is nothing."""
        if not self._outbox:
            return b""
        waiting = len(self._outbox)
        batch = codec.encode(self._outbox.take())
        self._metrics.sent_batches.observe(waiting - len(self._outbox))
        return batch

    def _credential(self) -> dict[str, str] | None:
        """The proxy's own token, read anew each time: it may have been replaced.

        Raises:
            OSError: the file cannot be read.
        """
        path = self._config.upstream_token_file
        return _bearer(Path(path).read_text().strip()) if path else None

    def _log_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, _LOST):
            log.error("upstream failed", exc_info=error)
            return
        # The first failure is news, the rest of them are not.
        level = log.warning if state.attempt_number == 1 else log.debug
        level("upstream unreachable", upstream=self._config.upstream, reason=repr(error))


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _report(tasks: set[asyncio.Task[None]]) -> None:
    """Logs why a link ended."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, _LOST):
            log.warning("upstream lost", reason=repr(error))
        elif error is not None:
            log.error("upstream failed", exc_info=error)
