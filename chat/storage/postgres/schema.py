"""The tables and functions in the database, their versions, and how they are brought up.

All of it stands in the schema ``chat`` of the database. ``chat.meta`` holds the version: how
many of the files in ``sql/`` were applied. A file that was released is never edited; a change is
a further one.

Servers of two versions use one database while they are updated one by one. So a migration only
adds: a column has a default, a function that changes gets another name (``append_1``,
``append_2``). A migration that can't keep to that says so in ``chat.meta``: ``compatible`` is the
lowest version of the schema that a program has to know.

Whoever finds the version it knows needs no rights but to read and write the tables.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

import asyncpg

from chat.storage.base import StoreUnusable
from chat.storage.postgres.connections import Connection
from hosting.logs import get_logger

log = get_logger(__name__)

_LEAST_SERVER: Final = 140000
# What two servers that start at once have to agree on; any number that nobody else uses.
_LOCK: Final = 0x63686174  # "chat"
_FILE: Final = re.compile(r"(\d{3})_\w+\.sql")

_ABOUT: Final = """
SELECT current_setting('server_version_num')::int AS server,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only,
       to_regnamespace('chat') IS NOT NULL AS has_schema,
       to_regclass('chat.meta') IS NOT NULL AS has_meta,
       EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('chat')) AS has_tables
"""
IMPORTING: Final = "importing"
"""The key in ``chat.meta`` of a database that is filled by an import, which has not ended."""

_VERSION: Final = """
SELECT key, value::int FROM chat.meta WHERE key IN ('version', 'compatible')
"""
_SET_VERSION: Final = """
INSERT INTO chat.meta (key, value) VALUES ('version', $1), ('compatible', $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
# The lowest version that a program must know to use what the newest migration leaves.
_COMPATIBLE: Final = 1


def migrations() -> tuple[str, ...]:
    """Returns the statements of each migration, the first one first."""
    found = {
        int(match[1]): each.read_text(encoding="utf-8")
        for each in (files(__package__) / "sql").iterdir()
        if (match := _FILE.fullmatch(each.name))
    }
    return tuple(found[number] for number in range(1, len(found) + 1))


async def prepare(connection: Connection) -> None:
    """Looks whether a database can be used, and makes or brings up what is lacking in it.

    Raises:
        StoreUnusable: it can't be used; the text says why.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it failed otherwise.
    """
    about = await connection.fetchrow(_ABOUT)
    assert about is not None  # noqa: S101 - it is an aggregate
    check_server(about["server"], about["encoding"], is_read_only=about["read_only"])
    known = migrations()
    if await _version(connection, about, len(known)) < len(known):
        await _migrate(connection, known)


async def refuse_unfinished(connection: Connection) -> None:
    """Refuses a database that is half full.

    Raises:
        StoreUnusable: it is.
    """
    found = await connection.fetchval("SELECT true FROM chat.meta WHERE key = $1", IMPORTING)
    if found:
        raise StoreUnusable("an import into the database has not ended: run chat-import again")


async def _migrate(connection: Connection, known: tuple[str, ...]) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        # Somebody else may have done it meanwhile.
        about = await connection.fetchrow(_ABOUT)
        assert about is not None  # noqa: S101 - as above
        version = await _version(connection, about, len(known))
        if not about["has_schema"]:
            await connection.execute("CREATE SCHEMA chat")
        for statements in known[version:]:
            await connection.execute(statements)
        if version < len(known):
            await connection.execute(_SET_VERSION, str(len(known)), str(_COMPATIBLE))
            log.info("schema of the database brought up", from_version=version, version=len(known))


async def _version(connection: Connection, about: asyncpg.Record, known: int) -> int:
    """Returns the version of the schema; 0 if there is none yet.

    Raises:
        StoreUnusable: it is not ours, or too new.
    """
    if not about["has_meta"]:
        if about["has_tables"]:
            raise StoreUnusable(_FOREIGN)
        return 0
    try:
        found = {row["key"]: row["value"] for row in await connection.fetch(_VERSION)}
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError) as error:
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise
        raise StoreUnusable(_FOREIGN) from error
    if "version" not in found:
        raise StoreUnusable(_FOREIGN)
    if found.get("compatible", 0) > known:
        raise StoreUnusable(
            f"its schema has version {found['version']}, and this program knows {known} at most: "
            "use a newer version of this program"
        )
    return int(found["version"])


_FOREIGN: Final = 'it has a schema "chat" of something else: use a database of its own'


def check_server(version: int, encoding: str, *, is_read_only: bool) -> None:
    """Checks that a server will do.

    Args:
        version: as `server_version_num` has it.
        encoding: of the database.
        is_read_only: whether it takes no writes.

    Raises:
        StoreUnusable: it will not.
    """
    if version < _LEAST_SERVER:
        raise StoreUnusable(
            f"the server is PostgreSQL {version // 10_000}: "
            f"version {_LEAST_SERVER // 10_000} or later is needed"
        )
    if encoding != "UTF8":
        raise StoreUnusable(
            f"its encoding is {encoding}: create one with ENCODING 'UTF8' and TEMPLATE template0"
        )
    if is_read_only:
        raise StoreUnusable("it is read-only, or on a standby: name the server that takes writes")
