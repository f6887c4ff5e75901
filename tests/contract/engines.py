"""The storage engines under the contract."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from chat.storage.base import Announce, Store
from chat.storage.memory import MemoryStore
from chat.storage.postgres import PostgresStore
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage

_QUEUE_BYTES = 16 * 1024 * 1024
# The rooms whose announcements tests look at.
_FOLLOWED = ("room", "a", "b", "new", "'; DELETE FROM message; --")


class Place(NamedTuple):
    """Where an engine may keep what it stores.

    Attributes:
        folder: an empty folder.
        database: address of an empty database on a server; empty where there is none.
    """

    folder: Path
    database: str = ""


def place_of(request: pytest.FixtureRequest, build: "Build") -> Place:
    """What an engine needs of a test's fixtures."""
    # Only who needs it waits for a server.
    database = request.getfixturevalue("empty_database") if build in SHARED else ""
    return Place(request.getfixturevalue("tmp_path"), database)


class Engine:
    """One engine, and the messages that its stores announce.

    Attributes:
        announced: the messages, in the order of announcement.
        listen: called with each message as it is announced.
    """

    def __init__(self, opener: Callable[[Announce], Awaitable[Store]]) -> None:
        self._opener = opener
        self.announced: list[ChatMessage] = []
        self.listen: Callable[[ChatMessage], object] = lambda _: None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        """An open store."""
        store = await self._opener(self._hear)
        try:
            for room_id in _FOLLOWED:
                await store.follow(room_id)
            yield store
        finally:
            await store.close()

    def _hear(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            self.announced.append(message)
            self.listen(message)


async def empty(database: str) -> None:
    """Empties a database, but for its tables, if there are any."""
    connection = await asyncpg.connect(database)
    if await connection.fetchval("SELECT to_regclass('chat.meta')"):
        await connection.execute(
            "DELETE FROM chat.messages; DELETE FROM chat.rooms; DELETE FROM chat.users;"
            "DELETE FROM chat.nodes; DELETE FROM chat.active; DELETE FROM chat.spent;"
            "DELETE FROM chat.meta WHERE key NOT IN ('version', 'compatible')"
        )
    await connection.close()


def sqlite(place: Place) -> Engine:
    """SQLite, on its own file."""
    path = str(place.folder / "chat.db")
    return Engine(lambda announce: SqliteStore.open(path, announce, _QUEUE_BYTES))


def folding(place: Place) -> Engine:
    """SQLite, continuously folding its journal into the table."""
    path = str(place.folder / "chat.db")
    return Engine(lambda announce: SqliteStore.open(path, announce, _QUEUE_BYTES, fold_bytes=200))


def memory(_: Place) -> Engine:
    """The engine in memory."""

    async def opener(announce: Announce) -> Store:
        return MemoryStore(announce)

    return Engine(opener)


def postgres(place: Place) -> Engine:
    """PostgreSQL, with one node."""
    return Engine(
        lambda announce: PostgresStore.open(place.database, announce, lambda _: None, _QUEUE_BYTES)
    )


Build = Callable[[Place], Engine]

SHARED = (postgres,)
DURABLE = (sqlite, folding, *SHARED)
ENGINES = (*DURABLE, memory)
