"""Small handlers behind the real transport, and a server that exposes its streams."""

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic
from weakref import WeakSet

from grpclib.const import Cardinality, Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Stream

import codec
from chat.api.status import status_of
from chat.errors import NotFound
from gen.chat import ChatMessage
from hosting.grpc.allowances import Allowances
from hosting.grpc.limits import ConnectionLimits
from hosting.grpc.server import GrpcServer
from tests.kit.http2 import Http2Client, prefixed
from tests.support import message

LIMIT = 1000

ECHO = "/probe.Probe/Echo"
ECHO_MANY = "/probe.Probe/EchoMany"
FAIL = "/probe.Probe/Fail"
MISS = "/probe.Probe/Miss"
UNWRITTEN = "/probe.Probe/Unwritten"
WAIT_IN_VAIN = "/probe.Probe/WaitInVain"
UNREAD = "/probe.Probe/Unread"


class Probe:
    """Small handlers."""

    def __mapping__(self) -> dict[str, Handler]:
        unary, both = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
        return {
            ECHO: Handler(self.echo, unary, ChatMessage, ChatMessage),
            ECHO_MANY: Handler(self.echo_many, both, ChatMessage, ChatMessage),
            FAIL: Handler(self.fail, unary, ChatMessage, ChatMessage),
            MISS: Handler(self.miss, unary, ChatMessage, ChatMessage),
            UNWRITTEN: Handler(self.not_written, unary, ChatMessage, ChatMessage),
            WAIT_IN_VAIN: Handler(self.wait_in_vain, unary, ChatMessage, ChatMessage),
            UNREAD: Handler(self.leave_unread, both, ChatMessage, ChatMessage),
        }

    async def echo(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        received = await stream.recv_message()
        assert received is not None
        await stream.send_message(received)

    async def echo_many(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        async for received in stream:
            await stream.send_message(received)

    async def fail(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        await stream.recv_message()
        raise ValueError("a secret of the server")

    async def miss(self, _: Stream[ChatMessage, ChatMessage]) -> None:
        raise NotFound("there is no such thing: \N{SNOWMAN}")

    async def not_written(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        await stream.recv_message()
        raise NotImplementedError("a secret of the server")

    async def wait_in_vain(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        await stream.recv_message()
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def leave_unread(self, stream: Stream[ChatMessage, ChatMessage]) -> None:
        await stream.send_initial_metadata()
        await asyncio.Event().wait()


class ObservedServer(GrpcServer):
    """A server that exposes its connections.

    Args:
        limits: their bounds.
        clock: by which the allowances of clients grow again, in seconds.

    Attributes:
        protocols: those not yet garbage-collected.
        ended: the calls that have ended, by method and status.
    """

    def __init__(
        self, limits: ConnectionLimits | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()
        super().__init__(
            [Probe()],
            codec.GrpcCodec(),
            lambda _: LIMIT,
            limits,
            status_of=status_of,
            calls=self.ended,
        )
        self.connections.allowances = Allowances(self._limits.calls_per_address, clock)
        self.protocols: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self.protocols.add(protocol)
        return protocol

    def open_streams(self) -> int:
        """The number of streams in memory."""
        return sum(len(protocol.processor.streams) for protocol in self.protocols)

    def open_connections(self) -> int:
        """The number of connections in memory."""
        return sum(1 for _ in self._connections)

    def waiting_connections(self) -> int:
        """The number of connections with input that had no turn yet."""
        return sum(connection.has_more for connection in self._connections)

    def open_calls(self) -> int:
        """The number of running handlers."""
        return sum(len(handler.calls()) for handler in self._handlers)


async def check_served(client: Http2Client) -> None:
    """Makes a call on a connection; it must be answered."""
    whole = prefixed(bytes(message()))
    data, answer = await client.answer(client.request(ECHO, whole, end=True))
    assert (answer["grpc-status"], data) == ("0", whole)


async def check_others_are_served(port: int) -> None:
    """Makes a call on a connection of its own; it must be answered."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        await check_served(client)
