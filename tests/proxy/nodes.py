"""Chat servers in one process that share their history, as those of one database do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from grpclib.events import RecvRequest, listen
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health

import chat
import codec
import proxy
from chat.access.authenticator import Authenticator
from chat.api.chat_service import ChatService
from chat.api.context import Context
from chat.api.status import status_of
from chat.core.hub import Hub
from chat.core.paces import Paces
from hosting.grpc.server import GrpcServer
from tests.chat.in_memory import in_memory
from tests.kit.ports import free_ports
from tests.proxy.mortal import MortalRelay, MortalServer
from tests.proxy.pauses import HOLD_SECONDS
from tests.support import ANY_NUMBER, NO_RATES


class Node:
    """One server: a real one, on its own port, whose hub others have, too.

    Args:
        hub: rooms, presence and history.
        port: its port, also after a restart.
        authenticator: believes its tokens.

    Attributes:
        address: ``host:port``.
        health: whether it says that it serves.
        mortal: what its streams die of, and how many there were.
        dies_of_calls: whether it dies of a unary call.
        wire: its codec.
    """

    def __init__(self, hub: Hub, host: str, port: int, authenticator: Authenticator) -> None:
        self.address = f"{host}:{port}"
        self.dies_of_calls = False
        self.wire = codec.GrpcCodec()
        self.health = ServiceStatus()
        self.mortal = MortalServer(hub)
        self.mortal.asks_for_tokens = not authenticator.is_open
        self._host, self._port = host, port
        self._authenticator = authenticator
        self._stop = AsyncExitStack()
        self._server: GrpcServer | None = None

    @property
    def connections(self) -> int:
        """The number of connections that it has now."""
        return 0 if self._server is None else len(self._server.connections)

    async def start(self) -> None:
        """Starts it."""
        config = chat.Config(database=chat.IN_MEMORY, rates=NO_RATES)
        context = Context.of(config, self._authenticator, self.mortal.hub)
        relay = MortalRelay(context)
        relay.server = self.mortal
        services: list[Any] = [ChatService(context), relay]
        services.append(Health({each: [self.health] for each in services}))
        self.health.set(True)
        server = self._server = GrpcServer(
            services, self.wire, lambda _: 1 << 22, status_of=status_of
        )
        listen(server, RecvRequest, self._receive_request)
        await server.listen(self._host, self._port)

        async def stop() -> None:
            context.draining.set()
            self.health.set(False)
            server.stop_listening()
            await server.wait_idle(10.0)
            await server.go_away()

        self._stop.push_async_callback(stop)

    async def stop(self) -> None:
        """Stops it in order."""
        await self._stop.aclose()

    async def kill(self) -> None:
        """Ends it as ``kill -9`` does, as far as others can see."""
        assert self._server is not None
        self._server.stop_listening()
        self._abort()
        await self.stop()

    async def _receive_request(self, event: RecvRequest) -> None:
        if self.dies_of_calls and event.method_name.endswith("ListUsers"):
            self.mortal.deaths += 1
            self._abort()

    def _abort(self) -> None:
        assert self._server is not None
        for connection in tuple(self._server.connections):
            connection.abort()


@asynccontextmanager
async def nodes(
    number: int,
    *,
    tokens: Sequence[Authenticator] = (),
    hosts: Sequence[str] = (),
    paces: Paces | None = None,
) -> AsyncIterator[list[Node]]:
    """Runs servers with one history.

    Args:
        number: how many.
        tokens: what the first of them believe; the others believe everybody.
        hosts: their addresses, with one port; without any, loopback with several.
        paces: how often people are told of.
    """
    context = await in_memory(paces=paces)
    believed = [*tokens, *(Authenticator() for _ in range(number))]
    ports = free_ports(1) * number if hosts else free_ports(number)
    places = zip(hosts or ["127.0.0.1"] * number, ports, strict=True)
    made = [
        Node(context.hub, host, port, each)
        for (host, port), each in zip(places, believed, strict=False)
    ]
    for each in made:
        await each.start()
    try:
        yield list(made)
    finally:
        for each in made:
            await each.stop()


def before(servers: Sequence[Node], **changes: Any) -> proxy.Config:
    """A proxy before several servers, without rates."""
    upstream = ",".join(each.address for each in servers)
    common = proxy.Config(
        upstream=upstream, hold_seconds=HOLD_SECONDS, rates=NO_RATES, admission=ANY_NUMBER
    )
    return replace(common, **changes)
