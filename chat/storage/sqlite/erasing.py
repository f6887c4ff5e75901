"""The steps by which a user is erased, in the event loop.

Each step begins with a note in the file (`forget`), which is gone when all is. What the user sent
is found by the index of the idempotency keys, room by room, and deleted as by the user itself,
so that followers are told: nothing here has a way of its own to change a message. The index has
only what is in the table, so the journal is folded before. A step that was cut short left some
messages deleted, which the next one does not find any more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from chat.storage.base import Erased
from chat.storage.changes import Change
from chat.storage.sqlite.asks import Answer, Forgetting
from chat.storage.sqlite.state_reader import StateReader
from gen.chat import ChangeMessageRequest, ChatMessage

_FIRST_ROOM: Final = 0


class Erasing:
    """Erases users.

    Args:
        reader: finds what is left of a user.
        change: makes a change.
        forget: has a step done by the writer; returns whether there is more to do.
        settle: has the journal folded.
    """

    def __init__(
        self,
        reader: StateReader,
        change: Callable[[Change], Awaitable[ChatMessage]],
        forget: Callable[[Forgetting], Awaitable[Answer]],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader = reader
        self._change = change
        self._forget = forget
        self._settle = settle
        # Up to which room nothing is left of a user. What it sends there later is new.
        self._done: dict[str, int] = {}

    async def step(self, user_id: str, limit: int) -> Erased:
        """Goes on to erase a user; see `Store.erase`."""
        while await self._forget(Forgetting(user_id, is_last=False)):
            pass
        await self._settle()
        deletions = await self._find_sent(user_id, limit)
        left = limit - len(deletions)
        others = await self._reader.reacted(user_id, left) if left else []
        await self._change_all([*deletions, *others])
        is_done = len(others) < left
        if is_done:
            await self._forget(Forgetting(user_id, is_last=True))
            self._done.pop(user_id, None)
        return Erased(len(deletions), is_done)

    async def _find_sent(self, user_id: str, limit: int) -> list[ChangeMessageRequest]:
        found: list[ChangeMessageRequest] = []
        while True:
            done = self._done.get(user_id, _FIRST_ROOM)
            deletions, last_room = await self._reader.sent(user_id, done, limit - len(found))
            found += deletions
            if last_room is None or len(found) == limit:
                return found
            self._done[user_id] = last_room

    async def _change_all(self, requests: Sequence[ChangeMessageRequest]) -> None:
        changes = [self._change(Change(request)) for request in requests]
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
