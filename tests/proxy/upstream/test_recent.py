"""`Recent`: one answer shared by all callers within a short time."""

import asyncio

import pytest

from proxy.upstream.recent import Recent
from tests.clock import ClockLoop, turns

SECONDS = 0.5


class Oracle:
    """Answers with its number of calls.

    Attributes:
        asked: number of calls.
        fails: whether it raises instead.
        open: set while it answers immediately.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> int:
        self.asked += 1
        asked = self.asked
        await self.open.wait()
        if self.fails:
            raise ConnectionError(asked)
        return asked


async def test_recent_asks_once_per_period(loop: ClockLoop) -> None:
    oracle = Oracle()
    recent = Recent(oracle, SECONDS)
    assert [await recent.get() for _ in range(3)] == [1, 1, 1]
    await loop.pass_time(SECONDS * 0.9)
    assert await recent.get() == 1
    await loop.pass_time(SECONDS * 0.1)
    assert await recent.get() == 2


async def test_recent_callers_share_one_answer(loop: ClockLoop) -> None:
    oracle = Oracle()
    oracle.open.clear()
    recent = Recent(oracle, SECONDS)
    asking = [asyncio.create_task(recent.get()) for _ in range(5)]
    await turns(3)
    asking[0].cancel()
    # However long it takes: it is not asked twice at a time.
    await loop.pass_time(10 * SECONDS)
    asking.append(asyncio.create_task(recent.get()))
    await turns(3)
    oracle.open.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 5
    assert asking[0].cancelled()


async def test_recent_keeps_no_failure() -> None:
    oracle = Oracle()
    recent = Recent(oracle, SECONDS)
    oracle.fails = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await recent.get()
    oracle.fails = False
    assert await recent.get() == 3


async def test_recent_cancels_its_question() -> None:
    oracle = Oracle()
    oracle.open.clear()
    recent = Recent(oracle, SECONDS)
    asking = asyncio.create_task(recent.get())
    await turns(3)
    await recent.close()
    await asyncio.wait({asking})
    assert asking.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
