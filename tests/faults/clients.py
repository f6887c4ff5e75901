"""WebSocket clients that keep working while things break, and record what they see.

They follow the recipe of docs/websocket-api.md: each message has an id of its own and
is sent again, under that id, until it is confirmed; after a lost connection a client
resumes from the last position and the epoch of each room.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp import ClientError, WSCloseCode, WSMsgType

from tests.faults.history import Delivered, Joined, Left, Message, Outcome, Spoke
from tests.faults.journal import Journal, Sending
from tests.proxy.web_client import Frame, code_of, message

# Wait of a client before it retries a refused message, or connects again.
_RETRY_SECONDS: Final = 0.03
_LAST_WORD: Final = "last word"


@dataclass(slots=True)
class Place:
    """Position of a client in a room.

    Attributes:
        seq: the last position up to which it has everything.
        follows: whether its next message continues from `seq`.
        lost: number of times the server denied that.
    """

    seq: int = 0
    epoch: str | None = None
    follows: bool = False
    lost: int = 0
    request_id: str = ""


@dataclass(slots=True)
class _Link:
    """One connection of a client.

    Attributes:
        name: its name in the history.
        joins: the position that each `join` gave, by request id.
        epochs: the history that the messages of each room belong to.
        spoke: the rooms that it has sent to.
        outbox: frames to write.
    """

    name: str
    joins: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, str] = field(default_factory=dict)
    spoke: set[str] = field(default_factory=set)
    outbox: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)


class Participant:
    """A client that stays in its rooms, over as many connections as it takes.

    Args:
        name: the user id that it sends as.
        urls: addresses to connect to, used in turn.
        rooms: the rooms to join.
        journal: receives what the client does and sees.

    Attributes:
        places: the client's position in each room.
        connections: number of connections made.
        closes: close code of each connection that the other side ended; 1006 if it sent
            none.
    """

    def __init__(
        self, name: str, urls: str | Sequence[str], rooms: Iterable[str], journal: Journal
    ) -> None:
        self.name = name
        self.places = {room: Place() for room in rooms}
        self.connections = 0
        self.closes: list[int] = []
        self._urls = cycle((urls,) if isinstance(urls, str) else urls)
        self._journal = journal
        self._socket: aiohttp.ClientWebSocketResponse[Any] | None = None
        self._link: _Link | None = None
        self._unconfirmed: dict[str, Sending] = {}
        self._numbers = count(1)
        self._ending = False
        self._over = False

    @property
    def follows(self) -> bool:
        """Whether it gets live messages in each of its rooms."""
        return all(place.follows for place in self.places.values())

    @property
    def connected(self) -> bool:
        """Whether it believes that it has a connection."""
        return self._link is not None

    @property
    def lost(self) -> int:
        """Number of times that a room could not be continued."""
        return sum(place.lost for place in self.places.values())

    # Actions.

    async def run(self) -> None:
        """Stays connected until `finish`; reconnects after each lost connection."""
        async with aiohttp.ClientSession() as session:
            while not self._over:
                with suppress(ClientError, OSError):
                    async with session.ws_connect(next(self._urls)) as connection:
                        await self._attend(connection)
                if not self._over:
                    await asyncio.sleep(_RETRY_SECONDS)

    async def talk(
        self, random: Random, until: asyncio.Event, most: int, pause_seconds: float = 0.0
    ) -> None:
        """Sends to its rooms until told to stop, and until all of it is confirmed.

        Args:
            random: picks the room and the length of the text.
            until: set when to stop.
            most: largest number of unconfirmed messages.
            pause_seconds: pause after each message.
        """
        rooms = list(self.places)
        while not until.is_set():
            self._post(random.choice(rooms), "x" * random.choice((1, 50, 12_000)))
            await asyncio.sleep(pause_seconds)
            await self._journal.until(lambda: len(self._unconfirmed) < most)
        await self._journal.until(lambda: not self._unconfirmed)

    async def roam(self, random: Random, until: asyncio.Event) -> None:
        """Leaves its rooms and rejoins them at its position, until told to stop."""
        while not until.is_set():
            await self._step_out(random.choice(list(self.places)), random.randrange(1, 40), until)

    async def _step_out(self, room: str, after: int, until: asyncio.Event) -> None:
        place = self.places[room]
        goal = place.seq + after
        await self._journal.until(lambda: place.seq >= goal or until.is_set())
        place.follows = False
        self._put({"request_id": f"leave {next(self._numbers)}", "leave": {"room_id": room}})
        self._join(room)
        await self._journal.until(lambda: place.follows)

    async def reached(self, heads: dict[str, int]) -> None:
        """Waits until the client has all messages.

        Args:
            heads: the last position of each room.
        """
        await self._journal.until(
            lambda: all(place.seq >= heads.get(room, 0) for room, place in self.places.items())
        )

    def drop(self) -> None:
        """Aborts its connection without a close frame, like a client that crashes."""
        if self._socket is not None:
            transport = self._socket.get_extra_info("socket")
            with socket.fromfd(transport.fileno(), transport.family, transport.type) as same:
                same.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Lets `run` end once all that was sent before is handled."""
        self._ending = True
        self._put({"request_id": _LAST_WORD})

    # Sending.

    def _post(self, room: str, padding: str) -> None:
        id_ = f"{self.name}-{next(self._numbers)}"
        sending = Sending(room, self.name, id_, f"{id_} {padding}")
        self._unconfirmed[id_] = sending
        self._try(sending)

    def _try(self, sending: Sending) -> None:
        """Sends a message unless an answer to it is due; without a link, waits for one."""
        if self._link is None or sending.waits or sending.id not in self._unconfirmed:
            return
        sending.waits = True
        if sending.room not in self._link.spoke:
            self._link.spoke.add(sending.room)
            self._journal.history.seen.append(Spoke(self._link.name, sending.room))
        payload = message(sending.room, sending.content, sending.sender, id=sending.id)
        self._put({"request_id": sending.request_id, "chat_message": payload})

    def _join(self, room: str) -> None:
        place = self.places[room]
        place.request_id = f"join {next(self._numbers)}"
        position: dict[str, Any] = {"room_id": room, "after_seq": place.seq}
        if place.epoch is not None:
            position["epoch"] = place.epoch
        if self._link is not None:
            self._link.joins[place.request_id] = place.seq
        self._put({"request_id": place.request_id, "join": position})

    def _put(self, frame: Frame) -> None:
        if self._link is not None:
            self._link.outbox.put_nowait(frame)

    def _later(self, call: Callable[..., None], *arguments: object) -> None:
        asyncio.get_running_loop().call_later(_RETRY_SECONDS, call, *arguments)

    # Receiving.

    async def _attend(self, connection: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self.connections += 1
        self._socket = connection
        link = self._link = _Link(f"{self.name}/{self.connections}")
        for room in self.places:
            self._join(room)
        for sending in self._unconfirmed.values():
            self._try(sending)
        if self._ending:
            self.finish()
        writer = asyncio.create_task(_write(connection, link.outbox))
        try:
            while (received := await connection.receive()).type is WSMsgType.TEXT:
                self._handle(link, received.json())
                if self._over:
                    return
            self.closes.append(code_of(connection, received) or WSCloseCode.ABNORMAL_CLOSURE)
        finally:
            writer.cancel()
            self._cut_off()
            await asyncio.wait([writer])

    def _cut_off(self) -> None:
        self._link = self._socket = None
        for place in self.places.values():
            place.follows = False
        for sending in self._unconfirmed.values():
            if sending.waits:
                self._journal.add(sending, Outcome.UNKNOWN)
                sending.tries += 1
                sending.waits = False
        self._journal.ring()

    def _handle(self, link: _Link, frame: Frame) -> None:
        request_id = frame.get("request_id")
        match frame:
            case {"chat_message": got}:
                self._got(link, got, request_id)
            case {"joined": joined}:
                self._joined(link, joined, request_id)
            case {"left": {"room_id": room}}:
                link.spoke.discard(room)
                link.epochs.pop(room, None)
                self._journal.history.seen.append(Left(link.name, room))
            case {"error": _} if request_id == _LAST_WORD:
                self._over = True
            case {"error": {"retryable": True}}:
                self._refused(link, request_id)
            case _:
                self._stray(link, frame)
        self._journal.ring()

    def _got(self, link: _Link, got: Frame, request_id: str | None) -> None:
        stored = self._journal.kept(Message.of(got))
        again = self._confirmed(link, stored, request_id)
        self._journal.history.seen.append(Delivered(link.name, stored, again))
        place = self.places[stored.room]
        if place.follows and stored.seq == place.seq + 1:
            place.seq = stored.seq

    def _confirmed(self, link: _Link, stored: Message, request_id: str | None) -> bool:
        """Takes an answer; returns whether it answers an earlier attempt of a message."""
        if request_id is None:
            return False
        sending = self._unconfirmed.get(stored.id)
        if sending is None or sending.request_id != request_id or not sending.waits:
            self._stray(link, f"an answer to {request_id!r}")
            return False
        del self._unconfirmed[stored.id]
        epoch = link.epochs.get(stored.room, "")
        self._journal.add(sending, Outcome.CONFIRMED, stored.seq, epoch)
        return sending.tries > 0

    def _joined(self, link: _Link, joined: Frame, request_id: str | None) -> None:
        room, recovered, epoch = joined["room_id"], joined["recovered"], joined["epoch"]
        place = self.places[room]
        asked = link.joins.get(request_id or "")
        is_new = place.epoch not in (None, epoch)
        if recovered and (asked is None or is_new):
            self._stray(link, joined)
            return
        after = asked if recovered and asked is not None else joined["last_seq"]
        self._journal.history.seen.append(Joined(link.name, room, after, epoch))
        place.epoch = link.epochs[room] = epoch
        if is_new:
            # All that it had is of another history: it reads this one from the start.
            place.seq = 0
        if recovered:
            place.follows = request_id == place.request_id
        else:
            place.follows = False
            place.lost += 1
            self._join(room)

    def _refused(self, link: _Link, request_id: str | None) -> None:
        for sending in self._unconfirmed.values():
            if sending.request_id == request_id and sending.waits:
                self._journal.add(sending, Outcome.REFUSED)
                sending.tries += 1
                sending.waits = False
                self._later(self._try, sending)
                return
        for room, place in self.places.items():
            if place.request_id == request_id:
                self._later(self._join_again, room, request_id)
                return
        self._stray(link, request_id)

    def _join_again(self, room: str, request_id: str) -> None:
        if self.places[room].request_id == request_id and self._link is not None:
            self._join(room)

    def _stray(self, link: _Link, what: object) -> None:
        self._journal.history.strays.append(f"{link.name}: did not expect {what}")


async def _write(
    connection: aiohttp.ClientWebSocketResponse[Any], outbox: asyncio.Queue[Frame]
) -> None:
    # The reader notices that the connection is gone.
    with suppress(ClientError, OSError):
        while True:
            await connection.send_json(await outbox.get())
