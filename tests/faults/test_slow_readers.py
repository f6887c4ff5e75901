"""Clients that stop reading beside others that go on, in front of real processes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from tests.faults.world import World
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import Client, message, seqs
from tests.support import eventually

pytestmark = pytest.mark.timeout(240)
# Several times the size of the buffers of the system and of the proxy.
MOST_SENT = 4_000

MIB = 1 << 20
STUCK = 10
READERS = 5
# Largest output of one server batch for a room, as JSON.
BATCH = MIB // 2


@asynccontextmanager
async def clients(url: str, number: int) -> AsyncIterator[list[Client]]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield [Client(await session.ws_connect(url)) for _ in range(number)]


async def stuck_client(world: World, name: str) -> RawWebSocket:
    """A client in "lobby" that has spoken there and reads no more."""
    address = urlsplit(world.url)
    client = await RawWebSocket.open(str(address.hostname), int(address.port or 0))
    await client.send(chat_message=message("lobby", "hello", name))
    await client.read_json()
    return client


async def send_until_cut_off(sender: Client) -> int:
    """Sends to "lobby" until no stuck user is active; returns the number sent."""
    for sent in range(20, MOST_SENT, 20):
        for _ in range(20):
            await sender.ask(chat_message=message("lobby", "x" * 8_000))
        users = (await sender.ask(list_users={}))["users"]["users"]
        if not any(u["status"] == "ACTIVE" for u in users if u["id"].startswith("stuck")):
            return sent
    raise AssertionError("who does not read is not cut off")


async def test_proxy_cuts_off_slow_readers(tmp_path: Path) -> None:
    """Each is cut off with 1 MiB waiting; the room goes on; nothing of them is left."""
    async with World.running(tmp_path) as world, clients(world.url, READERS + 1) as good:
        proxy = psutil.Process(world.proxy.pid)
        sender, *readers = good
        for reader in readers:
            await reader.ask(join={"room_id": "lobby"})
        files = proxy.num_fds()
        with ExitStack() as stack:
            stuck = [await stuck_client(world, f"stuck {n}") for n in range(STUCK)]
            for each in stuck:
                stack.enter_context(closing(each))
            reading = [asyncio.create_task(each.take_until_content("end")) for each in readers]
            sent = await send_until_cut_off(sender)
            await sender.ask(chat_message=message("lobby", "end"))
            for got in await asyncio.gather(*reading):
                assert seqs(got) == list(range(1, STUCK + sent + 2))
            # Half of them read again, in time to learn why; the others never do.
            for each in stuck[: STUCK // 2]:
                *frames, close = await each.read_to_close()
                assert close.close_code == 4008
                places = seqs([frame.json() for frame in frames])
                assert places == list(range(places[0], places[0] + len(places)))
            await eventually(lambda: proxy.num_fds() == files)
        await world.proxy.stop()
        waiting = [int(size) for size in re.findall(r"waiting=(\d+)", world.proxy.errors)]
        assert len(waiting) == STUCK
        assert min(waiting) > MIB
        assert max(waiting) < MIB + BATCH
