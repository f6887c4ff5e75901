"""Filling a database with what became of messages and rooms, marks, and open erasures.

It comes behind the messages (see `importing`). A row that is there already is left, so an import
that was cut short brings all of this once more. The comparison is of each table: how many rows it
has, and the sum of a hash of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import codec
from chat.storage.base import StoreUnusable
from chat.storage.postgres.importing import differs, digest_of
from chat.storage.postgres.infos import packed_info, packed_number
from codec import DecodeError
from gen.chat import MessageState, Room

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection

Value = int | str | bytes | None

_OF_ROOMS: Final = """
UPDATE chat.rooms SET changes = given.changes, has_states = true
FROM unnest($1::bigint[], $2::bigint[]) AS given (room, changes)
WHERE rooms.room = given.room
"""
_ADD_ROOMS: Final = """
INSERT INTO chat.rooms (room, room_id) OVERRIDING SYSTEM VALUE
SELECT * FROM unnest($1::bigint[], $2::text[]) ON CONFLICT (room) DO NOTHING
"""
_SUM: Final = r"""
SELECT count(*), coalesce(sum(('x' || encode(substr(sha256(convert_to(
    concat_ws(E'\n', {columns}), 'UTF8')), 1, 6), 'hex'))::bit(48)::bigint), 0)::text
FROM chat.{table}
"""


class Rows(NamedTuple):
    """A table, and the columns that are brought, by their types.

    Attributes:
        name: of the table.
        columns: the types, by name, in the order of the rows.
    """

    name: str
    columns: Mapping[str, str]

    async def add(self, connection: Connection, rows: Sequence[Sequence[Value]]) -> None:
        """Stores rows that are not there yet."""
        given = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(self.columns.values(), 1))
        await connection.execute(
            f"INSERT INTO chat.{self.name} ({', '.join(self.columns)})"  # noqa: S608 - names of ours
            f" SELECT * FROM unnest({given}) ON CONFLICT DO NOTHING",
            *map(list, zip(*rows, strict=True)),
        )

    async def compare(self, connection: Connection, sums: Sums) -> None:
        """Compares all rows with those of a file.

        Raises:
            StoreUnusable: they are not the same.
        """
        texts = {"bytea": "coalesce(encode({}, 'hex'), '-')", "text": "{}"}
        columns = [texts.get(kind, "{}::text").format(name) for name, kind in self.columns.items()]
        statement = _SUM.format(columns=", ".join(columns), table=self.name)
        [(number, total)] = await connection.fetch(statement)
        if (number, int(total)) != (sums.number, sums.total):
            raise differs(f"{self.name}: {number} instead of {sums.number}, or not the same")


class Sums:
    """How many rows there are, and the sum of their hashes."""

    def __init__(self) -> None:
        self.number = 0
        self.total = 0

    def add(self, rows: Iterable[Sequence[Value]]) -> None:
        """Counts rows."""
        for row in rows:
            self.number += 1
            self.total += digest_of(map(_text, row))


STATES: Final = Rows(
    "states",
    {
        "room": "bigint", "seq": "bigint", "change": "bigint", "text_change": "bigint",
        "extra": "bytea", "state": "bytea",
    },
)  # fmt: skip
REACTIONS: Final = Rows(
    "reactions",
    {"room": "bigint", "seq": "bigint", "emoji": "text", "change": "bigint", "user_id": "text"},
)
MENTIONS: Final = Rows(
    "mentions", {"user_id": "text", "room": "bigint", "seq": "bigint", "sender_id": "text"}
)
MARKS: Final = Rows("marks", {"user_id": "text", "room": "bigint", "read_seq": "bigint"})
ERASURES: Final = Rows("erasures", {"user_id": "text"})


async def add_rooms(connection: Connection, rooms: Mapping[int, str]) -> None:
    """Stores rooms, by their numbers, that may have no message."""
    await connection.execute(_ADD_ROOMS, list(rooms), list(rooms.values()))


def info_columns(room: int, packed: bytes) -> tuple[int, bytes, bytes]:
    """Returns the change, and the columns ``extra`` and ``state``, of a room itself.

    Args:
        room: its number.
        packed: what is known of it, as an encoded `Room`.

    Raises:
        StoreUnusable: it is not what this program wrote.
    """
    try:
        info = codec.decode(Room, packed)
    except DecodeError as error:
        raise StoreUnusable(
            f"what is known of room number {room} is not readable: {error}"
        ) from error
    return info.change, packed_info(info), packed_number(info)


async def note_deletions(connection: Connection, states: Sequence[tuple[int, int, bytes]]) -> None:
    """Notes which messages were deleted.

    Args:
        connection: to the database, which has their states.
        states: room, seq and state of messages.

    Raises:
        StoreUnusable: a state is not what this program wrote.
    """
    deleted = []
    for room, seq, state in states:
        try:
            if codec.decode(MessageState, state).is_set("deleted_at"):
                deleted.append((room, seq))
        except DecodeError as error:
            raise StoreUnusable(
                f"message {seq} of room number {room} has no readable state: {error}"
            ) from error
    if deleted:
        await connection.execute(
            "UPDATE chat.states SET is_deleted = true"
            " FROM unnest($1::bigint[], $2::bigint[]) AS given (room, seq)"
            " WHERE states.room = given.room AND states.seq = given.seq AND NOT is_deleted",
            *map(list, zip(*deleted, strict=True)),
        )


async def note_changes(connection: Connection, changes: Mapping[int, int]) -> None:
    """Notes of rooms the number of their newest change, or 0 if they have extras alone."""
    await connection.execute(_OF_ROOMS, list(changes), list(changes.values()))


def _text(value: Value) -> str:
    if value is None:
        return "-"
    return value.hex() if isinstance(value, bytes) else str(value)
