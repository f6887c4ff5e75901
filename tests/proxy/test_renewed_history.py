"""Clients of a proxy whose server goes on with another history."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import proxy
from tests.chat.forgetful import ForgetfulStore, forgetful
from tests.chat.served import listening
from tests.proxy.web_client import Http, connect, serve_http
from tests.support import message


@pytest.fixture
async def served(proxy_config: proxy.Config) -> AsyncIterator[tuple[Http, ForgetfulStore]]:
    context, store = await forgetful()
    async with listening(context) as port:
        config = replace(proxy_config, upstream=f"127.0.0.1:{port}")
        async with serve_http(config) as http:
            yield http, store


async def test_members_are_told_and_go_on(served: tuple[Http, ForgetfulStore]) -> None:
    http, store = served
    client = await connect(http)
    await client.ask(join={"room_id": "room"})
    for number in range(3):
        await client.ask(chat_message={"room_id": "room", "id": str(number), "content": "hello",
                                       "sender_id": "ada"})  # fmt: skip
    store.lose("room", 2)
    frame = await client.receive()
    assert frame == {
        "joined": {"room_id": "room", "epoch": store.epoch, "last_seq": 1, "recovered": False}
    }
    answer = await client.ask(
        chat_message={"room_id": "room", "id": "2", "content": "again", "sender_id": "ada"}
    )
    assert (answer["chat_message"]["seq"], answer["chat_message"]["content"]) == (2, "again")


async def test_replay_brings_nothing_of_another_history(
    served: tuple[Http, ForgetfulStore],
) -> None:
    """Although a page of it may come before the proxy is told of its epoch."""
    http, store = served
    await store.append([message(key=key) for key in "1234"])
    before = store.epoch
    watcher = await connect(http)
    await watcher.ask(join={"room_id": "room"})
    client = await connect(http)
    store.silent = True
    store.pages.clear()
    await client.send(join={"room_id": "room", "after_seq": 1})
    assert (await client.receive())["joined"]["recovered"]
    await store.reading.wait()
    store.lose("room", 2)
    await store.append([message(content="other", key=key) for key in "56"])
    store.pages.set()
    frame = await client.receive()
    assert (frame["joined"]["epoch"], frame["joined"]["recovered"]) == (before, False)
    store.silent = False
    store.renew()
    async with asyncio.timeout(10):
        for each in (client, watcher):
            frames = await each.take_until(lambda frame: "joined" in frame)
            assert frames[-1]["joined"] == {
                "room_id": "room", "epoch": store.epoch, "last_seq": 4, "recovered": False,
            }  # fmt: skip
