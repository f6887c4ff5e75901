"""What followed rooms have behind a position or a change, and their heads: statements.

Each names the epoch of what it reads, in the same snapshot.

Results are one row of arrays: the driver reads an array of ten thousand numbers in a
fraction of the time that as many rows take.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import asyncpg

from chat.storage.base import StoreError
from chat.storage.listener import Head
from chat.storage.postgres.batch import shared
from chat.storage.postgres.change_reads import ChangesBehind, change_from, rows_of
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.extras import add_all
from chat.storage.postgres.follower import Heads, Rows
from chat.storage.results import stored_message
from chat.storage.rooms import ITSELF, Altered
from gen.chat import MessageChange, MessageState, Room
from hosting.logs import get_logger

log = get_logger(__name__)

# The rows of one room in one page: so that a busy one leaves room for others.
_ROOM_ROWS: Final = 256
# The memory of a message beside its text; of a change beside text and state.
_OVERHEAD: Final = 256

_HEADS: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    array_agg(room_id) AS room_ids,
    array_agg(head) AS heads,
    array_agg(changes) AS changes
FROM chat.rooms WHERE room_id = ANY ($1::text[])
"""
# A room that vanished is at 0: that is told, too.
_MOVED: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    array_agg(given.room_id) AS room_ids,
    array_agg(coalesce(head, 0)) AS heads,
    array_agg(coalesce(changes, 0)) AS changes
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS given (room_id, position, change)
LEFT JOIN chat.rooms USING (room_id)
WHERE coalesce(head, 0) <> position OR coalesce(changes, 0) <> change
"""
# A message that begins within the size is in it, so there is one at least. The arrays are in
# the order of the rows below them.
_BEHIND: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    count(*) AS found,
    array_agg(nth) FILTER (WHERE fits) AS nths,
    array_agg(seq) FILTER (WHERE fits) AS seqs,
    array_agg(sent_at) FILTER (WHERE fits) AS times,
    array_agg(sender_id) FILTER (WHERE fits) AS sender_ids,
    array_agg(id) FILTER (WHERE fits) AS ids,
    array_agg(content) FILTER (WHERE fits) AS contents,
    array_agg(extra) FILTER (WHERE fits) AS extras,
    array_agg(state) FILTER (WHERE fits) AS states
FROM (
    SELECT *, sum(size) OVER (ORDER BY nth, seq) - size < $3 AS fits
    FROM (
        SELECT nth, tail.seq, sent_at, sender_id, id, content, extra, state,
            octet_length(content) + coalesce(octet_length(extra), 0)
                + coalesce(octet_length(state), 0) + $5 AS size
        FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS given (room_id, position, nth)
        JOIN chat.rooms USING (room_id)
        CROSS JOIN LATERAL (
            SELECT seq, sent_at, sender_id, id, content FROM chat.messages
            WHERE messages.room = rooms.room AND seq > position ORDER BY seq LIMIT $4
        ) AS tail
        LEFT JOIN LATERAL (
            SELECT extra, state FROM chat.states
            WHERE has_states AND states.room = rooms.room AND states.seq = tail.seq LIMIT 1
        ) AS added ON true
        ORDER BY nth, tail.seq LIMIT $3 / $5 + 1
    ) AS tails
    ORDER BY nth, seq
) AS tails
"""

# A room that vanished is at 0. A change that begins within the size is in it, so there is one at
# least. Text comes only if it changed behind what was told.
_CHANGES_BEHIND: Final = """
SELECT (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch, heads.*, changed.* FROM (
    SELECT array_agg(coalesce(changes, 0) ORDER BY nth) AS heads
    FROM unnest($1::text[]) WITH ORDINALITY AS given (room_id, nth)
    LEFT JOIN chat.rooms USING (room_id)
) AS heads, (
    SELECT
        count(*) AS found,
        array_agg(nth ORDER BY nth, change) FILTER (WHERE fits) AS nths,
        array_agg(seq ORDER BY nth, change) FILTER (WHERE fits) AS seqs,
        array_agg(change ORDER BY nth, change) FILTER (WHERE fits) AS changes,
        array_agg(content ORDER BY nth, change) FILTER (WHERE fits) AS contents,
        array_agg(state ORDER BY nth, change) FILTER (WHERE fits) AS states,
        array_agg(info ORDER BY nth, change) FILTER (WHERE fits) AS infos
    FROM (
        SELECT *, sum(size) OVER (ORDER BY nth, change) - size < $4 AS fits
        FROM (
            SELECT nth, tail.seq, change, state, content, info,
                coalesce(octet_length(content), 0) + coalesce(octet_length(state), 0)
                    + coalesce(octet_length(info), 0) + $6 AS size
            FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY
                AS given (room_id, position, told, nth)
            JOIN chat.rooms USING (room_id)
            CROSS JOIN LATERAL (
                SELECT seq, change, text_change, state, CASE seq WHEN 0 THEN extra END AS info
                FROM chat.states
                WHERE states.room = rooms.room AND change > 0 AND change > position
                ORDER BY change LIMIT $5
            ) AS tail
            LEFT JOIN LATERAL (
                SELECT content FROM chat.messages
                WHERE messages.room = rooms.room AND messages.seq = tail.seq
                    AND text_change > told
                LIMIT 1
            ) AS message ON true
            ORDER BY nth, change LIMIT $4 / $6 + 1
        ) AS tails
    ) AS tails
) AS changed
"""

