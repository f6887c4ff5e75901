"""Pages and look-ups.

A read whose connection dies is tried again for a while over another one: a server that takes
the place of one that died makes readers wait, as it does writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from chat.storage.base import PAGE_BYTES, Range, StoreError, Unstorable
from chat.storage.postgres.batch import stored_message
from chat.storage.postgres.connections import READ_SECONDS, Connection, ReaderPool
from chat.storage.postgres.errors import FAILURES, is_lost, is_of_a_value, text_of
from gen.chat import ChatMessage

T = TypeVar("T")

UserRow = tuple[str, str, str, bool]
"""A user: id, name, e-mail address, and whether another node that lives has a connection of it."""

_END: Final = 1 << 32
_PAUSE_SECONDS: Final = 0.1

_HEAD: Final = "SELECT head FROM chat.rooms WHERE room_id = $1"
# The last row is the first one that does not fit, so that it shows if there are more; one is
# in the page however large it is. The length of a text is known without its being read.
_PAGE: Final = """
SELECT seq, sent_at, sender_id, id, content
FROM (
    SELECT
        *,
        sum(octet_length(content)) OVER (ORDER BY seq {direction}) - octet_length(content)
            AS before,
        row_number() OVER (ORDER BY seq {direction}) AS nth
    FROM (
        SELECT seq, sent_at, sender_id, id, content FROM chat.messages
        WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1) AND seq > $2 AND seq < $3
        ORDER BY seq {direction} LIMIT $4
    ) AS page
) AS page
WHERE before <= $5 OR nth = 2
ORDER BY seq {direction}
"""
_FORWARD: Final = _PAGE.format(direction="ASC")
_BACKWARD: Final = _PAGE.format(direction="DESC")
# Whether another node than $1 lives that has a connection of the user.
_IS_ACTIVE: Final = """
EXISTS (
    SELECT FROM chat.active JOIN chat.nodes USING (node)
    WHERE active.user_id = users.user_id AND node <> $1 AND alive_until > clock_timestamp()
)
"""
_USER: Final = "SELECT user_id, name, email, {is_active} FROM chat.users WHERE user_id = $2"
_USERS: Final = """
SELECT user_id, name, email, {is_active}
FROM chat.users WHERE user_id > $2 ORDER BY user_id LIMIT $3
"""
_UPSERT: Final = """
INSERT INTO chat.users (user_id, name, email) VALUES ($2, $3, $4)
ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, email = excluded.email
RETURNING user_id, name, email, {is_active}
"""
_GET_USER, _LIST_USERS, _UPSERT_USER = (
    each.format(is_active=_IS_ACTIVE) for each in (_USER, _USERS, _UPSERT)
)


class Reader:
    """Reads over the connections of a pool.

    Args:
        pool: the connections.
        node: the name of this node, which knows itself which users it has.
    """

    def __init__(self, pool: ReaderPool, node: str) -> None:
        self._pool = pool
        self._node = node

    async def last_seq(self, room_id: str) -> int:
        """Returns the newest position of a room, or 0."""
        head = await self.run(lambda connection: connection.fetchval(_HEAD, room_id))
        return int(head or 0)

    async def messages(self, room_id: str, span: Range) -> list[ChatMessage]:
        """Returns up to `span.limit` messages of a room, in the direction of paging.

        They are fewer if more would not fit into a page, but one more than fit.
        """
        statement = _BACKWARD if span.after_seq is None else _FORWARD
        before = _END if span.before_seq is None else span.before_seq
        rows = await self.run(
            lambda connection: connection.fetch(
                statement, room_id, span.after_seq or 0, before, span.limit, PAGE_BYTES
            )
        )
        return [
            stored_message((room_id, sender_id, message_id), seq, sent_at, content)
            for seq, sent_at, sender_id, message_id, content in rows
        ]

    async def user(self, user_id: str) -> UserRow | None:
        """Returns a user, if it is known."""
        row = await self.run(lambda connection: connection.fetchrow(_GET_USER, self._node, user_id))
        return None if row is None else _user_row(row)

    async def users(self, after_id: str, limit: int) -> list[UserRow]:
        """Returns the users behind `after_id`."""
        rows = await self.run(
            lambda connection: connection.fetch(_LIST_USERS, self._node, after_id, limit)
        )
        return list(map(_user_row, rows))

    async def upsert(self, user_id: str, name: str, email: str) -> UserRow:
        """Creates a user or replaces name and e-mail address; returns it."""
        [row] = await self.run(
            lambda connection: connection.fetch(_UPSERT_USER, self._node, user_id, name, email)
        )
        return _user_row(row)

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Reads, over another connection if one dies.

        Raises:
            StoreError: it could not be read in time, or there is no such text.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                while True:
                    try:
                        async with self._pool.connection() as connection:
                            return await read(connection)
                    except FAILURES as error:
                        if not is_lost(error):
                            raise
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError as error:
            raise StoreError("the database does not answer") from error
        except FAILURES as error:
            kind = Unstorable if is_of_a_value(error) else StoreError
            raise kind(text_of(error)) from error


def _user_row(row: asyncpg.Record) -> UserRow:
    user_id, name, email, is_active = row
    return user_id, name, email, is_active
