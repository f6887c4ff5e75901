"""A server whose history is replaced by another one on demand, as by a failover."""

import asyncio

from chat.api.context import Context
from chat.storage.base import Page, Range
from chat.storage.listener import Head, Listener
from chat.storage.memory import MemoryStore
from tests.chat.in_memory import with_store


class ForgetfulStore(MemoryStore):
    """A store that loses the newest messages on demand, as a failover may.

    Attributes:
        followed: the rooms that are followed.
        reading: set when the history is read.
        pages: set to let reads of the history go on.
        silent: whether to tell nobody of another epoch, until `renew` is called.
    """

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.followed: set[str] = set()
        self.silent = False
        self.pages = asyncio.Event()
        self.pages.set()
        self.reading = asyncio.Event()

    async def follow(self, room_id: str) -> Head:
        self.followed.add(room_id)
        return await super().follow(room_id)

    def unfollow(self, room_id: str) -> None:
        self.followed.remove(room_id)

    async def history(self, room_id: str, span: Range) -> Page:
        self.reading.set()
        page = await super().history(room_id, span)
        await self.pages.wait()
        return page

    def lose(self, room_id: str, number: int) -> None:
        """Loses the newest messages of a room, and takes another epoch."""
        messages = self._rooms[room_id].messages
        for lost in messages[-number:]:
            del self._keys[lost.room_id, lost.sender_id, lost.id]
        del messages[-number:]
        self._epoch += "'"
        self.renew()

    def renew(self) -> None:
        """Tells of the epoch, if that was not done at once."""
        if not self.silent:
            self._listener.renew({room: self._room(room).head for room in self.followed})


async def forgetful() -> tuple[Context, ForgetfulStore]:
    """Makes the context of a server, and its store."""
    return await with_store(ForgetfulStore)
