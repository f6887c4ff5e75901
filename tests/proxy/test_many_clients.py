"""Many clients at once: deliveries are counted, nothing is timed."""

import asyncio
import resource
from collections.abc import Iterator

import pytest

from tests.proxy.web_client import Client, Http, contents, joined, seqs

CLIENTS = 1_000
# Both ends of each connection are in this process.
DESCRIPTORS = 2 * CLIENTS + 200


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Raises this process's limit of open files to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.fail(
            f"{CLIENTS} clients need {DESCRIPTORS} file descriptors, and the hard limit of this"
            f" system is {hard}: raise it (ulimit -Hn {DESCRIPTORS}) and run the test again"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def enter(http: Http, room_ids: list[str]) -> list[Client]:
    """Opens a client for each room name, some at a time."""
    clients: list[Client] = []
    for start in range(0, len(room_ids), 100):
        some = room_ids[start : start + 100]
        clients += await asyncio.gather(*(joined(http, room_id) for room_id in some))
    return clients


async def test_thousand_clients_in_one_room(http: Http) -> None:
    clients = await enter(http, ["lobby"] * CLIENTS)
    texts = [str(number) for number in range(20)]
    for text in texts:
        await clients[0].say("lobby", text)
    for client in clients:
        frames = await client.take(len(texts))
        assert contents(frames) == texts
        assert seqs(frames) == list(range(1, len(texts) + 1))
    for client in clients[::50]:
        assert await client.barrier() == []


async def test_two_hundred_rooms_of_five(http: Http) -> None:
    room_ids = [f"room {number % 200}" for number in range(CLIENTS)]
    clients = await enter(http, room_ids)
    for index, client in enumerate(clients):
        for number in range(2):
            await client.say(room_ids[index], f"{index} {number}", f"user {index}")
    by_room: dict[str, list[list[str]]] = {}
    for index, client in enumerate(clients):
        frames = await client.take(10)
        assert seqs(frames) == list(range(1, 11))
        by_room.setdefault(room_ids[index], []).append(contents(frames))
    for number in range(200):
        first, *others = by_room[f"room {number}"]
        assert all(other == first for other in others)
        senders = range(number, CLIENTS, 200)
        assert sorted(first) == sorted(f"{each} {count}" for each in senders for count in range(2))
    for client in clients[::50]:
        assert await client.barrier() == []
