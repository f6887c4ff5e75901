"""The rooms of a proxy's clients, and how far each was delivered: no I/O.

A room is subscribed to upstream when the first client needs it and given up
after the last::

    joining --joined--> live --link lost--> joining (from the last position)
       |                                       |
       +--refused--> gone                      +--joined--> live
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

from gen.chat import ChatMessage, Error, Join, Joined
from proxy.core.milestones import Milestones

Client = TypeVar("Client")


class GapError(Exception):
    """The server left out a message: the stream cannot be trusted any more."""


class Room(Generic[Client]):
    """One room that a client is in, or is about to enter.

    Attributes:
        room_id: its id.
        join_ref: the reference of the `join` that was last sent upstream.
        live: whether the server has answered it.
        epoch: the epoch of its history, empty before it was first live.
        last_seq: the position that was last delivered.
        milestones: the positions that somebody who had them elsewhere waits for; `None`
            in most rooms.
        members: who gets the next message, in the order of entering.
        tentative: of members whom only a message put in that is not confirmed yet: the
            references of all that they sent since then. Refused, it takes them out again.
        replaying: who is about to enter, and the messages that they sent and are
            going to find in the replay, with their request ids, by position.
        pins: how many clients are about to enter.
        ready: ends with `None` once the room is live, or with why it cannot be.
    """

    __slots__ = (
        "epoch",
        "join_ref",
        "last_seq",
        "live",
        "members",
        "milestones",
        "pins",
        "ready",
        "replaying",
        "room_id",
        "tentative",
    )

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.join_ref = 0
        self.live = False
        self.epoch = ""
        self.last_seq = 0
        self.members: dict[Client, None] = {}
        self.tentative: dict[Client, dict[int, None]] = {}
        self.replaying: dict[Client, dict[int, tuple[ChatMessage, str | None]]] = {}
        self.pins = 0
        self.milestones: Milestones | None = None
        self.ready: asyncio.Future[Error | None] = asyncio.get_running_loop().create_future()

    def sent(self, client: Client, ref: int, *, entered: bool) -> None:
        """Notes that a member has sent a message.

        Args:
            client: the member.
            ref: the reference of the send.
            entered: whether the message is what puts it in.
        """
        if entered:
            self.tentative[client] = {ref: None}
        elif client in self.tentative:
            self.tentative[client][ref] = None

    def confirmed(self, client: Client) -> None:
        """Notes that a message of a member was stored, or may be yet: it is there to stay."""
        self.tentative.pop(client, None)

    def advance(self, seq: int) -> bool:
        """Notes that a message was stored at a position.

        Returns:
            Whether it is the next one; if not, nobody is to get it.

        Raises:
            GapError: one is missing before it.
        """
        if not self.live or seq <= self.last_seq:
            return False
        if seq != self.last_seq + 1:
            raise GapError(f"room {self.room_id!r}: {seq} came after {self.last_seq}")
        self.last_seq = seq
        return True

    def remains_without(self, client: Client, ref: int) -> bool:
        """Notes that a send was refused; returns whether who sent it stays in the room."""
        refs = self.tentative.get(client)
        if refs is None:
            return True
        refs.pop(ref, None)
        return bool(refs)

    def leave(self, client: Client) -> None:
        """Takes a client out."""
        self.members.pop(client, None)
        self.tentative.pop(client, None)

    def joining(self, ref: int) -> Join:
        """Notes that the room is asked for upstream; returns what to ask."""
        self.join_ref = ref
        self.live = False
        if self.ready.done():
            self.ready = asyncio.get_running_loop().create_future()
        if not self.epoch:
            return Join(self.room_id)
        return Join(self.room_id, self.last_seq, self.epoch)

    def joined(self, joined: Joined) -> bool:
        """Notes the server's answer.

        Returns:
            Whether the members lost their place: what they have is not followed
            by what they will get.
        """
        resumed = bool(self.epoch)
        lost = resumed and not joined.recovered
        if not resumed or lost:
            self.epoch = joined.epoch
            self.last_seq = joined.last_seq
            # Who waits for a position of another history is to look again.
            self._end_milestones()
        self.live = True
        self._end_wait(None)
        return lost

    def refused(self, error: Error) -> None:
        """Notes that the server refused the join."""
        self._end_milestones()
        self._end_wait(error)

    def is_behind(self, join: Join) -> bool:
        """Whether a client says that it has more of this history than was delivered here.

        It may: another proxy may be ahead of this one.
        """
        if join.after_seq is None or join.after_seq <= self.last_seq:
            return False
        return join.epoch in (None, self.epoch)

    def milestone(self, seq: int) -> asyncio.Future[None]:
        """Returns what ends once a position was delivered, or never will be.

        Whoever waits for it must shield it: others wait as well.
        """
        if self.milestones is None:
            self.milestones = Milestones()
        future = self.milestones.at(seq)
        self.note_delivered()
        return future

    def note_delivered(self) -> None:
        """Ends the milestones up to what was delivered; to be called behind each batch."""
        if self.milestones is not None:
            self.milestones.reached(self.last_seq)
            if not self.milestones:
                self.milestones = None

    def can_replay(self, join: Join, limit: int) -> bool:
        """Whether all that a client missed can be replayed to it.

        Args:
            join: what the client has.
            limit: how many messages may be replayed.
        """
        after_seq, epoch = join.after_seq, join.epoch
        if after_seq is None or after_seq > self.last_seq:
            return False
        if epoch is not None and epoch != self.epoch:
            return False
        return self.last_seq - after_seq <= limit

    def _end_milestones(self) -> None:
        if self.milestones is not None:
            self.milestones.clear()
            self.milestones = None

    def _end_wait(self, result: Error | None) -> None:
        if not self.ready.done():
            self.ready.set_result(result)


class Rooms(Generic[Client]):
    """The rooms that somebody is in or about to enter."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room[Client]] = {}
        # Those that the server was asked for on this link, by the reference: an answer
        # must not cost more the more rooms there are.
        self._asked: dict[int, Room[Client]] = {}

    def __iter__(self) -> Iterator[Room[Client]]:
        return iter(tuple(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    def count_members(self) -> int:
        """Returns how many members all rooms have together."""
        return sum(len(room.members) for room in self._rooms.values())

    def get(self, room_id: str) -> Room[Client] | None:
        """Returns a room, if somebody is in it."""
        return self._rooms.get(room_id)

    def add(self, room_id: str) -> Room[Client]:
        """Adds a room that is not there."""
        room = self._rooms[room_id] = Room(room_id)
        return room

    def remove(self, room: Room[Client]) -> None:
        """Removes a room."""
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]
            self._asked.pop(room.join_ref, None)

    def joining(self, room: Room[Client], ref: int) -> Join:
        """Notes that a room is asked for upstream; returns what to ask."""
        self._asked.pop(room.join_ref, None)
        self._asked[ref] = room
        return room.joining(ref)

    def disconnected(self) -> None:
        """Notes that what was asked for upstream will not be answered."""
        self._asked.clear()
        for room in self._rooms.values():
            room.joining(0)

    def asked(self, ref: int) -> Room[Client] | None:
        """Returns the room that was last asked for by a reference.

        There may be more than one answer: a place that was lost, or a replay that failed.
        """
        return self._asked.get(ref)

    def unused(self, room: Room[Client]) -> bool:
        """Whether nobody needs the room any more."""
        return not room.members and not room.pins and self._rooms.get(room.room_id) is room
