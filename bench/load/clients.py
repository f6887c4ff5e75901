"""The load client's connections, with minimal Python per message."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import cast

from bench.load import frames
from bench.load.frames import MARK, Messages

_JSON_END = ord("}")
# The head of a frame of more than 125 bytes: its length may look like a mark or a letter.
_LONG = b"\x7e"
_LONG_HEAD = re.compile(rb"\x81\x7e..", re.DOTALL)


class LoadError(Exception):
    """The measurement is invalid; the text gives the reason in one line."""


class Tally:
    """State shared by all clients of a job.

    Attributes:
        latencies: of the messages that returned to their senders, in seconds.
        far: of the messages that reached others, in seconds, if that is measured.
        running: whether senders send another message when one returns.
        closing: whether connections may be closed.
        lost: the number of connections closed before that.
    """

    __slots__ = ("closing", "far", "latencies", "lost", "running")

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.far: list[float] = []
        self.running = True
        self.closing = False
        self.lost = 0


class Room:
    """A room.

    Attributes:
        received: the number of messages that its members have received.
        senders: those who send.
        sent_at: when each message was sent, if somebody measures how it reaches others.
    """

    __slots__ = ("received", "senders", "sent_at")

    def __init__(self) -> None:
        self.received = 0
        self.senders: list[Sender] = []
        self.sent_at: list[float] = []


class Opening(asyncio.Protocol):
    """A connection until it has joined its room.

    Args:
        handshake: the request that opens it.
        steps: frames, each with what has to be heard before it; the last one joins.
    """

    def __init__(self, handshake: bytes, steps: Sequence[tuple[bytes, bytes]]) -> None:
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handshake = handshake
        self._steps = list(steps)
        self._open = False
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the WebSocket handshake."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        """Reads the handshake response, takes the steps, and reads the reply to the last."""
        self._read += data
        if not self._open and b"\r\n\r\n" in self._read:
            if b" 101 " not in self._read.split(b"\r\n", 1)[0]:
                self._fail("the target refused a WebSocket")
            self._open = True
        while self._steps and self._steps[0][0] in self._read:
            self.transport.write(self._steps.pop(0)[1])
        if b'"joined"' in self._read and not self.joined.done():
            self.joined.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the waiting future."""
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
        self._room.received += _texts(data).count(MARK)
        if data[-1] != _JSON_END:
            self._other(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface
        """Records that the target closed the connection."""
        if not self._tally.closing:
            self._tally.lost += 1

    def _other(self, data: bytes) -> None:
        """Answers a ping (without payload here); other data are split messages."""
        if b"\x89\x00" in data:
            self.transport.write(frames.PONG)


class Listener(Receiver):
    """A client that measures how messages of the room's only sender reach it."""

    __slots__ = ("_heard",)

    def __init__(self, transport: asyncio.Transport, room: Room, tally: Tally) -> None:
        super().__init__(transport, room, tally)
        self._heard = 0

    def data_received(self, data: bytes) -> None:
        """Counts the messages, and their time: they come in the order of sending."""
        super().data_received(data)
        now = perf_counter()
        for _ in range(data.count(MARK)):
            self._tally.far.append(now - self._room.sent_at[self._heard])
            self._heard += 1


class Sender(Receiver):
    """A client that keeps messages in flight."""

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
        """The number of messages sent."""
        return self._messages.sent

    def data_received(self, data: bytes) -> None:
        """Counts the messages; sends another one for each of its own."""
        data = _texts(data)
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
        # A room preserves the order of one sender's messages.
        now = perf_counter()
        tally = self._tally
        times = self._times
        for _ in range(own):
            tally.latencies.append(now - times.popleft())
        self.confirmed += own
        if tally.running:
            self.send(own, now)


def _texts(data: bytes) -> bytes:
    """Returns what was received without the heads of long frames, as those of changes may be."""
    return _LONG_HEAD.sub(b"", data) if _LONG in data else data
