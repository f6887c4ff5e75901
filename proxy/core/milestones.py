"""Positions of a room that clients wait for: no I/O."""

import asyncio
from heapq import heappop, heappush


class Milestones:
    """Positions that were not delivered yet, each with one future for all its waiters."""

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[None]] = {}
        # A heap: what is delivered is compared with the next one alone.
        self._order: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._order)

    def at(self, seq: int) -> asyncio.Future[None]:
        """Returns the future of a position. Others wait for it, too: shield it."""
        found = self._futures.get(seq)
        if found is None:
            found = self._futures[seq] = asyncio.get_running_loop().create_future()
            heappush(self._order, seq)
        return found

    def reached(self, seq: int) -> None:
        """Ends the futures up to a position."""
        while self._order and self._order[0] <= seq:
            self._futures.pop(heappop(self._order)).set_result(None)

    def clear(self) -> None:
        """Ends all of them."""
        for future in self._futures.values():
            future.set_result(None)
        self._futures.clear()
        self._order.clear()
