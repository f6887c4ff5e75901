"""A server made of its parts, for tests that replace one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from grpclib.client import Channel

import codec
from chat.api.chat_service import ChatService
from chat.api.context import Context
from chat.api.relay_service import RelayService
from chat.api.status import status_of
from hosting.grpc.server import GrpcServer

if TYPE_CHECKING:
    from grpclib._typing import IServable


@asynccontextmanager
async def listening(
    context: Context, services: Sequence[IServable] | None = None
) -> AsyncIterator[int]:
    """Serves a context on loopback; yields the port. The store is closed at the end."""
    services = services or [ChatService(context), RelayService(context)]
    server = GrpcServer(list(services), codec.GrpcCodec(), lambda _: 1 << 22, status_of=status_of)
    try:
        yield await server.listen("127.0.0.1", 0)
    finally:
        context.draining.set()
        server.stop_listening()
        await server.wait_idle(10.0)
        await server.go_away()
        await context.hub.store.close()


@asynccontextmanager
async def served(
    context: Context, services: Sequence[IServable] | None = None
) -> AsyncIterator[Channel]:
    """Serves a context; yields a channel to it."""
    async with listening(context, services) as port:
        channel = Channel("127.0.0.1", port, codec=codec.GrpcCodec())
        try:
            yield channel
        finally:
            channel.close()
