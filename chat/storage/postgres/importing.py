"""Filling an empty database with what another store had: the history goes on where it was.

Each batch is one transaction, which also notes how far the import has come. So a killed import
goes on with the next batch. Until all is there and was compared, the database says in
``chat.meta`` that it is half full, and no server opens it (`schema.refuse_unfinished`).

The comparison is of each room: how many messages it has, which one is the last, and the sum of
a hash of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from chat.storage.base import StoreUnusable
from chat.storage.postgres.epoch import read_server
from chat.storage.postgres.schema import IMPORTING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chat.storage.postgres.connections import Connection

# Any number that nobody else uses: of two imports into one database one waits.
_LOCK: Final = 0x63686175
_EPOCH_0: Final = datetime(1970, 1, 1, tzinfo=UTC)

_HAS_CONTENT: Final = """
SELECT EXISTS (SELECT FROM chat.rooms) OR EXISTS (SELECT FROM chat.users)
"""
_IS_USED: Final = """
SELECT EXISTS (SELECT FROM chat.nodes WHERE alive_until > clock_timestamp())
"""
_NOTE: Final = """
INSERT INTO chat.meta (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_ROOMS: Final = """
INSERT INTO chat.rooms (room, room_id, head, last_at) OVERRIDING SYSTEM VALUE
SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::timestamptz[])
ON CONFLICT (room) DO UPDATE SET head = excluded.head, last_at = excluded.last_at
"""
# As `Sums.add` has it.
_SUMS: Final = r"""
SELECT room, head, count(seq), max(seq),
       sum(('x' || encode(substr(sha256(convert_to(
           concat_ws(E'\n', seq, (extract(epoch FROM sent_at) * 1000000)::bigint,
                     sender_id, id, content), 'UTF8')), 1, 6), 'hex'))::bit(48)::bigint)::text
FROM chat.rooms LEFT JOIN chat.messages USING (room)
WHERE room = ANY ($1::bigint[]) GROUP BY room, head
"""
_FINISH: Final = """
WITH done AS (DELETE FROM chat.meta WHERE key = $3)
INSERT INTO chat.meta (key, value) VALUES ('epoch', $1), ('server', $2), ('synchronous', 'off')
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_NEXT_ROOM: Final = """
SELECT setval(pg_get_serial_sequence('chat.rooms', 'room'), max(room)) FROM chat.rooms
"""

User = tuple[str, str, str, int]
"""user_id, name, email, tone."""

Message = tuple[int, int, int, str, str, str]
"""Number of the room, seq, time in microseconds since 1970, sender_id, id, content."""

_COLUMNS: Final = ("room", "seq", "sent_at", "sender_id", "id", "content")


def digest_of(columns: Iterable[str]) -> int:
    """Returns a hash of a row, as PostgreSQL computes it in the comparison."""
    return int.from_bytes(sha256("\n".join(columns).encode()).digest()[:6])


class Progress(NamedTuple):
    """How far an import has come.

    Attributes:
        epoch: the history that is brought.
        user_id: the last user that is there.
        room, seq: the last message that is there.
    """

    epoch: str
    user_id: str = ""
    room: int = 0
    seq: int = 0


class Sums:
    """Of each room: how many messages, the last `seq`, and the sum of their hashes.

    Attributes:
        messages: how many there are in all.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.rooms: dict[int, tuple[int, int, int]] = {}

    def add(self, message: Message) -> None:
        """Counts a message, behind those of the same room."""
        room, seq, *_ = message
        number, _, total = self.rooms.get(room, (0, 0, 0))
        self.rooms[room] = number + 1, seq, total + digest_of(map(str, message[1:]))
        self.messages += 1


class Import:
    """An import that goes on. Made by `begin`.

    Attributes:
        progress: how far it has come.
    """

    def __init__(self, connection: Connection, progress: Progress) -> None:
        self._connection = connection
        self.progress = progress

    @classmethod
    @asynccontextmanager
    async def begin(cls, connection: Connection, epoch: str) -> AsyncIterator[Import]:
        """Begins an import into an empty database, or goes on with one.

        Args:
            connection: to a database with tables.
            epoch: the history that is brought.

        Raises:
            StoreUnusable: the database holds something else, or is used; the text says so.
        """
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise StoreUnusable("another import into this database is running")
        try:
            yield cls(connection, await _begin(connection, epoch))
        finally:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    async def add_users(self, users: Sequence[User]) -> None:
        """Stores the next users, in the order of their ids, and that they are there."""
        progress = self.progress._replace(user_id=users[-1][0])
        async with self._connection.transaction():
            await self._connection.copy_records_to_table(
                "users",
                schema_name="chat",
                columns=["user_id", "name", "email", "tone"],
                records=users,
            )
            await self._note(progress)

    async def count_messages(self) -> int:
        """Returns how many messages are there."""
        return int(await self._connection.fetchval("SELECT coalesce(sum(head), 0) FROM chat.rooms"))

    async def add_messages(self, messages: Sequence[Message], rooms: Mapping[int, str]) -> None:
        """Stores the next messages, in the order of rooms and in each of `seq`.

        Args:
            messages: behind those that are there.
            rooms: the ids of their rooms, at least.
        """
        last = {room: (seq, sent_at) for room, seq, sent_at, *_ in messages}
        heads = [(room, rooms[room], seq, _time(sent_at)) for room, (seq, sent_at) in last.items()]
        rows = [(room, seq, _time(sent_at), *rest) for room, seq, sent_at, *rest in messages]
        progress = self.progress._replace(room=messages[-1][0], seq=messages[-1][1])
        async with self._connection.transaction():
            await self._connection.execute(_ROOMS, *map(list, zip(*heads, strict=True)))
            await self._connection.copy_records_to_table(
                "messages", schema_name="chat", columns=_COLUMNS, records=rows
            )
            await self._note(progress)

    async def compare(self, sums: Sums) -> None:
        """Compares rooms with what is there.

        Raises:
            StoreUnusable: something is missing, or is not the same.
        """
        for room, head, number, last, total in await self._connection.fetch(
            _SUMS, list(sums.rooms)
        ):
            if head != last or sums.rooms.pop(room) != (number, last, int(total)):
                raise differs(f"room number {room} is not the same")
        if sums.rooms:
            raise differs(f"room number {next(iter(sums.rooms))} is missing")

    async def finish(self, rooms: int, messages: int, users: int) -> None:
        """Compares how much there is in all, and lets servers open the database.

        Raises:
            StoreUnusable: it is not the same.
        """
        for table, number in (("rooms", rooms), ("messages", messages), ("users", users)):
            found = await self._connection.fetchval(f"SELECT count(*) FROM chat.{table}")  # noqa: S608 - names of ours
            if found != number:
                raise differs(f"{table}: {found} instead of {number}")
        await self._connection.execute(
            "ANALYZE chat.rooms, chat.messages, chat.users, chat.states, chat.reactions,"
            " chat.mentions, chat.marks"
        )
        server = await read_server(self._connection)
        async with self._connection.transaction():
            await self._connection.execute(_NEXT_ROOM)
            await self._connection.execute(_FINISH, self.progress.epoch, str(server), IMPORTING)

    async def _note(self, progress: Progress) -> None:
        await _note(self._connection, progress)
        self.progress = progress


async def _begin(connection: Connection, epoch: str) -> Progress:
    noted = await connection.fetchval("SELECT value FROM chat.meta WHERE key = $1", IMPORTING)
    if noted is not None:
        progress = Progress(*json.loads(noted))
        if progress.epoch != epoch:
            raise StoreUnusable(
                "an import of another file into the database was cut short: go on with that one, or"
                " drop the database and create it again"
            )
        return progress
    if await connection.fetchval(_IS_USED):
        raise StoreUnusable("a server uses the database: stop all servers first")
    if await connection.fetchval(_HAS_CONTENT):
        raise StoreUnusable("the database is not empty: import into a new one")
    progress = Progress(epoch)
    await _note(connection, progress)
    return progress


async def _note(connection: Connection, progress: Progress) -> None:
    await connection.execute(_NOTE, IMPORTING, json.dumps(progress))


def differs(what: str) -> StoreUnusable:
    """The error of something that is not as it was brought."""
    return StoreUnusable(
        f"{what}: something else wrote to the database, or the file was changed: drop the database,"
        " create it again and begin anew"
    )


def _time(micros: int) -> datetime:
    return _EPOCH_0 + timedelta(microseconds=micros)
