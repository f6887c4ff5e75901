"""Stores messages for ever, and prints their number: to be killed."""

import asyncio
import sys
from collections.abc import Sequence

from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.support import message

ROOMS = 7
COMMIT = 10


def unheard(_: Sequence[ChatMessage]) -> None:
    """Ignores announcements."""


async def fill(store: SqliteStore, start: int, number: int) -> None:
    """Stores messages in all of the rooms, some per commit."""
    for first in range(start, start + number, COMMIT):
        keys = range(first, first + COMMIT)
        await store.append([message(f"room {key % ROOMS}", key=str(key)) for key in keys])


async def main(path: str, fold_bytes: int) -> None:
    """Runs until killed."""
    store = await SqliteStore.open(path, Listener(), 1 << 20, fold_bytes)
    stored = 0
    while True:
        await fill(store, stored, COMMIT)
        stored += COMMIT
        sys.stdout.write(f"{stored}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
