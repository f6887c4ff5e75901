"""The members of rooms, and how far each room has been delivered: no I/O."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Member = TypeVar("Member")


class Room(Generic[Member]):
    """One room that somebody is in, or is about to enter.

    Attributes:
        last_seq: the `seq` of the last message that was delivered, or that was in the
            history when a member entered. `None` until it was looked up.
        members: the receivers of the next message, in the order of entering.
    """

    __slots__ = ("last_seq", "members", "pins")

    def __init__(self) -> None:
        self.last_seq: int | None = None
        self.members: dict[Member, None] = {}
        self.pins = 0

    def set_last_seq_if_unknown(self, seq: int) -> int:
        """Takes the result of a look-up, if nothing is known yet; returns the last `seq`.

        A look-up may see a message before it is announced. Once there are
        members, they still wait for that one: `last_seq` must not pass it.
        """
        if self.last_seq is None:
            self.last_seq = seq
        return self.last_seq


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

        Inside, `last_seq` goes up with each message, with or without members, so
        that a member that has read the history up to `last_seq` may enter in the same
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
            room.members.pop(member, None)
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