Run = Callable[[Callable[[Connection], Awaitable[asyncpg.Record]]], Awaitable[asyncpg.Record]]
"""Executes a statement over some connection; raises `StoreError` if it can't."""


class TailReader:
    """A `RoomReader` over connections.

    Args:
        run: executes a statement.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    async def heads(self, room_ids: Sequence[str]) -> Heads:
        """See `RoomReader`."""
        return await self._heads(_HEADS, list(room_ids))

    async def moved(self, positions: Mapping[str, Head]) -> Heads:
        """See `RoomReader`."""
        seqs = [head.seq for head in positions.values()]
        changes = [head.change for head in positions.values()]
        return await self._heads(_MOVED, list(positions), seqs, changes)

    async def changes_behind(
        self, positions: Mapping[str, tuple[int, int]], most_bytes: int
    ) -> ChangesBehind:
        """See `RoomReader`."""
        room_ids = list(positions)
        row = await self._row(
            _CHANGES_BEHIND,
            room_ids,
            [change for change, _ in positions.values()],
            [told for _, told in positions.values()],
            most_bytes,
            _ROOM_ROWS,
            _OVERHEAD,
        )
        changes: dict[str, list[Altered]] = {}
        for nth, *columns in rows_of(row, "nths", "seqs", "changes", "contents", "states", "infos"):
            room_id = room_ids[nth - 1]
            changes.setdefault(room_id, []).append(_change(room_id, *columns))
        heads = dict(zip(room_ids, row["heads"] or (), strict=True))
        cut = _cut(room_ids, row, most_bytes)
        return ChangesBehind(str(row["epoch"]), heads, changes, cut)

    async def behind(self, positions: Mapping[str, int], most_bytes: int) -> Rows:
        """See `RoomReader`."""
        room_ids = list(positions)
        row = await self._row(
            _BEHIND, room_ids, list(positions.values()), most_bytes, _ROOM_ROWS, _OVERHEAD
        )
        columns = zip(
            row["nths"] or (), row["seqs"] or (), shared(row["times"] or ()),
            row["sender_ids"] or (), row["ids"] or (), row["contents"] or (), strict=True,
        )  # fmt: skip
        messages = [
            stored_message((room_ids[nth - 1], sender_id, message_id), seq, sent_at, content)
            for nth, seq, sent_at, sender_id, message_id, content in columns
        ]
        add_all(messages, row["extras"] or (), row["states"] or ())
        return Rows(str(row["epoch"]), messages, _cut(room_ids, row, most_bytes))

    async def _heads(self, statement: str, *arguments: object) -> Heads:
        row = await self._row(statement, *arguments)
        columns = (row["room_ids"] or (), row["heads"] or (), row["changes"] or ())
        heads = {room_id: Head(*head) for room_id, *head in zip(*columns, strict=True)}
        return Heads(str(row["epoch"]), heads)

    async def _row(self, statement: str, *arguments: object) -> asyncpg.Record:
        async def read(connection: Connection) -> asyncpg.Record:
            row = await connection.fetchrow(statement, *arguments)
            assert row is not None  # noqa: S101 - an aggregate has one
            return row

        return await self._run(read)


def _cut(room_ids: Sequence[str], row: asyncpg.Record, most_bytes: int) -> frozenset[str]:
    """The rooms that may have more: each page has all that fits of those before its last one."""
    nths: list[int] = row["nths"] or []
    cut = {room_ids[nth - 1] for nth, rows in Counter(nths).items() if rows == _ROOM_ROWS}
    if row["found"] > len(nths) or row["found"] > most_bytes // _OVERHEAD:
        cut.update(room_ids[(nths or [0])[-1] - 1 :])
    return frozenset(cut)


def _change(
    room_id: str, seq: int, change: int, content: str | None, state: bytes, info: bytes | None
) -> Altered:
    try:
        return change_from(room_id, seq, content, state, info)
    except StoreError:
        # Others must not wait for it.
        log.exception("a change is told without its state")
        if seq == ITSELF:
            return Room(room_id, change=change)
        return MessageChange(seq, content, MessageState(change=change))
