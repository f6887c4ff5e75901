"""Clients that join a room and then read nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality

import codec
from bench.processes import Running
from bench.targets import HOST
from gen.chat import ChatStream, Join
from tests.kit.web import RawWebSocket

_CHAT: Final = "/chat.ChatService/Chat"
_SECONDS: Final = 10.0
# A small window.
_WINDOWS: Final = Configuration(
    http2_connection_window_size=64 * 1024, http2_stream_window_size=64 * 1024
)


@asynccontextmanager
async def websocket_client(running: Running, room_id: str) -> AsyncIterator[None]:
    """A WebSocket client of the proxy."""
    with closing(await RawWebSocket.open(HOST, running.port)) as client:
        await client.send(join={"room_id": room_id})
        await client.read_json()
        yield


@asynccontextmanager
async def grpc_client(running: Running, room_id: str) -> AsyncIterator[None]:
    """A `Chat` stream of the server."""
    host, _, port = running.upstream.rpartition(":")
    channel = Channel(host, int(port), codec=codec.GrpcCodec(), config=_WINDOWS)
    try:
        stream = channel.request(_CHAT, Cardinality.STREAM_STREAM, ChatStream, ChatStream)
        async with asyncio.timeout(_SECONDS):
            await stream.__aenter__()
            await stream.send_message(ChatStream(join=Join(room_id)))
            await stream.recv_message()
        yield
    finally:
        channel.close()
