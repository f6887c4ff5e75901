"""What is read of changes: for a decision, and for pages. Statements.

Each names the epoch of what it reads, in the same snapshot, and is one row of arrays (see
`tails`). A subquery with a limit stands for each row that is looked up by an index: a plain join
may come to read a whole table, as statements are planned while tables are empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import codec
from chat.storage.base import PAGE_BYTES, ChangesPage, ReactionRow, StoreError
from chat.storage.postgres.change_batch import Found, Wanted
from chat.storage.postgres.extras import add
from chat.storage.postgres.infos import info_from
from chat.storage.results import stored_message
from chat.storage.rooms import ITSELF, Altered, number_of, span_of
from codec import DecodeError
from gen.chat import MessageChange, MessageState

if TYPE_CHECKING:
    import asyncpg

    from chat.storage.postgres.connections import Connection
    from chat.storage.postgres.reader import Reader

_TO_DECIDE: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    clock_timestamp() AS now, rooms.*, messages.*, kinds.*, own.*
FROM (
    SELECT array_agg(room_id) AS room_ids, array_agg(changes) AS changes, array_agg(info) AS infos
    FROM chat.rooms LEFT JOIN LATERAL (
        SELECT extra AS info FROM chat.states
        WHERE room_id = ANY ($12::text[]) AND states.room = rooms.room AND seq = 0 LIMIT 1
    ) AS itself ON true
    WHERE room_id = ANY ($1::text[])
) AS rooms, (
    SELECT
        array_agg(asked.nth) AS nths, array_agg(sent_at) AS times,
        array_agg(sender_id) AS sender_ids, array_agg(id) AS ids, array_agg(content) AS contents,
        array_agg(coalesce(text_change, 0)) AS text_changes,
        array_agg(extra) AS extras, array_agg(state) AS states
    FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS asked (room_id, seq, nth)
    JOIN chat.rooms USING (room_id)
    CROSS JOIN LATERAL (
        SELECT sent_at, sender_id, id, content FROM chat.messages
        WHERE messages.room = rooms.room AND messages.seq = asked.seq LIMIT 1
    ) AS message
    LEFT JOIN LATERAL (
        SELECT text_change, extra, state FROM chat.states
        WHERE states.room = rooms.room AND states.seq = asked.seq LIMIT 1
    ) AS state ON true
) AS messages, (
    SELECT array_agg(asked.nth ORDER BY change) AS kind_nths,
           array_agg(user_id ORDER BY change) AS kind_users
    FROM unnest($4::text[], $5::bigint[], $6::text[], $7::bigint[]) WITH ORDINALITY
        AS asked (room_id, seq, emoji, most, nth)
    JOIN chat.rooms USING (room_id)
    CROSS JOIN LATERAL (
        SELECT user_id, change FROM chat.reactions
        WHERE reactions.room = rooms.room AND reactions.seq = asked.seq
            AND reactions.emoji = asked.emoji
        ORDER BY change LIMIT most
    ) AS reaction
) AS kinds, (
    SELECT array_agg(asked.nth) AS own_nths
    FROM unnest($8::text[], $9::bigint[], $10::text[], $11::text[]) WITH ORDINALITY
        AS asked (room_id, seq, emoji, user_id, nth)
    JOIN chat.rooms USING (room_id)
    CROSS JOIN LATERAL (
        SELECT FROM chat.reactions
        WHERE reactions.user_id = asked.user_id AND reactions.room = rooms.room
            AND reactions.seq = asked.seq AND reactions.emoji = asked.emoji LIMIT 1
    ) AS reaction
) AS own
"""
# The last row shows if there are more; one is in the page however large it is.
_PAGE: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    (SELECT changes FROM chat.rooms WHERE room_id = $1) AS last,
    array_agg(seq ORDER BY nth) AS seqs, array_agg(text_change ORDER BY nth) AS text_changes,
    array_agg(content ORDER BY nth) AS contents, array_agg(state ORDER BY nth) AS states,
    array_agg(info ORDER BY nth) AS infos
