"""Reading what became of messages: changes, reactions, marks, and what an erasure looks for."""

from bisect import bisect_right
from itertools import accumulate
from typing import Final, NamedTuple

from chat.storage.base import PAGE_BYTES, ChangesPage, ReactionRow
from chat.storage.changes import MOST_MENTIONS
from chat.storage.rooms import ITSELF, Altered, number_of, span_of
from chat.storage.sqlite.asks import RoomHead
from chat.storage.sqlite.infos import info_from
from chat.storage.sqlite.marks import READ
from chat.storage.sqlite.reader import Readers
from chat.storage.sqlite.states import state_from
from gen.chat import ChangeMessageRequest, Delete, Mark, MessageChange

# In how many rooms a statement looks for messages of a user: a bound on its time.
_ROOMS: Final = 10_000

_HEAD: Final = "SELECT json_array(changes, beside) FROM rooms WHERE room_id = ?"
_CHANGES: Final = """
SELECT json_array(changes, json((
    SELECT json_group_array({element} ORDER BY change) FROM (
        SELECT * FROM states
        WHERE change > room << 32 | ?2 AND change < (room + 1) << 32
        ORDER BY change LIMIT ?3
    )
))) FROM rooms WHERE room_id = ?1
"""
_CHANGE_ROWS: Final = _CHANGES.format(
    element="json_array(position & 0xffffffff, content, hex(state))"
)
_CHANGE_SIZES: Final = _CHANGES.format(
    element="coalesce(octet_length(content), 0) + octet_length(state)"
)
_COUNT: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM states
    WHERE change > (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2
      AND change < (SELECT (room + 1) << 32 FROM rooms WHERE room_id = ?1)
    LIMIT ?3
)
"""
_REACTIONS: Final = """
SELECT json_group_array(json_array(emoji, change, user_id) ORDER BY emoji, change) FROM (
    SELECT * FROM reactions
    WHERE position = (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2
      AND (emoji, change) > (?3, ?4)
    ORDER BY emoji, change LIMIT ?5
)
"""
_REACTIONS_OF: Final = """
SELECT json_group_array(json_array(emoji, change, user_id) ORDER BY emoji, change) FROM (
    SELECT * FROM reactions
    WHERE position = (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2
      AND (emoji, change) > (?3, ?4) AND user_id = ?6
    ORDER BY emoji, change LIMIT ?5
)
"""
_ERASURES: Final = "SELECT json_group_array(user_id ORDER BY user_id) FROM erasures"
_SENT: Final = """
WITH some AS MATERIALIZED (
    SELECT room, room_id FROM rooms WHERE room > ?2 ORDER BY room LIMIT ?3
)
SELECT json_array((SELECT max(room) FROM some), json((
    SELECT json_group_array(json_array(room_id, position & 0xffffffff)) FROM (
        SELECT room_id, position FROM some CROSS JOIN messages
        WHERE position >> 32 = +room AND sender_id = ?1 AND NOT EXISTS (
            SELECT 1 FROM states WHERE states.position = messages.position AND states.content = ''
        )
        LIMIT ?4
    )
)))
"""
_REACTED: Final = """
SELECT json_group_array(json_array(room_id, position & 0xffffffff, emoji)) FROM (
    SELECT room_id, position, emoji FROM reactions CROSS JOIN rooms
    WHERE user_id = ?1 AND room = position >> 32 LIMIT ?2
)
"""


class Sent(NamedTuple):
    """Messages of a user that are not deleted, in some of the rooms.

    Attributes:
        deletions: the requests that delete them.
        last_room: the last of the rooms; `None` if there was none.
    """

    deletions: list[ChangeMessageRequest]
    last_room: int | None


class StateReader:
    """Reads what became of messages, by the threads of `readers`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def head(self, room_id: str) -> RoomHead:
        """Returns what is known of a room."""

        def read() -> RoomHead:
            changes, has_states = self._readers.row(_HEAD, room_id) or (0, 0)
            return RoomHead(int(changes), bool(has_states))

        return await self._readers.run(read)

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        """Returns what changed in a room; see `Store.changes`."""
        return await self._readers.run(lambda: self._changes(room_id, after_change, limit))

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        """Returns how many messages changed; see `Store.count_changes`."""
        bindings = room_id, after_change, most
        found = await self._readers.run(lambda: self._readers.one(_COUNT, bindings))
        return int(str(found))

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        """Returns reactions to a message; see `Store.reactions`."""
        emoji, change = after or ("", 0)
        bindings = room_id, seq, emoji, change, limit

        def read() -> list[ReactionRow]:
            rows = (
                self._readers.row(_REACTIONS_OF, *bindings, user_id)
                if user_id
                else self._readers.row(_REACTIONS, *bindings)
            )
            return [ReactionRow(*row) for row in rows]

        return await self._readers.run(read)

    async def mark(self, user_id: str, room_id: str, last_seq: int) -> Mark:
        """Returns how far a user has read a room.

        Args:
            user_id: the user.
            room_id: the room.
            last_seq: its newest position.
        """

        def read() -> Mark:
            seq, mentions = self._readers.row(READ, room_id, user_id, last_seq) or (0, 0)
            return Mark(room_id, seq, min(mentions, MOST_MENTIONS))

        return await self._readers.run(read)

    async def erasures(self) -> list[str]:
        """Returns the users whose erasure is not done."""
        return await self._readers.run(lambda: list(self._readers.row(_ERASURES)))

    async def sent(self, user_id: str, after_room: int, limit: int) -> Sent:
        """Looks for messages of a user, in some of the rooms behind one."""

        def read() -> Sent:
            last_room, rows = self._readers.row(_SENT, user_id, after_room, _ROOMS, limit)
            deletions = [
                ChangeMessageRequest(room_id, seq, user_id, delete=Delete())
                for room_id, seq in rows
            ]
            return Sent(deletions, last_room)

        return await self._readers.run(read)

    async def reacted(self, user_id: str, limit: int) -> list[ChangeMessageRequest]:
        """Returns requests that take reactions of a user back."""

        def read() -> list[ChangeMessageRequest]:
            rows = self._readers.row(_REACTED, user_id, limit)
            return [
                ChangeMessageRequest(room_id, seq, user_id, unreact=emoji)
                for room_id, seq, emoji in rows
            ]

        return await self._readers.run(read)

    def _changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        with self._readers.connection():  # both as of one moment
            bindings = room_id, after_change, limit + 1
            _, sizes = self._readers.row(_CHANGE_SIZES, *bindings) or (0, [])
            # The first one is in the page however large it is.
            fitting = max(1, bisect_right(list(accumulate(sizes)), PAGE_BYTES))
            number = min(limit, fitting)
            newest, rows = self._readers.row(_CHANGE_ROWS, room_id, after_change, number) or (0, [])
        found: list[Altered] = [
            info_from(room_id, state)
            if seq == ITSELF
            else MessageChange(seq, text, state_from(state))
            for seq, text, state in rows
        ]
        has_more = len(sizes) > number
        last = number_of(found[-1]) if has_more else newest
        return ChangesPage(span_of(room_id, after_change, last, found), has_more)
