"""Erasures that take long, fail, or were begun before."""

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from chat.core.erasing import Erasing
from chat.metrics import ServerMetrics
from chat.storage.base import Erased, StoreError
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from hosting.faults import Faults
from tests.clock import ClockLoop, turns
from tests.support import message


class Steps(MemoryStore):
    """A store whose steps wait until they are let, and fail if they are told to."""

    def __init__(self) -> None:
        super().__init__(Listener())
        self.fails = False
        self.lets = asyncio.Semaphore(0)

    async def erase(self, user_id: str, limit: int) -> Erased:
        await self.lets.acquire()
        if self.fails:
            raise StoreError("disk")
        return await super().erase(user_id, limit)

    def let(self, steps: int) -> None:
        for _ in range(steps):
            self.lets.release()


async def filled(senders: Sequence[str]) -> Steps:
    store = Steps()
    await store.append([message(sender_id=each, key=str(n)) for n, each in enumerate(senders)])
    return store


def erasing(store: Steps) -> tuple[Erasing, ServerMetrics]:
    metrics = ServerMetrics()
    return Erasing(store, metrics, Faults()), metrics


LONG = ["ada"] * 450


async def test_erasure_that_takes_long_goes_on(loop: ClockLoop) -> None:
    store = await filled(LONG)
    work, metrics = erasing(store)
    asked = asyncio.create_task(work.erase("ada", 5))
    store.let(1)
    await turns(9)
    again = asyncio.create_task(work.erase("ada", 9))
    await turns(9)
    await loop.pass_time(5)
    assert await asked == Erased(200, done=False)
    assert metrics.erasures == 1
    store.let(2)
    assert await again == Erased(250, done=True)
    assert await store.get_user("ada") is None
    assert (metrics.erasures, metrics.erased_messages) == (0, 450)


async def test_who_goes_away_stops_nothing() -> None:
    store = await filled(LONG)
    work, _metrics = erasing(store)
    asked = asyncio.create_task(work.erase("ada", 5))
    await turns(3)
    asked.cancel()
    store.let(3)
    await turns(30)
    assert await store.get_user("ada") is None


async def test_first_step_that_fails_is_told() -> None:
    store = await filled(["ada"])
    work, metrics = erasing(store)
    store.fails = True
    store.let(1)
    with capture_logs() as lines, pytest.raises(StoreError, match="disk"):
        await work.erase("ada", 5)
    assert [line["event"] for line in lines] == ["erasure failed"]
    assert (metrics.erasures, metrics.erasure_failures) == (0, 1)
    store.fails = False
    store.let(1)
    assert await work.erase("ada", 5) == Erased(1, done=True)


async def test_later_failure_is_tried_again(loop: ClockLoop) -> None:
    store = await filled(LONG)
    work, _metrics = erasing(store)
    async with work.going_on():
        asked = asyncio.create_task(work.erase("ada", 5))
        store.let(1)
        await turns(9)
        store.fails = True
        store.let(1)
        assert await asked == Erased(200, done=False)
        assert await store.erasures() == ["ada"]
        store.fails = False
        store.let(2)
        await loop.pass_time(30)
        await turns(30)
        assert await store.erasures() == []
        assert await store.get_user("ada") is None


async def test_what_was_begun_before_is_done_at_the_start() -> None:
    store = await filled([*LONG, "bob", "bob"])
    for user_id in ("ada", "bob"):
        store.let(1)
        await store.erase(user_id, 1)
    work, _metrics = erasing(store)
    async with work.going_on():
        await turns(9)
        assert await store.erasures() == ["ada", "bob"]
        store.let(9)
        await turns(60)
        assert await store.erasures() == []


async def test_end_of_the_server_stops_between_steps() -> None:
    store = await filled(LONG)
    work, metrics = erasing(store)
    async with work.going_on():
        asked = asyncio.create_task(work.erase("ada", 5))
        store.let(1)
        await turns(9)
    assert await asked == Erased(200, done=False)
    assert metrics.erasures == 0
    assert await store.erasures() == ["ada"]


async def test_look_that_fails_is_made_again(loop: ClockLoop) -> None:
    store = await filled(LONG)
    store.let(9)
    await store.erase("ada", 1)
    found, looks = store.erasures, 0

    async def erasures() -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise StoreError("disk")
        return await found()

    store.erasures = erasures  # type: ignore[method-assign]  # the first one fails
    work, _metrics = erasing(store)
    with capture_logs() as lines:
        async with work.going_on():
            await turns(5)
            await loop.pass_time(30)
            await turns(60)
    assert [line["event"] for line in lines] == ["erasures not looked for", "user erased"]
    # A disk that is full is no defect.
    assert (lines[0]["log_level"], lines[0]["reason"]) == ("warning", "disk")
    assert "exc_info" not in lines[0]
