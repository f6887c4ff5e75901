"""Which connections stay when the gRPC door is full."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest

import chat
from gen.chat import ChatServiceStub, ListUsersRequest
from tests.access.signing import Signer, bearer
from tests.support import PATIENCE_SECONDS, channel_to

FEW = 4
# Errors of grpclib for a connection that ended, also during its setup.
CUT_OFF = (StreamTerminatedError, ConnectionError, AttributeError)


@asynccontextmanager
async def watching(server: chat.RunningServer) -> AsyncIterator[asyncio.Task[None]]:
    """A connection that watches the health, without a token; its task ends with it."""
    begun = asyncio.Event()
    async with Channel(server.host, server.port) as channel:
        task = asyncio.create_task(watch(channel, begun))
        await begun.wait()
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def watch(channel: Channel, begun: asyncio.Event) -> None:
    async with HealthStub(channel).Watch.open() as call:
        await call.send_message(HealthCheckRequest(), end=True)
        while await call.recv_message() is not None:
            begun.set()


@asynccontextmanager
async def visiting(server: chat.RunningServer, token: str | None) -> AsyncIterator[ChatServiceStub]:
    """A connection that has completed a call."""
    async with channel_to(server) as channel:
        stub = ChatServiceStub(channel, metadata=bearer(token))
        await stub.list_users(ListUsersRequest(), timeout=PATIENCE_SECONDS)
        yield stub


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
async def test_unproven_connections_make_room(
    guarded_config: chat.Config, signer: Signer, limit: str
) -> None:
    config = replace(guarded_config, connection_limits=chat.ConnectionLimits(**{limit: FEW}))
    async with chat.serve(config) as server, AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(watching(server)) for _ in range(FEW)]
        friends = [
            await stack.enter_async_context(visiting(server, signer.token())) for _ in range(FEW)
        ]
        for each in watches:
            with pytest.raises(CUT_OFF):
                await asyncio.wait_for(each, PATIENCE_SECONDS)
        # Authenticated connections stay.
        with pytest.raises(CUT_OFF):
            await stack.enter_async_context(visiting(server, signer.token()))
        for friend in friends:
            await friend.list_users(ListUsersRequest())


async def test_address_limit_without_tokens(chat_config: chat.Config) -> None:
    limits = chat.ConnectionLimits(connections_per_address=FEW)
    config = replace(chat_config, connection_limits=limits)
    async with chat.serve(config) as server, AsyncExitStack() as stack:
        for _ in range(FEW):
            await stack.enter_async_context(visiting(server, None))
        with pytest.raises(CUT_OFF):
            await stack.enter_async_context(visiting(server, None))
