"""Following the changes of rooms: fetches what others changed; the second half of `follower`.

`change_following` decides; this module reads, and waits. A look at the heads of all rooms, and
hints, come by way of `follower`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from chat.storage.postgres.change_following import ChangeFollowing
from chat.storage.postgres.change_reads import ChangesBehind
from chat.storage.postgres.supervised import go_on
from gen.chat import RoomChanges

# What is announced in one turn at most, if it is more than one change.
_PAGE_BYTES: Final = 256 * 1024
# How many rooms one statement reads.
_ROOMS: Final = 512

Read = Callable[[Mapping[str, tuple[int, int]], int], Awaitable[ChangesBehind]]
"""Reads changes behind positions, up to a size; raises `StoreError`."""


class ChangeFollower:
    """The changes of the rooms that this node follows.

    Args:
        following: what was announced.
        read: reads what is behind.
        check: refuses what was read of another history than the node works on.
    """

    def __init__(
        self, following: ChangeFollowing, read: Read, check: Callable[[str], None]
    ) -> None:
        self._following = following
        self._read = read
        self._check = check
        self._behind = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to fetch."""
        self._task = asyncio.create_task(go_on("fetching changes of messages", self._fetch))

    async def close(self) -> None:
        """Fetches no longer; whoever waits for an announcement waits in vain."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for room_id in self._following.positions():
            self._following.leave(room_id)

    def stored(self, spans: Iterable[RoomChanges]) -> None:
        """Takes what this node has changed."""
        self._following.store(spans)
        self.look()

    async def reach(self, room_id: str, change: int) -> None:
        """Returns when a room was announced up to a change that was read, if it is followed."""
        reached = asyncio.Event()
        self._following.reach(room_id, change, reached.set)
        self.look()
        await reached.wait()

    def look(self) -> None:
        """Fetches what is missing, if anything is."""
        if self._following.is_behind:
            self._behind.set()

    async def _fetch(self) -> None:
        await self._behind.wait()
        self._behind.clear()
        while self._following.is_behind:
            fetch = self._following.take(_ROOMS)
            if not fetch.positions:
                continue
            try:
                found = await self._read(fetch.positions, _PAGE_BYTES)
                self._check(found.epoch)
            except BaseException:
                self._following.retry(fetch)
                self._behind.set()
                raise
            self._following.bring(fetch, found.heads, found.changes, found.cut)
