"""Clients that join a room and then read nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality

import codec
from bench.load import frames
from bench.targets import HOST, Running
from gen.chat import ChatStream, Join

_CHAT: Final = "/chat.ChatService/Chat"
_SECONDS: Final = 10.0
# Small socket buffers, and a small window.
_SOCKET_BYTES: Final = 4096
_WINDOWS: Final = Configuration(
    http2_connection_window_size=64 * 1024, http2_stream_window_size=64 * 1024
)


@asynccontextmanager
async def websocket_client(running: Running, room_id: str) -> AsyncIterator[None]:
    """A WebSocket client of the proxy."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_SECONDS):
            await loop.sock_connect(sock, (HOST, running.port))
            for request, answer in (
                (frames.handshake(HOST, running.port), b"\r\n\r\n"),
                (frames.join(room_id), b'"joined"'),
            ):
                await loop.sock_sendall(sock, request)
                read = b""
                while answer not in read:
                    read += await loop.sock_recv(sock, _SOCKET_BYTES)
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
