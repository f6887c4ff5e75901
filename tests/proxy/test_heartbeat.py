"""Clients that are silent: asked whether they are there, and dropped if they are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import pytest
from aiohttp import WSMsgType

import chat
import proxy
from tests.proxy.clients import Http, connect, message, serve_http
from tests.proxy.raw import RawClient, masked


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    """No disk, which may be slow while nobody answers a ping."""
    return replace(chat_config, database=chat.IN_MEMORY)


@pytest.fixture
async def http(proxy_config: proxy.Config) -> AsyncIterator[Http]:
    # Half of it is enough to answer in, on a busy machine too.
    async with serve_http(replace(proxy_config, heartbeat_seconds=0.8)) as http:
        yield http


async def test_who_answers_no_ping_is_dropped_and_inactive(http: Http) -> None:
    with closing(await RawClient.connect(http)) as dead:
        await dead.send(chat_message=message("lobby", sender_id="dead"))
        assert "chat_message" in await dead.read_json()
        ping = await dead.read_frame()
        assert ping is not None
        assert ping.opcode == WSMsgType.PING
        assert await dead.read_frame() is None
    watcher = await connect(http)
    user = (await watcher.ask(get_user={"user_id": "dead"}))["user"]["user"]
    assert user["status"] == "INACTIVE"


@pytest.mark.parametrize("opcode", [WSMsgType.PONG, WSMsgType.PING])
async def test_who_is_heard_of_stays(http: Http, opcode: WSMsgType) -> None:
    with closing(await RawClient.connect(http)) as alive:
        for _ in range(3):
            ping = await alive.read_frame()
            while ping is not None and ping.opcode == WSMsgType.PONG:
                ping = await alive.read_frame()
            assert ping is not None
            assert ping.opcode == WSMsgType.PING
            await alive.send_bytes(masked(opcode, b""))
        await alive.send(chat_message=message("lobby"))
        frame = await alive.read_frame()
        while frame is not None and frame.opcode != WSMsgType.TEXT:
            frame = await alive.read_frame()
        assert frame is not None


async def test_a_ping_is_answered_with_what_it_carries(http: Http) -> None:
    with closing(await RawClient.connect(http)) as client:
        await client.send_bytes(masked(WSMsgType.PING, b"x" * 125))
        pong = await client.read_frame()
        assert pong is not None
        assert (pong.opcode, pong.payload) == (WSMsgType.PONG, b"x" * 125)


async def test_who_waits_for_the_server_is_not_dropped(proxy_config: proxy.Config) -> None:
    """While a frame is handled no other is read, not even the answer to a ping."""
    config = replace(proxy_config, upstream="127.0.0.1:1", heartbeat_seconds=0.2, hold_seconds=1.0)
    async with serve_http(config) as http:
        with closing(await RawClient.connect(http)) as client:
            await client.send(join={"room_id": "lobby"})
            assert (await client.read_json())["error"]["code"] == "UNAVAILABLE"
