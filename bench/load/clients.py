"""The load client's connections: as little Python as can be for each message."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import cast

from bench.load import frames
from bench.load.frames import MARK, Messages

_JSON_END = ord("}")


class LoadError(Exception):
    """The measurement is void; the text says why, in one line."""


class Tally:
    """What all clients of a job share.

    Attributes:
        latencies: of the messages that came back to their senders, in seconds.
        running: whether a message that came back is followed by another one.
        closing: whether connections may end.
        lost: how many ended before that.
    """

    __slots__ = ("closing", "latencies", "lost", "running")

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.running = True
        self.closing = False
        self.lost = 0


class Room:
    """A room, and how many messages its members have received altogether."""

    __slots__ = ("received", "senders")

    def __init__(self) -> None:
        self.received = 0
        self.senders: list[Sender] = []


class Opening(asyncio.Protocol):
    """A connection until it has joined its room."""

    def __init__(self, handshake: bytes, room_id: str) -> None:
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handshake = handshake
        self._join = frames.join(room_id)
        self._open = False
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for a WebSocket."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        """Reads the answer, joins, and reads the answer to that."""
        self._read += data
        if not self._open and b"\r\n\r\n" in self._read:
            if b" 101 " not in self._read.split(b"\r\n", 1)[0]:
                self._fail("the target refused a WebSocket")
            self._open = True
            self.transport.write(self._join)
        elif b'"joined"' in self._read and not self.joined.done():
            self.joined.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells whoever waits."""
        self._fail(f"the target closed a connection that was about to join ({exc})")
        if not self.closed.done():
            self.closed.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self.joined.done():
            self.joined.set_exception(LoadError(reason))


class Receiver(asyncio.Protocol):
    """A client that only receives."""

    __slots__ = ("_room", "_tally", "transport")

    def __init__(self, transport: asyncio.Transport, room: Room, tally: Tally) -> None:
        self.transport = transport
        self._room = room
        self._tally = tally

    def data_received(self, data: bytes) -> None:
        """Counts the messages."""
        self._room.received += data.count(MARK)
        if data[-1] != _JSON_END:
            self._other(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface
        """Notes that the target gave the client up."""
        if not self._tally.closing:
            self._tally.lost += 1

    def _other(self, data: bytes) -> None:
        """Answers a ping (it has no payload here); the rest are messages cut in two."""
        if b"\x89\x00" in data:
            self.transport.write(frames.PONG)


class Sender(Receiver):
    """A client that keeps messages under way."""

    __slots__ = ("_letter", "_messages", "_times", "confirmed")

    def __init__(
        self,
        transport: asyncio.Transport,
        room: Room,
        tally: Tally,
        messages: Messages,
        letter: bytes,
    ) -> None:
        super().__init__(transport, room, tally)
        self._messages = messages
        self._letter = letter
        self._times: deque[float] = deque()
        self.confirmed = 0
        room.senders.append(self)

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._messages.sent

    def data_received(self, data: bytes) -> None:
        """Counts the messages; sends another one for each that was its own."""
        self._room.received += data.count(MARK)
        own = data.count(self._letter)
        if own:
            self._confirm(own)
        if data[-1] != _JSON_END:
            self._other(data)

    def send(self, count: int, now: float) -> None:
        """Sends some messages, in one write."""
        times = self._times
        for _ in range(count):
            times.append(now)
        self.transport.write(self._messages.take(count))

    def _confirm(self, own: int) -> None:
        # A room keeps the order of one sender's messages.
        now = perf_counter()
        tally = self._tally
        times = self._times
        for _ in range(own):
            tally.latencies.append(now - times.popleft())
        self.confirmed += own
        if tally.running:
            self.send(own, now)
