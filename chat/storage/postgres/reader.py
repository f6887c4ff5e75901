"""Pages and look-ups.

A read whose connection dies is tried again for a while over another one: a server that takes
the place of one that died makes readers wait, as it does writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Final, TypeVar

import asyncpg

from chat.storage.base import PAGE_BYTES, Page, Range, StoreError, Unstorable
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.connections import READ_SECONDS, Connection
from chat.storage.postgres.errors import FAILURES, LeftBehind, is_lost, is_of_a_value, text_of
from chat.storage.postgres.extras import give_all
from chat.storage.postgres.kept import ReaderPool
from chat.storage.results import stored_message
from gen.chat import ChatMessage

T = TypeVar("T")

UserRow = tuple[str, str, str, int, bool]
"""A user: id, name, e-mail address, colour, and whether another node has a connection."""

_END: Final = 1 << 32
_SEQ: Final = attrgetter("seq")
_PAUSE_SECONDS: Final = 0.1

# What is read is of one history: the epoch is of the same moment.
_HEAD: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    (SELECT head FROM chat.rooms WHERE room_id = $1) AS head
"""
# Rows come in whatever order: they are sorted here, which takes less time than an order in each
# aggregate.
_ALL: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    (SELECT changes FROM chat.rooms WHERE room_id = $1 AND has_states) AS changes,
    page.*{added}
FROM (
    SELECT array_agg(seq) AS seqs, array_agg(sent_at) AS times,
        array_agg(sender_id) AS sender_ids, array_agg(id) AS ids, array_agg(content) AS contents,
        min(seq) AS first, max(seq) AS last
    FROM ({page}) AS page
) AS page{states}
"""
_ROWS: Final = """
    SELECT seq, sent_at, sender_id, id, content FROM chat.messages
    WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1) AND seq > $2 AND seq < $3
    ORDER BY seq {direction} LIMIT $4
"""
# The last row is the first one that does not fit, so that it shows if there are more; one is
# in the page however large it is. The length of a text is known without its being read.
_FITTING_ROWS: Final = """
    SELECT seq, sent_at, sender_id, id, content
    FROM (
        SELECT
            *,
            sum({size}) OVER (ORDER BY seq {direction}) - ({size}) AS before,
            row_number() OVER (ORDER BY seq {direction}) AS nth
        FROM ({page}) AS page{sized}
    ) AS page
    WHERE before <= $5 OR nth = 2
"""
_SIZE: Final = {"sized": "", "size": "octet_length(content)"}
_SIZE_WITH_STATES: Final = {
    "sized": """ LEFT JOIN LATERAL (
            SELECT extra, state FROM chat.states
            WHERE states.room = (SELECT room FROM chat.rooms WHERE room_id = $1)
                AND states.seq = page.seq
            LIMIT 1
        ) AS added ON true""",
    # No more than `message_size` counts.
    "size": "octet_length(content) + coalesce(octet_length(extra), 0)"
    " + coalesce(octet_length(state), 0)",
}
# What messages have beside their texts: one range of rows.
_STATES: Final = {
    "added": ", added.*",
    "states": """
