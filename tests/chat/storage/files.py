"""Stores on SQLite files, and the files as other programs see them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tests.support import no_file_grows_past

FIRST: Final = 1 << 32
"""The place of the first room, in front of its first message."""


async def open_store(
    path: Path,
    listener: Listener | None = None,
    queue_bytes: int = 1 << 20,
    *,
    idle_seconds: float | None = None,
    **settings: Any,
) -> SqliteStore:
    """Opens a store; its journal is folded when it is full, and when idle if that is asked for."""
    return await SqliteStore.open(
        str(path), listener or Listener(), queue_bytes, idle_seconds=idle_seconds, **settings
    )


@asynccontextmanager
async def opened(path: Path, *arguments: Any, **settings: Any) -> AsyncIterator[SqliteStore]:
    """An open store; see `open_store`."""
    store = await open_store(path, *arguments, **settings)
    try:
        yield store
    finally:
        await store.close()


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """What another program reads, which leaves the file as it is."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(statement).fetchall()


def execute(path: Path, statements: str, *bindings: Any) -> None:
    """Lets another program change the file, or make it."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(statements, bindings)


def make_old(path: Path, version: int, content: str) -> None:
    """Makes a file of an older version: the epoch "e", a message "one" in room 1, and more."""
    with closing(apsw.Connection(str(path))) as connection:
        for script in MIGRATIONS[:version]:
            connection.execute(script)
        connection.execute("INSERT INTO meta VALUES ('epoch', 'e')")
        connection.execute("INSERT INTO messages VALUES (?, 'ada', '1', 1, 'one')", (FIRST + 1,))
        connection.execute(content)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)


def open_files() -> int:
    """How many this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def full_disk(path: Path | str) -> Iterator[None]:
    """Lets the write-ahead log of a database not grow, as on a full disk."""
    with no_file_grows_past(Path(f"{path}-wal").stat().st_size):
        yield
