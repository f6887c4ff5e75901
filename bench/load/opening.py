"""Opens the connections of a job, and joins their rooms."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

from bench.load.clients import Opening
from bench.load.dialects import DIALECTS
from bench.load.frames import room_id
from bench.load.job import Job

_AT_ONCE: Final = 64
_SECONDS: Final = 60.0

Place = tuple[int, int]
"""The number of a room and the port at which it is joined."""


def places(job: Job) -> Iterator[Place]:
    """The places of all clients: the first members of all rooms, then the second, and so on.

    The members of a room take the ports in turn, and each room begins with the next.
    """
    for member in range(job.workload.members):
        for room in range(job.workload.rooms):
            yield room, job.ports[(room + member) % len(job.ports)]


async def open_all(job: Job, chosen: Sequence[Place]) -> list[asyncio.Transport]:
    """Opens a connection at each given place, in about this order, and joins its room."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def open_in_turn(place: Place) -> asyncio.Transport:
        async with slots:
            return (await open_one(job, place)).transport

    async with asyncio.timeout(_SECONDS):
        return await asyncio.gather(*map(open_in_turn, chosen))


async def open_one(job: Job, place: Place) -> Opening:
    """Opens a connection and joins a room."""
    number, port = place
    dialect = DIALECTS[job.dialect]
    bearer = f"Bearer {job.token}" if job.token else None
    hello = dialect.handshake(f"{job.host}:{port}", bearer)
    steps = dialect.steps(room_id(job.tag, number), follow=job.follow)
    tls = ssl.create_default_context(cafile=job.authority) if job.authority else None
    _, opening = await asyncio.get_running_loop().create_connection(
        lambda: Opening(hello, steps), job.host, port, ssl=tls
    )
    await opening.joined
    return opening
