"""Silent clients: pinged, and dropped without an answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from aiohttp import WSMsgType

import chat
import proxy
from tests.kit.web import RawWebSocket, masked
from tests.proxy.web_client import Http, connect, message, serve_http


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    """A server in memory, as a disk may be slow while a ping is open."""
    return replace(chat_config, database=chat.IN_MEMORY)


@pytest.fixture
async def http(proxy_config: proxy.Config) -> AsyncIterator[Http]:
    # Half of it suffices for an answer, even on a busy machine.
    async with serve_http(replace(proxy_config, heartbeat_seconds=0.8)) as http:
        yield http


async def test_unanswered_ping_drops_client(http: Http) -> None:
    with closing(await RawWebSocket.connect(http)) as dead:
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
async def test_client_that_is_heard_stays(http: Http, opcode: WSMsgType) -> None:
    with closing(await RawWebSocket.connect(http)) as alive:
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


@pytest.mark.parametrize("pieces", [1, 4], ids=["a frame", "pieces"])
async def test_slow_frame_counts_as_life(proxy_config: proxy.Config, pieces: int) -> None:
    """Each byte is a sign of life: the frame arrives, however long it takes."""
    config = replace(proxy_config, heartbeat_seconds=0.8)
    payload = json.dumps({"request_id": "slow", "list_users": {}}).encode()
    size = -(-len(payload) // pieces)
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    kinds = [WSMsgType.TEXT, *[WSMsgType.CONTINUATION] * (pieces - 1)]
    ends = [0] * (pieces - 1) + [0x80]
    whole = b"".join(
        masked(kind, part, first_bits=end)
        for kind, part, end in zip(kinds, parts, ends, strict=True)
    )
    async with proxy.serve(config) as running:
        with closing(await RawWebSocket.open("127.0.0.1", running.port)) as slow:
            for byte in whole:
                await slow.send_bytes(bytes([byte]))
                await asyncio.sleep(config.heartbeat_seconds * 4 / len(whole))
            answer = await slow.read_frame()
            while answer is not None and answer.opcode == WSMsgType.PING:
                answer = await slow.read_frame()
            assert answer is not None
            assert answer.json()["request_id"] == "slow"


async def test_endless_message_is_given_up(proxy_config: proxy.Config) -> None:
    config = replace(proxy_config, heartbeat_seconds=0.1)
    async with proxy.serve(config) as running:
        with closing(await RawWebSocket.open("127.0.0.1", running.port)) as endless:
            await endless.send_bytes(masked(WSMsgType.TEXT, b"{", first_bits=0))
            pongs, ended = 0, asyncio.create_task(endless.read_to_end())
            with suppress(ConnectionError):
                while not ended.done():
                    await endless.send_bytes(masked(WSMsgType.PONG, b""))
                    pongs += 1
                    await asyncio.sleep(0.01)
            await ended
            assert pongs > 1


async def test_pong_repeats_ping_payload(http: Http) -> None:
    with closing(await RawWebSocket.connect(http)) as client:
        await client.send_bytes(masked(WSMsgType.PING, b"x" * 125))
        pong = await client.read_frame()
        assert pong is not None
        assert (pong.opcode, pong.payload) == (WSMsgType.PONG, b"x" * 125)


async def test_client_awaiting_server_is_kept(proxy_config: proxy.Config) -> None:
    """While a frame is handled no other is read, not even a pong."""
    config = replace(proxy_config, upstream="127.0.0.1:1", heartbeat_seconds=0.2, hold_seconds=1.0)
    async with serve_http(config) as http:
        with closing(await RawWebSocket.connect(http)) as client:
            await client.send(join={"room_id": "lobby"})
            assert (await client.read_json())["error"]["code"] == "UNAVAILABLE"
