"""All that a file holds of a user, while a server has it open or not.

It is of one moment. What is still in the journal is read from there. The table of messages is
read from its beginning to its end, whose order is that of rooms and positions: nothing has to be
sorted, and no more than the journal and one message is in memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import merge
from itertools import starmap
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import apsw

from chat.storage.base import StoreUnusable
from chat.storage.personal import (
    OwnMessage,
    mark_line,
    mention_line,
    message_line,
    reaction_line,
    user_line,
)
from chat.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, SEQ_BITS, SEQ_MASK
from chat.storage.stamps import from_micros

_USER: Final = "SELECT user_id, name, email, tone FROM users WHERE user_id = ?"
_MARKS: Final = """
SELECT room_id, read_seq FROM marks JOIN rooms USING (room) WHERE user_id = ? ORDER BY room
"""
_MESSAGES: Final = """
SELECT messages.position, id, sent_at, coalesce(states.content, messages.content), extra, state
FROM messages LEFT JOIN states USING (position) WHERE sender_id = ? ORDER BY messages.position
"""
_JOURNAL: Final = """
SELECT value ->> 0, value ->> 2, value ->> 3, coalesce(states.content, value ->> 4), extra, state
FROM journal CROSS JOIN json_each(batch) LEFT JOIN states ON states.position = value ->> 0
WHERE value ->> 1 = ?
"""
_ROOM: Final = "SELECT room_id FROM rooms WHERE room = ?"
_REACTIONS: Final = """
SELECT room_id, position & 0xffffffff, emoji
FROM reactions JOIN rooms ON room = position >> 32 WHERE user_id = ?
"""
_MENTIONS: Final = """
SELECT room_id, position & 0xffffffff
FROM mentions JOIN rooms ON room = position >> 32 WHERE user_id = ? ORDER BY position
"""

_position: Final = itemgetter(0)


def personal_data(database: Path, user_id: str) -> Iterator[bytes]:
    """Returns the lines of what is stored of a user; see `chat.storage.personal`.

    Args:
        database: the file of a server, running or not.
        user_id: the user.

    Raises:
        StoreUnusable: it cannot be read; the text says why, in one line.
    """
    try:
        with _opened(database) as connection:
            yield from starmap(user_line, _rows(connection, _USER, user_id))
            yield from starmap(mark_line, _rows(connection, _MARKS, user_id))
            for message in _messages(connection, user_id):
                yield message_line(user_id, message)
            yield from starmap(reaction_line, _rows(connection, _REACTIONS, user_id))
            yield from starmap(mention_line, _rows(connection, _MENTIONS, user_id))
    except (apsw.Error, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        raise StoreUnusable(f"cannot read {database}: {why}") from error


@contextmanager
def _opened(database: Path) -> Iterator[apsw.Connection]:
    if not database.is_file():
        raise StoreUnusable(f"cannot read {database}: there is no such file")
    log = Path(f"{os.path.realpath(database)}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    # Not read-only, for that would leave a log behind where no server runs.
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(5000)
        connection.pragma("query_only", True)
        if has_log:
            # What a killed server left is for the next one to look at.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if connection.pragma("application_id") != APPLICATION_ID:
            raise StoreUnusable(f"{database} is not a database of this program")
        version = connection.pragma("user_version")
        if version != len(MIGRATIONS):
            raise StoreUnusable(
                f"{database} has version {version}, and this program reads {len(MIGRATIONS)}:"
                " let a server of the same version open it first"
            )
        with connection:
            yield connection
    finally:
        connection.close()


def _rows(connection: apsw.Connection, statement: str, user_id: str) -> Any:
    return connection.execute(statement, (user_id,))


def _messages(connection: apsw.Connection, user_id: str) -> Iterator[OwnMessage]:
    table = _rows(connection, _MESSAGES, user_id)
    journal = sorted(_rows(connection, _JOURNAL, user_id), key=_position)
    last = room = 0
    room_id = ""
    for position, key, sent_at, *rest in merge(table, journal, key=_position):
        if position == last:
            continue  # on its way from the journal
        last = position
        if position >> SEQ_BITS != room:
            room = position >> SEQ_BITS
            room_id = str(connection.execute(_ROOM, (room,)).get)
        yield OwnMessage(room_id, position & SEQ_MASK, key, from_micros(sent_at), *rest)
