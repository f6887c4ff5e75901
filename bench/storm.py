"""A storm of reactions: clients that do nothing else, in this process, as cheaply as may be.

They run on the processors of those who are measured, as the load process does. So they write
precomputed bytes and count bytes in what they read, and their own processor time is noted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import orjson
from aiohttp import WSMsgType

from bench.load import frames
from bench.targets import HOST
from tests.kit.web import handshake, masked

REACTORS: Final = 200
"""How many clients react."""
REACTIONS_A_SECOND: Final = 1_000
"""How often they do so, all together."""

# They react so often, several at a time: the timers are not what is measured.
_TICK_SECONDS: Final = 0.01
# They react to so many of the newest messages.
_NEWEST: Final = 10
_PATIENCE_SECONDS: Final = 15.0

_SWITCHED: Final = b" 101 "
_ANSWERED: Final = b'{"changed_message"'
_MESSAGE: Final = b'{"chat_message"'
_CHANGES: Final = b'{"changes"'


@dataclass(slots=True)
class Storm:
    """The reactions of one window.

    Attributes:
        messages: how many a member got.
        begun: set once there are enough messages to react to.
        reactions: how many were made.
        told: how many frames a member got that told of changes.
        seconds: how long it lasted, since it had begun.
        cpu: the processor time of those who react, in seconds.
    """

    messages: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    reactions: int = 0
    told: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


@asynccontextmanager
async def storm(port: int, room_id: str) -> AsyncIterator[Storm]:
    """A storm of reactions, and a member that counts what it is told of it.

    Args:
        port: the WebSocket port of a node.
        room_id: the room. The storm begins when it has a few messages.
    """
    storm = Storm()
    clients = [_Reactor(storm) for _ in range(REACTORS)]
    member = _Member(storm)
    loop = asyncio.get_running_loop()
    for client in (*clients, member):
        await loop.create_connection(lambda client=client: client, HOST, port)  # type: ignore[misc]
        await asyncio.wait_for(client.opened, _PATIENCE_SECONDS)
    join = {"join": {"room_id": room_id, "follow": ["CHANGES"]}}
    member.transport.write(masked(WSMsgType.TEXT, orjson.dumps(join)))
    reacting = asyncio.create_task(_react(clients, storm, room_id))
    try:
        yield storm
    finally:
        reacting.cancel()
        await asyncio.wait([reacting])
        for client in (*clients, member):
            client.transport.write(frames.CLOSE)
            client.transport.close()
    if not reacting.cancelled():
        reacting.result()


class _Client(asyncio.Protocol):
    """A client of the proxy."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the WebSocket handshake."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(handshake(Host=HOST))

    def data_received(self, data: bytes) -> None:
        """Reads the answer to the handshake, and then frames."""
        if self.opened.done():
            self.heard(data)
        elif _SWITCHED in data:
            self.opened.set_result(None)

    def heard(self, data: bytes) -> None:
        """Counts frames by their beginnings."""
        raise NotImplementedError


class _Reactor(_Client):
    """A client that reacts. It is in no room, and is sent answers alone."""

    def heard(self, data: bytes) -> None:
        """Counts answers, and no refusals."""
        self.storm.reactions += data.count(_ANSWERED)


class _Member(_Client):
    """A member of the room, who follows its changes."""

    def heard(self, data: bytes) -> None:
        """Counts messages, and frames of changes."""
        storm = self.storm
        storm.told += data.count(_CHANGES)
        storm.messages += data.count(_MESSAGE)
        if storm.messages >= _NEWEST:
            storm.begun.set()


async def _react(clients: list[_Reactor], storm: Storm, room_id: str) -> None:
    """Reacts and takes it back, at a steady rate, whatever is answered."""
    rounds = [
        [_frame(room_id, nth, turn) for nth in range(REACTORS)] for turn in range(2 * _NEWEST)
    ]
    await storm.begun.wait()
    start, used = time.perf_counter(), time.process_time()
    number = 0
    try:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            due = (time.perf_counter() - start) * REACTIONS_A_SECOND
            while number < due:
                turn, nth = divmod(number, REACTORS)
                clients[nth].transport.write(rounds[turn % len(rounds)][nth])
                number += 1
    finally:
        storm.seconds = time.perf_counter() - start
        storm.cpu = time.process_time() - used


def _frame(room_id: str, nth: int, turn: int) -> bytes:
    # Each reacts to one message after the other, and then takes all of it back.
    wish = "unreact" if turn >= _NEWEST else "react"
    request = {"room_id": room_id, "seq": turn % _NEWEST + 1, "user_id": f"reactor-{nth}"}
    return masked(WSMsgType.TEXT, orjson.dumps({"change_message": request | {wish: "👍"}}))
