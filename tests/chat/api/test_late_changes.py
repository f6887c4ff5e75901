"""A change that a server gets to late, when its proxy has gone to another server with it."""

from typing import Final

import chat
from chat.access.authenticator import Authenticator
from chat.api.context import Context
from chat.core.hub import Hub
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore
from gen.chat import ChangeMessageRequest, ChatServiceStub, RelayCommand, RelayServiceStub
from tests.chat.served import served
from tests.kit.postgres import Postgres
from tests.support import RelayCall, eventually, message

_WAITS: Final = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
)


def edit(content: str) -> ChangeMessageRequest:
    return ChangeMessageRequest("room", 1, "ada", content=content)


async def test_change_of_a_proxy_that_is_gone_is_not_made(
    postgres: Postgres, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]

    async def open_store(listener: Listener) -> PostgresStore:
        return await PostgresStore.open(postgres_url, listener, 1 << 20)

    hub = await Hub.open(open_store)
    context = Context.of(chat.Config(database=chat.IN_MEMORY), Authenticator(), hub)
    async with served(context) as channel:
        await hub.store.append([message(key="1")])
        async with postgres.connect(name) as connection, connection.transaction():
            # As if the server slept.
            await connection.execute("LOCK TABLE chat.messages IN ACCESS EXCLUSIVE MODE")
            async with RelayCall(RelayServiceStub(channel)) as relay:
                relay.batch(RelayCommand(ref=1, change_message=edit("late")))
                await postgres.until(_WAITS, name)
            await eventually(lambda: not hub.streams)
        changed = await ChatServiceStub(channel).change_message(edit("new"))
        assert changed.message.extra.state.change == 1
