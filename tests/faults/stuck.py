"""Clients that do not read and so delay a stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final
from urllib.parse import urlsplit

from hosting.addresses import split_address
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import visitor

UNREAD_BYTES: Final = 64 * 1024 * 1024
"""What a client must be allowed to leave unread, not to be cut off."""

# More than the buffers of the system take, and less than that.
_MESSAGES: Final = 600


async def fill(url: str) -> None:
    async with visitor(url) as sender:
        for _ in range(_MESSAGES):
            await sender.say("lobby", "x" * 16_000)
        await sender.take(_MESSAGES)


@asynccontextmanager
async def stuck_reader(url: str) -> AsyncIterator[None]:
    """A WebSocket client that does not read the much that waits for it."""
    host, port = split_address(urlsplit(url).netloc)
    stuck = await RawWebSocket.open(host, port)
    with closing(stuck):
        await stuck.send(join={"room_id": "lobby"})
        assert "joined" in await stuck.read_json()
        await fill(url)
        yield
