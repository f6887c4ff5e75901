"""Clients that send as fast as their sockets accept, and the memory of their servers."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import orjson
import psutil
from aiohttp import WSMsgType

from tests.faults.history import Delivered, Message, Outcome, Spoke
from tests.faults.journal import Journal, Sending
from tests.proxy.web_client import Frame, message
from tests.support import PATIENCE_SECONDS

# Largest growth by event loop, allocator and a burst of garbage, at any load.
SLACK: Final = 24 * 1024 * 1024
MEASURABLE: Final = Path("/proc/self/smaps_rollup").exists()
# Little waits in the kernel.
_SOCKET_BYTES: Final = 16 * 1024
_LOOKS: Final = 100
_LOOK_SECONDS: Final = 0.02


class Flooder:
    """A client in one room that sends without waiting for answers.

    Args:
        name: the user id that it sends as.
        room: the room that it sends to.
        text: the end of each message.
        journal: receives what the client does and sees.

    Attributes:
        sent: number of messages that its socket accepted.
        refused: number of messages refused as retryable.
    """

    def __init__(self, name: str, room: str, text: str, journal: Journal) -> None:
        self.name = name
        self.sent = 0
        self.refused = 0
        self._room = room
        self._text = text
        self._journal = journal
        self._stop = False
        self._unanswered: dict[str, Sending] = {}

    @property
    def is_answered(self) -> bool:
        """Whether each message was answered."""
        return not self._unanswered

    def stop(self) -> None:
        self._stop = True

    async def run(self, url: str) -> None:
        """Sends until it is told to stop, and reads until all is answered."""
        connector = aiohttp.TCPConnector(socket_factory=_small_socket)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(url) as socket,
            asyncio.TaskGroup() as group,
        ):
            reading = group.create_task(self._read(socket))
            await self._write(socket)
            await self._journal.until(lambda: self.is_answered)
            reading.cancel()

    async def _write(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._journal.history.seen.append(Spoke(f"{self.name}/1", self._room))
        while not self._stop:
            id_ = f"{self.name}-{self.sent}"
            sending = Sending(self._room, self.name, id_, id_ + self._text, waits=True)
            self._unanswered[id_] = sending
            payload = message(self._room, sending.content, self.name, id=id_)
            frame = orjson.dumps({"request_id": id_, "chat_message": payload})
            await socket.send_frame(frame, WSMsgType.TEXT)
            self.sent += 1
            # The reader has to get its turn.
            await asyncio.sleep(0)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        async for received in socket:
            self._handle(orjson.loads(received.data))
        raise AssertionError(f"{self.name} was cut off with {socket.close_code}")

    def _handle(self, frame: Frame) -> None:
        match frame:
            case {"chat_message": got}:
                self._got(got, frame.get("request_id"))
            case {"error": {"code": "UNAVAILABLE"}, "request_id": str(id_)}:
                self.refused += 1
                self._journal.add(self._unanswered.pop(id_), Outcome.REFUSED)
            case _:
                self._journal.history.strays.append(f"{self.name}: did not expect {frame}")

    def _got(self, got: Frame, request_id: str | None) -> None:
        stored = self._journal.kept(Message.of(got))
        self._journal.history.seen.append(Delivered(f"{self.name}/1", stored))
        if request_id is not None:
            sending = self._unanswered.pop(request_id)
            self._journal.add(sending, Outcome.CONFIRMED, stored.seq)


class Sender(Protocol):
    """A client that counts what it sends.

    Attributes:
        sent: number of messages.
    """

    sent: int


async def stalled(flooders: Sequence[Sender]) -> None:
    """Waits until no sender gets anything into its socket any more."""
    looks, before = 0, -1
    async with asyncio.timeout(PATIENCE_SECONDS):
        while looks < _LOOKS:
            await asyncio.sleep(_LOOK_SECONDS)
            sent = sum(flooder.sent for flooder in flooders)
            looks = looks + 1 if sent == before else 0
            before = sent


def memory_bytes(pid: int) -> int:
    """Returns the unshared memory of a process, in bytes."""
    return int(psutil.Process(pid).memory_full_info().uss)


def _small_socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    return sock
