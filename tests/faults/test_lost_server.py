"""One of two servers dies, with a word or without: a pause for the clients of both proxies."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.faults.world import World
from tests.kit.processes import Daemon
from tests.proxy.web_client import Client, Frame, message, seqs

CLIENTS = 200
ROOMS = 20
# Of each room.
MEMBERS = CLIENTS // ROOMS

pytestmark = pytest.mark.usefixtures("postgres_programs")


@asynccontextmanager
async def crowd(world: World) -> AsyncIterator[list[Client]]:
    """Clients, in turn at each proxy, and each in one room with others of both proxies."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def enter(number: int) -> Client:
            client = Client(await session.ws_connect(world.urls[number // ROOMS % 2]))
            assert "joined" in await client.ask(join={"room_id": room_of(number)})
            return client

        yield list(await asyncio.gather(*map(enter, range(CLIENTS))))


def room_of(number: int) -> str:
    return f"room {number % ROOMS}"


async def talk(clients: list[Client], content: str) -> float:
    """Each sends a message; returns the seconds until the last one was answered."""
    began = time.monotonic()

    async def ask(number: int, client: Client) -> list[Frame]:
        said = message(room_of(number), content, f"user {number}")
        await client.send(chat_message=said, request_id=content)
        frames = await client.take_until_answer(content)
        answered.append(time.monotonic())
        return frames + await client.take(MEMBERS - len(frames))

    answered: list[float] = []
    heard = await asyncio.gather(*(ask(*each) for each in enumerate(clients)))
    for number, frames in enumerate(heard):
        assert {frame["chat_message"]["content"] for frame in frames} == {content}
        assert seqs(frames) == seqs(heard[number % ROOMS])
    return max(answered) - began


async def server_of(world: World, url: str) -> Daemon:
    """The server that a proxy is linked to."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}readyz") as response:
        upstream = (await response.json())["upstream"]
    return world.chats[world.chat_addresses.index(upstream)]


@pytest.mark.parametrize("word", ["killed", "silent"])
async def test_crowd_outlives_one_of_two_servers(
    tmp_path: Path, postgres_url: str, word: str
) -> None:
    async with (
        World.running(
            tmp_path,
            *("--upstream-heartbeat-seconds", "1"),
            database=postgres_url,
            servers=2,
            proxies=2,
        ) as world,
        crowd(world) as clients,
    ):
        await talk(clients, "before")
        server = await server_of(world, world.url)
        if word == "killed":
            await server.kill()
        else:
            server.send(signal.SIGSTOP)
        seconds = await talk(clients, "after")
        sys.stdout.write(f"the last of {CLIENTS} clients went on {seconds:.2f} s later\n")
        for each in world.urls:
            assert await server_of(world, each) is not server
        if word == "killed":
            await server.start()
        else:
            server.send(signal.SIGCONT)
        await talk(clients, "again")
        # Nobody got anything else: no message twice, and no word of a gap.
        assert await asyncio.gather(*(each.barrier() for each in clients)) == [[]] * CLIENTS
        assert world.tracebacks == ""
