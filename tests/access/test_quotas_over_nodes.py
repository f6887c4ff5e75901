"""The rate of a user holds over all servers on one database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncpg
import pytest
from grpclib import GRPCError, Status

import chat
from gen.chat import ChatServiceStub, ListUsersRequest
from tests.access.signing import Signer, bearer
from tests.support import PATIENCE_SECONDS, channel_to

# Ten at once, and then one each second.
RATES = chat.Rates(calls=1.0)


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
        # one learns of it when it tells what she spends there.
        for _ in range(4):
            await there.list_users(ListUsersRequest())
        connection = await asyncpg.connect(postgres_url)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                owed = await connection.fetchval(
                    "SELECT full_at - extract(epoch FROM clock_timestamp())::float8"
                    " FROM chat.spent WHERE (user_id, kind) = ('ada', 'calls')"
                )
                if owed is not None and owed > 10:
                    break
                await asyncio.sleep(0.02)
        await connection.close()

        async def ask_again() -> None:
            for _ in range(4):
                await there.list_users(ListUsersRequest())

        with pytest.raises(GRPCError) as refused:
            await ask_again()
        assert refused.value.status is Status.RESOURCE_EXHAUSTED
        # Others are not concerned.
        await (await caller(servers[1], "bob")).list_users(ListUsersRequest())
