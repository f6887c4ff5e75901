"""The rate of a user holds over all servers on one database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count

from grpclib import GRPCError, Status

import chat
from gen.chat import ChatServiceStub, ListUsersRequest
from tests.access.signing import Signer, bearer
from tests.support import PATIENCE_SECONDS, channel_to

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

        async def is_refused(user_id: str) -> bool:
            here, there = [await caller(server, user_id) for server in servers]
            for _ in range(10):
                await here.list_users(ListUsersRequest())
            # She has been to one server alone, and has spent all that she has for now. The other
            # one learns of it when it tells what she spends there, within a second or two.
            try:
                await go_on(there)
            except GRPCError as error:
                return error.status is Status.RESOURCE_EXHAUSTED
            # It has learned too late, or a slow machine has let her have as many again.
            return False

        servers = [await stack.enter_async_context(chat.serve(config)) for _ in range(2)]
        names = map(str, count())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_refused(next(names)):
                pass
        # Others are not concerned.
        await (await caller(servers[1], "bob")).list_users(ListUsersRequest())
