"""How far users have read, stored at most once a second for each user and room.

People read faster than a disk should write, on several devices at once. The first mark is stored
at once. Those that come within its second wait for the next one, which is one for all of
them, and all get its answer. What they ask for together is what they would have come to one after
the other: a mark only goes forward, unless it says `back`; one that does wipes out what was
asked before it, and what comes behind it goes forward from there.

Whoever goes away while it waits takes nothing with it: what it asked is stored all the same.
Nothing is kept of a user and a room once a second has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from chat.metrics import ServerMetrics
from chat.storage.base import StoreError
from gen.chat import Mark
from hosting.faults import Faults

INTERVAL_SECONDS: Final = 1.0


class Wish(NamedTuple):
    """What a mark is to become.

    Attributes:
        seq: up to where the user has read.
        back: whether the mark may go back to there.
    """

    seq: int
    back: bool = False

    def then(self, later: Wish) -> Wish:
        """Returns the one that comes to the same as this one and then a later one."""
        return later if later.back else Wish(max(self.seq, later.seq), self.back)


StoreMark = Callable[[str, str, Wish], Awaitable[Mark]]
"""Stores a mark of a user in a room."""


class _Lane:
    """The marks of a user in a room: those of the turn that is next."""

    def __init__(self) -> None:
        self._wish: Wish | None = None
        self._answer: asyncio.Future[Mark] | None = None

    def add(self, wish: Wish) -> tuple[asyncio.Future[Mark], bool]:
        """Adds a mark; returns the answer of its turn, and whether it shares it."""
        if self._wish is None or self._answer is None:
            self._wish, self._answer = wish, asyncio.get_running_loop().create_future()
            return self._answer, False
        self._wish = self._wish.then(wish)
        return self._answer, True

    def take(self) -> tuple[Wish, asyncio.Future[Mark]] | None:
        """Takes the turn that is next; `None` if nobody waits for one."""
        if self._wish is None or self._answer is None:
            return None
        taken = self._wish, self._answer
        self._wish = self._answer = None
        return taken


class Marking:
    """Paces the marks of all users.

    Args:
        store: stores one.
        metrics: counts those that wait, and those that are stored together.
        faults: logs defects, which perhaps nobody waits for any more.
        interval: from one to the next of a user in a room, in seconds.
    """

    def __init__(
        self,
        store: StoreMark,
        metrics: ServerMetrics,
        faults: Faults,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._faults = faults
        self._interval = interval
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def mark(self, user_id: str, room_id: str, wish: Wish) -> Mark:
        """Notes how far a user has read a room; may take a second.

        Returns:
            How far it has read, by this mark and those that were stored with it.

        Raises:
            Exception: what the store raised.
        """
        key = user_id, room_id
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
            task = asyncio.create_task(self._run(key, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer, is_shared = lane.add(wish)
        self._metrics.marks_shared += is_shared
        self._metrics.marks_waiting += 1
        try:
            # To await it would let it be cancelled, for all others too.
            await asyncio.wait({answer})
        finally:
            self._metrics.marks_waiting -= 1
        return answer.result()

    def __len__(self) -> int:
        """How many users and rooms something is kept of."""
        return len(self._lanes)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Paces while the context is open; then what waits is stored at once."""
        try:
            yield
        finally:
            self._closing.set()
            if self._tasks:
                await asyncio.wait(set(self._tasks))

    async def _run(self, key: tuple[str, str], lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            while turn := lane.take():
                wish, answer = turn
                next_at = loop.time() + self._interval
                await self._serve(key, wish, answer)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(next_at):
                        await self._closing.wait()
        finally:
            # In the turn in which nobody was found waiting: who comes now begins anew.
            del self._lanes[key]
            if cut_off := lane.take():
                cut_off[1].cancel()

    async def _serve(self, key: tuple[str, str], wish: Wish, answer: asyncio.Future[Mark]) -> None:
        try:
            mark = await self._store(*key, wish)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - those who wait for it get it
            if not isinstance(error, StoreError):
                self._faults.log("mark not stored", error)
            answer.set_exception(error)
            answer.exception()  # perhaps nobody waits
        else:
            answer.set_result(mark)
