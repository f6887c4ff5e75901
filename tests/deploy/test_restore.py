"""After a restore, clients ahead of it learn that the history is another one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import chat
import proxy
from chat.storage.sqlite.backup import back_up, restore
from tests.proxy.web_client import Client, Http, RestartableServer, connect, contents, serve_http

BEFORE = ["one", "two", "three"]
AFTER = ["lost four", "lost five"]


@pytest.fixture
async def server(chat_config: chat.Config) -> AsyncIterator[RestartableServer]:
    server = RestartableServer(chat_config)
    await server.start()
    yield server
    await server.stop()


def replace_database(database: Path, copy: Path) -> None:
    # A stopped server leaves no log.
    database.rename(database.with_suffix(".old"))
    restore(copy, database)


async def go_back(server: RestartableServer, database: Path, copy: Path) -> None:
    """Restores the history of a copy."""
    await server.stop()
    await asyncio.to_thread(replace_database, database, copy)
    await server.start()


async def read_room(client: Client) -> list[str]:
    answer = await client.ask(get_chat_history={"room_id": "lobby"})
    return [each["content"] for each in answer["chat_history"]["messages"]]


async def check_the_new_history(http: Http, client: Client, others: Client) -> None:
    """Checks that the copied history goes on for all clients."""
    assert await read_room(client) == BEFORE
    await others.say("lobby", "new four")
    for each in (client, others):
        [frame] = await each.take(1)
        assert (frame["chat_message"]["content"], frame["chat_message"]["seq"]) == ("new four", 4)
    assert await read_room(await connect(http)) == [*BEFORE, "new four"]


async def test_restore_resets_clients_ahead(
    server: RestartableServer, chat_config: chat.Config, tmp_path: Path
) -> None:
    database, copy = Path(chat_config.database), tmp_path / "copy.db"
    async with serve_http(proxy.Config(upstream=server.address)) as http:
        stayed = await connect(http)
        epoch = (await stayed.ask(join={"room_id": "lobby"}))["joined"]["epoch"]
        for content in BEFORE:
            await stayed.say("lobby", content)
        await stayed.take_until_content(BEFORE[-1])
        await asyncio.to_thread(back_up, database, copy)
        for content in AFTER:
            await stayed.say("lobby", content)
        assert contents(await stayed.take_until_content(AFTER[-1])) == AFTER

        await go_back(server, database, copy)

        # Its WebSocket stayed open: it is notified.
        told = (await stayed.receive())["joined"]
        assert (told["recovered"], told["last_seq"]) == (False, len(BEFORE))
        assert told["epoch"] != epoch

        # It was away meanwhile, and resumes from its position.
        back = await connect(http)
        ahead = len(BEFORE) + len(AFTER)
        answer = await back.ask(join={"room_id": "lobby", "after_seq": ahead, "epoch": epoch})
        assert answer["joined"] == told
        await check_the_new_history(http, back, stayed)


async def test_epoch_tells_regrown_history_apart(
    server: RestartableServer, chat_config: chat.Config, tmp_path: Path
) -> None:
    """The old position exists again for another message: only the epoch differs."""
    database, copy = Path(chat_config.database), tmp_path / "copy.db"
    async with serve_http(proxy.Config(upstream=server.address)) as http:
        ada = await connect(http)
        for content in BEFORE:
            await ada.say("lobby", content)
        await ada.take_until_content(BEFORE[-1])
        await asyncio.to_thread(back_up, database, copy)
        await ada.say("lobby", AFTER[0])
        seq = (await ada.receive())["chat_message"]["seq"]
        epoch = (await ada.ask(join={"room_id": "lobby"}))["joined"]["epoch"]
        await go_back(server, database, copy)

    async with serve_http(proxy.Config(upstream=server.address)) as http:
        ben = await connect(http)
        await ben.say("lobby", "new four", "ben")
        assert (await ben.receive())["chat_message"]["seq"] == seq
        back = await connect(http)
        answer = await back.ask(join={"room_id": "lobby", "after_seq": seq, "epoch": epoch})
        assert answer["joined"]["recovered"] is False
        assert await read_room(back) == [*BEFORE, "new four"]
