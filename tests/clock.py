"""An event loop with simulated time, which passes only on demand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ClockLoop(asyncio.SelectorEventLoop):
    """Timers are due once `pass_time` has come to them. Nothing else may wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        """See asyncio; in seconds, from 0."""
        return self._now

    async def pass_time(self, seconds: float) -> None:
        """Advances the time, and runs the timers that are due."""
        self._now += seconds
        await turns(2)  # timers run behind ready callbacks


async def turns(number: int) -> None:
    """Yields to the event loop that many times."""
    for _ in range(number):
        await asyncio.sleep(0)


def run(test: Callable[[ClockLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine function with such a loop as its argument."""
    loop = ClockLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(test(loop))


class Clock:
    """A clock that stands still until it is set; call it for its time, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
