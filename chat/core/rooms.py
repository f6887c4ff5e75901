"""The members of rooms, and how far each room has been delivered: no I/O."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from chat.core.membership import Followers, Following, Membership
from chat.storage.listener import Head
from gen.chat import RoomChanges

Member = TypeVar("Member")


class Room(Generic[Member]):
    """One room that somebody is in, or is about to enter.

    Attributes:
        last_seq: the `seq` of the last message that was delivered, or that was in the
            history when a member entered. `None` until something of it is known.
        last_change: the last change that was heard of, likewise.
        told_change: the last change that followers were told. Those behind it wait to be told
            together.
        members: the receivers of the next message, in the order of entering.
        followers: those of them who follow more than messages, if any.
    """

    __slots__ = ("followers", "last_change", "last_seq", "members", "pins", "told_change")

    def __init__(self) -> None:
        self.last_seq: int | None = None
        self.last_change: int | None = None
        self.told_change = 0
        self.members: dict[Member, None] = {}
        self.followers: Followers[Member] | None = None
        self.pins = 0

    @property
    def is_known(self) -> bool:
        """Whether both heads are known; nobody enters before."""
        return self.last_seq is not None and self.last_change is not None

    @property
    def head(self) -> Head:
        """How far the room has come; see `last_seq`, `last_change`."""
        return Head(self.last_seq or 0, self.last_change or 0)

    def learn(self, head: Head) -> None:
        """Takes the result of a look-up, if the room is not known yet.

        A look-up may see a message or a change before it is announced. Once there are
        members, they still wait for that one: `last_seq` must not pass it. Before, nobody
        misses it: whoever enters reads up to there.
        """
        if not self.is_known:
            seq, change = self.head
            self.renew(Head(max(head.seq, seq), max(head.change, change)))

    def renew(self, head: Head) -> None:
        """Goes on from a head, of another history perhaps."""
        self.last_seq, self.last_change = head
        self.told_change = head.change

    def hear(self, changes: RoomChanges) -> bool:
        """Notes that messages changed; returns whether those in the room are to be told."""
        last_change = changes.last_change
        if self.last_change is None:
            self.last_change = self.told_change = last_change
            return False
        if last_change <= self.last_change:
            return False
        self.last_change = last_change
        return True

    def enter(self, member: Member, stay: Membership) -> None:
        """Adds a member; one that follows changes was told all up to `told_change` at least."""
        self.members[member] = None
        if isinstance(stay, Following):
            self.followers = self.followers or Followers()
            self.followers.add(member, stay)

    def remove(self, member: Member) -> None:
        """Removes a member; nothing happens if it is not one."""
        self.members.pop(member, None)
        if self.followers is not None:
            self.followers.remove(member)
            self.followers = self.followers or None


class Rooms(Generic[Member]):
    """The rooms that have members; the others take no memory.

    Args:
        forgotten: called with each room that nobody is in any more.
    """

    def __init__(self, forgotten: Callable[[str], None] = lambda _: None) -> None:
        self._rooms: dict[str, Room[Member]] = {}
        self._forgotten = forgotten

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, room_id: str) -> Room[Member] | None:
        """Returns a room, if somebody is in it or about to enter it."""
        return self._rooms.get(room_id)

    def count_members(self) -> int:
        """Returns how many members all rooms have together."""
        return sum(len(room.members) for room in self._rooms.values())

    @contextmanager
    def pinned(self, room_id: str) -> Iterator[Room[Member]]:
        """Follows a room while somebody is about to enter it.

        Inside, `last_seq` and `last_change` go up with each message and change, with or without
        members, so that a member that has read the history up to there may enter in the same
        turn of the event loop without a gap or a duplicate at the seam.
        """
        room = self._rooms.setdefault(room_id, Room())
        room.pins += 1
        try:
            yield room
        finally:
            room.pins -= 1
            self._forget_if_empty(room_id, room)

    def leave(self, room_id: str, member: Member) -> None:
        """Takes a member out of a room; nothing happens if it is not in it."""
        room = self._rooms.get(room_id)
        if room is not None:
            room.remove(member)
            self._forget_if_empty(room_id, room)

    def advance(self, room_id: str, seq: int) -> Collection[Member]:
        """Notes that a message was stored.

        Returns:
            Its receivers: none, when those in the room have it already.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return ()
        if room.last_seq is not None and seq <= room.last_seq:
            return ()
        room.last_seq = seq
        return room.members

    def _forget_if_empty(self, room_id: str, room: Room[Member]) -> None:
        if not room.members and not room.pins and self._rooms.get(room_id) is room:
            del self._rooms[room_id]
            self._forgotten(room_id)
