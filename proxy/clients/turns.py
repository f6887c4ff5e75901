"""Turns of the event loop for busy clients: one of them in each turn.

A client with little work is served as it comes. One that brings more than `FREE_WORK` in
little time waits for a turn, and for the next one whenever `TURN_WORK` is done, behind all
others that wait. So a turn of the loop holds the work of one busy client, however many of
them there are.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

FREE_WORK: Final = 16
"""The work that needs no turn; 1 is a frame of the client."""

TURN_WORK: Final = 64
"""The most work of one turn."""

# A client is busy that brings the work of a turn within this time.
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
        # It stays in the queue while it is called: one that asks again meanwhile is behind it.
        go_on = self._waiting[0]
        try:
            go_on()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)


class Work:
    """The work that was done for one client lately.

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
        """Adds work; returns whether to `rest` now."""
        self._done += work
        return self._done >= self._most

    async def rest(self) -> None:
        """Waits for a turn, if there was much work in little time."""
        self._most = FREE_WORK
        if monotonic() - self._since < _SOON_SECONDS * self._done / TURN_WORK:
            await self._turns.wait()
            self._most = TURN_WORK
        self._done = 0
        self._since = monotonic()
