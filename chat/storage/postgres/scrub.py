"""What was deleted goes from the files of a database: ``VACUUM (FULL)`` of all tables with it.

PostgreSQL keeps what was replaced: an UPDATE or DELETE leaves the old row where it is, until a
VACUUM gives its place free; and what is free is overwritten when something else comes there,
sooner, later or never. ``VACUUM (FULL)`` writes a table anew, with its indexes and its long texts
(TOAST), and deletes the old files. Nobody can read or write the table meanwhile, and there must be
room for the new one beside the old.

The planner's statistics have samples of what is in a table, so they are made anew, too.

What this does not reach: the write-ahead log, until its segments are recycled *and* written over;
archives of it; standbys, until they have replayed it; backups; and what a file system keeps of
deleted files.
"""

from collections.abc import Callable
from typing import Final

import asyncpg

from chat.storage.postgres.connections import Connection

_TABLES: Final = """
SELECT oid::regclass::text, pg_total_relation_size(oid) FROM pg_class
WHERE relnamespace = 'chat'::regnamespace AND relkind = 'r' ORDER BY relname
"""
# A table that is divided has statistics of the whole.
_DIVIDED: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'chat'::regnamespace AND relkind = 'p' ORDER BY relname
"""


async def scrub(connection: Connection, say: Callable[[str], None]) -> int:
    """Writes all tables anew.

    Args:
        connection: of the owner of the tables.
        say: is told how far it is.

    Returns:
        How many bytes the tables have now.

    Raises:
        asyncpg.PostgresError: it could not.
    """
    tables = await connection.fetch(_TABLES)
    for nth, (table, size) in enumerate(tables, 1):
        say(f"table {nth} of {len(tables)}: {table}, {size // 1024} KiB")
        await connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
    for (table,) in await connection.fetch(_DIVIDED):
        await connection.execute(f"ANALYZE {table}")
    try:
        await connection.execute("VACUUM (FULL) pg_catalog.pg_statistic")
    except asyncpg.InsufficientPrivilegeError:
        say("old statistics stay: only the owner of the database may remove them")
    try:
        await connection.execute("CHECKPOINT")
    except asyncpg.InsufficientPrivilegeError:
        say("the old files go with the next checkpoint")
    return sum(size for _, size in await connection.fetch(_TABLES))
