"""The tables, their versions, and how a file of an older version is brought up.

``PRAGMA user_version`` holds the version: how many of `MIGRATIONS` were applied.
A migration that was released is never edited; a change is a further one.

A message's primary key is its position, ``room << 32 | seq``: a page of a room
is then one range of the table itself, which costs the same however large the
room or the table is, and needs no second index.

What is new is in `journal` first: one row for each commit, with its messages as a
JSON array of rows of `messages`. To write to the end of one table is cheap, to write
into the middle of `messages` for each room of a commit is not; so the journal is
folded into `messages` many commits at a time.

What only some messages have is beside them, in `states`: most messages have no row there, and
rooms without any (`rooms.beside`) are read without a look at it. An edited or deleted message
has its text there alone: in `messages` it is empty then, and what the journal still has of it
counts for nothing (see `fold`).

What is known of a room itself is in `states`, too (see `infos`).
"""

import uuid
from typing import Final

import apsw

from chat.storage.base import StoreUnusable
from chat.storage.sqlite.wal import is_damaged

SEQ_BITS: Final = 32
SEQ_MASK: Final = (1 << SEQ_BITS) - 1

_V1: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rooms (
    room INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE messages (
    position INTEGER PRIMARY KEY, -- room << 32 | seq
    sender_id TEXT NOT NULL,
    id TEXT NOT NULL,
    sent_at INTEGER NOT NULL, -- microseconds since 1970, UTC
    content TEXT NOT NULL
) STRICT;

-- The idempotency key.
CREATE UNIQUE INDEX messages_key ON messages (position >> 32, sender_id, id);

CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- For people who open the file with a tool of their own.
CREATE VIEW history AS
    SELECT room_id, position & 0xffffffff AS seq, sender_id, id,
           strftime('%Y-%m-%dT%H:%M:%fZ', sent_at / 1e6, 'unixepoch') AS sent_at, content
    FROM messages JOIN rooms ON room = position >> 32;
"""

_V2: Final = """
CREATE TABLE journal (
    nth INTEGER PRIMARY KEY,
    batch TEXT NOT NULL -- [[position, sender_id, id, sent_at, content], ...]
) STRICT;

DROP VIEW history;

CREATE VIEW history AS
    SELECT room_id, position & 0xffffffff AS seq, sender_id, id,
           strftime('%Y-%m-%dT%H:%M:%fZ', sent_at / 1e6, 'unixepoch') AS sent_at, content
    FROM (
        SELECT position, sender_id, id, sent_at, content FROM messages
        UNION
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
        FROM journal, json_each(batch)
    )
    JOIN rooms ON room = position >> 32;
"""

# `extra` and `state` are in the encoding of protobuf.
_V3: Final = """
ALTER TABLE rooms ADD COLUMN changes INTEGER NOT NULL DEFAULT 0; -- the number of the newest
ALTER TABLE rooms ADD COLUMN beside INTEGER NOT NULL DEFAULT 0; -- whether `states` has any of it

CREATE TABLE states (
    position INTEGER PRIMARY KEY,
    change INTEGER UNIQUE, -- room << 32 | number; NULL if it never changed
    text_change INTEGER NOT NULL DEFAULT 0, -- the number of the last change of its text
    content TEXT, -- NULL if its text never changed; empty if it was deleted
    extra BLOB, -- MessageExtra, but for its state
    state BLOB -- MessageState
) STRICT;

CREATE TABLE reactions (
    position INTEGER NOT NULL,
    emoji TEXT NOT NULL,
    change INTEGER NOT NULL, -- the number of the change by which it came
    user_id TEXT NOT NULL,
    PRIMARY KEY (position, emoji, change)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX reactions_user ON reactions (user_id, position, emoji);

CREATE TABLE mentions (
    user_id TEXT NOT NULL, -- empty for everyone in the room, and then there is no other
    position INTEGER NOT NULL,
    sender_id TEXT NOT NULL,
    PRIMARY KEY (user_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    user_id TEXT NOT NULL,
    room INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, room)
) STRICT, WITHOUT ROWID;

-- Users whose erasure was begun, and is not done.
CREATE TABLE erasures (
    user_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

DROP VIEW history;

CREATE VIEW history AS
    SELECT room_id, position & 0xffffffff AS seq, sender_id, id,
           strftime('%Y-%m-%dT%H:%M:%fZ', sent_at / 1e6, 'unixepoch') AS sent_at, content
    FROM (
        SELECT position, sender_id, id, sent_at, coalesce(states.content, messages.content)
            AS content
        FROM messages LEFT JOIN states USING (position)
        UNION
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3,
               coalesce(states.content, value ->> 4)
        FROM journal, json_each(batch) LEFT JOIN states ON position = value ->> 0
    )
    JOIN rooms ON room = position >> 32;
"""

# What is known of a room itself is a row of `states` from now on, in the place of a message 0: its
# `state` is a Room. It does not count for `rooms.beside`.
_V4: Final = """
CREATE INDEX marks_room ON marks (room, user_id);

ALTER TABLE users ADD COLUMN tone INTEGER NOT NULL DEFAULT 0;
"""

MIGRATIONS: Final = (_V1, _V2, _V3, _V4)

# How much of the tables and indexes the writer keeps in memory.
_CACHE_KIB: Final = 8192

# "chat" in ASCII: lets `file` and this module tell the database from another's.
APPLICATION_ID: Final = 0x63686174


def open_writer(path: str) -> apsw.Connection:
    """Opens the connection that writes, and brings the file up to date.

    Raises:
        StoreUnusable: it is not a database of this program, is damaged, or was
            written by a newer version.
        apsw.Error: the file cannot be opened.
    """
    if is_damaged(path):
        raise StoreUnusable(
            "its write-ahead log was damaged, and what was confirmed is missing: restore a backup,"
            f" or remove {path}-wal to do without all that is in it"
        )
    connection = apsw.Connection(path)
    connection.set_busy_timeout(5000)
    try:
        _refuse_unknown(connection)
        # FULL: in WAL mode a commit is on disk before it returns.
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", "FULL")
        connection.pragma("cache_size", -_CACHE_KIB)
        # A fold needs a little for the time of a statement. It must not depend on
        # another disk, which may be full or read-only.
        connection.pragma("temp_store", "MEMORY")
        with connection:
            _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def read_epoch(connection: apsw.Connection) -> str:
    """Returns the epoch of the history in this file."""
    try:
        epoch = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").get
    except UnicodeDecodeError:
        epoch = None
    if not isinstance(epoch, str):
        raise StoreUnusable("the database has no epoch: it is damaged")
    return epoch


def read_last_sent_at(connection: apsw.Connection) -> int:
    """Returns the time of the newest message in the table, or 0 if it is not known."""
    try:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'last_sent_at'").get or 0)
    except ValueError:  # damaged: times then begin with the clock
        return 0


def keep_last_sent_at(connection: apsw.Connection, sent_at: int) -> None:
    """Notes the time of the newest message in the table, in microseconds since 1970."""
    connection.execute(
        "INSERT INTO meta VALUES ('last_sent_at', ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(sent_at),),
    )


def _refuse_unknown(connection: apsw.Connection) -> None:
    """Before anything is written: a file that is not ours stays as it is."""
    if connection.readonly("main"):
        # Before the first look, which leaves read-only files beside this one behind.
        raise StoreUnusable("the file may not be written to")
    version = connection.pragma("user_version")
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if not empty and (version == 0 or connection.pragma("application_id") != APPLICATION_ID):
        raise StoreUnusable("the file is a database of another program")
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"the database has version {version}, and this program knows up to {len(MIGRATIONS)}"
        )


def _migrate(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    for script in MIGRATIONS[version:]:
        connection.execute(script)
    if version == 0:
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex,))
    connection.pragma("user_version", len(MIGRATIONS))
