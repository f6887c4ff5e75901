"""What the event loop knows of rooms in which messages have more than their texts: no I/O.

Of a room it is asked for: the number of the newest change that was announced, and whether
anything of it is in `states`, so that its pages have to be read with that. Both are told with the
first message that is stored in it, or read from the file, and followed then. What is read may be
newer than what was announced, as the event loop hears of a commit later: so whoever reads waits
for the changes that were under way.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

from chat.storage.sqlite.asks import RoomHead, Told

# Of how many rooms it is kept.
_MOST: Final = 100_000


class Heads:
    """The heads of the rooms that somebody asked for."""

    def __init__(self) -> None:
        self._changes: dict[str, int] = {}
        self._have_states: dict[str, bool] = {}
        self._under_way: dict[str, set[asyncio.Future[Any]]] = {}

    def get(self, room_id: str) -> RoomHead | None:
        """Returns what is known of a room; `None` if it has to be read."""
        change, has_states = self._changes.get(room_id), self._have_states.get(room_id)
        return None if change is None or has_states is None else RoomHead(change, has_states)

    def may_have_states(self, room_id: str) -> bool:
        """Whether the file may have states of a room now, announced or not."""
        return room_id in self._under_way or self._have_states.get(room_id, True)

    def learn(self, room_id: str, read: RoomHead) -> RoomHead:
        """Takes what was read, unless something newer was announced; returns what holds.

        Args:
            room_id: the room.
            read: before now; what was `under_way` behind that has ended.
        """
        head = RoomHead(
            self._changes.setdefault(room_id, read.change),
            self._have_states.setdefault(room_id, read.has_states),
        )
        self._trim()
        return head

    def note(self, told: Told) -> None:
        """Takes what is announced in this moment."""
        for room_id, head in told.heads.items():
            self._changes[room_id], self._have_states[room_id] = head
        for room_id in told.besides:
            self._have_states[room_id] = True
        for span in told.changes:
            self._changes[span.room_id] = span.last_change
            # What is known of the room itself is beside no message.
            if span.messages:
                self._have_states[span.room_id] = True
        self._trim()

    def begin(self, room_id: str, future: asyncio.Future[Any]) -> None:
        """A change is under way until a future ends."""
        under_way = self._under_way.setdefault(room_id, set())
        under_way.add(future)

        def done(_: object) -> None:
            under_way.discard(future)
            if not under_way and self._under_way.get(room_id) is under_way:
                del self._under_way[room_id]

        future.add_done_callback(done)

    def under_way(self, room_id: str) -> Collection[asyncio.Future[Any]]:
        """Returns what a change of the room waits for; none if all that is in the file is told."""
        return list(self._under_way.get(room_id, ()))

    def _trim(self) -> None:
        for known in (self._changes, self._have_states):
            while len(known) > _MOST:
                del known[next(iter(known))]
