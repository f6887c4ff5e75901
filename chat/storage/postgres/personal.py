"""All that a database holds of a user, while servers use it or not.

It is of one moment. Rows come by cursors, so that no more than a few are in memory here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from chat.storage.personal import (
    OwnMessage,
    mark_line,
    mention_line,
    message_line,
    reaction_line,
    user_line,
)
from chat.storage.postgres.connections import Connection

_USER: Final = "SELECT user_id, name, email, tone FROM chat.users WHERE user_id = $1"
_MARKS: Final = """
SELECT room_id, read_seq FROM chat.marks JOIN chat.rooms USING (room)
WHERE user_id = $1 ORDER BY room
"""
# Room by room, for the index of senders begins with the room.
_MESSAGES: Final = """
SELECT room_id, seq, id, sent_at, content, extra, state
FROM chat.rooms CROSS JOIN LATERAL (
    SELECT seq, id, sent_at, content FROM chat.messages
    WHERE messages.room = rooms.room AND sender_id = $1 ORDER BY seq
) AS own LEFT JOIN chat.states USING (room, seq)
ORDER BY room, seq
"""
_REACTIONS: Final = """
SELECT room_id, seq, emoji FROM chat.reactions JOIN chat.rooms USING (room)
WHERE user_id = $1 ORDER BY room, seq, emoji
"""
_MENTIONS: Final = """
SELECT room_id, seq FROM chat.mentions JOIN chat.rooms USING (room)
WHERE user_id = $1 ORDER BY room, seq
"""
# How many rows are fetched at once.
_PREFETCH: Final = 100


async def personal_data(connection: Connection, user_id: str) -> AsyncIterator[bytes]:
    """Returns the lines of what is stored of a user; see `chat.storage.personal`."""
    parts: list[tuple[str, Callable[..., bytes]]] = [
        (_USER, user_line),
        (_MARKS, mark_line),
        (_MESSAGES, lambda *row: message_line(user_id, OwnMessage(*row))),
        (_REACTIONS, reaction_line),
        (_MENTIONS, mention_line),
    ]
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for sql, line in parts:
            async for row in connection.cursor(sql, user_id, prefetch=_PREFETCH):
                yield line(*row)
