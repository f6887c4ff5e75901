"""The unary calls of clients, each made until the server has answered it.

During a restart of the server a call waits, as sends do. If its connection is lost before
the answer came, it is made again on the next link, within the same deadline: each call may
be repeated, whether it was carried out or not. (A user that is so stored twice may overwrite
what another client stored in between.)

A call that itself ends connections may end few of them, and those of two servers at most: the
others are to outlive it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from betterproto import Message
from grpclib import GRPCError
from grpclib.client import UnaryUnaryMethod
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

import codec
from hosting.grpc.channel import Channel, ended
from hosting.metadata import RETRY_AFTER, to_metadata
from hosting.tracing import spans
from proxy import errors
from proxy.config import Config
from proxy.core.call_table import CallType
from proxy.core.client import Caller
from proxy.errors import Refused
from proxy.metrics import ProxyMetrics
from proxy.upstream.choice import Server
from proxy.upstream.lost import CUT_OFF
from proxy.upstream.status import from_grpc

# So many times a call is made in all, and on so many servers.
_ATTEMPTS: Final = 3
_SERVERS: Final = 2


def authorization(token: str) -> dict[str, str]:
    """Metadata with a bearer token (RFC 6750, section 2.1)."""
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class _Way:
    """The link beside which calls are made.

    Attributes:
        server: its server.
        channel: its channel.
        tokens_required: whether the server asks for tokens.
        parted: ends when the link does.
    """

    server: Server
    channel: Channel
    tokens_required: bool
    parted: asyncio.Future[None]


class Calls:
    """Makes unary calls on the channel of the link."""

    def __init__(self, config: Config, metrics: ProxyMetrics) -> None:
        self._seconds = config.call_seconds
        self._metrics = metrics
        self._linked = asyncio.Event()
        self._way: _Way | None = None

    def connected(self, server: Server, channel: Channel, *, tokens_required: bool) -> None:
        """Notes that there is a link, and whether its server asks for tokens."""
        parted = asyncio.get_running_loop().create_future()
        self._way = _Way(server, channel, tokens_required, parted)
        self._linked.set()

    def disconnected(self) -> None:
        """Notes that the link is lost: calls wait for the next one."""
        self._linked.clear()
        if self._way is not None:
            self._way.parted.set_result(None)
            self._way = None

    async def make(self, call: CallType, request: Message, caller: Caller | None = None) -> Message:
        """Makes a call for `caller`, a client with a token, if any; returns the response message.

        Raises:
            Refused: the server refused, or did not answer before the deadline.
        """
        with spans.span(call.path.strip("/"), "client") as span:
            try:
                answer = await self._make(call, request, caller)
            except Refused as refused:
                span.fail(refused.error.code.name or "")
                raise
        self._metrics.calls[call.field, "OK"] += 1
        return answer

    async def _make(self, call: CallType, request: Message, caller: Caller | None) -> Message:
        deadline = asyncio.get_running_loop().time() + self._seconds
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_LinkLostError),
            stop=stop_after_attempt(_ATTEMPTS),
            reraise=True,
        )
        tried: set[Server] = set()
        try:
            async with asyncio.timeout_at(deadline):
                return await retrying(self._attempt, call, request, caller, deadline, tried)
        except (GRPCError, *CUT_OFF, codec.DecodeError, _LinkLostError) as error:
            self._metrics.calls[call.field, "UNAVAILABLE"] += 1
            raise Refused(errors.unavailable()) from error

    async def _attempt(
        self,
        call: CallType,
        request: Message,
        caller: Caller | None,
        deadline: float,
        tried: set[Server],
    ) -> Message:
        """Makes a call on the link that there is, or on the next one.

        Raises:
            _LinkLostError: it was lost, and its connection with it.
            ConnectionError: it was lost with as many servers as the call may have.
        """
        while self._way is None:
            await self._linked.wait()
        way = self._way
        tried.add(way.server)
        if len(tried) > _SERVERS:
            raise ConnectionError("servers were lost with the call")
        parted, connection = way.parted, way.channel.watch()
        # In a task of its own. When a connection is lost, grpclib cancels the task that waits
        # for an answer, and never uncancels it; a task that waits for a stream waits for ever.
        asking = asyncio.create_task(self._ask(way, call, request, caller, deadline))
        try:
            both: set[asyncio.Future[Any]] = {asking, parted}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not (asking.done() or connection.is_gone):
                await asyncio.wait({asking})
        finally:
            await ended(asking)
        # Also if the server goes and has not begun the call: the link ends with it.
        if connection.is_leaving and (
            asking.cancelled() or isinstance(asking.exception(), CUT_OFF)
        ):
            await asyncio.wait({parted})
            raise _LinkLostError
        return asking.result()

    async def _ask(
        self,
        way: _Way,
        call: CallType,
        request: Message,
        caller: Caller | None,
        deadline: float,
    ) -> Message:
        if caller is None and way.tokens_required:
            # Without a token the call would be the proxy's own.
            raise Refused(errors.unauthenticated())
        metadata = spans.inject(to_metadata())
        if caller is not None:
            metadata |= authorization(caller.token)
        rest = max(deadline - asyncio.get_running_loop().time(), 0.001)
        method = UnaryUnaryMethod(way.channel, call.path, call.request_type, call.response_type)
        stream = method.open(timeout=rest, metadata=metadata)
        try:
            async with stream:
                await stream.send_message(request, end=True)
                answer = await stream.recv_message()
        except GRPCError as error:
            self._metrics.calls[call.field, error.status.name] += 1
            said = stream.trailing_metadata
            after = None if said is None else said.get(RETRY_AFTER)
            retry_after = None if after is None else str(after)
            raise Refused(from_grpc(error, call.field, retry_after)) from error
        if answer is None:
            raise ConnectionError("the server ended the call without an answer")
        return answer


class _LinkLostError(Exception):
    """The link was lost before the answer came."""
