"""How far users have read: the marks of one commit.

A mark that does not move is not written. Mentions are rows of their own, by user and position:
how many are unread is a range of them, of which at most `MOST_MENTIONS` are looked at; those for
everyone in a room are a second range.
"""

from collections.abc import Sequence
from typing import Final

import apsw

from chat.storage.changes import MOST_MENTIONS
from chat.storage.listener import UserMark
from chat.storage.sqlite.asks import Reading
from chat.storage.sqlite.states import query, write
from gen.chat import Mark

# Of a user `who`, behind a position `seq` of a room `room`.
_MENTIONS: Final = """
    (SELECT count(*) FROM (
        SELECT 1 FROM mentions WHERE user_id = who
          AND position > room << 32 | seq AND position < (room + 1) << 32
        LIMIT {most}
    )) + (SELECT count(*) FROM (
        SELECT 1 FROM mentions WHERE user_id = ''
          AND position > room << 32 | seq AND position < (room + 1) << 32
          AND sender_id <> who
        LIMIT {most}
    ))
"""
_READ: Final = """
SELECT json_array(seq, {mentions})
FROM (
    SELECT room, ?2 AS who, min(?3, coalesce((
        SELECT read_seq FROM marks WHERE user_id = ?2 AND marks.room = rooms.room
    ), 0)) AS seq FROM rooms WHERE room_id = ?1
)
"""
_LOAD: Final = """
SELECT json_group_array(json_array(new.key, rooms.room, coalesce(read_seq, 0)))
FROM json_each(?) AS new CROSS JOIN rooms
LEFT JOIN marks ON user_id = new.value ->> 0 AND marks.room = rooms.room
WHERE room_id = new.value ->> 1
"""
_STORE: Final = """
INSERT INTO marks SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
ON CONFLICT DO UPDATE SET read_seq = excluded.read_seq
"""
_COUNT: Final = """
SELECT json_group_array({mentions} ORDER BY nth)
FROM (
    SELECT key AS nth, value ->> 0 AS who, value ->> 1 AS room, value ->> 2 AS seq
    FROM json_each(?) AS new
)
"""


def _counting(statement: str) -> str:
    return statement.format(mentions=_MENTIONS.format(most=MOST_MENTIONS))


READ: Final = _counting(_READ)
COUNT: Final = _counting(_COUNT)

_Key = tuple[str, str]


def store_marks(
    connection: apsw.Connection, readings: Sequence[Reading]
) -> tuple[list[Mark], list[UserMark]]:
    """Stores marks, in a transaction.

    Returns:
        The mark of each as it stands behind it, and those that moved.
    """
    if not readings:
        return [], []
    asked = [(each.user_id, each.room_id) for each in readings]
    found = query(connection, _LOAD, asked)
    before: dict[_Key, int] = {asked[nth]: seq for nth, _, seq in found}
    rooms: dict[str, int] = {asked[nth][1]: room for nth, room, _ in found}
    moved: dict[_Key, int] = {}
    seqs: list[int] = []
    have_moved: list[bool] = []
    for each, key in zip(readings, asked, strict=True):
        last = moved.get(key, before.get(key, 0))
        seq = each.seq if each.back or each.seq > last else last
        have_moved.append(seq != last and each.room_id in rooms)
        if have_moved[-1]:
            moved[key] = seq
        seqs.append(seq)
    write(
        connection,
        _STORE,
        [(user_id, rooms[room_id], seq) for (user_id, room_id), seq in moved.items()],
    )
    counted = [(key[0], rooms.get(key[1], 0), seq) for key, seq in zip(asked, seqs, strict=True)]
    counts = query(connection, COUNT, counted)
    marks = [
        Mark(each.room_id, seq, min(count, MOST_MENTIONS))
        for each, seq, count in zip(readings, seqs, counts, strict=True)
    ]
    told = [
        UserMark(each.user_id, mark)
        for each, mark, has_moved in zip(readings, marks, have_moved, strict=True)
        if has_moved
    ]
    return marks, told
