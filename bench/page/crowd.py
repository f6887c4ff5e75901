"""Others who write in the room while the page is measured."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
import orjson

from bench.targets import HOST

ROOM: Final = "lobby"
QUIET: Final = "hall"
"""Where nobody writes but `write`."""
_SENDERS: Final = 5
_TICK_SECONDS: Final = 0.02
_TOGETHER: Final = 100
LAST: Final = "the last one"
_TEXT: Final = "a message of the length that most have, give or take a few words "


@asynccontextmanager
async def writing(port: int, rate: float) -> AsyncIterator[None]:
    """Lets others write while the context is open.

    Args:
        port: of the proxy.
        rate: messages a second, of all together.
    """
    async with _sockets(port) as sockets:
        writer = asyncio.create_task(_write(sockets, rate))
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.wait([writer])


async def write(port: int, count: int) -> None:
    """Writes so many messages, and `LAST`, as fast as they are stored."""
    async with _sockets(port) as sockets:
        socket, *_ = sockets
        for first in range(0, count, _TOGETHER):
            numbers = range(first, min(first + _TOGETHER, count))
            for number in numbers:
                await socket.send_str(_frame(number, QUIET))
            for _ in numbers:
                await socket.receive()
        await socket.send_str(_frame(0, QUIET, LAST))
        await socket.receive()


@asynccontextmanager
async def _sockets(port: int) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse]]:
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        url = f"http://{HOST}:{port}/"
        yield [await stack.enter_async_context(session.ws_connect(url)) for _ in range(_SENDERS)]


async def _write(sockets: list[aiohttp.ClientWebSocketResponse], rate: float) -> None:
    readers = [asyncio.create_task(_read(socket)) for socket in sockets]
    start, number = time.perf_counter(), 0
    try:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            due = (time.perf_counter() - start) * rate
            while number < due:
                await sockets[number % _SENDERS].send_str(_frame(number))
                number += 1
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


def _frame(number: int, room_id: str = ROOM, text: str = _TEXT) -> str:
    message = {"room_id": room_id, "sender_id": f"writer-{number % _SENDERS}", "content": text}
    return orjson.dumps({"chat_message": message}).decode()