CROSS JOIN LATERAL (
    SELECT array_agg(seq) AS added_seqs, array_agg(extra) AS extras, array_agg(state) AS states
    FROM chat.states
    WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1) AND seq BETWEEN first AND last
) AS added""",
}
# So few messages are read without a look at how long they are.
_FEW: Final = 64


def _page(direction: str, *, has_states: bool, are_few: bool) -> str:
    page = _ROWS.format(direction=direction)
    if not are_few:
        size = _SIZE_WITH_STATES if has_states else _SIZE
        page = _FITTING_ROWS.format(page=page, direction=direction, **size)
    return _ALL.format(page=page, **(_STATES if has_states else {"added": "", "states": ""}))


# By direction, whether the room has states, and whether they are few: most rooms have no states,
# and cost what they always did.
_PAGES: Final = {
    (direction, has_states, are_few): _page(direction, has_states=has_states, are_few=are_few)
    for direction in ("ASC", "DESC")
    for has_states in (False, True)
    for are_few in (False, True)
}
# Of how many rooms it is remembered that they have states.
_REMEMBERED: Final = 100_000
# Whether another node than $1 lives that has a connection of the user.
_IS_ACTIVE: Final = """
EXISTS (
    SELECT FROM chat.active JOIN chat.nodes USING (node)
    WHERE active.user_id = users.user_id AND node <> $1 AND alive_until > clock_timestamp()
)
"""
_USER: Final = "SELECT user_id, name, email, tone, {is_active} FROM chat.users WHERE user_id = $2"
_USERS: Final = """
SELECT user_id, name, email, tone, {is_active}
FROM chat.users WHERE user_id > $2 ORDER BY user_id LIMIT $3
"""
_NAMED: Final = """
SELECT user_id, name, email, tone, {is_active} FROM chat.users WHERE user_id = ANY ($2::text[])
"""
_UPSERT: Final = """
INSERT INTO chat.users (user_id, name, email, tone) VALUES ($2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE
    SET name = excluded.name, email = excluded.email, tone = excluded.tone
RETURNING user_id, name, email, tone, {is_active}
"""
_GET_USER, _LIST_USERS, _GET_USERS, _UPSERT_USER = (
    each.format(is_active=_IS_ACTIVE) for each in (_USER, _USERS, _NAMED, _UPSERT)
)


class Reader:
    """Reads over the connections of a pool.

    Args:
        pool: has connections that are admitted.
        admission: knows the epoch.
        node: the name of this node, which knows itself which users it has.
    """

    def __init__(self, pool: ReaderPool, admission: Admission, node: str) -> None:
        self._pool = pool
        self._admission = admission
        self._node = node
        # Rooms that have states: it only saves a statement that shows so.
        self._have_states: set[str] = set()

    async def last_seq(self, room_id: str) -> int:
        """Returns the newest position of a room, or 0."""
        row = await self.row(_HEAD, room_id)
        return int(row["head"] or 0)

    async def messages(self, room_id: str, span: Range) -> tuple[list[ChatMessage], int]:
        """Returns messages of a room as they stand, in the direction of paging, and its changes.

        They are up to `span.limit`, and fewer if more would not fit into a page, but one more
        than fit. Of the changes it is the number of the newest one.
        """
        direction = "DESC" if span.after_seq is None else "ASC"
        before = _END if span.before_seq is None else span.before_seq
        after = min(span.after_seq or 0, _END)
        has_states = room_id in self._have_states
        are_few = span.limit <= _FEW
        bound = () if are_few else (PAGE_BYTES,)
        arguments = (room_id, after, before, span.limit, *bound)
        row = await self.row(_PAGES[direction, has_states, are_few], *arguments)
        if row["changes"] is not None and not has_states:
            if len(self._have_states) >= _REMEMBERED:
                self._have_states.clear()
            self._have_states.add(room_id)
            row = await self.row(_PAGES[direction, True, are_few], *arguments)
            has_states = True
        messages = _messages(room_id, row, has_states=has_states)
        messages.sort(key=_SEQ, reverse=span.after_seq is None)
        return messages, row["changes"] or 0

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

    async def some_users(self, user_ids: Sequence[str]) -> list[UserRow]:
        """Returns those of some users that are known."""
        rows = await self.run(
            lambda connection: connection.fetch(_GET_USERS, self._node, list(user_ids))
        )
        return list(map(_user_row, rows))

    async def upsert(self, user_id: str, name: str, email: str, tone: int) -> UserRow:
        """Creates a user or replaces name, e-mail address and colour; returns it."""
        [row] = await self.run(
            lambda connection: connection.fetch(
                _UPSERT_USER, self._node, user_id, name, email, tone
            )
        )
        return _user_row(row)

    async def row(self, statement: str, *arguments: object) -> asyncpg.Record:
        """Reads one row of the history that `Admission.epoch` names when this returns.

        Args:
            statement: reads one row with the epoch as `epoch`.
            arguments: of the statement.

        Raises:
            StoreError: see `run`.
        """

        async def read(connection: Connection) -> asyncpg.Record | None:
            row = await connection.fetchrow(statement, *arguments)
            assert row is not None  # noqa: S101 - an aggregate
            if row["epoch"] == self._admission.epoch:
                return row
            await self._admission.wait_judged()
            return None

        while True:
            if (row := await self.run(read)) is not None and row["epoch"] == self._admission.epoch:
                return row

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
                    except LeftBehind:
                        # It comes first in the address perhaps, and the next one is just away.
                        pass
                    except FAILURES as error:
                        if not is_lost(error):
                            raise
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError as error:
            raise StoreError("the database does not answer") from error
        except FAILURES as error:
            kind = Unstorable if is_of_a_value(error) else StoreError
            raise kind(text_of(error)) from error


def _messages(room_id: str, row: asyncpg.Record, *, has_states: bool) -> list[ChatMessage]:
    if row["seqs"] is None:
        return []
    columns = (row["seqs"], row["times"], row["sender_ids"], row["ids"], row["contents"])
    found = [
        stored_message((room_id, sender_id, message_id), seq, sent_at, content)
        for seq, sent_at, sender_id, message_id, content in zip(*columns, strict=True)
    ]
    if has_states and row["added_seqs"] is not None:
        by_seq = {message.seq: message for message in found}
        added = [by_seq[seq] for seq in row["added_seqs"]]
        give_all(added, row["extras"], row["states"])
    return found


def _user_row(row: asyncpg.Record) -> UserRow:
    user_id, name, email, tone, is_active = row
    return user_id, name, email, tone, is_active


def check_whole(page: Page, span: Range, announced: int, changed: int) -> None:
    """Checks that a page has all that it should have.

    Args:
        page: of a room.
        span: which of its messages were asked for.
        announced: the position up to which there were messages when they were.
        changed: the number of the change up to which there were changes.

    Raises:
        StoreError: a message or a change is missing.
    """
    if page.last_change < changed:
        raise StoreError("a change of the history is missing")
    seqs = [message.seq for message in page.messages]
    end = min(announced, (_END if span.before_seq is None else span.before_seq) - 1)
    if span.after_seq is None:
        last = seqs[-1] if seqs else 0
        is_whole = last >= end and seqs == list(range(last - len(seqs) + 1, last + 1))
    else:
        last = span.after_seq + len(seqs)
        is_whole = (page.has_more or last >= end) and seqs == list(
            range(span.after_seq + 1, last + 1)
        )
    if not is_whole:
        raise StoreError("a message of the history is missing")
