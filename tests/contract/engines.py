"""The storage engines under the contract."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from chat.storage.base import (
    ChangesPage,
    Erased,
    Page,
    Range,
    ReactionRow,
    RoomIds,
    RoomRow,
    Store,
)
from chat.storage.changes import Change
from chat.storage.listener import Head, Listener, UserMark
from chat.storage.memory import MemoryStore
from chat.storage.postgres import PostgresStore
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage, Mark, Room, RoomChanges, User

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
    """One engine, and what its stores announce.

    Attributes:
        announced: the messages, in the order of announcement.
        changed: the changes, likewise.
        marked: how far users have read, likewise.
        listen: called with each message as it is announced.
        listen_to_changes: called with all that changed in a room as it is announced.
    """

    def __init__(self, opener: Callable[[Listener], Awaitable[Store]]) -> None:
        self._opener = opener
        self.announced: list[ChatMessage] = []
        self.changed: list[RoomChanges] = []
        self.marked: list[UserMark] = []
        self.listen: Callable[[ChatMessage], object] = lambda _: None
        self.listen_to_changes: Callable[[RoomChanges], object] = lambda _: None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        """An open store."""
        listener = Listener(self._hear, changed=self._hear_changes, marked=self.marked.extend)
        store = await self._opener(listener)
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

    def _hear_changes(self, changes: Sequence[RoomChanges]) -> None:
        for change in changes:
            self.changed.append(change)
            self.listen_to_changes(change)


async def empty(database: str) -> None:
    """Empties a database, but for its tables, if there are any."""
    connection = await asyncpg.connect(database)
    if await connection.fetchval("SELECT to_regclass('chat.meta')"):
        await connection.execute(
            "DELETE FROM chat.messages; DELETE FROM chat.rooms; DELETE FROM chat.users;"
            "DELETE FROM chat.states; DELETE FROM chat.reactions; DELETE FROM chat.mentions;"
            "DELETE FROM chat.marks; DELETE FROM chat.erasures;"
            "DELETE FROM chat.nodes; DELETE FROM chat.active; DELETE FROM chat.spent;"
            "DELETE FROM chat.meta WHERE key NOT IN ('version', 'compatible')"
        )
    await connection.close()


def sqlite(place: Place) -> Engine:
    """SQLite, on its own file."""
    path = str(place.folder / "chat.db")
    return Engine(lambda listener: SqliteStore.open(path, listener, _QUEUE_BYTES))


def folding(place: Place) -> Engine:
    """SQLite, continuously folding its journal into the table."""
    path = str(place.folder / "chat.db")
    return Engine(lambda listener: SqliteStore.open(path, listener, _QUEUE_BYTES, fold_bytes=200))


def memory(_: Place) -> Engine:
    """The engine in memory."""

    async def opener(listener: Listener) -> Store:
        return MemoryStore(listener)

    return Engine(opener)


def postgres(place: Place) -> Engine:
    """PostgreSQL, with one node."""
    return Engine(lambda listener: PostgresStore.open(place.database, listener, _QUEUE_BYTES))


def two_nodes(place: Place) -> Engine:
    """PostgreSQL, with two nodes."""

    async def opener(listener: Listener) -> Store:
        return Pair(
            [
                await PostgresStore.open(place.database, each, _QUEUE_BYTES)
                for each in (listener, Listener())
            ]
        )

    return Engine(opener)


class Pair(Store):
    """Two nodes on one database, as one store: what each of them stores, the first announces.

    Appends go to them in turn; those that are made together, to the same.
    """

    def __init__(self, nodes: Sequence[Store]) -> None:
        self._nodes = list(nodes)
        self._announcer = nodes[0]
        self._pending = 0
        self._closing = False
        self._appends: set[asyncio.Future[list[ChatMessage]]] = set()
        self.health = nodes[0].health

    @property
    def epoch(self) -> str:
        return self._nodes[0].epoch

    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        self._pending += 1
        future = self._nodes[-1].append(messages)
        heard = asyncio.ensure_future(self._heard({m.room_id for m in messages}, future))
        self._appends.add(heard)
        heard.add_done_callback(self._appends.discard)
        return heard

    async def _heard(
        self, rooms: Iterable[str], future: asyncio.Future[list[ChatMessage]]
    ) -> list[ChatMessage]:
        try:
            return await future
        finally:
            # One that is closed cannot.
            for node in () if self._closing else self._nodes:
                for room_id in rooms:
                    await node.catch_up(room_id)
            self._pending -= 1
            if not self._pending:
                self._nodes.reverse()

    async def wait_writable(self) -> None:
        await self._nodes[-1].wait_writable()

    async def follow(self, room_id: str) -> Head:
        return max([await node.follow(room_id) for node in self._nodes])

    async def last_seq(self, room_id: str) -> int:
        return await self._nodes[0].last_seq(room_id)

    async def history(self, room_id: str, span: Range) -> Page:
        return await self._nodes[0].history(room_id, span)

    async def change(self, change: Change) -> ChatMessage:
        message = await self._nodes[-1].change(change)
        await self._meet(change.request.room_id)
        return message

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        return await self._nodes[0].changes(room_id, after_change, limit)

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        return await self._nodes[0].count_changes(room_id, after_change, most)

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        return await self._nodes[0].reactions(room_id, seq, user_id, after, limit)

    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        # What another node tells of marks may be lost: one announces what it stores.
        return await self._announcer.mark(user_id, room_id, seq, back=back)

    async def erase(self, user_id: str, limit: int) -> Erased:
        erased = await self._nodes[-1].erase(user_id, limit)
        for room_id in _FOLLOWED:
            await self._meet(room_id)
        return erased

    async def erasures(self) -> list[str]:
        return await self._nodes[0].erasures()

    async def set_room(self, room: Room, if_change: int | None) -> Room:
        found = await self._nodes[-1].set_room(room, if_change)
        await self._meet(room.id)
        return found

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        return await self._nodes[0].room_ids(after_id, limit, query, marked_by)

    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        return await self._nodes[0].room_rows(room_ids, user_id)

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        return await self._nodes[0].members(room_id, after_id, limit)

    async def get_users(self, user_ids: Sequence[str]) -> list[User]:
        return await self._nodes[0].get_users(user_ids)

    async def _meet(self, room_id: str) -> None:
        for node in self._nodes:
            await node.catch_up(room_id)
        if not self._pending:
            self._nodes.reverse()

    async def get_user(self, user_id: str) -> User | None:
        return await self._nodes[0].get_user(user_id)

    async def upsert_user(self, user_id: str, name: str, email: str, tone: int = 0) -> User:
        return await self._nodes[0].upsert_user(user_id, name, email, tone)

    async def list_users(self, after_id: str, limit: int) -> list[User]:
        return await self._nodes[0].list_users(after_id, limit)

    def set_active(self, user_id: str, active: bool) -> None:
        self._nodes[0].set_active(user_id, active)

    async def close(self) -> None:
        # The one that announces hears of what the other one stores in the end.
        [other] = (node for node in self._nodes if node is not self._announcer)
        self._closing = True
        await other.close()
        for room_id in _FOLLOWED:
            await self._announcer.catch_up(room_id)
        await self._announcer.close()
        if self._appends:
            await asyncio.wait(self._appends)


Build = Callable[[Place], Engine]

SHARED = (postgres, two_nodes)
DURABLE = (sqlite, folding, *SHARED)
ENGINES = (*DURABLE, memory)
