"""The rooms of a proxy's clients, each subscribed to at the server while it is needed: no I/O.

A room is needed while it has members or pins. A pin is a client that is about to enter: it
reads what it missed, and must find the room live when it has it all.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from gen.chat import Error, Join, Leave, Left, RelayCommand, ServerFrame
from proxy import errors
from proxy.config import Config
from proxy.core import frames
from proxy.core.client import Client
from proxy.core.outbox import COMMAND_BYTES, Outbox
from proxy.core.people import People
from proxy.core.room import Room
from proxy.errors import Refused

_Result = TypeVar("_Result")

_RETRY_JOIN_SECONDS: Final = 0.5


class Rooms:
    """The rooms that clients are in or about to enter."""

    def __init__(self, config: Config, outbox: Outbox, people: People) -> None:
        self._hold_seconds = config.hold_seconds
        self._call_seconds = config.call_seconds
        self._outbox = outbox
        self._people = people
        # Whether the server of this link may know of people.
        self._has_people = True
        self._rooms: dict[str, Room] = {}
        # Those that the server was asked for on this link, by the ref: an answer
        # must not cost more the more rooms there are.
        self._asked: dict[int, Room] = {}

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    def count_members(self) -> int:
        """Returns the number of members of all rooms together."""
        return sum(len(room.members) for room in self._rooms.values())

    def get(self, room_id: str) -> Room | None:
        """Returns a room, if somebody needs it."""
        return self._rooms.get(room_id)

    # Clients come and go.

    def need(self, room_id: str) -> Room:
        """Returns a room; subscribes to it, if it is the first time that it is needed."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id)
            self._subscribe(room)
        return room

    @contextmanager
    def pinned(self, room_id: str) -> Iterator[Room]:
        """Pins a room while a client is about to enter it."""
        room = self.need(room_id)
        room.pins += 1
        try:
            yield room
        finally:
            room.pins -= 1
            self._give_up_if_unused(room)

    def add_member(self, client: Client, room: Room, join: Join | None = None) -> None:
        """Puts a client into a room: it gets what comes after `Room.last_seq`.

        Args:
            client: the client.
            room: the room.
            join: what it asked for, if it did not just send: it says what the client follows.
        """
        client.rooms.add(room.room_id)
        room.members[client] = None
        if join is not None:
            room.followers.add(client, join)
            self._people.entered(client, room, join)

    def leave(self, client: Client, room_id: str) -> None:
        """Takes a client out of a room at its own request."""
        self.remove_member(client, room_id)

    def remove_member(self, client: Client, room_id: str) -> None:
        """Takes a client out of a room. Nothing happens if it is not in it."""
        client.rooms.discard(room_id)
        room = self._rooms.get(room_id)
        if room is not None:
            room.leave(client)
            self._people.left(client, room)
            self._give_up_if_unused(room)

    async def wait_live(self, room: Room) -> None:
        """Waits until a room is live.

        Raises:
            Refused: the server refused the room, or stays away.
        """
        error = await self._patiently(room.ready)
        if error is not None:
            raise Refused(error)

    async def wait_delivered(self, room: Room, seq: int, change: int) -> None:
        """Waits until a room was delivered up to a position, or its history is another.

        Args:
            room: the room.
            seq: the message.
            change: the change.

        Raises:
            Refused: that takes too long, or the server refused the room.
        """
        await self._patiently(room.milestone(seq))
        await self._patiently(room.change_milestone(change))
        await self.wait_live(room)

    # The server answers.

    def room_of_join(self, ref: int) -> Room | None:
        """Returns the room that was last asked for by a ref.

        There may be more than one answer: a gap, or a replay that failed.
        """
        return self._asked.get(ref)

    def join_refused(self, room: Room, error: Error) -> None:
        """Gives a room up that the server refused, or asks again if that may help."""
        if room.is_refused_for_people(error):
            self._has_people = False
            self._subscribe(room)
            return
        room.join_refused(error)
        # Also for a client in the middle of a replay: it will be a member.
        if error.retryable and (room.members or room.pins):
            loop = asyncio.get_running_loop()
            loop.call_later(_RETRY_JOIN_SECONDS, self._subscribe_again, room, room.join_ref)
            return
        # Members of before are told; the others have asked, and get an answer.
        told = room.epoch and frames.encode(ServerFrame(left=Left(room.room_id)))
        for client in room.members:
            client.rooms.discard(room.room_id)
            if told and client not in room.tentative:
                client.write(told)
        self._remove(room)

    # The link comes and goes.

    def connected(self) -> None:
        """Asks for all rooms again, each from the position that was last delivered."""
        self._has_people = True
        for room in self:
            self._subscribe(room)

    def disconnected(self) -> None:
        """Notes that requests will not be answered any more."""
        self._asked.clear()
        for room in self._rooms.values():
            room.link_lost()

    def unanswered(self) -> Iterator[Room]:
        """Yields the rooms that the server was asked for and has not answered."""
        return (room for room in self if room.join_ref and not room.live)

    def awaits(self, room_id: str, ref: int) -> bool:
        """Whether the server has not answered the request of a ref."""
        room = self._rooms.get(room_id)
        return room is not None and not room.live and room.join_ref == ref

    def _subscribe(self, room: Room) -> None:
        ref = next(self._outbox.refs)
        self._asked.pop(room.join_ref, None)
        self._asked[ref] = room
        join = room.start_join(ref, people=self._has_people)
        self._outbox.put(RelayCommand(ref=ref, join=join), COMMAND_BYTES)

    def _subscribe_again(self, room: Room, ref: int) -> None:
        if room.join_ref == ref and self._rooms.get(room.room_id) is room:
            self._subscribe(room)

    def _give_up_if_unused(self, room: Room) -> None:
        if not room.members and not room.pins and self._rooms.get(room.room_id) is room:
            self._remove(room)
            leave = RelayCommand(ref=next(self._outbox.refs), leave=Leave(room.room_id))
            self._outbox.put(leave, COMMAND_BYTES)

    def _remove(self, room: Room) -> None:
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]
            self._asked.pop(room.join_ref, None)
            self._people.forget(room)

    async def _patiently(self, future: asyncio.Future[_Result]) -> _Result:
        patience = self._hold_seconds
        if self._outbox.is_open:
            patience += self._call_seconds
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(future)
        except TimeoutError:
            raise Refused(errors.unavailable()) from None