FROM (
    SELECT *, sum(size) OVER (ORDER BY change) - size AS before,
        row_number() OVER (ORDER BY change) AS nth
    FROM (
        SELECT changed.*, content,
            coalesce(octet_length(content), 0) + coalesce(octet_length(state), 0)
                + coalesce(octet_length(info), 0) AS size
        FROM (
            SELECT room, seq, change, text_change, state, CASE seq WHEN 0 THEN extra END AS info
            FROM chat.states
            WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1)
                AND change > greatest($2::bigint, 0)
            ORDER BY change LIMIT $3 + 1
        ) AS changed
        LEFT JOIN LATERAL (
            SELECT content FROM chat.messages
            WHERE messages.room = changed.room AND messages.seq = changed.seq AND text_change > 0
            LIMIT 1
        ) AS message ON true
    ) AS page
) AS page
WHERE before <= $4 OR nth <= 2
"""
_COUNT: Final = """
SELECT (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch, count(*) AS number FROM (
    SELECT FROM chat.states
    WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1)
        AND change > greatest($2::bigint, 0)
    LIMIT $3
) AS changed
"""
_REACTIONS: Final = """
SELECT
    (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
    array_agg(emoji ORDER BY emoji, change) AS emojis,
    array_agg(change ORDER BY emoji, change) AS changes,
    array_agg(user_id ORDER BY emoji, change) AS user_ids
FROM (
    SELECT emoji, change, user_id FROM chat.reactions
    WHERE room = (SELECT room FROM chat.rooms WHERE room_id = $1) AND seq = $2{of_user}
        AND (emoji, change) > ($3, $4::bigint)
    ORDER BY emoji, change LIMIT $5
) AS page
"""
_OF_ALL: Final = _REACTIONS.format(of_user="")
_OF_ONE: Final = _REACTIONS.format(of_user=" AND user_id = $6")


class ChangesBehind(NamedTuple):
    """What rooms have behind some changes.

    Attributes:
        epoch: of the history that they are of.
        heads: by room: the number of its newest change.
        changes: by room, in order.
        cut: the rooms that may have more.
    """

    epoch: str
    heads: Mapping[str, int]
    changes: Mapping[str, Sequence[Altered]]
    cut: frozenset[str]


async def read_to_decide(connection: Connection, wanted: Wanted) -> tuple[str, Found]:
    """Reads what a batch of changes needs, and the epoch that it is of.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it could not be read.
        StoreError: a state is not what this program wrote.
    """
    kinds, own = list(wanted.kinds), wanted.own
    row = await connection.fetchrow(
        _TO_DECIDE,
        wanted.rooms,
        [room for room, _ in wanted.positions],
        [seq for _, seq in wanted.positions],
        *([kind[nth] for kind in kinds] for nth in range(3)),
        list(wanted.kinds.values()),
        *([kind[nth] for kind, _ in own] for nth in range(3)),
        [user for _, user in own],
        wanted.infos,
    )
    assert row is not None  # noqa: S101 - aggregates
    found = Found(
        row["now"], dict(zip(row["room_ids"] or (), row["changes"] or (), strict=True)), {}
    )
    for room_id, info in zip(row["room_ids"] or (), row["infos"] or (), strict=True):
        if info is not None:
            found.infos[room_id] = info_from(room_id, info)
    columns = [
        row[name] or ()
        for name in ("nths", "times", "sender_ids", "ids", "contents", "text_changes", "extras",
                     "states")
    ]  # fmt: skip
    for nth, sent_at, sender_id, message_id, content, text_change, extra, state in zip(
        *columns, strict=True
    ):
        room_id, seq = wanted.positions[nth - 1]
        message = stored_message((room_id, sender_id, message_id), seq, sent_at, content)
        found.messages[room_id, seq] = add(message, extra, state), text_change
    reactors: dict[tuple[str, int, str], list[str]] = {kind: [] for kind in kinds}
    for nth, user in zip(row["kind_nths"] or (), row["kind_users"] or (), strict=True):
        reactors[kinds[nth - 1]].append(user)
    found.reactors = reactors
    found.own = {own[nth - 1] for nth in row["own_nths"] or ()}
    return row["epoch"], found


class ChangeReader:
    """Pages of changes and reactions, over the connections of readers.

    Args:
        reader: reads rows.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        """See `Store.changes`."""
        row = await self._reader.row(_PAGE, room_id, after_change, limit, PAGE_BYTES)
        found = rows_of(row, "seqs", "text_changes", "contents", "states", "infos")
        kept: list[Altered] = []
        size = 0
        has_more = False
        for seq, text_change, content, state, info in found:
            content = content if text_change else None
            size += len((content or "").encode()) + len(state or b"") + len(info or b"")
            has_more = len(kept) == limit or (bool(kept) and size > PAGE_BYTES)
            if has_more:
                break
            kept.append(change_from(room_id, seq, content, state, info))
        last = number_of(kept[-1]) if has_more else row["last"] or 0
        return ChangesPage(span_of(room_id, after_change, last, kept), has_more)

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        """See `Store.count_changes`."""
        return int((await self._reader.row(_COUNT, room_id, after_change, most))["number"])

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        """See `Store.reactions`."""
        emoji, change = after or ("", 0)
        arguments = [room_id, seq, emoji, change, limit, *([user_id] if user_id else [])]
        row = await self._reader.row(_OF_ONE if user_id else _OF_ALL, *arguments)
        return [ReactionRow(*each) for each in rows_of(row, "emojis", "changes", "user_ids")]


def rows_of(row: asyncpg.Record, *names: str) -> zip[Any]:
    """Returns rows out of arrays, of which there are none where there are no rows."""
    return zip(*(row[name] or () for name in names), strict=True)


def change_from(
    room_id: str, seq: int, content: str | None, state: bytes, info: bytes | None
) -> Altered:
    """Returns what changed.

    Raises:
        StoreError: it is not what this program wrote.
    """
    if seq == ITSELF:
        return info_from(room_id, info)
    try:
        return MessageChange(seq, content, codec.decode(MessageState, state or b""))
    except DecodeError as error:
        raise StoreError(
            f"message {seq} of room {room_id} has no readable state: {error}"
        ) from error
