"""Users over several nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest
from grpclib.client import Channel

import codec
from chat.storage.postgres import PostgresStore
from gen.chat import ChatServiceStub, UserStatus
from tests.chat.storage.postgres.nodes import opened
from tests.kit.postgres import Postgres
from tests.kit.processes import ready_line, running
from tests.support import ChatCall, eventually, message

ACTIVE, INACTIVE = UserStatus.ACTIVE, UserStatus.INACTIVE


@pytest.fixture
async def here(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_url) as store:
        await store.append([message(sender_id="ada"), message(sender_id="bob")])
        yield store


async def until(store: PostgresStore, user_id: str, status: int) -> None:
    """Waits until all reads of a store show the status of a user."""

    async def is_shown() -> bool:
        user = await store.get_user(user_id)
        assert user is not None
        [listed] = [each for each in await store.list_users("", 10) if each.id == user_id]
        return user.status == listed.status == status

    await eventually(is_shown)


async def test_user_is_active_while_one_node_has_it(
    here: PostgresStore, postgres: Postgres, postgres_url: str
) -> None:
    async with opened(postgres_url) as there:
        there.set_active("ada", True)
        await until(there, "ada", ACTIVE)
        await until(here, "ada", ACTIVE)
        assert (await here.upsert_user("ada", "Ada", "")).status == ACTIVE
        await until(here, "bob", INACTIVE)
        here.set_active("ada", True)
        there.set_active("ada", False)
        await until(there, "ada", ACTIVE)
        # One node alone tells the others of her.
        question = "SELECT count(*) = 1 FROM chat.active WHERE user_id = 'ada'"
        await postgres.until(question, database=postgres_url.rpartition("/")[2])
        here.set_active("ada", False)
        # One's own changes are seen at once.
        user = await here.get_user("ada")
        assert user is not None
        assert user.status == INACTIVE
        await until(there, "ada", INACTIVE)
        there.set_active("bob", True)
        await until(here, "bob", ACTIVE)
    user = await here.get_user("bob")
    assert user is not None
    assert user.status == INACTIVE


async def test_paused_node_comes_back(here: PostgresStore, postgres_url: str) -> None:
    """Others take it for dead meanwhile, and clear its rows away."""
    options = ("--host", "127.0.0.1", "--port", "0", "--database", postgres_url)
    async with running("chat", *options) as process:
        port = int((await ready_line(process)).rpartition(":")[2])
        async with (
            Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel,
            ChatCall(ChatServiceStub(channel)) as call,
        ):
            call.say(message("lobby", sender_id="ada"))
            await until(here, "ada", ACTIVE)
            os.kill(process.pid, signal.SIGSTOP)
            connection = await asyncpg.connect(postgres_url)
            await connection.execute(
                "UPDATE chat.nodes SET alive_until = alive_until - interval '10 s'"
                " WHERE node IN (SELECT node FROM chat.active)"
            )
            await until(here, "ada", INACTIVE)
            await connection.execute(
                "DELETE FROM chat.nodes WHERE alive_until < clock_timestamp();"
                "DELETE FROM chat.active"
            )
            await connection.close()
            os.kill(process.pid, signal.SIGCONT)
            await until(here, "ada", ACTIVE)
            process.kill()
