"""The rate of a user holds over all servers on one database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from grpclib import GRPCError, Status

import chat
from gen.chat import ChatServiceStub, ListUsersRequest
from tests.access.signing import Signer, bearer
from tests.support import channel_to

# Ten at once, and then one each second.
RATES = chat.Rates(calls=1.0)


async def go_on(server: ChatServiceStub) -> None:
    """Asks less often than a server lets pass by itself."""
    for _ in range(9):
        await server.list_users(ListUsersRequest())
        await asyncio.sleep(0.3)


async def test_two_servers_share_a_quota(
    guarded_config: chat.Config, signer: Signer, postgres_url: str
) -> None:
    config = replace(guarded_config, database=postgres_url, rates=RATES)
    async with AsyncExitStack() as stack:

        async def caller(server: chat.RunningServer, user_id: str) -> ChatServiceStub:
            channel = await stack.enter_async_context(channel_to(server))
            return ChatServiceStub(channel, metadata=bearer(signer.token(sub=user_id)))

        servers = [await stack.enter_async_context(chat.serve(config)) for _ in range(2)]
        here, there = [await caller(server, "ada") for server in servers]
        for _ in range(10):
            await here.list_users(ListUsersRequest())
        # She has been to one server alone, and has spent all that she has for now. The other
        # one learns of it when it tells what she spends there, within a second or two.
        with pytest.raises(GRPCError) as refused:
            await go_on(there)
        assert refused.value.status is Status.RESOURCE_EXHAUSTED
        # Others are not concerned.
        await (await caller(servers[1], "bob")).list_users(ListUsersRequest())
