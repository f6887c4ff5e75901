"""Opens the stores that are measured without a server."""

from collections.abc import Mapping
from typing import Final

from chat.storage.base import Store
from chat.storage.listener import Head, Listener
from chat.storage.postgres import PostgresStore
from chat.storage.sqlite import SqliteStore

QUEUE_BYTES: Final = 1 << 30
"""Nobody who is measured waits for room in a queue."""


def renew(_: Mapping[str, Head]) -> None:
    """Of a listener: nothing may be measured over two histories."""
    raise AssertionError("the history became another one")


async def open_store(url: str, listener: Listener | None = None) -> Store:
    """Opens a database of PostgreSQL, or a file of SQLite."""
    listener = listener or Listener(renew=renew)
    if url.startswith("postgresql:"):
        return await PostgresStore.open(url, listener, QUEUE_BYTES)
    return await SqliteStore.open(url, listener, QUEUE_BYTES)
