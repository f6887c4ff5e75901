"""Pacing of read marks, by simulated time, with a store that is told what to do."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.core.marking import Marking, Wish
from chat.metrics import ServerMetrics
from chat.storage.base import StoreError
from gen.chat import Mark
from hosting.faults import Faults
from tests.clock import ClockLoop, run, turns

WISHES = st.builds(Wish, st.integers(0, 9), st.booleans())


def applied(mark: int, wish: Wish) -> int:
    """How far a user has read once a mark is stored, as `Store.mark` has it."""
    return wish.seq if wish.back else max(mark, wish.seq)


@given(st.integers(0, 9), st.lists(WISHES, min_size=1))
def test_merged_wishes_come_to_the_same(mark: int, wishes: Sequence[Wish]) -> None:
    merged = wishes[0]
    for wish in wishes[1:]:
        merged = merged.then(wish)
    expected = mark
    for wish in wishes:
        expected = applied(expected, wish)
    assert applied(mark, merged) == expected


class Disk:
    """Keeps marks, each once it is let."""

    def __init__(self, loop: ClockLoop) -> None:
        self._loop = loop
        self.marks: dict[tuple[str, str], int] = defaultdict(int)
        self.times: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.wishes: list[Wish] = []
        self.works = asyncio.Event()
        self.works.set()
        self.error: Exception | None = None

    async def store(self, user_id: str, room_id: str, wish: Wish) -> Mark:
        self.times[user_id, room_id].append(self._loop.time())
        self.wishes.append(wish)
        await self.works.wait()
        if self.error is not None:
            raise self.error
        self.marks[user_id, room_id] = applied(self.marks[user_id, room_id], wish)
        return Mark(room_id, self.marks[user_id, room_id])


async def passes(loop: ClockLoop, seconds: float) -> None:
    """Lets time pass, and all go on that waited for it."""
    await loop.pass_time(seconds)
    await turns(4)


def marking(disk: Disk) -> tuple[Marking, ServerMetrics]:
    metrics = ServerMetrics()
    return Marking(disk.store, metrics, Faults()), metrics


async def test_first_goes_at_once_and_later_ones_share_the_next(loop: ClockLoop) -> None:
    disk = Disk(loop)
    marks, metrics = marking(disk)
    assert (await marks.mark("ada", "room", Wish(1))).seq == 1
    later = [asyncio.create_task(marks.mark("ada", "room", Wish(seq))) for seq in (3, 5, 4)]
    other = await marks.mark("bob", "room", Wish(2))
    elsewhere = await marks.mark("ada", "another", Wish(2))
    assert (other.seq, elsewhere.seq) == (2, 2)
    await passes(loop, 0.9)
    assert not any(task.done() for task in later)
    assert metrics.marks_waiting == 3
    await passes(loop, 0.1)
    assert [mark.seq for mark in await asyncio.gather(*later)] == [5, 5, 5]
    assert disk.wishes == [Wish(1), Wish(2), Wish(2), Wish(5)]
    assert (metrics.marks_waiting, metrics.marks_shared) == (0, 2)
    await passes(loop, 1)
    assert len(marks) == 0
    assert (await marks.mark("ada", "room", Wish(6))).seq == 6


async def test_back_is_not_merged_away(loop: ClockLoop) -> None:
    disk = Disk(loop)
    marks, _ = marking(disk)
    await marks.mark("ada", "room", Wish(9))
    asked = [Wish(7), Wish(2, back=True), Wish(4)]
    tasks = [asyncio.create_task(marks.mark("ada", "room", wish)) for wish in asked]
    await turns(2)
    await passes(loop, 1)
    assert [mark.seq for mark in await asyncio.gather(*tasks)] == [4, 4, 4]


async def test_who_goes_away_harms_nobody(loop: ClockLoop) -> None:
    disk = Disk(loop)
    marks, metrics = marking(disk)
    disk.works.clear()
    first = asyncio.create_task(marks.mark("ada", "room", Wish(1)))
    await turns(2)
    stays, leaves = (asyncio.create_task(marks.mark("ada", "room", Wish(seq))) for seq in (2, 3))
    await turns(2)
    first.cancel()
    leaves.cancel()
    disk.works.set()
    await turns(2)
    await passes(loop, 1)
    assert (await stays).seq == 3
    assert disk.wishes == [Wish(1), Wish(3)]
    assert metrics.marks_waiting == 0


async def test_slow_store_has_one_mark_at_a_time(loop: ClockLoop) -> None:
    disk = Disk(loop)
    marks, _ = marking(disk)
    disk.works.clear()
    tasks = [asyncio.create_task(marks.mark("ada", "room", Wish(1)))]
    await turns(2)
    for seq in range(2, 50):
        tasks.append(asyncio.create_task(marks.mark("ada", "room", Wish(seq))))
        await passes(loop, 1)
    assert disk.wishes == [Wish(1)]
    disk.works.set()
    assert {mark.seq for mark in await asyncio.gather(*tasks)} == {1, 49}
    assert disk.wishes == [Wish(1), Wish(49)]


@pytest.mark.parametrize("error", [StoreError("disk"), RuntimeError("defect")])
async def test_failure_is_told_to_all_who_wait_and_ends_with_them(
    error: Exception, loop: ClockLoop
) -> None:
    disk = Disk(loop)
    marks, _ = marking(disk)
    await marks.mark("ada", "room", Wish(1))
    disk.error = error
    tasks = [asyncio.create_task(marks.mark("ada", "room", Wish(seq))) for seq in (2, 3)]
    gone = asyncio.create_task(marks.mark("bob", "room", Wish(1)))
    await turns(1)
    gone.cancel()
    await turns(2)
    await passes(loop, 1)
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error, error]
    disk.error = None
    again = asyncio.create_task(marks.mark("ada", "room", Wish(2)))
    await turns(2)
    await passes(loop, 1)
    assert (await again).seq == 2


async def test_end_stores_at_once_what_waits(loop: ClockLoop) -> None:
    disk = Disk(loop)
    marks, _ = marking(disk)
    async with marks.at_work():
        await marks.mark("ada", "room", Wish(1))
        waiting = asyncio.create_task(marks.mark("ada", "room", Wish(2)))
        await turns(2)
    assert (await waiting).seq == 2
    assert (len(marks), loop.time()) == (0, 0.0)


STEPS = st.lists(
    st.one_of(st.tuples(st.sampled_from("ab"), WISHES), st.sampled_from([0.2, 0.5, 1.0, 3.0]))
)


@given(STEPS)
def test_pace_and_outcome(steps: list[tuple[str, Wish] | float]) -> None:
    """At most one a second for each user, and in the end what each would have come to."""

    async def body(loop: ClockLoop) -> None:
        disk = Disk(loop)
        marks, _ = marking(disk)
        expected: dict[tuple[str, str], int] = defaultdict(int)
        tasks = []
        for step in steps:
            if isinstance(step, float):
                await passes(loop, step)
                continue
            user_id, wish = step
            tasks.append(asyncio.create_task(marks.mark(user_id, "room", wish)))
            expected[user_id, "room"] = applied(expected[user_id, "room"], wish)
        await turns(2)
        for _ in range(3):
            await passes(loop, 1)
        assert disk.marks == expected
        assert all(task.done() for task in tasks)
        assert len(marks) == 0
        for times in disk.times.values():
            assert all(later - before > 0.999 for before, later in pairwise(times))

    run(body)
