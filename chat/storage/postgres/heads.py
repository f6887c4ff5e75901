"""Heads of rooms, read for many callers at once.

When a server starts, its proxies join thousands of rooms within a moment. While one statement
reads heads, those that are wanted next come together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from chat.storage.base import StoreError
from chat.storage.listener import Head
from chat.storage.postgres.supervised import go_on

# How many one statement reads.
_MOST: Final = 1000


class HeadReader:
    """Reads heads.

    Args:
        read: reads those of some rooms; a room that there is not has none. Raises `StoreError`.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, Head]]]) -> None:
        self._read = read
        self._waiting: dict[str, asyncio.Future[Head]] = {}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to read."""
        self._task = asyncio.create_task(go_on("heads of rooms", self._read_some))

    async def close(self) -> None:
        """Reads no more; who waits gets an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._fail(self._waiting, StoreError("the store is closed"))

    async def head(self, room_id: str) -> Head:
        """Reads the head of a room, no earlier than now; that of an empty one if there is none.

        Raises:
            StoreError: it could not be read.
        """
        if room_id not in self._waiting:
            self._waiting[room_id] = asyncio.get_running_loop().create_future()
            self._wanted.set()
        # Others may wait for the same.
        return await asyncio.shield(self._waiting[room_id])

    async def _read_some(self) -> None:
        await self._wanted.wait()
        room_ids = list(self._waiting)[:_MOST]
        # Who comes from now on gets what is read later.
        waiting = {room_id: self._waiting.pop(room_id) for room_id in room_ids}
        if not self._waiting:
            self._wanted.clear()
        try:
            heads = await self._read(room_ids)
        except StoreError as error:
            self._fail(waiting, error)
        except BaseException as error:
            self._fail(waiting, StoreError(f"heads not read: {error!r}"))
            raise
        else:
            for room_id, waiter in waiting.items():
                waiter.set_result(heads.get(room_id, Head()))

    def _fail(self, waiting: Mapping[str, asyncio.Future[Head]], error: StoreError) -> None:
        for waiter in waiting.values():
            waiter.set_exception(error)
            waiter.exception()  # perhaps nobody waits for it any more
