"""Silent clients: pinged, and dropped without an answer."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from aiohttp import WSMsgType

import chat
import proxy
from proxy.core.frames import PING
from tests.clock import turns
from tests.kit.web import RawWebSocket, handshake, masked
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


async def test_client_that_is_heard_stays(http: Http) -> None:
    """Whether it answers, or asks as well."""
    with (
        closing(await RawWebSocket.connect(http)) as answering,
        closing(await RawWebSocket.connect(http)) as asking,
    ):
        clients = {answering: WSMsgType.PONG, asking: WSMsgType.PING}
        for _ in range(3):
            for client, opcode in clients.items():
                ping = await client.read_frame()
                while ping is not None and ping.opcode == WSMsgType.PONG:
                    ping = await client.read_frame()
                assert ping is not None
                assert ping.opcode == WSMsgType.PING
                await client.send_bytes(masked(opcode, b""))
        for client in clients:
            await client.send(chat_message=message("lobby"))
            frame = await client.read_frame()
            while frame is not None and frame.opcode != WSMsgType.TEXT:
                frame = await client.read_frame()
            assert frame is not None


async def test_nobody_is_dropped_behind_a_standstill(proxy_config: proxy.Config) -> None:
    """A client that stood still as well answers only then, with the next beat overdue."""
    seconds = 0.8
    async with proxy.serve(replace(proxy_config, heartbeat_seconds=seconds)) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(handshake())
            received = b""
            while not received.endswith(PING):
                received += await asyncio.to_thread(client.recv, 1 << 16)
            time.sleep(seconds)  # noqa: ASYNC251 - the whole process stands still
            # The proxy wakes first.
            await turns(5)
            client.sendall(masked(WSMsgType.PONG, b""))
            client.sendall(masked(WSMsgType.TEXT, b'{"leave": {"room_id": "lobby"}}'))
            assert b"left" in await asyncio.to_thread(client.recv, 1 << 16)


async def test_slow_frame_counts_as_life(proxy_config: proxy.Config) -> None:
    """Each byte is a sign of life: the frame arrives, however long it takes."""
    config = replace(proxy_config, heartbeat_seconds=0.8)
    whole = masked(WSMsgType.TEXT, b'{"request_id": "slow", "list_users": {}}')
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
