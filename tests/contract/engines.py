"""The storage engines under the contract."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chat.storage.base import Announce, Store
from chat.storage.memory import MemoryStore
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage

_QUEUE_BYTES = 16 * 1024 * 1024


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
            yield store
        finally:
            await store.close()

    def _hear(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            self.announced.append(message)
            self.listen(message)


def sqlite(folder: Path) -> Engine:
    """SQLite, on its own file."""
    path = str(folder / "chat.db")
    return Engine(lambda announce: SqliteStore.open(path, announce, _QUEUE_BYTES))


def folding(folder: Path) -> Engine:
    """SQLite, continuously folding its journal into the table."""
    path = str(folder / "chat.db")
    return Engine(lambda announce: SqliteStore.open(path, announce, _QUEUE_BYTES, fold_bytes=200))


def memory(_: Path) -> Engine:
    """The engine in memory."""

    async def opener(announce: Announce) -> Store:
        return MemoryStore(announce)

    return Engine(opener)


DURABLE = (sqlite, folding)
ENGINES = (*DURABLE, memory)
