"""Turns of the event loop: clients that ask for much get one at a time, all together.

Who asks for little is served as it comes. Who brings more than `FREE_WORK` in little time
waits for a turn, and for the next one whenever `TURN_WORK` is done, behind all others that
wait for theirs. So in one turn of the loop there is no more of it than one such client
brings, however many they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

FREE_WORK: Final = 16
"""How much a client may have done without a turn; 1 is a frame that it sent."""

TURN_WORK: Final = 64
"""How much it may have done in a turn."""

# Who brings as much as a turn in no more time than this asks for much.
_SOON_SECONDS: Final = 0.1


class Turns:
    """Gives turns of the event loop in the order in which they are asked for."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def call(self, go_on: Callable[[], None]) -> None:
        """Calls something in a turn to come."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(go_on)

    async def wait(self) -> None:
        """Waits for a turn."""
        turn = asyncio.Event()
        self.call(turn.set)
        await turn.wait()

    def _next(self) -> None:
        # It stays in the queue while it is called: who asks again meanwhile is behind it.
        go_on = self._waiting[0]
        try:
            go_on()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)


class Work:
    """What one client had done lately.

    Args:
        turns: gives turns to all clients.
    """

    __slots__ = ("_done", "_most", "_since", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._done = 0
        self._most = FREE_WORK
        self._since = monotonic()

    def add(self, work: int) -> bool:
        """Notes what was done; returns whether to `rest` now."""
        self._done += work
        return self._done >= self._most

    async def rest(self) -> None:
        """Waits for a turn, if much was done in little time."""
        self._most = FREE_WORK
        if monotonic() - self._since < _SOON_SECONDS * self._done / TURN_WORK:
            await self._turns.wait()
            self._most = TURN_WORK
        self._done = 0
        self._since = monotonic()
