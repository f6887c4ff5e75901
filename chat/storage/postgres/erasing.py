"""Erasing a user, step by step: the deletions and what is left to be removed behind them.

Messages are gone over in the order of rooms and ids, and the row in ``erasures`` says how far: a
step begins where the last one ended, whichever node made it. Two nodes that do the same do some
of it twice, which changes nothing. What the user sends meanwhile may come behind that place or
before it: it is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from chat.storage.base import Erased, Unstorable
from chat.storage.changes import Change
from chat.storage.postgres.durable import DurableConnection
from chat.storage.postgres.errors import fault_of
from gen.chat import ChangeMessageRequest, ChatMessage, Delete

if TYPE_CHECKING:
    import asyncpg

# How many rooms one statement looks into.
_ROOMS: Final = 10_000

_BEGIN: Final = """
INSERT INTO chat.erasures (user_id) VALUES ($1) ON CONFLICT DO NOTHING
"""
_PLACE: Final = "SELECT room, id FROM chat.erasures WHERE user_id = $1"
_END: Final = "SELECT coalesce(max(room), 0) FROM chat.rooms"
# A look at an index for each room; of the first one, behind the id.
_MESSAGES: Final = """
SELECT room, room_id, seq, id
FROM (
    SELECT room, room_id FROM chat.rooms
    WHERE room >= $2::bigint AND room < $2::bigint + $5::bigint
) AS part
CROSS JOIN LATERAL (
    SELECT seq, id FROM chat.messages
    WHERE messages.room = part.room AND sender_id = $1 AND (part.room > $2 OR id > $3)
        AND NOT EXISTS (
            SELECT FROM chat.states
            WHERE states.room = part.room AND states.seq = messages.seq AND is_deleted
        )
    ORDER BY id LIMIT $4
) AS own
ORDER BY room, id LIMIT $4
"""
_REACTIONS: Final = """
SELECT room_id, own.seq, own.emoji
FROM (SELECT room, seq, emoji FROM chat.reactions WHERE user_id = $1 LIMIT $2) AS own
JOIN chat.rooms USING (room)
"""
_ADVANCE: Final = """
UPDATE chat.erasures SET room = $2, id = $3
WHERE user_id = $1 AND (room, id) < ($2::bigint, $3::text)
"""
# Nodes that remember which users are known learn by the number that some are not any more.
_FINISH: Final = """
WITH marks AS (DELETE FROM chat.marks WHERE user_id = $1),
    mentions AS (DELETE FROM chat.mentions WHERE user_id = $1),
    users AS (DELETE FROM chat.users WHERE user_id = $1),
    erasures AS (DELETE FROM chat.erasures WHERE user_id = $1)
INSERT INTO chat.meta AS known (key, value) VALUES ('erased', '1')
ON CONFLICT (key) DO UPDATE SET value = (known.value::bigint + 1)::text
"""
_ALL: Final = "SELECT user_id FROM chat.erasures ORDER BY user_id"


class Changes(Protocol):
    """Changes messages; see `Store.change`."""

    async def change(self, change: Change) -> ChatMessage:
        """Changes a message."""


class Erasing:
    """Erasures, one step at a time.

    Args:
        connection: for what is no change.
        changes: for what is one.
    """

    def __init__(self, connection: DurableConnection, changes: Changes) -> None:
        self._connection = connection
        self._changes = changes

    async def step(self, user_id: str, limit: int) -> Erased:
        """See `Store.erase`."""
        if fault := fault_of(user_id):
            raise Unstorable(fault)
        await self._execute(_BEGIN, user_id)
        messages, place, has_more = await self._messages(user_id, limit)
        await self._change(
            ChangeMessageRequest(room_id, seq, user_id, delete=Delete())
            for room_id, seq in messages
        )
        await self._execute(_ADVANCE, user_id, *place)
        if not has_more:
            has_more = await self._take_back(user_id, limit - len(messages))
        if not has_more:
            await self._execute(_FINISH, user_id)
        return Erased(len(messages), done=not has_more)

    async def pending(self) -> list[str]:
        """See `Store.erasures`."""
        return [row["user_id"] for row in await self._fetch(_ALL)]

    async def _messages(
        self, user_id: str, limit: int
    ) -> tuple[list[tuple[str, int]], tuple[int, str], bool]:
        """Returns the next messages of a user, their end, and whether there are more."""
        room, message_id = 0, ""
        # Another node may have come to the end meanwhile: then there is no place, and little to do.
        for place in await self._fetch(_PLACE, user_id):
            room, message_id = place
        [end] = await self._fetch(_END)
        found: list[asyncpg.Record] = []
        while room <= end[0] and len(found) <= limit:
            most = limit + 1 - len(found)
            found += await self._fetch(_MESSAGES, user_id, room, message_id, most, _ROOMS)
            room, message_id = room + _ROOMS, ""
        messages = [(row["room_id"], row["seq"]) for row in found[:limit]]
        if len(found) <= limit:
            return messages, (end[0] + 1, ""), False
        last = found[limit - 1]
        return messages, (last["room"], last["id"]), True

    async def _take_back(self, user_id: str, limit: int) -> bool:
        """Takes reactions back; returns whether there are more."""
        found = await self._fetch(_REACTIONS, user_id, limit + 1)
        await self._change(
            ChangeMessageRequest(room_id, seq, user_id, unreact=emoji)
            for room_id, seq, emoji in found[:limit]
        )
        return len(found) > limit

    async def _change(self, requests: Iterable[ChangeMessageRequest]) -> None:
        outcomes = await asyncio.gather(
            *(self._changes.change(Change(request)) for request in requests),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _execute(self, statement: str, *arguments: object) -> None:
        await self._connection.do(lambda connection: connection.execute(statement, *arguments))

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._connection.do(lambda connection: connection.fetch(statement, *arguments))
