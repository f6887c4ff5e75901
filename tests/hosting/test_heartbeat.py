"""A heartbeat, on a test clock."""

import asyncio
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from hosting.heartbeat import HeartbeatTimer, beats
from tests.clock import ClockLoop, run, turns

HEARTBEAT: Final = 8.0
# Fractions that floats add without an error.
STEP: Final = HEARTBEAT / 8
PERIODS: Final = st.lists(st.integers(1, 8 * 3), max_size=6)


class Watched:
    """A heartbeat, and the times of its requests."""

    def __init__(self, loop: ClockLoop, *, deaf: bool = False) -> None:
        self.deaf = deaf
        self.asked: list[float] = []
        self.ended: float | None = None
        self._loop = loop
        self.heartbeat = HeartbeatTimer(
            HEARTBEAT,
            ask=lambda: self.asked.append(loop.time()),
            end=self._end,
            is_deaf=lambda: self.deaf,
        )

    def _end(self) -> None:
        self.heartbeat.stop()
        self.ended = self._loop.time()

    async def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            await self._loop.pass_time(STEP)


@given(PERIODS)
def test_silent_peer_is_asked_then_ended(periods: list[int]) -> None:
    """Whenever the peer was last heard, and however long it was silent before."""

    async def test(loop: ClockLoop) -> None:
        watched = Watched(loop)
        heard = loop.time()
        for period in periods:
            await watched.pass_time(period)
            if watched.ended is not None:
                break
            watched.heartbeat.heard()
            heard = loop.time()
            watched.asked.clear()
        else:
            await watched.pass_time(12)
        assert watched.ended is not None
        assert HEARTBEAT <= watched.ended - heard <= 1.5 * HEARTBEAT
        # The peer has half a heartbeat to answer.
        assert watched.asked == [watched.ended - HEARTBEAT / 2]

    run(test)


@given(st.lists(st.integers(1, 7), max_size=20))
def test_heard_peer_stays(periods: list[int]) -> None:
    async def test(loop: ClockLoop) -> None:
        watched = Watched(loop)
        for period in periods:
            await watched.pass_time(period)
            watched.heartbeat.heard()
        assert watched.ended is None
        watched.heartbeat.stop()

    run(test)


async def test_unread_peer_counts_as_heard(loop: ClockLoop) -> None:
    watched = Watched(loop, deaf=True)
    await watched.pass_time(80)
    assert watched.ended is None
    watched.deaf = False
    await watched.pass_time(12)
    assert watched.ended is not None


async def test_late_beat_does_not_count(loop: ClockLoop) -> None:
    """The process stood still: an answer may wait to be read."""
    watched = Watched(loop)
    await watched.pass_time(8)
    assert watched.asked == [HEARTBEAT]
    await loop.pass_time(3 * HEARTBEAT)
    assert watched.ended is None
    woken = loop.time()
    await watched.pass_time(8)
    assert watched.ended == woken + HEARTBEAT / 2


async def test_beats_without_late_ones(loop: ClockLoop) -> None:
    times: list[float] = []

    async def note() -> None:
        async for _ in beats(HEARTBEAT):
            times.append(loop.time())  # noqa: PERF401 - one by one, as they come

    noting = asyncio.create_task(note())
    await turns(2)
    for seconds in (4.0, 5.9, 6.1, 4.0):
        await loop.pass_time(seconds)
        await turns(2)
    assert times == [4.0, 9.9, 20.0]
    noting.cancel()
