"""A chat server that dies just as the proxy connects to it."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import replace

import chat
import proxy
from tests.proxy.web_client import joined, serve_http

_NO_LINGER = struct.pack("ii", 1, 0)


async def reset_all(listener: socket.socket) -> None:
    """Accepts and resets each connection in one turn of the loop.

    The connecting side sees both events before its waiting task has resumed.
    """
    while True:
        await asyncio.sleep(0)
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            connection.close()


async def test_proxy_retries_after_reset(chat_config: chat.Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        host, port = listener.getsockname()
        async with serve_http(proxy.Config(upstream=f"{host}:{port}")) as http:
            resets = asyncio.create_task(reset_all(listener))
            try:
                for _ in range(3):
                    async with http.get("/readyz") as response:
                        assert response.status == 503
            finally:
                resets.cancel()
            listener.close()
            async with chat.serve(replace(chat_config, port=port)):
                client = await joined(http, "lobby")
                await client.say("lobby", "hello")
                assert (await client.receive())["chat_message"]["seq"] == 1
