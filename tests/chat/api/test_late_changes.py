"""A change that a server gets to late, when its proxy has gone to another server with it."""

from typing import Final

from chat.storage.postgres import PostgresStore
from gen.chat import ChangeMessageRequest, ChatServiceStub, RelayCommand, RelayServiceStub
from tests.chat.in_memory import with_store
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

    context, store = await with_store(
        lambda listener: PostgresStore.open(postgres_url, listener, 1 << 20)
    )
    async with served(context) as channel:
        await store.append([message(key="1")])
        async with postgres.connect(name) as connection, connection.transaction():
            # As if the server slept.
            await connection.execute("LOCK TABLE chat.messages IN ACCESS EXCLUSIVE MODE")
            async with RelayCall(RelayServiceStub(channel)) as relay:
                relay.batch(RelayCommand(ref=1, change_message=edit("late")))
                await postgres.until(_WAITS, name)
            await eventually(lambda: not context.hub.streams)
        changed = await ChatServiceStub(channel).change_message(edit("new"))
        assert changed.message.extra.state.change == 1
