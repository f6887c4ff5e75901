"""One answer for all who ask within a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Shares an answer, so that its cost does not grow with the number of callers.

    Callers that come while it is being fetched wait for the same answer.

    Args:
        ask: fetches the answer.
        seconds: the time for which an answer is good. Exceptions are not kept.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._good_until = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Returns an answer that is no older than a moment.

        Raises:
            Exception: the error of `ask`.
        """
        if self._asking is None or self._is_stale(self._asking):
            self._asking = asyncio.create_task(self._renew())
        # A caller that gives up does so alone.
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Cancels a fetch that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    def _is_stale(self, asking: asyncio.Task[T]) -> bool:
        if not asking.done():
            return False
        failed = asking.cancelled() or asking.exception() is not None
        return failed or asyncio.get_running_loop().time() >= self._good_until

    async def _renew(self) -> T:
        answer = await self._ask()
        self._good_until = asyncio.get_running_loop().time() + self._seconds
        return answer
