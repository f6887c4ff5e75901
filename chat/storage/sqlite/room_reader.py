"""Reading what lists of rooms show, and who is a member of which."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from chat.storage.base import MOST_MEMBERS, RoomIds
from chat.storage.changes import MOST_MENTIONS
from chat.storage.extras import give
from chat.storage.results import stored_message
from chat.storage.rooms import folded, is_found
from chat.storage.sqlite.infos import info_from
from chat.storage.sqlite.marks import COUNT
from chat.storage.sqlite.reader import Readers
from chat.storage.sqlite.states import blob_from
from chat.storage.stamps import from_micros
from gen.chat import ChatMessage, Room

# How many rooms one call looks at: a bound on its time.
_LOOK: Final = 2000

_ROOM_IDS: Final = """
SELECT json_group_array(room_id ORDER BY room_id) FROM (
    SELECT room_id FROM rooms WHERE room_id > ?1 ORDER BY room_id LIMIT ?2
)
"""
_TITLES: Final = """
SELECT json_group_array(json_array(room_id, content) ORDER BY room_id) FROM (
    SELECT room_id, room FROM rooms WHERE room_id > ?1 ORDER BY room_id LIMIT ?2
) LEFT JOIN states ON position = room << 32
"""
_HAVE_FEW_MARKS: Final = """
SELECT count(*) <= ?2 FROM (SELECT 1 FROM marks WHERE user_id = ?1 LIMIT ?2 + 1)
"""
# Of a user with few marks: all of them are sorted.
_MARKED: Final = """
SELECT json_group_array(json_array(room_id, content) ORDER BY room_id) FROM (
    SELECT room_id, room FROM marks CROSS JOIN rooms USING (room)
    WHERE user_id = ?3 AND room_id > ?1 ORDER BY room_id LIMIT ?2
) LEFT JOIN states ON position = room << 32
"""
_WHICH_ARE_MARKED: Final = """
SELECT json_group_array(room_id) FROM json_each(?1) AS new CROSS JOIN rooms
WHERE room_id = new.value
  AND EXISTS (SELECT 1 FROM marks WHERE user_id = ?2 AND marks.room = rooms.room)
"""
_ROWS: Final = """
SELECT json_group_array(json_array(
    new.key, rooms.room, hex(info.state),
    (SELECT read_seq FROM marks WHERE user_id = ?2 AND marks.room = rooms.room),
    (SELECT count(*) FROM (
        SELECT 1 FROM marks WHERE marks.room = rooms.room LIMIT ?3
    )),
    json((
        SELECT json_array(
            messages.position & 0xffffffff, id, sender_id,
            coalesce(states.content, messages.content), sent_at, hex(extra), hex(states.state)
        )
        FROM messages LEFT JOIN states USING (position)
        WHERE messages.position > rooms.room << 32 AND messages.position < (rooms.room + 1) << 32
        ORDER BY messages.position DESC LIMIT 1
    ))
))
FROM json_each(?1) AS new CROSS JOIN rooms
LEFT JOIN states AS info ON info.position = rooms.room << 32
WHERE room_id = new.value
"""
_MEMBERS: Final = """
SELECT json_group_array(user_id ORDER BY user_id) FROM (
    SELECT user_id FROM marks
    WHERE marks.room = (SELECT rooms.room FROM rooms WHERE room_id = ?1) AND user_id > ?2
    ORDER BY user_id LIMIT ?3
)
"""


class StoredRow(NamedTuple):
    """What the file has of a room.

    Attributes:
        room: what is known of it.
        last_message: the newest one in the table, if there is one.
        read_seq: how far the user has read; `None` without a mark.
        mentions: how many messages behind that mention it.
        members: how many users have a mark, at most `MOST_MEMBERS`.
    """

    room: Room
    last_message: ChatMessage | None = None
    read_seq: int | None = None
    mentions: int = 0
    members: int = 0


class RoomReader:
    """Reads lists of rooms and of members, by the threads of `readers`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        """Lists rooms; see `Store.room_ids`."""
        if query or marked_by:
            return await self._readers.run(
                lambda: self._search(after_id, limit, folded(query), marked_by)
            )
        ids = await self._readers.run(lambda: self._readers.row(_ROOM_IDS, after_id, limit + 1))
        return RoomIds(ids[:limit], ids[limit - 1] if len(ids) > limit else "")

    async def rows(self, room_ids: Sequence[str], user_id: str) -> list[StoredRow]:
        """Returns what the file has of rooms, in their order."""
        return await self._readers.run(lambda: self._rows(room_ids, user_id))

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        """Returns members of a room; see `Store.members`."""
        return await self._readers.run(
            lambda: self._readers.row(_MEMBERS, room_id, after_id, limit)
        )

    def _search(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        with self._readers.connection():  # all as of one moment
            if marked_by and self._readers.one(_HAVE_FEW_MARKS, (marked_by, _LOOK)):
                rows = self._readers.row(_MARKED, after_id, _LOOK, marked_by)
                marked = None
            else:
                rows = self._readers.row(_TITLES, after_id, _LOOK)
                marked = self._marked(rows, marked_by) if marked_by else None
        last = rows[-1][0] if len(rows) == _LOOK else ""
        found = (
            room_id
            for room_id, title in rows
            if (marked is None or room_id in marked)
            and (not query or is_found(query, room_id, title or ""))
        )
        ids = list(islice(found, limit))
        has_more = len(ids) == limit and next(found, None) is not None
        return RoomIds(ids, ids[-1] if has_more else last)

    def _marked(self, rows: Sequence[tuple[str, str | None]], user_id: str) -> set[str]:
        ids = orjson.dumps([room_id for room_id, _ in rows]).decode()
        return set(self._readers.row(_WHICH_ARE_MARKED, ids, user_id))

    def _rows(self, room_ids: Sequence[str], user_id: str) -> list[StoredRow]:
        rows = [StoredRow(Room(room_id)) for room_id in room_ids]
        with self._readers.connection():  # all as of one moment
            asked = orjson.dumps(room_ids).decode()
            found = self._readers.row(_ROWS, asked, user_id, MOST_MEMBERS)
            marked = [(row[0], (user_id, row[1], row[3])) for row in found if row[3] is not None]
            places = orjson.dumps([place for _, place in marked]).decode()
            counts = self._readers.row(COUNT, places) if marked else []
        for nth, _, info, read_seq, members, last in found:
            room_id = room_ids[nth]
            message = None if last is None else _message(room_id, last)
            rows[nth] = StoredRow(info_from(room_id, info), message, read_seq, 0, members)
        for (nth, _), count in zip(marked, counts, strict=True):
            rows[nth] = rows[nth]._replace(mentions=min(count, MOST_MENTIONS))
        return rows


def _message(room_id: str, row: Sequence[Any]) -> ChatMessage:
    seq, message_id, sender_id, content, sent_at, extra, state = row
    message = stored_message((room_id, sender_id, message_id), seq, from_micros(sent_at), content)
    give([message], [blob_from(extra)], [blob_from(state)])
    return message
