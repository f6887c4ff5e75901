"""Lists of rooms, of what is known of them, and of their members: statements.

Each names the epoch of what it reads, in the same snapshot, and is one row of arrays (see
`tails`). A subquery with a limit stands for each row that is looked up by an index (see
`change_reads`).

A search compares here, and not in the database, so that each engine finds the same. One call looks
at so many rooms at most. The rooms that a user has a mark in are all read for a page of them: they
are as many as the user has ever read, whatever other rooms there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chat.storage.base import MOST_MEMBERS, RoomIds, RoomRow
from chat.storage.changes import MOST_MENTIONS
from chat.storage.postgres.extras import add
from chat.storage.postgres.infos import info_from
from chat.storage.results import stored_message
from chat.storage.rooms import folded, is_found
from gen.chat import Mark, Room

if TYPE_CHECKING:
    from chat.storage.postgres.reader import Reader

# How many rooms one search looks at.
_LOOKED_AT: Final = 2000
# After how many of them others have their turn.
_AT_ONCE: Final = 250

# A room of which nothing is left but its row is none.
_IDS: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    array_agg(room_id ORDER BY room_id) AS room_ids, array_agg(info ORDER BY room_id) AS infos
FROM (
    SELECT room_id, {info} AS info
    FROM {rooms}
    WHERE room_id > $1 AND (head > 0 OR changes > 0) ORDER BY room_id LIMIT $2
) AS found
"""
_ROOMS: Final = "chat.rooms"
_MARKED: Final = """(SELECT room FROM chat.marks WHERE user_id = $3 OFFSET 0) AS marked
    CROSS JOIN LATERAL (
        SELECT room, room_id, head, changes, has_states FROM chat.rooms
        WHERE rooms.room = marked.room LIMIT 1
    ) AS rooms"""
_INFO: Final = """(
        SELECT extra FROM chat.states
        WHERE has_states AND states.room = rooms.room AND seq = 0 LIMIT 1
    )"""
_NONE: Final = "NULL::bytea"
# By whether the rooms are those with a mark, and whether something is searched.
_LISTS: Final = {
    (is_marked, is_search): _IDS.format(
        rooms=_MARKED if is_marked else _ROOMS, info=_INFO if is_search else _NONE
    )
    for is_marked in (False, True)
    for is_search in (False, True)
}

_COLUMNS: Final = (
    "nth", "info", "seq", "sent_at", "sender_id", "id", "content", "extra", "state", "read_seq",
    "mentions", "members",
)  # fmt: skip
# Mentions are counted as `mark_1` does.
_ROWS: Final = f"""
SELECT (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    {", ".join(f"array_agg({name}) AS {name}s" for name in _COLUMNS)}
FROM (
    SELECT nth, info, seq, sent_at, sender_id, id, content, extra, state, read_seq,
        mentions.number AS mentions, members.number AS members
    FROM unnest($1::text[]) WITH ORDINALITY AS given (room_id, nth)
    CROSS JOIN LATERAL (
        SELECT room, head, has_states FROM chat.rooms
        WHERE rooms.room_id = given.room_id LIMIT 1
    ) AS rooms
    LEFT JOIN LATERAL (
        SELECT seq, sent_at, sender_id, id, content FROM chat.messages
        WHERE messages.room = rooms.room AND seq = head LIMIT 1
    ) AS message ON true
    LEFT JOIN LATERAL (
        SELECT extra, state FROM chat.states
        WHERE has_states AND head > 0 AND states.room = rooms.room AND states.seq = head LIMIT 1
    ) AS added ON true
    LEFT JOIN LATERAL (
        SELECT extra AS info FROM chat.states
        WHERE has_states AND states.room = rooms.room AND states.seq = 0 LIMIT 1
    ) AS itself ON true
    LEFT JOIN LATERAL (
        SELECT least(read_seq, head) AS read_seq FROM chat.marks
        WHERE user_id = $2 AND marks.room = rooms.room LIMIT 1
    ) AS own ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT seq FROM (
                (SELECT seq FROM chat.mentions AS one
                 WHERE one.user_id = $2 AND one.room = rooms.room
                    AND seq > read_seq AND sender_id <> $2
                 ORDER BY seq LIMIT $3)
                UNION
                (SELECT seq FROM chat.mentions AS one
                 WHERE one.user_id = '' AND one.room = rooms.room
                    AND seq > read_seq AND sender_id <> $2
                 ORDER BY seq LIMIT $3)
            ) AS unread
            LIMIT $3
        ) AS counted
    ) AS mentions ON read_seq IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT FROM chat.marks WHERE marks.room = rooms.room LIMIT $4
        ) AS counted
    ) AS members
) AS found
"""  # noqa: S608 - names of ours
_MEMBERS: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    array_agg(user_id ORDER BY user_id) AS user_ids
FROM (
    SELECT user_id FROM chat.marks
    WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1) AND user_id > $2
    ORDER BY user_id LIMIT $3
) AS page
"""


class RoomReads:
    """Reads lists, over the connections of readers.

    Args:
        reader: reads rows.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        """See `Store.room_ids`."""
        # One more shows whether there are more.
        most = _LOOKED_AT if query else limit + 1
        statement = _LISTS[bool(marked_by), bool(query)]
        row = await self._reader.row(statement, after_id, most, *([marked_by] if marked_by else []))
        looked_at = row["room_ids"] or []
        found = await _search(folded(query), looked_at, row["infos"]) if query else looked_at
        if len(found) > limit:
            return RoomIds(found[:limit], found[limit - 1])
        return RoomIds(found, looked_at[-1] if query and len(looked_at) == most else "")

    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        """See `Store.room_rows`."""
        row = await self._reader.row(_ROWS, list(room_ids), user_id, MOST_MENTIONS, MOST_MEMBERS)
        found = [RoomRow(Room(room_id), None, None, 0) for room_id in room_ids]
        columns = (row[f"{name}s"] or () for name in _COLUMNS)
        for (
            nth, info, seq, sent_at, sender_id, message_id, content, extra, state, read_seq,
            mentions, members,
        ) in zip(*columns, strict=True):  # fmt: skip
            room_id = room_ids[nth - 1]
            message = None
            if seq is not None:
                message = stored_message((room_id, sender_id, message_id), seq, sent_at, content)
                add(message, extra, state)
            mark = None if read_seq is None else Mark(room_id, read_seq, mentions)
            found[nth - 1] = RoomRow(info_from(room_id, info), message, mark, members)
        return found

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        """See `Store.members`."""
        row = await self._reader.row(_MEMBERS, room_id, after_id, limit)
        return list(row["user_ids"] or ())


async def _search(
    query: str, room_ids: Sequence[str], infos: Sequence[bytes | None] | None
) -> list[str]:
    found = []
    for nth, (room_id, info) in enumerate(zip(room_ids, infos or (), strict=True), 1):
        if is_found(query, room_id, info_from(room_id, info).title if info else ""):
            found.append(room_id)
        if nth % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return found
