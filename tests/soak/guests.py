"""Clients that come and go, and clients that stop reading."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

import aiohttp
from aiohttp import ClientError, WSMsgType

from tests.faults.clients import Participant
from tests.faults.journal import Journal

_RETRY_SECONDS: Final = 0.2
_SLEEP_SECONDS: Final = (10.0, 30.0)
# Time that a sleeper reads on, to learn why it was cut off.
_AWAKE_SECONDS: Final = 5.0
# More than all buffers on the way hold: each page has up to 512 KiB.
_PAGES: Final = 60


@dataclass(slots=True)
class Guests:
    """Clients that are not there all the time.

    Args:
        url: address to connect to.
        rooms: the rooms to visit.
        journal: receives what the clients do and see.

    Attributes:
        connections: number of connections made.
        not_recovered: number of joins that could not be continued.
    """

    url: str
    rooms: Sequence[str]
    journal: Journal
    connections: int = 0
    not_recovered: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def come_and_go(self, chance: Random, until: asyncio.Event) -> None:
        """Visits one room after the other: reads it from the start, stays, and goes."""
        while not until.is_set():
            await self._visit(f"guest-{next(self._numbers)}", chance, until)

    async def _visit(self, name: str, chance: Random, until: asyncio.Event) -> None:
        room = chance.choice(self.rooms)
        guest = Participant(name, self.url, [room], self.journal)
        visit = asyncio.create_task(guest.run())
        try:
            await self.journal.until(lambda: guest.follows)
            goal = guest.places[room].seq + chance.randrange(1, 100)
            await self.journal.until(lambda: guest.places[room].seq >= goal or until.is_set())
            guest.finish()
            await visit
        finally:
            visit.cancel()
            self.connections += guest.connections
            self.not_recovered += guest.lost

    async def sleep_in(self, chance: Random, until: asyncio.Event) -> None:
        """Asks for much in all rooms and reads nothing, until it is cut off; repeatedly.

        A client that only joins would be dropped as silent before enough waits for it.
        """
        async with aiohttp.ClientSession() as session:
            while not until.is_set():
                with suppress(ClientError, OSError):
                    async with session.ws_connect(self.url) as socket:
                        self.connections += 1
                        for room in self.rooms:
                            await socket.send_json({"join": {"room_id": room}})
                        for _ in range(_PAGES):
                            page = {"room_id": chance.choice(self.rooms), "limit": 500}
                            await socket.send_json({"get_chat_history": page})
                        await self._doze(socket, chance.uniform(*_SLEEP_SECONDS), until)
                await _wait(until, _RETRY_SECONDS)

    async def _doze(
        self, socket: aiohttp.ClientWebSocketResponse[bool], seconds: float, until: asyncio.Event
    ) -> None:
        await _wait(until, seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(_AWAKE_SECONDS):
                while (await socket.receive()).type is WSMsgType.TEXT:
                    pass


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event, up to a time limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
